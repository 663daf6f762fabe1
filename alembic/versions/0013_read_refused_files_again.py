"""read refused files again

A file of which no line could be read is not taken: it is recorded which version of the reader read it, when, and why it
failed, and a later load may take it. A run's remark about many files is one row that counts them.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import INSTANT, WHOLE_NUMBER, where

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: None = None
depends_on: None = None

WHOLE_FILE = "outside_count = 0"
WHOLE_FILE_READ = "outside_count = 0 AND (rejected_count = 0 OR inserted_count > 0 OR duplicate_count > 0)"
INDEX = "uq_loads_whole_file"

KINDS = "kind IN ('problem', 'waiting', 'ignored')"
MORE_KINDS = "kind IN ('problem', 'unreadable', 'waiting', 'ignored', 'passed_over')"
FILE_COUNT = "file_count >= 0"


def upgrade() -> None:
    """Record how files were read, and let those of which nothing could be read be taken later."""
    op.add_column("source_files", sa.Column("read_at", INSTANT, nullable=True))
    op.add_column("source_files", sa.Column("reader_number", WHOLE_NUMBER, nullable=False, server_default=sa.text("0")))
    op.add_column("source_files", sa.Column("refused_code", sa.String(32), nullable=True))
    op.drop_index(op.f(INDEX), table_name="loads")
    op.create_index(op.f(INDEX), "loads", ["source_file_id"], unique=True, **where(sa.text(WHOLE_FILE_READ)))
    # The first rejection reason of a load that could read no line of its file.
    op.execute(
        "UPDATE source_files SET refused_code = (SELECT r.reason_code FROM loads AS l JOIN rejected_rows AS r "
        "ON r.load_id = l.id WHERE l.source_file_id = source_files.id ORDER BY r.line_number LIMIT 1) "
        "WHERE id IN (SELECT source_file_id FROM loads WHERE outside_count = 0 AND rejected_count > 0 "
        "AND inserted_count = 0 AND duplicate_count = 0)"
    )
    with op.batch_alter_table("run_remarks") as batch:
        batch.drop_constraint(op.f("ck_run_remarks_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_run_remarks_kind"), MORE_KINDS)
        batch.add_column(sa.Column("file_count", WHOLE_NUMBER, nullable=False, server_default=sa.text("1")))
        batch.create_check_constraint(op.f("ck_run_remarks_file_count"), FILE_COUNT)


def downgrade() -> None:
    """Revert it: each load stays, but for a file that was read again only the last may cover the whole file."""
    op.execute("UPDATE run_remarks SET kind = 'ignored' WHERE kind NOT IN ('problem', 'waiting')")
    with op.batch_alter_table("run_remarks") as batch:
        batch.drop_constraint(op.f("ck_run_remarks_file_count"), type_="check")
        batch.drop_column("file_count")
        batch.drop_constraint(op.f("ck_run_remarks_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_run_remarks_kind"), KINDS)
    forget_refused_loads()
    op.drop_index(op.f(INDEX), table_name="loads")
    op.create_index(op.f(INDEX), "loads", ["source_file_id"], unique=True, **where(sa.text(WHOLE_FILE)))
    for column in ("refused_code", "reader_number", "read_at"):
        op.drop_column("source_files", column)


def forget_refused_loads() -> None:
    """Forget the loads that could read nothing of files which another load has taken since, with their lines."""
    refused = (
        "SELECT id FROM loads WHERE outside_count = 0 AND rejected_count > 0 AND inserted_count = 0 "
        "AND duplicate_count = 0 AND source_file_id IN (SELECT source_file_id FROM loads GROUP BY source_file_id "
        f"HAVING count(*) FILTER (WHERE {WHOLE_FILE}) > 1)"
    )
    for table in ("rejected_rows", "unknown_keys"):
        op.execute(f"DELETE FROM {table} WHERE load_id IN ({refused})")
    op.execute(f"DELETE FROM loads WHERE id IN ({refused})")
