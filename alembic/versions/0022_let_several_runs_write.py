"""let several runs write

Where runs load at the same time, a batch records the last load that it could see, and a run that it was not alone.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("batches", sa.Column("last_load_id", WHOLE_NUMBER))
    op.add_column("runs", sa.Column("is_beside_others", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Drop them, unless runs worked at the same time, because then loads are not in the order of the runs."""
    if op.get_bind().execute(sa.text("SELECT count(*) FROM runs WHERE is_beside_others")).scalar_one():
        raise DatabaseError(
            f"Several runs have written at the same time in this database, which revision {down_revision} does not "
            "know. Go on with the newer version, or go back to a copy from before."
        )
    op.drop_column("runs", "is_beside_others")
    op.drop_column("batches", "last_load_id")
