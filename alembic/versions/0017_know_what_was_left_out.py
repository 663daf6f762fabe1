"""know what was left out

Events of types that a mapping drops are counted separately in loads, and an invalid value that was left out of an event
is recorded in left_out_values.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER, create_view, times_are_text, where

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: None = None
depends_on: None = None

COUNTS_BEFORE = (
    "read_count = inserted_count + duplicate_count + collision_count + rejected_count + blank_count + outside_count"
)
COUNTS = (
    "read_count = inserted_count + duplicate_count + collision_count + rejected_count + blank_count + dropped_count "
    "+ outside_count"
)
WHOLE_FILE_BEFORE = (
    "outside_count = 0 AND (rejected_count = 0 OR inserted_count > 0 OR duplicate_count > 0 OR collision_count > 0)"
)
WHOLE_FILE = (
    "outside_count = 0 AND (rejected_count = 0 OR inserted_count > 0 OR duplicate_count > 0 OR collision_count > 0 "
    "OR dropped_count > 0)"
)
INDEX = "uq_loads_whole_file"


def upgrade() -> None:
    """Add the count and the table."""
    is_rebuilt = times_are_text()
    with op.batch_alter_table("loads", recreate="always" if is_rebuilt else "never") as batch:
        batch.add_column(
            sa.Column("dropped_count", WHOLE_NUMBER, server_default=sa.text("0"), nullable=False),
            insert_after="blank_count" if is_rebuilt else None,
        )
        batch.drop_constraint(op.f("ck_loads_counts_add_up"), type_="check")
        batch.create_check_constraint(op.f("ck_loads_counts_add_up"), COUNTS)
    op.drop_index(op.f(INDEX), table_name="loads")
    op.create_index(op.f(INDEX), "loads", ["source_file_id"], unique=True, **where(sa.text(WHOLE_FILE)))
    op.create_table(
        "left_out_values",
        sa.Column("load_id", WHOLE_NUMBER, nullable=False),
        sa.Column("line_number", WHOLE_NUMBER, nullable=False),
        sa.Column("field_path", sa.String(64), nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["load_id"], ["loads.id"], name=op.f("fk_left_out_values_load_id_loads"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_left_out_values_event_id_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("load_id", "line_number", "field_path", name=op.f("pk_left_out_values")),
    )
    op.create_index(op.f("ix_left_out_values_event_id"), "left_out_values", ["event_id"])
    create_view("load_history", version=5)


def downgrade() -> None:
    """Count what was dropped as blank, and forget the values that were left out."""
    create_view("load_history", version=4)
    op.drop_table("left_out_values")
    op.drop_index(op.f(INDEX), table_name="loads")
    op.execute("UPDATE loads SET blank_count = blank_count + dropped_count, dropped_count = 0")
    with op.batch_alter_table("loads") as batch:
        batch.drop_constraint(op.f("ck_loads_counts_add_up"), type_="check")
        batch.drop_column("dropped_count")
        batch.create_check_constraint(op.f("ck_loads_counts_add_up"), COUNTS_BEFORE)
    op.create_index(op.f(INDEX), "loads", ["source_file_id"], unique=True, **where(sa.text(WHOLE_FILE_BEFORE)))
