"""A run of the pipeline."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ColumnElement, Float, ForeignKey, Index, String, Text, and_, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.models.ruleset import Ruleset


class FlowName(StrEnum):
    """The flows whose runs load and decide: what they take, and whether they are given a window."""

    HOURLY = "hourly"
    BACKFILL = "backfill"
    REPLAY = "replay"


class RunMode(StrEnum):
    """How far a run goes. A preview does everything inside a transaction that is rolled back, so no row keeps it."""

    LOAD_AND_DECIDE = "load and decide"
    LOAD_ONLY = "load only"
    PREVIEW = "preview"


class RunState(StrEnum):
    """How a run ended, or that it has not; `killed` is entered by the next run when one ended without a word."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    KILLED = "killed"


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Run(Base):
    """One run of a flow, what it was asked to do and how it ended; its loads and decisions name it.

    `window_start_at` and `window_end_at` are null for a run that takes everything, `oldest_event_at` for one that
    expires nothing.
    """

    __tablename__ = "runs"
    __table_args__ = (
        _one_of("mode", RunMode),
        _one_of("state", RunState),
        # Finding the report of a Prefect run.
        Index(None, "flow_run_id"),
        {
            "comment": "One row per run of the hourly job, a backfill or a replay, including empty hours: what it "
            "took, and how it ended."
        },
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the run, given by the database in order.")
    flow_name: Mapped[str] = mapped_column(String(32), comment="The flow that ran: hourly, backfill or replay.")
    mode: Mapped[str] = mapped_column(
        String(16), comment="How far it went: load and decide, or load only; a preview leaves no row."
    )
    as_of: Mapped[datetime] = mapped_column(
        UtcDateTime,
        comment="Logical time of the run, in UTC; the scheduled start unless somebody gave another.",
    )
    window_start_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="Events before this instant were left alone, in UTC; null for a run that takes everything.",
    )
    window_end_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="Events at or after this instant were left alone, in UTC; null for a run that takes everything.",
    )
    source: Mapped[str] = mapped_column(
        Text, comment="The folder that raw files were taken from; for a replay, which rejected lines."
    )
    max_event_age_hours: Mapped[int | None] = mapped_column(
        comment="Events older than this many hours at as_of earn no message; null without a limit."
    )
    oldest_event_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="The same limit as an instant in UTC: as_of minus the hours; null without a limit."
    )
    max_event_ahead_hours: Mapped[int | None] = mapped_column(
        comment="Events more than this many hours ahead of as_of waited for their time; null on runs from before "
        "there was such a limit."
    )
    latest_event_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The same limit as an instant in UTC: as_of plus the hours; null on runs from before there was "
        "such a limit.",
    )
    max_rejected_percent: Mapped[float] = mapped_column(
        Float, comment="The share of rejected lines above which the run fails, in percent."
    )
    flow_run_id: Mapped[str | None] = mapped_column(
        String(64), comment="The Prefect run, by its id in the Prefect UI; null when it ran without Prefect."
    )
    flow_run_name: Mapped[str | None] = mapped_column(
        Text, comment="The Prefect run, by its name in the Prefect UI; null when it ran without Prefect."
    )
    started_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, comment="When the run began, in UTC by the clock of the machine."
    )
    ended_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="When the run ended, in UTC by the clock of the machine; null while it runs, and if it was killed.",
    )
    state: Mapped[str] = mapped_column(
        String(16),
        comment="How the run ended: completed, failed, stopped (on request) or killed; or running.",
    )
    message: Mapped[str | None] = mapped_column(
        Text, comment="What the run reported at its end, with problems and what to do; null until then."
    )
    known_file_count: Mapped[int | None] = mapped_column(
        comment="Files in the folder that had been taken before; null until the folder was searched."
    )
    outside_file_count: Mapped[int | None] = mapped_column(
        comment="Files read that had nothing new in the window: their other events are outside it and were left; "
        "null until then."
    )
    decided_count: Mapped[int | None] = mapped_column(
        comment="Events decided by the run; null when it never got to deciding, or was not meant to."
    )
    decide_seconds: Mapped[float | None] = mapped_column(
        Float, comment="How long deciding took until just before its commit, in seconds; null when nothing was decided."
    )
    ruleset_id: Mapped[int | None] = mapped_column(
        ForeignKey("rulesets.id"),
        comment="The version of rules.yaml that decided, in rulesets; null when there was nothing to decide.",
    )
    is_beside_others: Mapped[bool] = mapped_column(
        server_default=false(),
        default=False,
        comment="Whether other runs may have been at work at the same time (SEVERAL_WRITERS).",
    )
    version: Mapped[str | None] = mapped_column(
        String(32), comment="The version of this project that ran; null on runs from before it was recorded."
    )

    ruleset: Mapped[Ruleset | None] = relationship()


def takes_everything() -> ColumnElement[bool]:
    """Return whether a run takes every file that has come in; a backfill takes another time, a replay no file."""
    return and_(Run.window_start_at.is_(None), Run.flow_name != FlowName.REPLAY)
