"""show what waits and why

There is a view of what waits, the funnel has a count per reason, and a user's timeline and the suppressions by reason
name the blocking event.

Revision ID: 0019
Revises: 0018
"""

from src.marketing_messaging_service.infrastructure.migrations import create_view, drop_view

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Replace the views by those that show what waits and why."""
    create_view("user_timeline", version=5)
    create_view("suppressions_by_reason", version=3)
    create_view("rule_funnel", version=5)
    create_view("waiting_messages", version=1)


def downgrade() -> None:
    """Restore the previous ones."""
    create_view("user_timeline", version=4)
    create_view("suppressions_by_reason", version=2)
    create_view("rule_funnel", version=4)
    drop_view("waiting_messages")
