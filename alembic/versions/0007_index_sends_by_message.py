"""index sends by message

The unique key of sends begins with the message and no longer with the user, so that the sends of a day are side by
side; `user_timeline` finds a user's sends through the user's events, and those without an event by a separate index.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import create_view, where

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None

# 30 s for 800,000.
SECONDS_A_MILLION = {"send_requests": 37.5}

BY_USER = ["user_id", "template_name", "dedupe_key"]
BY_MESSAGE = ["template_name", "dedupe_key", "user_id"]

OTHER_KEYS = "channel != 'internal' AND dedupe_key != 'ever' AND substr(dedupe_key, 1, 4) != 'day:'"


def upgrade() -> None:
    """Turn the unique key around, and let the timeline find a user's sends without it."""
    rebuild(old_key=BY_USER, new_key=BY_MESSAGE)
    op.create_index(
        op.f("ix_send_requests_no_event"), "send_requests", ["user_id"], **where(sa.text("event_id IS NULL"))
    )
    create_view("user_timeline", version=2)


def downgrade() -> None:
    """Turn it back."""
    create_view("user_timeline", version=1)
    op.drop_index(op.f("ix_send_requests_no_event"), table_name="send_requests")
    rebuild(old_key=BY_MESSAGE, new_key=BY_USER)


def rebuild(*, old_key: list[str], new_key: list[str]) -> None:
    """Rebuild the table with another unique key; its partial index is dropped meanwhile."""
    op.drop_index(op.f("ix_send_requests_other_keys"), table_name="send_requests")
    with op.batch_alter_table("send_requests") as batch:
        batch.drop_constraint(op.f(f"uq_send_requests_{'_'.join(old_key)}"), type_="unique")
        batch.create_unique_constraint(op.f(f"uq_send_requests_{'_'.join(new_key)}"), new_key)
    op.create_index(
        op.f("ix_send_requests_other_keys"),
        "send_requests",
        ["user_id", "template_name", "event_timestamp"],
        **where(sa.text(OTHER_KEYS)),
    )
