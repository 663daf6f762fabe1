"""speak the rule language

Matches of rules with `wait` wait in `waiting_matches`, and `ended_waits` says how their waits ended. Decisions record
their decision time if it is not the event's own, sends whether limits count them, and suppressions the event by which a
user is blocked. Existing decisions come from rules without any of this, so their new columns are empty.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.migrations import INSTANT, WHOLE_NUMBER, where

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Make the tables and columns."""
    op.create_table("waiting_matches", *_columns_of_waits("waiting_matches"))
    op.create_table(
        "ended_waits",
        *_columns_of_waits("ended_waits"),
        sa.Column("ended_batch_id", WHOLE_NUMBER, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(["ended_batch_id"], ["batches.id"], name=op.f("fk_ended_waits_ended_batch_id_batches")),
    )
    op.create_index("ix_waiting_matches_decide_at", "waiting_matches", ["decide_at"])
    op.create_index(op.f("ix_ended_waits_ended_batch_id"), "ended_waits", ["ended_batch_id"])
    op.add_column("send_requests", sa.Column("decision_time", INSTANT))
    op.add_column(
        "send_requests",
        sa.Column("is_exempt_from_limits", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("ruleset_rules", sa.Column("wait_hours", sa.Float()))
    op.add_column("ruleset_rules", sa.Column("expires_after_hours", sa.Float()))
    # Rebuilt, because the name of a foreign key added with a column is not kept.
    with op.batch_alter_table("suppressions") as batch:
        batch.add_column(sa.Column("blocked_by_event_id", WHOLE_NUMBER, nullable=True))
        batch.add_column(sa.Column("decision_time", INSTANT, nullable=True))
        batch.create_foreign_key(
            op.f("fk_suppressions_blocked_by_event_id_events"),
            "events",
            ["blocked_by_event_id"],
            ["id"],
            ondelete="SET NULL",
        )
    op.create_index(
        "ix_send_requests_waited",
        "send_requests",
        ["user_id", "decision_time"],
        **where(sa.text("decision_time IS NOT NULL")),
    )


def _columns_of_waits(table_name: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("event_id", WHOLE_NUMBER, nullable=False),
        sa.Column("rule_name", sa.String(64), nullable=False),
        sa.Column("decide_at", INSTANT, nullable=False),
        sa.Column("is_too_old", sa.Boolean(), nullable=False),
        sa.Column("batch_id", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f(f"fk_{table_name}_batch_id_batches")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f(f"fk_{table_name}_event_id_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", "rule_name", name=op.f(f"pk_{table_name}")),
    ]


def downgrade() -> None:
    """Drop them. Refused while they contain anything, which would be lost."""
    connection = op.get_bind()
    for sentence in (
        "SELECT count(*) FROM waiting_matches",
        "SELECT count(*) FROM ended_waits",
        "SELECT count(*) FROM send_requests WHERE decision_time IS NOT NULL OR is_exempt_from_limits",
        "SELECT count(*) FROM suppressions WHERE decision_time IS NOT NULL OR blocked_by_event_id IS NOT NULL",
    ):
        if connection.execute(sa.text(sentence)).scalar_one():
            raise DatabaseError(
                f"Rules of the newer language have decided in this database, which revision {down_revision} does not "
                "know. Go on with the newer version, or go back to a copy from before."
            )
    op.drop_index("ix_send_requests_waited", "send_requests")
    with op.batch_alter_table("suppressions") as batch:
        batch.drop_constraint(op.f("fk_suppressions_blocked_by_event_id_events"), type_="foreignkey")
        batch.drop_column("decision_time")
        batch.drop_column("blocked_by_event_id")
    op.drop_column("ruleset_rules", "expires_after_hours")
    op.drop_column("ruleset_rules", "wait_hours")
    op.drop_column("send_requests", "is_exempt_from_limits")
    op.drop_column("send_requests", "decision_time")
    op.drop_table("ended_waits")
    op.drop_table("waiting_matches")
