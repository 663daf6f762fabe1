"""record batches

Each transaction that decides events is recorded with its run, its limits and its ruleset, and the loads and held events
that it decided name it. For earlier decisions, batches are reconstructed from the tables.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: None = None
depends_on: None = None

NAMING_TABLES = ("loads", "held_events")
DECISION_TABLES = ("send_requests", "suppressions")


def upgrade() -> None:
    """Create `batches`, let loads and held events name theirs, and reconstruct those of the past."""
    op.create_table(
        "batches",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("run_id", WHOLE_NUMBER, nullable=True),
        sa.Column("as_of", sa.DateTime(), nullable=True),
        sa.Column("oldest_event_at", sa.DateTime(), nullable=True),
        sa.Column("ruleset_id", WHOLE_NUMBER, nullable=False),
        sa.Column("event_count", WHOLE_NUMBER, nullable=False),
        sa.Column("held_count", WHOLE_NUMBER, nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        sa.Column("decide_seconds", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_batches_run_id_runs")),
        sa.ForeignKeyConstraint(["ruleset_id"], ["rulesets.id"], name=op.f("fk_batches_ruleset_id_rulesets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("run_id", name=op.f("uq_batches_run_id")),
    )
    for table in NAMING_TABLES:
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("batch_id", WHOLE_NUMBER, nullable=True))
            batch.create_foreign_key(op.f(f"fk_{table}_batch_id_batches"), "batches", ["batch_id"], ["id"])
    find_past_batches()
    record_past_batches()


def find_past_batches() -> None:
    """Find the batches of the past: what was decided at one moment by one ruleset was decided by one transaction.

    If two runs decided at the same moment, each has its own loads. Otherwise the run is the one that the decisions
    name; without any, the last that had begun by then, if it names the same ruleset, because runs decided one at a
    time. Held events name their run themselves.
    """
    decisions = " UNION ALL ".join(
        f"SELECT decided_at, run_id FROM {table} WHERE run_id IS NOT NULL" for table in DECISION_TABLES
    )
    op.execute(
        "CREATE TEMPORARY TABLE past_decisions AS SELECT run_id, max(decided_at) AS decided_at "
        f"FROM ({decisions}) AS decisions GROUP BY run_id"
    )
    op.execute(
        "CREATE TEMPORARY TABLE past_held AS SELECT run_id, count(*) AS held_count FROM held_events "
        "WHERE run_id IS NOT NULL GROUP BY run_id"
    )
    op.execute(
        "CREATE TEMPORARY TABLE past_loads AS SELECT l.id AS load_id, l.decided_at, l.ruleset_id, l.inserted_count, "
        "coalesce("
        "(SELECT r.id FROM runs r LEFT JOIN past_decisions d ON d.run_id = r.id WHERE r.id = l.run_id "
        "AND r.ruleset_id = l.ruleset_id AND coalesce(d.decided_at, l.decided_at) = l.decided_at "
        "AND r.started_at <= l.decided_at AND r.ended_at >= l.decided_at), "
        "(SELECT max(d.run_id) FROM past_decisions d JOIN runs r ON r.id = d.run_id "
        "WHERE d.decided_at = l.decided_at AND r.ruleset_id = l.ruleset_id), "
        "(SELECT r.id FROM runs r WHERE r.ruleset_id = l.ruleset_id AND r.id = (SELECT o.id FROM runs o "
        "WHERE o.started_at <= l.decided_at AND o.ruleset_id IS NOT NULL ORDER BY o.started_at DESC, o.id DESC LIMIT 1)"
        ")) AS run_id FROM loads l WHERE l.state = 'decided' AND l.ruleset_id IS NOT NULL"
    )
    # If the clock was set back, a run may seem to have decided at two moments: the one of its decisions is right.
    op.execute(
        "CREATE TEMPORARY TABLE past_moments AS SELECT p.run_id, p.decided_at, p.ruleset_id, row_number() OVER "
        "(PARTITION BY p.run_id ORDER BY d.run_id IS NULL, sum(p.inserted_count) DESC, p.decided_at, p.ruleset_id) "
        "AS place FROM past_loads p LEFT JOIN past_decisions d ON d.run_id = p.run_id AND d.decided_at = p.decided_at "
        "WHERE p.run_id IS NOT NULL GROUP BY p.run_id, p.decided_at, p.ruleset_id, d.run_id"
    )
    op.execute(
        "UPDATE past_loads SET run_id = NULL WHERE EXISTS (SELECT 1 FROM past_moments m WHERE m.run_id = "
        "past_loads.run_id AND m.decided_at = past_loads.decided_at AND m.ruleset_id = past_loads.ruleset_id "
        "AND m.place > 1)"
    )
    op.execute(
        "CREATE TEMPORARY TABLE past_batches AS SELECT decided_at, ruleset_id, sum(inserted_count) AS loaded_count, "
        "0 AS held_count, run_id FROM past_loads GROUP BY decided_at, ruleset_id, run_id"
    )
    op.execute(
        "UPDATE past_batches SET held_count = coalesce((SELECT h.held_count FROM past_held h "
        "WHERE h.run_id = past_batches.run_id), 0)"
    )
    op.execute(
        "INSERT INTO past_batches (decided_at, ruleset_id, loaded_count, held_count, run_id) "
        "SELECT d.decided_at, r.ruleset_id, 0, h.held_count, h.run_id FROM past_held h "
        "JOIN runs r ON r.id = h.run_id LEFT JOIN past_decisions d ON d.run_id = h.run_id "
        "WHERE r.ruleset_id IS NOT NULL "
        "AND h.run_id NOT IN (SELECT run_id FROM past_batches WHERE run_id IS NOT NULL)"
    )


def record_past_batches() -> None:
    """Record the batches that were found, in order, and let loads and held events name them."""
    op.execute(
        "INSERT INTO batches (run_id, as_of, oldest_event_at, ruleset_id, event_count, held_count, decided_at, "
        "decide_seconds) SELECT p.run_id, r.as_of, r.oldest_event_at, p.ruleset_id, p.loaded_count + p.held_count, "
        "p.held_count, p.decided_at, r.decide_seconds FROM past_batches p LEFT JOIN runs r ON r.id = p.run_id "
        "ORDER BY coalesce(p.decided_at, r.ended_at, r.started_at), p.run_id"
    )
    op.execute("CREATE INDEX ix_past_batches ON batches (decided_at)")
    op.execute("CREATE INDEX ix_past_loads ON past_loads (load_id)")
    op.execute(
        "UPDATE loads SET batch_id = (SELECT b.id FROM past_loads p JOIN batches b ON b.decided_at = p.decided_at "
        "AND b.ruleset_id = p.ruleset_id AND (b.run_id = p.run_id OR (b.run_id IS NULL AND p.run_id IS NULL)) "
        "WHERE p.load_id = loads.id) WHERE state = 'decided' AND ruleset_id IS NOT NULL"
    )
    op.execute("DROP INDEX ix_past_batches")
    op.execute(
        "UPDATE held_events SET batch_id = (SELECT b.id FROM batches b WHERE b.run_id = held_events.run_id) "
        "WHERE run_id IS NOT NULL"
    )
    for table in ("past_batches", "past_moments", "past_loads", "past_held", "past_decisions"):
        op.execute(f"DROP TABLE {table}")


def downgrade() -> None:
    """Drop what records batches; what they decided stays."""
    for table in NAMING_TABLES:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"fk_{table}_batch_id_batches"), type_="foreignkey")
            batch.drop_column("batch_id")
    op.drop_table("batches")
