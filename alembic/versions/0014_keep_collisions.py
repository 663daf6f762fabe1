"""keep collisions

A line with another event's message_id is not a duplicate: it is kept in rejected_rows, which names the event, and
counted separately in loads. What was counted as a duplicate before stays one, because its line was not kept.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import (
    WHOLE_NUMBER,
    create_view,
    text_of_json,
    times_are_text,
    where,
)

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: None = None
depends_on: None = None

COUNTS_BEFORE = "read_count = inserted_count + duplicate_count + rejected_count + blank_count + outside_count"
COUNTS = (
    "read_count = inserted_count + duplicate_count + collision_count + rejected_count + blank_count + outside_count"
)
WHOLE_FILE_BEFORE = "outside_count = 0 AND (rejected_count = 0 OR inserted_count > 0 OR duplicate_count > 0)"
WHOLE_FILE = (
    "outside_count = 0 AND (rejected_count = 0 OR inserted_count > 0 OR duplicate_count > 0 OR collision_count > 0)"
)
INDEX = "uq_loads_whole_file"
COLLISION = "reason_code = 'message_id_collision'"
OF_LOAD = f"(SELECT count(*) FROM rejected_rows WHERE load_id = loads.id AND {COLLISION})"


def rebuild_index(condition: str) -> None:
    """Restrict the index that keeps a file from being taken twice to the loads that meet a condition."""
    op.drop_index(op.f(INDEX), table_name="loads")
    op.create_index(op.f(INDEX), "loads", ["source_file_id"], unique=True, **where(sa.text(condition)))


def upgrade() -> None:
    """Give collisions their count and their event."""
    is_rebuilt = times_are_text()
    with op.batch_alter_table("loads", recreate="always" if is_rebuilt else "never") as batch:
        batch.add_column(
            sa.Column("collision_count", WHOLE_NUMBER, server_default=sa.text("0"), nullable=False),
            insert_after="conflict_count" if is_rebuilt else None,
        )
        batch.drop_constraint(op.f("ck_loads_counts_add_up"), type_="check")
        batch.create_check_constraint(op.f("ck_loads_counts_add_up"), COUNTS)
    with op.batch_alter_table("rejected_rows") as batch:
        batch.add_column(sa.Column("event_id", WHOLE_NUMBER, nullable=True))
        batch.create_foreign_key(
            op.f("fk_rejected_rows_event_id_events"), "events", ["event_id"], ["id"], ondelete="SET NULL"
        )
        batch.create_index(op.f("ix_rejected_rows_event_id"), ["event_id"], **where(sa.text("event_id IS NOT NULL")))
    # There are none, unless somebody has gone back to the previous revision and now upgrades again.
    op.execute(
        "UPDATE rejected_rows SET event_id = (SELECT id FROM events WHERE message_id = "
        f"{text_of_json('raw_line', 'message_id')}) WHERE {COLLISION}"
    )
    op.execute(f"UPDATE loads SET collision_count = {OF_LOAD}, rejected_count = rejected_count - {OF_LOAD}")
    rebuild_index(WHOLE_FILE)
    create_view("load_history", version=4)
    create_view("rejected_lines", version=2)


def downgrade() -> None:
    """Count collisions as rejected lines, whose rows stay."""
    create_view("rejected_lines", version=1)
    create_view("load_history", version=3)
    op.drop_index(op.f(INDEX), table_name="loads")
    op.execute("UPDATE loads SET rejected_count = rejected_count + collision_count, collision_count = 0")
    with op.batch_alter_table("loads") as batch:
        batch.drop_constraint(op.f("ck_loads_counts_add_up"), type_="check")
        batch.drop_column("collision_count")
        batch.create_check_constraint(op.f("ck_loads_counts_add_up"), COUNTS_BEFORE)
    op.create_index(op.f(INDEX), "loads", ["source_file_id"], unique=True, **where(sa.text(WHOLE_FILE_BEFORE)))
    with op.batch_alter_table("rejected_rows") as batch:
        batch.drop_index(op.f("ix_rejected_rows_event_id"))
        batch.drop_constraint(op.f("fk_rejected_rows_event_id_events"), type_="foreignkey")
        batch.drop_column("event_id")
