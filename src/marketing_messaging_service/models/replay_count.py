"""The outcomes of the rejected lines that a replay read again."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class ReplayOutcome(StrEnum):
    """The outcome of a rejected line that was to be read again, if it was not rejected again."""

    TAKEN = "taken"
    TAKEN_BEFORE = "taken_before"
    KEPT_IN_PART = "kept_in_part"
    NO_SOURCE = "no_source"
    FAILED = "failed"


class ReplayCount(Base):
    """How many lines rejected for one reason had an outcome in one replay; a preview leaves no row.

    `outcome` is one of ReplayOutcome, or today's reason code for which the lines are not events.
    """

    __tablename__ = "replay_counts"
    __table_args__ = (
        CheckConstraint("line_count > 0", name="line_count"),
        {"comment": "One row per reason and outcome of the rejected lines that a replay read again."},
    )

    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, comment="The replay, in runs."
    )
    reason_code: Mapped[str] = mapped_column(
        String(32), primary_key=True, comment="Why the lines had been rejected, as in rejected_rows."
    )
    outcome: Mapped[str] = mapped_column(
        String(32),
        primary_key=True,
        comment="What became of them: taken (they are marked in rejected_rows), taken_before (edited lines that "
        "an earlier replay took), kept_in_part (too little of a line is "
        "kept to read it), no_source (no pattern of sources.yaml matches their file any more), failed (the run could "
        "not read or load them), or the reason code for which they are still rejected.",
    )
    line_count: Mapped[int] = mapped_column(comment="How many lines.")
