"""let numbers of views be numbers

What a view counts or computes is compared as a number even with text, such as the value of a page's form.

Revision ID: 0011
Revises: 0010
"""

from src.marketing_messaging_service.infrastructure.migrations import create_view

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    create_view("user_timeline", version=4)
    create_view("daily_messages", version=2)
    create_view("suppressions_by_reason", version=2)
    create_view("rule_funnel", version=3)
    create_view("event_volumes", version=2)
    create_view("load_history", version=3)
    create_view("rejected_lines_by_reason", version=2)


def downgrade() -> None:
    """Take this revision's changes back."""
    create_view("user_timeline", version=3)
    create_view("daily_messages", version=1)
    create_view("suppressions_by_reason", version=1)
    create_view("rule_funnel", version=2)
    create_view("event_volumes", version=1)
    create_view("load_history", version=2)
    create_view("rejected_lines_by_reason", version=1)
