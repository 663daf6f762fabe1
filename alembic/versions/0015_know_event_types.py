"""know event types

Every type of event that was ever loaded is in `event_types`, so that a rule on a type that nobody sends is found; a run
may leave a warning, which like a remark on a file does not make it fail.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import INSTANT

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: None = None
depends_on: None = None

KINDS_BEFORE = "kind IN ('problem', 'unreadable', 'waiting', 'ignored', 'passed_over')"
KINDS = "kind IN ('problem', 'warning', 'unreadable', 'waiting', 'ignored', 'passed_over')"


def upgrade() -> None:
    """Collect the types of all events, and let remarks be warnings."""
    op.create_table(
        "event_types",
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("first_loaded_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("event_type", name=op.f("pk_event_types")),
    )
    op.execute("INSERT INTO event_types SELECT event_type, min(created_at) FROM events GROUP BY event_type")
    allow(KINDS)


def downgrade() -> None:
    """Drop the types and the warnings."""
    op.execute("DELETE FROM run_remarks WHERE kind = 'warning'")
    allow(KINDS_BEFORE)
    op.drop_table("event_types")


def allow(kinds: str) -> None:
    """Allow these kinds of remarks."""
    with op.batch_alter_table("run_remarks") as batch:
        batch.drop_constraint(op.f("ck_run_remarks_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_run_remarks_kind"), kinds)
