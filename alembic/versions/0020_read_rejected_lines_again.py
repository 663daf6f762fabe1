"""read rejected lines again

A rejected line that a replay takes names the load that took it, and stays. Such lines form a separate file in
source_files, which names the file that they came in; replay_counts has the outcomes of the others. From now on, a CSV
row is kept with the header of its file.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER, create_view, where

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the columns and the table."""
    with op.batch_alter_table("rejected_rows") as batch:
        batch.add_column(sa.Column("header_line", sa.Text(), nullable=True))
        batch.add_column(sa.Column("replayed_load_id", WHOLE_NUMBER, nullable=True))
        batch.create_foreign_key(
            op.f("fk_rejected_rows_replayed_load_id_loads"), "loads", ["replayed_load_id"], ["id"], ondelete="SET NULL"
        )
        batch.create_index(
            op.f("ix_rejected_rows_replayed_load_id"),
            ["replayed_load_id"],
            **where(sa.text("replayed_load_id IS NOT NULL")),
        )
    with op.batch_alter_table("source_files") as batch:
        batch.add_column(sa.Column("replayed_file_id", WHOLE_NUMBER, nullable=True))
        batch.create_foreign_key(
            op.f("fk_source_files_replayed_file_id_source_files"), "source_files", ["replayed_file_id"], ["id"]
        )
    op.create_table(
        "replay_counts",
        sa.Column("run_id", WHOLE_NUMBER, nullable=False),
        sa.Column("reason_code", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("line_count", WHOLE_NUMBER, nullable=False),
        sa.CheckConstraint("line_count > 0", name=op.f("ck_replay_counts_line_count")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_replay_counts_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "reason_code", "outcome", name=op.f("pk_replay_counts")),
    )
    create_view("load_history", version=6)
    create_view("rejected_lines", version=3)
    create_view("rejected_lines_by_reason", version=3)


def downgrade() -> None:
    """Forget the replays; what they loaded stays."""
    create_view("rejected_lines_by_reason", version=2)
    create_view("rejected_lines", version=2)
    create_view("load_history", version=5)
    op.drop_table("replay_counts")
    # That is what it was, except that its lines came from rejected_rows.
    op.execute("UPDATE runs SET flow_name = 'hourly' WHERE flow_name = 'replay'")
    with op.batch_alter_table("source_files") as batch:
        batch.drop_constraint(op.f("fk_source_files_replayed_file_id_source_files"), type_="foreignkey")
        batch.drop_column("replayed_file_id")
    with op.batch_alter_table("rejected_rows") as batch:
        batch.drop_index(op.f("ix_rejected_rows_replayed_load_id"))
        batch.drop_constraint(op.f("fk_rejected_rows_replayed_load_id_loads"), type_="foreignkey")
        batch.drop_column("replayed_load_id")
        batch.drop_column("header_line")
