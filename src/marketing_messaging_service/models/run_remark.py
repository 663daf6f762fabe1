"""What a run has to say of a file, or of itself, that no count tells."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class RemarkKind(StrEnum):
    """What a remark is about."""

    PROBLEM = "problem"
    WARNING = "warning"
    WAITING = "waiting"
    IGNORED = "ignored"


class RunRemark(Base):
    """One thing that a run left undone or found odd, and why. Only a problem makes the run fail."""

    __tablename__ = "run_remarks"
    __table_args__ = (
        CheckConstraint("kind IN ('problem', 'warning', 'waiting', 'ignored')", name="kind"),
        {
            "comment": "One row a thing that a run left undone or found odd: a problem, a warning, a file being "
            "written, or one it ignores."
        },
    )

    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, comment="The run that says it, in runs."
    )
    remark_position: Mapped[int] = mapped_column(
        primary_key=True, comment="Place of the remark among those of its run, counted from 1."
    )
    kind: Mapped[str] = mapped_column(
        String(16),
        comment="What it is: problem (the run failed), warning (somebody should look, and nothing was held up), "
        "waiting (a file still being written, left for the next run) or ignored (a file whose ending is not one of raw "
        "events).",
    )
    subject: Mapped[str] = mapped_column(Text, comment="What it is about: a file, or a step of the run.")
    explanation: Mapped[str] = mapped_column(Text, comment="What is wrong and what to do, as a sentence, or empty.")
