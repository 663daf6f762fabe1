"""An event that is not decided with its load."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime
from src.marketing_messaging_service.infrastructure.indexes import partial


class HeldEvent(Base):
    """One event that waits, or has waited, although its load is done; the row stays when the event is decided.

    An event that a run only loaded waits for a backfill whose window contains it. One too far ahead of the run that
    would have decided it waits for its time, `due_at`, and is decided by the first run that reaches it, or by a
    backfill that contains and reaches it. If a backfill asks too early for an event that was only loaded, that event
    waits for its time from then on. An event without a row here is decided with its load.
    """

    __tablename__ = "held_events"
    __table_args__ = (
        # So that finding what waits does not read what was decided long ago.
        Index("ix_held_events_waiting", "event_id", **partial(text("run_id IS NULL"))),
        # So that a run does not read what waits for a time years away.
        Index("ix_held_events_due", "due_at", **partial(text("run_id IS NULL AND due_at IS NOT NULL"))),
        {
            "comment": "One row per event that is not decided with its load: it was only loaded and waits for a "
            "backfill, or it was in the future and waits for its time."
        },
    )

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True, comment="The event, in events."
    )
    due_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The event's own time, in UTC, if it waits for that: it was further ahead of a run than "
        "max_event_ahead_hours allows; null if it was only loaded and waits for a backfill.",
    )
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"), comment="The run that decided it, in runs; null while it waits."
    )
    batch_id: Mapped[int | None] = mapped_column(
        ForeignKey("batches.id"), comment="The batch that decided it, in batches; null while it waits."
    )
