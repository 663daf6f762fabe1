"""record the version

A run says which version of this project it was.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the column; runs of the past leave it empty."""
    op.add_column("runs", sa.Column("version", sa.String(32), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("runs", "version")
