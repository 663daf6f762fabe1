"""index what loads and decisions need

An index now makes `events.message_id` unique: a large load may drop and rebuild it, while a table's own constraint can
only be maintained row by row. Only sends whose dedupe key does not answer the question are indexed by time.

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
    """Turn the constraint into a unique index, and the whole index into a partial one."""
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
    """Turn the unique index into a constraint, and the partial index into a whole one."""
    op.drop_index(op.f("ix_send_requests_other_keys"), table_name="send_requests")
    op.create_index(op.f("ix_send_requests_user_id_template_name_event_timestamp"), "send_requests", SEND_TIME_COLUMNS)
    op.drop_index(op.f(MESSAGE_ID_INDEX), table_name="events")
    with op.batch_alter_table("events") as batch:
        batch.create_unique_constraint(op.f(MESSAGE_ID_INDEX), ["message_id"])
