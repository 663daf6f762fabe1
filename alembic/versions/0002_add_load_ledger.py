"""add load ledger

Every raw file and load is recorded, rejected lines are kept, and an event is identified by its producer's id.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER, times_are_text, where

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the ledger's tables and give `events` its message_id and load."""
    create_rulesets()
    create_ledger()
    add_event_identity()
    create_load_details()


def create_rulesets() -> None:
    """Create the table of rule versions, which a decided load points at."""
    op.create_table(
        "rulesets",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("yaml_text", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rulesets")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_rulesets_content_hash")),
    )


def create_ledger() -> None:
    """Create `source_files` and `loads`."""
    op.create_table(
        "source_files",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.DateTime(), nullable=False),
        sa.Column("file_signature", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_files")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_source_files_content_hash")),
    )
    op.create_table(
        "loads",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("source_file_id", WHOLE_NUMBER, nullable=False),
        sa.Column("as_of", sa.DateTime(), nullable=False),
        sa.Column("flow_run_id", sa.String(64), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("read_count", WHOLE_NUMBER, nullable=False),
        sa.Column("inserted_count", WHOLE_NUMBER, nullable=False),
        sa.Column("duplicate_count", WHOLE_NUMBER, nullable=False),
        sa.Column("conflict_count", WHOLE_NUMBER, nullable=False),
        sa.Column("rejected_count", WHOLE_NUMBER, nullable=False),
        sa.Column("blank_count", WHOLE_NUMBER, nullable=False),
        sa.Column("first_event_id", WHOLE_NUMBER, nullable=True),
        sa.Column("last_event_id", WHOLE_NUMBER, nullable=True),
        sa.Column("loaded_at", sa.DateTime(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        sa.Column("ruleset_id", WHOLE_NUMBER, nullable=True),
        sa.CheckConstraint("state IN ('loaded', 'decided')", name=op.f("ck_loads_state")),
        sa.CheckConstraint(
            "read_count = inserted_count + duplicate_count + rejected_count + blank_count",
            name=op.f("ck_loads_counts_add_up"),
        ),
        sa.CheckConstraint(
            "conflict_count BETWEEN 0 AND duplicate_count", name=op.f("ck_loads_conflicts_are_duplicates")
        ),
        sa.ForeignKeyConstraint(
            ["source_file_id"], ["source_files.id"], name=op.f("fk_loads_source_file_id_source_files")
        ),
        sa.ForeignKeyConstraint(["ruleset_id"], ["rulesets.id"], name=op.f("fk_loads_ruleset_id_rulesets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loads")),
        sa.UniqueConstraint("source_file_id", name=op.f("uq_loads_source_file_id")),
    )
    op.create_index("ix_loads_undecided", "loads", ["id"], **where(sa.text("state = 'loaded'")))


def add_event_identity() -> None:
    """Give every event a message_id; rows from before get one that names their own id, and no load."""
    op.add_column("events", sa.Column("message_id", sa.String(255), nullable=True))
    op.execute("UPDATE events SET message_id = 'before-ledger:' || id")
    for column in ("event_timestamp", "created_at") if times_are_text() else ():
        # CURRENT_TIMESTAMP has whole seconds; the one text format has six decimals.
        op.execute(f"UPDATE events SET {column} = {column} || '.000000' WHERE length({column}) = 19")
    with op.batch_alter_table("events") as batch:
        batch.alter_column("message_id", existing_type=sa.String(255), nullable=False)
        batch.add_column(sa.Column("load_id", WHOLE_NUMBER, nullable=True))
        batch.create_foreign_key(op.f("fk_events_load_id_loads"), "loads", ["load_id"], ["id"])
        batch.create_unique_constraint(op.f("uq_events_message_id"), ["message_id"])
    op.create_index(
        op.f("ix_events_user_id_event_type_event_timestamp"), "events", ["user_id", "event_type", "event_timestamp"]
    )


def create_load_details() -> None:
    """Create the tables that keep what a load did not turn into events."""
    op.create_table(
        "rejected_rows",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("load_id", WHOLE_NUMBER, nullable=False),
        sa.Column("line_number", WHOLE_NUMBER, nullable=False),
        sa.Column("raw_line", sa.Text(), nullable=False),
        sa.Column("raw_bytes", sa.LargeBinary(), nullable=True),
        sa.Column("reason_code", sa.String(32), nullable=False),
        sa.Column("field_name", sa.String(64), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["load_id"], ["loads.id"], name=op.f("fk_rejected_rows_load_id_loads"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_rows")),
        sa.UniqueConstraint("load_id", "line_number", name=op.f("uq_rejected_rows_load_id_line_number")),
    )
    op.create_table(
        "conflicts",
        sa.Column("load_id", WHOLE_NUMBER, nullable=False),
        sa.Column("line_number", WHOLE_NUMBER, nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=False),
        sa.Column("differing_fields", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["load_id"], ["loads.id"], name=op.f("fk_conflicts_load_id_loads"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_conflicts_event_id_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("load_id", "line_number", name=op.f("pk_conflicts")),
    )
    op.create_index(op.f("ix_conflicts_event_id"), "conflicts", ["event_id"])
    op.create_table(
        "unknown_keys",
        sa.Column("load_id", WHOLE_NUMBER, nullable=False),
        sa.Column("key_path", sa.String(255), nullable=False),
        sa.Column("occurrence_count", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["load_id"], ["loads.id"], name=op.f("fk_unknown_keys_load_id_loads"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("load_id", "key_path", name=op.f("pk_unknown_keys")),
    )


def downgrade() -> None:
    """Drop the ledger and the events' message_id and load; the events themselves stay."""
    for table in ("unknown_keys", "conflicts", "rejected_rows"):
        op.drop_table(table)
    op.drop_index(op.f("ix_events_user_id_event_type_event_timestamp"), table_name="events")
    with op.batch_alter_table("events") as batch:
        batch.drop_constraint(op.f("uq_events_message_id"), type_="unique")
        batch.drop_constraint(op.f("fk_events_load_id_loads"), type_="foreignkey")
        batch.drop_column("load_id")
        batch.drop_column("message_id")
    for table in ("loads", "source_files", "rulesets"):
        op.drop_table(table)
