"""An event that a `load only` run left undecided."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class HeldEvent(Base):
    """One event that no hourly run decides, only a backfill whose window it lies in; the row stays when it is decided.

    An event without a row here is decided with its load.
    """

    __tablename__ = "held_events"
    __table_args__ = (
        # Finding what waits must not read what was decided long ago.
        Index("ix_held_events_waiting", "event_id", sqlite_where=text("run_id IS NULL")),
        {"comment": "One row an event that was loaded only; it is decided by the backfill that asks for its time."},
    )

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True, comment="The event, in events."
    )
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"), comment="The run that decided it, in runs; null while it waits."
    )
    batch_id: Mapped[int | None] = mapped_column(
        ForeignKey("batches.id"), comment="The batch that decided it, in batches; null while it waits."
    )
