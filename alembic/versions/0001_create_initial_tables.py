"""create initial tables

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the five tables of the first specification."""
    op.create_table(
        "events",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("event_timestamp", sa.DateTime(), nullable=False),
        sa.Column("created_at", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_table(
        "event_properties",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=False),
        sa.Column("amount", sa.Float(), nullable=True),
        sa.Column("attempt_number", WHOLE_NUMBER, nullable=True),
        sa.Column("failure_reason", sa.String(64), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_event_properties_event_id_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_properties")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_properties_event_id")),
    )
    op.create_table(
        "user_traits",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=False),
        sa.Column("email", sa.String(256), nullable=True),
        sa.Column("country", sa.String(8), nullable=True),
        sa.Column("marketing_opt_in", sa.Boolean(), nullable=True),
        sa.Column("risk_segment", sa.String(32), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_user_traits_event_id_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_traits")),
        sa.UniqueConstraint("event_id", name=op.f("uq_user_traits_event_id")),
    )
    op.create_table(
        "send_requests",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=True),
        sa.Column("template_name", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_send_requests_event_id_events"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_send_requests")),
    )
    op.create_table(
        "suppressions",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=True),
        sa.Column("template_name", sa.String(64), nullable=False),
        sa.Column("suppression_reason", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_suppressions_event_id_events"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppressions")),
    )


def downgrade() -> None:
    """Drop the five tables."""
    for table in ("suppressions", "send_requests", "user_traits", "event_properties", "events"):
        op.drop_table(table)
