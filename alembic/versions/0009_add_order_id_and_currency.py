"""add order_id and currency

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import create_view

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    op.add_column("event_properties", sa.Column("order_id", sa.String(64)))
    op.add_column("event_properties", sa.Column("currency", sa.String(8)))
    create_view("user_timeline", version=3)


def downgrade() -> None:
    """Take this revision's changes back."""
    create_view("user_timeline", version=2)
    with op.batch_alter_table("event_properties") as batch:
        batch.drop_column("currency")
        batch.drop_column("order_id")
