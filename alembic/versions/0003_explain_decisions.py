"""explain decisions

A decision names its rule, its ruleset and its event's time; a suppression names the send that blocked it; and
a second send of the same message becomes impossible.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from src.marketing_messaging_service.infrastructure.migrations import WHOLE_NUMBER, times_are_text

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None

DECISION_TABLES = ("send_requests", "suppressions")


def upgrade() -> None:
    """Add what explains a decision, and the constraints that keep it single."""
    for table in DECISION_TABLES:
        op.add_column(table, sa.Column("rule_name", sa.String(64), nullable=True))
        op.add_column(table, sa.Column("ruleset_id", WHOLE_NUMBER, nullable=True))
        op.add_column(table, sa.Column("event_timestamp", sa.DateTime(), nullable=True))
        # CURRENT_TIMESTAMP has whole seconds; the one text format has six decimals.
        if times_are_text():
            op.execute(f"UPDATE {table} SET decided_at = decided_at || '.000000' WHERE length(decided_at) = 19")
        op.execute(
            f"UPDATE {table} SET event_timestamp = "
            f"coalesce((SELECT e.event_timestamp FROM events e WHERE e.id = {table}.event_id), decided_at)"
        )
    op.add_column("send_requests", sa.Column("dedupe_key", sa.String(128), nullable=True))
    op.add_column("suppressions", sa.Column("blocked_by_send_request_id", WHOLE_NUMBER, nullable=True))
    op.execute("UPDATE send_requests SET dedupe_key = 'before-ledger:' || id")
    name_rules_of_earlier_sends()
    with op.batch_alter_table("send_requests") as batch:
        batch.alter_column("event_timestamp", existing_type=sa.DateTime(), nullable=False)
        batch.alter_column("dedupe_key", existing_type=sa.String(128), nullable=False)
        batch.create_foreign_key(op.f("fk_send_requests_ruleset_id_rulesets"), "rulesets", ["ruleset_id"], ["id"])
        batch.create_unique_constraint(op.f("uq_send_requests_event_id_rule_name"), ["event_id", "rule_name"])
        batch.create_unique_constraint(
            op.f("uq_send_requests_user_id_template_name_dedupe_key"), ["user_id", "template_name", "dedupe_key"]
        )
    with op.batch_alter_table("suppressions") as batch:
        batch.alter_column("event_timestamp", existing_type=sa.DateTime(), nullable=False)
        batch.create_foreign_key(op.f("fk_suppressions_ruleset_id_rulesets"), "rulesets", ["ruleset_id"], ["id"])
        batch.create_foreign_key(
            op.f("fk_suppressions_blocked_by_send_request_id_send_requests"),
            "send_requests",
            ["blocked_by_send_request_id"],
            ["id"],
        )
        batch.create_unique_constraint(op.f("uq_suppressions_event_id_rule_name"), ["event_id", "rule_name"])
    op.create_index(
        op.f("ix_send_requests_user_id_template_name_event_timestamp"),
        "send_requests",
        ["user_id", "template_name", "event_timestamp"],
    )
    op.create_index(op.f("ix_suppressions_user_id"), "suppressions", ["user_id"])


def name_rules_of_earlier_sends() -> None:
    """Take the rule's name from the reason `rule:<name>` of earlier rows.

    If one event has several rows with one reason, only the first gets the name, because from here on there is one
    decision per event and rule, and no row may be lost.
    """
    op.execute(
        "UPDATE send_requests SET rule_name = substr(reason, 6) "
        "WHERE substr(reason, 1, 5) = 'rule:' AND length(reason) <= 69 "
        "AND (event_id IS NULL OR id IN (SELECT min(id) FROM send_requests GROUP BY event_id, reason))"
    )


def downgrade() -> None:
    """Drop what explains a decision; the decisions themselves stay."""
    op.drop_index(op.f("ix_send_requests_user_id_template_name_event_timestamp"), table_name="send_requests")
    op.drop_index(op.f("ix_suppressions_user_id"), table_name="suppressions")
    with op.batch_alter_table("suppressions") as batch:
        batch.drop_constraint(op.f("uq_suppressions_event_id_rule_name"), type_="unique")
        batch.drop_constraint(op.f("fk_suppressions_blocked_by_send_request_id_send_requests"), type_="foreignkey")
        batch.drop_constraint(op.f("fk_suppressions_ruleset_id_rulesets"), type_="foreignkey")
        for column in ("blocked_by_send_request_id", "event_timestamp", "ruleset_id", "rule_name"):
            batch.drop_column(column)
    with op.batch_alter_table("send_requests") as batch:
        batch.drop_constraint(op.f("uq_send_requests_user_id_template_name_dedupe_key"), type_="unique")
        batch.drop_constraint(op.f("uq_send_requests_event_id_rule_name"), type_="unique")
        batch.drop_constraint(op.f("fk_send_requests_ruleset_id_rulesets"), type_="foreignkey")
        for column in ("dedupe_key", "event_timestamp", "ruleset_id", "rule_name"):
            batch.drop_column(column)
