"""index what loads and decisions need

The uniqueness of `events.message_id` becomes that of an index, which a large load may drop and build anew, where a
table's own constraint can only be kept up row by row. Of the sends only those are indexed by time whose dedupe key does
not say what it is asked for.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import where

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None

# 72 s for five million.
SECONDS_A_MILLION = {"events": 14.4}

MESSAGE_ID_INDEX = "uq_events_message_id"
SEND_TIME_COLUMNS = ["user_id", "template_name", "event_timestamp"]


def upgrade() -> None:
    """Make a unique index of the constraint, and a partial one of the whole."""
    with op.batch_alter_table("events") as batch:
        batch.drop_constraint(op.f(MESSAGE_ID_INDEX), type_="unique")
    op.create_index(op.f(MESSAGE_ID_INDEX), "events", ["message_id"], unique=True)
    op.drop_index(op.f("ix_send_requests_user_id_template_name_event_timestamp"), table_name="send_requests")
    op.create_index(
        op.f("ix_send_requests_other_keys"),
        "send_requests",
        SEND_TIME_COLUMNS,
        **where(sa.text("channel != 'internal' AND dedupe_key != 'ever' AND substr(dedupe_key, 1, 4) != 'day:'")),
    )


def downgrade() -> None:
    """Make a constraint of the unique index, and a whole one of the partial one."""
    op.drop_index(op.f("ix_send_requests_other_keys"), table_name="send_requests")
    op.create_index(op.f("ix_send_requests_user_id_template_name_event_timestamp"), "send_requests", SEND_TIME_COLUMNS)
    op.drop_index(op.f(MESSAGE_ID_INDEX), table_name="events")
    with op.batch_alter_table("events") as batch:
        batch.create_unique_constraint(op.f(MESSAGE_ID_INDEX), ["message_id"])
