"""record runs

Every run is recorded with what it was asked to do and how it ended; a backfill takes a window of a file, and may leave
its events undecided; one run at a time holds the lease; and rules include their conditions.

Revision ID: 0005
Revises: 0004
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER, create_view, where

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None

DECISION_TABLES = ("send_requests", "suppressions")

VIEWS_CHANGED = ("load_history", "rule_funnel")

OPERATORS = {
    "equals": "is",
    "not_equals": "is not",
    "gt": "is more than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
    "in": "is one of",
    "exists": "is there",
    "not_exists": "is missing",
}


def upgrade() -> None:
    """Create what records runs, let a file be taken in parts, and complete the rules and views."""
    create_runs()
    create_lease()
    let_files_be_taken_in_parts()
    create_held_events()
    for table in DECISION_TABLES:
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("run_id", WHOLE_NUMBER, nullable=True))
            batch.create_foreign_key(op.f(f"fk_{table}_run_id_runs"), "runs", ["run_id"], ["id"])
        op.create_index(op.f(f"ix_{table}_run_id"), table, ["run_id"])
    tell_conditions()
    for view in VIEWS_CHANGED:
        create_view(view, version=2)


def create_runs() -> None:
    """Create `runs` and the table of their remarks."""
    op.create_table(
        "runs",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("flow_name", sa.String(32), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("as_of", sa.DateTime(), nullable=False),
        sa.Column("window_start_at", sa.DateTime(), nullable=True),
        sa.Column("window_end_at", sa.DateTime(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("max_event_age_hours", WHOLE_NUMBER, nullable=True),
        sa.Column("oldest_event_at", sa.DateTime(), nullable=True),
        sa.Column("max_rejected_percent", sa.Float(), nullable=False),
        sa.Column("flow_run_id", sa.String(64), nullable=True),
        sa.Column("flow_run_name", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("known_file_count", WHOLE_NUMBER, nullable=True),
        sa.Column("outside_file_count", WHOLE_NUMBER, nullable=True),
        sa.Column("decided_count", WHOLE_NUMBER, nullable=True),
        sa.Column("decide_seconds", sa.Float(), nullable=True),
        sa.Column("ruleset_id", WHOLE_NUMBER, nullable=True),
        sa.CheckConstraint("mode IN ('load and decide', 'load only', 'preview')", name=op.f("ck_runs_mode")),
        sa.CheckConstraint(
            "state IN ('running', 'completed', 'failed', 'stopped', 'killed')", name=op.f("ck_runs_state")
        ),
        sa.ForeignKeyConstraint(["ruleset_id"], ["rulesets.id"], name=op.f("fk_runs_ruleset_id_rulesets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_flow_run_id"), "runs", ["flow_run_id"])
    op.create_table(
        "run_remarks",
        sa.Column("run_id", WHOLE_NUMBER, nullable=False),
        sa.Column("remark_position", WHOLE_NUMBER, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('problem', 'waiting', 'ignored')", name=op.f("ck_run_remarks_kind")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_remarks_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "remark_position", name=op.f("pk_run_remarks")),
    )


def create_lease() -> None:
    """Create the table of the one lease."""
    op.create_table(
        "run_leases",
        sa.Column("lease_position", WHOLE_NUMBER, nullable=False),
        sa.Column("holder_id", sa.String(64), nullable=False),
        sa.Column("holder_name", sa.Text(), nullable=False),
        sa.Column("flow_run_id", sa.String(64), nullable=True),
        sa.Column("host_name", sa.Text(), nullable=False),
        sa.Column("process_number", WHOLE_NUMBER, nullable=False),
        sa.Column("acquired_at", sa.DateTime(), nullable=False),
        sa.Column("renewed_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("lease_position = 1", name=op.f("ck_run_leases_only_one")),
        sa.PrimaryKeyConstraint("lease_position", name=op.f("pk_run_leases")),
    )


def let_files_be_taken_in_parts() -> None:
    """Let a file have several loads, at most one of which takes it completely."""
    with op.batch_alter_table("loads") as batch:
        batch.drop_constraint(op.f("uq_loads_source_file_id"), type_="unique")
        batch.drop_constraint(op.f("ck_loads_state"), type_="check")
        batch.drop_constraint(op.f("ck_loads_counts_add_up"), type_="check")
        batch.add_column(sa.Column("run_id", WHOLE_NUMBER, nullable=True))
        batch.add_column(sa.Column("outside_count", WHOLE_NUMBER, server_default=sa.text("0"), nullable=False))
        batch.create_foreign_key(op.f("fk_loads_run_id_runs"), "runs", ["run_id"], ["id"])
        batch.create_check_constraint(op.f("ck_loads_state"), "state IN ('loaded', 'held', 'decided')")
        batch.create_check_constraint(
            op.f("ck_loads_counts_add_up"),
            "read_count = inserted_count + duplicate_count + rejected_count + blank_count + outside_count",
        )
    op.create_index(op.f("ix_loads_source_file_id"), "loads", ["source_file_id"])
    op.create_index(
        "uq_loads_whole_file", "loads", ["source_file_id"], unique=True, **where(sa.text("outside_count = 0"))
    )
    op.create_index(op.f("ix_loads_run_id"), "loads", ["run_id"])


def create_held_events() -> None:
    """Create the table of events that wait for a backfill."""
    op.create_table(
        "held_events",
        sa.Column("event_id", WHOLE_NUMBER, nullable=False),
        sa.Column("run_id", WHOLE_NUMBER, nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_held_events_event_id_events"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_held_events_run_id_runs")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_held_events")),
    )
    op.create_index("ix_held_events_waiting", "held_events", ["event_id"], **where(sa.text("run_id IS NULL")))


def tell_conditions() -> None:
    """Complete the rules of recorded rulesets; the self-check names one whose text has been damaged since."""
    op.add_column("ruleset_rules", sa.Column("condition_text", sa.Text(), nullable=True))
    op.add_column("ruleset_rules", sa.Column("exclusive_group", sa.String(64), nullable=True))
    bind = op.get_bind()
    for ruleset_id, yaml_text in bind.execute(sa.text("SELECT id, yaml_text FROM rulesets")).all():
        for rule in rules_of(yaml_text):
            bind.execute(
                sa.text(
                    "UPDATE ruleset_rules SET condition_text = :condition_text, exclusive_group = :exclusive_group "
                    "WHERE ruleset_id = :ruleset_id AND rule_name = :rule_name"
                ),
                {
                    "condition_text": condition_text(rule),
                    "exclusive_group": rule.get("exclusive_group"),
                    "ruleset_id": ruleset_id,
                    "rule_name": rule["name"],
                },
            )
    op.execute("UPDATE ruleset_rules SET condition_text = '' WHERE condition_text IS NULL")
    with op.batch_alter_table("ruleset_rules") as batch:
        batch.alter_column("condition_text", existing_type=sa.Text(), nullable=False)


def rules_of(yaml_text: str) -> list[dict[str, Any]]:
    """Return the rules of a recorded ruleset; none if its text is not the one checked when it was recorded."""
    try:
        rules: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(yaml_text)["rules"]
    except (YAMLError, TypeError, KeyError):
        return []
    return rules


def condition_text(rule: dict[str, Any]) -> str:
    """Return what must hold besides the event type, as a sentence."""
    parts = []
    for condition in rule.get("conditions", {}).get("all", []):
        if "prior_event" in condition:
            prior = condition["prior_event"]
            parts.append(f"a {prior['event_type']} in the {prior['hours']:g} h before")
            continue
        value = condition.get("value")
        values = value if isinstance(value, list) else [] if value is None else [value]
        shown = [str(item).lower() if isinstance(item, bool) else str(item) for item in values]
        parts.append(" ".join([condition["field"], OPERATORS[condition["operator"]], ", ".join(shown)]).rstrip())
    return " and ".join(parts)


def downgrade() -> None:
    """Drop what records runs; events and decisions stay, and several loads of a file become one.

    A file that was not taken completely is taken again, because its content is no longer known. Refused while events
    wait that the previous revision would decide twice, or that nobody asked it to decide.
    """
    refuse_waiting_events()
    for view in VIEWS_CHANGED:
        create_view(view, version=1)
    with op.batch_alter_table("ruleset_rules") as batch:
        batch.drop_column("condition_text")
        batch.drop_column("exclusive_group")
    for table in DECISION_TABLES:
        op.drop_index(op.f(f"ix_{table}_run_id"), table_name=table)
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"fk_{table}_run_id_runs"), type_="foreignkey")
            batch.drop_column("run_id")
    for index in ("uq_loads_whole_file", "ix_loads_run_id"):
        op.drop_index(index, table_name="loads")
    forget_unfinished_files()
    make_one_load_of_each_file()
    op.drop_index("ix_loads_source_file_id", table_name="loads")
    with op.batch_alter_table("loads") as batch:
        batch.drop_constraint(op.f("ck_loads_state"), type_="check")
        batch.drop_constraint(op.f("ck_loads_counts_add_up"), type_="check")
        batch.drop_constraint(op.f("fk_loads_run_id_runs"), type_="foreignkey")
        batch.drop_column("run_id")
        batch.drop_column("outside_count")
        batch.create_check_constraint(op.f("ck_loads_state"), "state IN ('loaded', 'decided')")
        batch.create_check_constraint(
            op.f("ck_loads_counts_add_up"),
            "read_count = inserted_count + duplicate_count + rejected_count + blank_count",
        )
        batch.create_unique_constraint(op.f("uq_loads_source_file_id"), ["source_file_id"])
    for table in ("run_leases", "held_events", "run_remarks", "runs"):
        op.drop_table(table)


def refuse_waiting_events() -> None:
    """Raise when held events wait, or a part of a file of which another part is decided."""
    bind = op.get_bind()
    held = bind.execute(sa.text("SELECT count(*) FROM held_events WHERE run_id IS NULL")).scalar_one()
    parts = bind.execute(
        sa.text(
            "SELECT count(*) FROM loads l WHERE state = 'loaded' "
            "AND EXISTS (SELECT 1 FROM loads o WHERE o.source_file_id = l.source_file_id AND o.id <> l.id)"
        )
    ).scalar_one()
    if held or parts:
        raise DatabaseError(
            f"{held} events wait in held_events and {parts} loads of a part of a file wait for a decision, which "
            f"revision {down_revision} does not know; decide them by a backfill or the hourly job first."
        )


def forget_unfinished_files() -> None:
    """Forget the content of files that were not taken completely, so that their other lines are still taken."""
    op.execute(
        "UPDATE source_files SET content_hash = 'part:' || id || ':' || content_hash, file_signature = 'part' "
        "WHERE id NOT IN (SELECT source_file_id FROM loads WHERE outside_count = 0)"
    )


def make_one_load_of_each_file() -> None:
    """Give the first load of each file what the later ones brought; lines outside all windows no longer count."""
    op.execute(
        "UPDATE loads SET ruleset_id = (SELECT max(r.ruleset_id) FROM held_events h JOIN events e ON e.id = h.event_id "
        "JOIN runs r ON r.id = h.run_id "
        "WHERE h.event_id BETWEEN loads.first_event_id AND loads.last_event_id AND e.load_id = loads.id) "
        "WHERE state = 'decided' AND ruleset_id IS NULL"
    )
    first = "(SELECT min(f.id) FROM loads f WHERE f.source_file_id = (SELECT source_file_id FROM loads l WHERE l.id = "
    for table in ("events", "rejected_rows", "conflicts", "unknown_keys"):
        op.execute(
            f"UPDATE {table} SET load_id = {first}{table}.load_id)) "
            "WHERE load_id IN (SELECT id FROM loads l WHERE EXISTS "
            "(SELECT 1 FROM loads e WHERE e.source_file_id = l.source_file_id AND e.id < l.id))"
        )
    counts = ("inserted_count", "duplicate_count", "conflict_count", "rejected_count", "blank_count")
    sums = ", ".join(
        f"{count} = (SELECT sum(l.{count}) FROM loads l WHERE l.source_file_id = loads.source_file_id)"
        for count in counts
    )
    op.execute(
        f"UPDATE loads SET {sums}, outside_count = 0, "
        "first_event_id = (SELECT min(l.first_event_id) FROM loads l WHERE l.source_file_id = loads.source_file_id), "
        "last_event_id = (SELECT max(l.last_event_id) FROM loads l WHERE l.source_file_id = loads.source_file_id), "
        "read_count = (SELECT sum(l.read_count - l.outside_count) FROM loads l "
        "WHERE l.source_file_id = loads.source_file_id) "
        "WHERE id IN (SELECT min(id) FROM loads GROUP BY source_file_id HAVING count(*) > 1 OR max(outside_count) > 0)"
    )
    op.execute("DELETE FROM loads WHERE id NOT IN (SELECT min(id) FROM loads GROUP BY source_file_id)")
