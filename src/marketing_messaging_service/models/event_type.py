"""A type of events that has ever been loaded."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now


class EventType(Base):
    """A value of `events.event_type`, to find rules on types that nobody sends."""

    __tablename__ = "event_types"
    __table_args__ = ({"comment": "One row per event type that has ever been loaded."},)

    event_type: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="The producer's word, as in events.event_type."
    )
    first_loaded_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, comment="When the first event of the type was loaded, in UTC."
    )
