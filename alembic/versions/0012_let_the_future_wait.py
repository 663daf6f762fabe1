"""let the future wait

An event too far ahead of the run that would decide it waits in `held_events` until a run reaches its time, and the view
`latest_user_traits` ignores it until then. The view `waiting_events` shows everything that is not decided.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.migrations import (
    INSTANT,
    WHOLE_NUMBER,
    create_view,
    drop_view,
    where,
)

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: None = None
depends_on: None = None

VIEWS_CHANGED = ("latest_user_traits", "rule_funnel")


def upgrade() -> None:
    """Record the limit on the future, and let events wait for their time."""
    op.add_column("runs", sa.Column("max_event_ahead_hours", WHOLE_NUMBER, nullable=True))
    op.add_column("runs", sa.Column("latest_event_at", INSTANT, nullable=True))
    op.add_column("batches", sa.Column("latest_event_at", INSTANT, nullable=True))
    op.add_column("batches", sa.Column("ahead_count", WHOLE_NUMBER, server_default=sa.text("0"), nullable=False))
    op.add_column("held_events", sa.Column("due_at", INSTANT, nullable=True))
    op.create_index(
        "ix_held_events_due",
        "held_events",
        ["due_at"],
        **where(sa.text("run_id IS NULL AND due_at IS NOT NULL")),
    )
    op.create_index(op.f("ix_loads_batch_id"), "loads", ["batch_id"])
    for view, version in zip(VIEWS_CHANGED, (2, 4), strict=True):
        create_view(view, version=version)
    create_view("waiting_events", version=1)


def downgrade() -> None:
    """Drop it again. Refused while events wait for their time, which the previous revision would never decide."""
    waiting = (
        op.get_bind()
        .execute(sa.text("SELECT count(*) FROM held_events WHERE run_id IS NULL AND due_at IS NOT NULL"))
        .scalar_one()
    )
    if waiting:
        raise DatabaseError(
            f"{waiting} events wait in held_events for their time, which revision {down_revision} does not know; "
            "decide them first: python -m flows.hourly --max-event-ahead-hours 876000"
        )
    drop_view("waiting_events")
    for view, version in zip(VIEWS_CHANGED, (1, 3), strict=True):
        create_view(view, version=version)
    op.drop_index(op.f("ix_loads_batch_id"), table_name="loads")
    op.drop_index("ix_held_events_due", table_name="held_events")
    op.drop_column("held_events", "due_at")
    for column in ("ahead_count", "latest_event_at"):
        op.drop_column("batches", column)
    for column in ("latest_event_at", "max_event_ahead_hours"):
        op.drop_column("runs", column)
