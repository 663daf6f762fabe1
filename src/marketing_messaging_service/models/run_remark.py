"""A run's remark about a file, or about itself, beyond its counts."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class RemarkKind(StrEnum):
    """What a remark is about."""

    PROBLEM = "problem"
    UNREADABLE = "unreadable"
    WARNING = "warning"
    WAITING = "waiting"
    IGNORED = "ignored"
    PASSED_OVER = "passed_over"


class RunRemark(Base):
    """One thing that a run left undone or found odd, and why. Only a problem makes the run fail.

    A remark shared by many files is one row: `subject` names the first few, `file_count` says how many there are.
    """

    __tablename__ = "run_remarks"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('problem', 'warning', 'unreadable', 'waiting', 'ignored', 'passed_over')", name="kind"
        ),
        CheckConstraint("file_count >= 0", name="file_count"),
        {
            "comment": "One row per thing that a run left undone or found odd: a problem, a warning, or files that it "
            "did not take, and why."
        },
    )

    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, comment="The run that says it, in runs."
    )
    remark_position: Mapped[int] = mapped_column(
        primary_key=True, comment="Position among the remarks of its run, counted from 1."
    )
    kind: Mapped[str] = mapped_column(
        String(16),
        comment="What it is: problem (the run failed), warning (somebody should look, and nothing was held up), "
        "unreadable (a file in which an earlier run could read no line), waiting (a file still being written, left for "
        "the next run), ignored (a file not named like raw events) or passed_over (a file whose name begins with "
        "_ or a dot).",
    )
    subject: Mapped[str] = mapped_column(
        Text, comment="What it is about: a file, the first few of many files, or a step of the run."
    )
    explanation: Mapped[str] = mapped_column(
        Text, comment="What is wrong and what to do, or what the files seem to be; may be empty."
    )
    file_count: Mapped[int] = mapped_column(
        server_default=text("1"),
        comment="How many files it is about (subject names the first few); 0 for a step of the run.",
    )
