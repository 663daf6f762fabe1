"""decide in shards

A batch may be decided in several transactions, each for a part of the users.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.migrations import INSTANT, WHOLE_NUMBER

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("batches", sa.Column("shard_count", WHOLE_NUMBER, server_default=sa.text("1"), nullable=False))
    op.add_column("batches", sa.Column("is_complete", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_table(
        "batch_shards",
        sa.Column("batch_id", WHOLE_NUMBER, nullable=False),
        sa.Column("shard_number", WHOLE_NUMBER, nullable=False, autoincrement=False),
        sa.Column("last_load_id", WHOLE_NUMBER, nullable=False),
        sa.Column("decided_at", INSTANT),
        sa.Column("decide_seconds", sa.Float()),
        sa.Column("send_request_count", WHOLE_NUMBER),
        sa.Column("suppression_count", WHOLE_NUMBER),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_shards_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "shard_number", name=op.f("pk_batch_shards")),
    )


def downgrade() -> None:
    """Drop them, unless a batch is only partly decided."""
    if op.get_bind().execute(sa.text("SELECT count(*) FROM batches WHERE NOT is_complete")).scalar_one():
        raise DatabaseError(
            f"A batch is decided in part, which revision {down_revision} does not know. Let a run of the newer version "
            "end it first."
        )
    op.drop_table("batch_shards")
    op.drop_column("batches", "is_complete")
    op.drop_column("batches", "shard_count")
