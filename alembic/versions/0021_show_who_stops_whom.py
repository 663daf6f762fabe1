"""show who stops whom

A view shows how often a send of one rule stopped another, and how often limits and blocks did.

Revision ID: 0021
Revises: 0020
"""

from src.marketing_messaging_service.infrastructure.migrations import create_view, drop_view

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Make the view."""
    create_view("who_stops_whom", version=1)


def downgrade() -> None:
    """Drop it."""
    drop_view("who_stops_whom")
