"""A match that has waited."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime


class WaitOutcome(StrEnum):
    """How a match's wait ended."""

    DECIDED = "decided"
    """The rule's conditions held: it is a send request or a suppression."""
    NO_MATCH = "no match"
    """They did not hold."""
    LAPSED = "lapsed"
    """The rule was gone or off, no longer had a wait, or had another trigger."""


class EndedWait(Base):
    """A former row of `waiting_matches` whose wait is over, and how it ended."""

    __tablename__ = "ended_waits"
    __table_args__ = (
        # Answers "what did that batch end".
        Index(None, "ended_batch_id"),
        {"comment": "One row per event and rule whose wait is over, and what became of the match."},
    )

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True, comment="The event, in events."
    )
    rule_name: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="The rule that waited, by its name in rules.yaml."
    )
    decide_at: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="The decision time in UTC: the event's own time plus the rule's wait."
    )
    is_too_old: Mapped[bool] = mapped_column(
        Boolean,
        comment="Whether the event was older than allowed by the run that first decided on it; 1 is yes, 0 is no.",
    )
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id"), comment="The batch that first decided on the event, in batches."
    )
    ended_batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id"), comment="The batch that ended the wait, in batches."
    )
    outcome: Mapped[str] = mapped_column(
        String(16),
        comment="What became of it: decided (see send_requests and suppressions), no match (the conditions did not "
        "hold), or lapsed (the rule was gone, was off, no longer waits, or has another trigger).",
    )
