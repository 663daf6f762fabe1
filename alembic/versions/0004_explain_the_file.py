"""explain the file

Views for the people who read the file, a dictionary of every table, view and column in it, what each rule said,
and the indexes on time that questions about a day need.

Revision ID: 0004
Revises: 0003
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from ruamel.yaml import YAML

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER, create_view, drop_view

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None

VIEWS = (
    "user_timeline",
    "latest_user_traits",
    "event_dates",
    "daily_messages",
    "suppressions_by_reason",
    "rule_funnel",
    "event_volumes",
    "load_history",
    "rejected_lines",
    "rejected_lines_by_reason",
)

INDEXES = {
    "events": ["event_timestamp", "event_type"],
    "send_requests": ["event_timestamp"],
    "suppressions": ["event_timestamp"],
}


def upgrade() -> None:
    """Create the dictionary, the rules of each ruleset, the indexes and the views."""
    op.create_table(
        "data_dictionary",
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("column_position", WHOLE_NUMBER, nullable=False),
        sa.Column("column_name", sa.String(64), nullable=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("data_type", sa.String(16), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "column_position", name=op.f("pk_data_dictionary")),
        sa.UniqueConstraint("table_name", "column_name", name=op.f("uq_data_dictionary_table_name_column_name")),
    )
    rules = op.create_table(
        "ruleset_rules",
        sa.Column("ruleset_id", WHOLE_NUMBER, nullable=False),
        sa.Column("rule_name", sa.String(64), nullable=False),
        sa.Column("rule_position", WHOLE_NUMBER, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("trigger_event_type", sa.String(64), nullable=False),
        sa.Column("template_name", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("suppression_mode", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["ruleset_id"], ["rulesets.id"], name=op.f("fk_ruleset_rules_ruleset_id_rulesets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ruleset_id", "rule_name", name=op.f("pk_ruleset_rules")),
    )
    for ruleset_id, yaml_text in op.get_bind().execute(sa.text("SELECT id, yaml_text FROM rulesets")).all():
        op.bulk_insert(rules, rules_of(ruleset_id, yaml_text))
    op.add_column("loads", sa.Column("load_seconds", sa.Float(), nullable=True))
    for table, columns in INDEXES.items():
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
    for view in VIEWS:
        create_view(view, version=1)


def rules_of(ruleset_id: int, yaml_text: str) -> list[dict[str, Any]]:
    """Return the rules of a recorded ruleset, which was checked before it was recorded."""
    document = YAML(typ="safe", pure=True).load(yaml_text)
    return [
        {
            "ruleset_id": ruleset_id,
            "rule_name": rule["name"],
            "rule_position": position,
            "description": rule.get("description", ""),
            "is_enabled": rule.get("enabled", True),
            "trigger_event_type": rule["trigger"]["event_type"],
            "template_name": rule["action"]["template_name"],
            "channel": rule["action"]["delivery_method"],
            "suppression_mode": rule.get("suppression", {}).get("mode", "none"),
        }
        for position, rule in enumerate(document["rules"], start=1)
    ]


def downgrade() -> None:
    """Drop all of it; the decisions and events themselves stay."""
    for view in reversed(VIEWS):
        drop_view(view)
    for table, columns in INDEXES.items():
        op.drop_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table_name=table)
    with op.batch_alter_table("loads") as batch:
        batch.drop_column("load_seconds")
    op.drop_table("ruleset_rules")
    op.drop_table("data_dictionary")
