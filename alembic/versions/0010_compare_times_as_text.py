"""compare times as text

Columns with an instant become TEXT. As DATETIME they had numeric affinity in SQLite, so in comparisons `'2026'` was
taken for a number, and was smaller than every time. No row is changed.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

from src.marketing_messaging_service.infrastructure.dialects.sqlite.retyping import retype
from src.marketing_messaging_service.infrastructure.migrations import times_are_text

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: None = None
depends_on: None = None

TIMES = {
    "rulesets": ["first_used_at"],
    "run_leases": ["acquired_at", "renewed_at", "expires_at"],
    "source_files": ["modified_at", "taken_at"],
    "runs": ["as_of", "window_start_at", "window_end_at", "oldest_event_at", "started_at", "ended_at"],
    "batches": ["as_of", "oldest_event_at", "decided_at"],
    "loads": ["as_of", "loaded_at", "decided_at"],
    "events": ["event_timestamp", "created_at"],
    "send_requests": ["decided_at", "event_timestamp"],
    "suppressions": ["decided_at", "event_timestamp"],
}

SECONDS_A_MILLION = dict.fromkeys(TIMES, 1.0)


def upgrade() -> None:
    """Make times text."""
    if times_are_text():
        retype(op.get_bind(), TIMES, old="DATETIME", new="TEXT")


def downgrade() -> None:
    """Make times DATETIME again."""
    if times_are_text():
        retype(op.get_bind(), TIMES, old="TEXT", new="DATETIME")
