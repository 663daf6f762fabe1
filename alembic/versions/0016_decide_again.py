"""decide again

A backfill may let rules decide events that earlier batches have decided without them, or when the events had expired:
`batch_rules` says which rules, `former_suppressions` keeps the expired suppressions that they replaced.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import INSTANT, WHOLE_NUMBER

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Make the tables, and let batches count what they decided again."""
    op.add_column("batches", sa.Column("again_count", WHOLE_NUMBER, server_default=sa.text("0"), nullable=False))
    op.create_table(
        "batch_rules",
        sa.Column("batch_id", WHOLE_NUMBER, nullable=False),
        sa.Column("rule_name", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_rules_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "rule_name", name=op.f("pk_batch_rules")),
    )
    op.create_table(
        "former_suppressions",
        sa.Column("id", WHOLE_NUMBER, nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("event_id", WHOLE_NUMBER, nullable=True),
        sa.Column("template_name", sa.String(64), nullable=False),
        sa.Column("suppression_reason", sa.Text(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("rule_name", sa.String(64), nullable=False),
        sa.Column("ruleset_id", WHOLE_NUMBER, nullable=False),
        sa.Column("run_id", WHOLE_NUMBER, nullable=True),
        sa.Column("event_timestamp", INSTANT, nullable=False),
        sa.Column("batch_id", WHOLE_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_former_suppressions_event_id_events"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["ruleset_id"], ["rulesets.id"], name=op.f("fk_former_suppressions_ruleset_id_rulesets")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_former_suppressions_run_id_runs")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_former_suppressions_batch_id_batches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_former_suppressions")),
        sa.UniqueConstraint("event_id", "rule_name", name=op.f("uq_former_suppressions_event_id_rule_name")),
    )
    op.create_index(op.f("ix_former_suppressions_run_id"), "former_suppressions", ["run_id"])


def downgrade() -> None:
    """Drop them. The decisions stay; which batch made them again, and what had expired before, is forgotten."""
    op.drop_table("former_suppressions")
    op.drop_table("batch_rules")
    op.drop_column("batches", "again_count")
