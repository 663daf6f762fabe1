"""A match that waits for its decision time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime


class WaitingMatch(Base):
    """An event and a rule with `wait` that matched it, until the wait is over; then the row moves to `ended_waits`."""

    __tablename__ = "waiting_matches"
    __table_args__ = (
        # Finds what is due without reading what waits longer.
        Index("ix_waiting_matches_decide_at", "decide_at"),
        {
            "comment": "One row per event and rule with wait that may match it; the first run whose as_of is after "
            "decide_at decides it, and the row moves to ended_waits."
        },
    )

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True, comment="The event, in events."
    )
    rule_name: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="The rule that waits, by its name in rules.yaml."
    )
    decide_at: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="The decision time in UTC: the event's own time plus the rule's wait."
    )
    is_too_old: Mapped[bool] = mapped_column(
        Boolean,
        comment="Whether the event was older than allowed by the run that first decided on it; 1 is yes, 0 is no. If "
        "so, no message goes out.",
    )
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id"), comment="The batch that first decided on the event, in batches."
    )
