"""A behavioural event, as its producer reported it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now


class Event(Base):
    """One event, however often it was delivered.

    `message_id` is the producer's own id, or `content:<sha256>` where the producer gave none. `load_id` is
    null on rows that were there before loads were recorded.
    """

    __tablename__ = "events"
    __table_args__ = (
        # An index, not a constraint, because only an index can be dropped for a large load and rebuilt after it.
        Index("uq_events_message_id", "message_id", unique=True),
        # Serves prior_event and every question about one user. An index on event_type alone would lure
        # SQLite's planner away from it and make deciding hundreds of times slower.
        Index(None, "user_id", "event_type", "event_timestamp"),
        # Serves every question about a day. It must begin with the time: see above.
        Index(None, "event_timestamp", "event_type"),
        {"comment": "One row per behavioural event, however often it was delivered; kept for ever."},
    )

    id: Mapped[int] = mapped_column(
        primary_key=True, comment="Number of the row, given by the loader in the order of loading."
    )
    message_id: Mapped[str] = mapped_column(
        String(255),
        comment="The producer's own id of the event, unique; `content:` and a SHA-256 of the content where the "
        "producer gave none.",
    )
    user_id: Mapped[str] = mapped_column(
        String(64), comment="The producer's id of the user, as text exactly as it came."
    )
    event_type: Mapped[str] = mapped_column(
        String(64), comment="What happened, in the producer's word, such as signup_completed or payment_failed."
    )
    event_timestamp: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When it happened by the producer's clock, in UTC to the microsecond."
    )
    load_id: Mapped[int | None] = mapped_column(
        ForeignKey("loads.id"),
        comment="The load that brought the row, in loads; null on rows from before loads were recorded.",
    )
    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime,
        default=utc_now,
        server_default=func.current_timestamp(),
        comment="When the loader wrote the row, in UTC.",
    )

    # Named by their texts: those models name this one, and no two files import each other.
    properties: Mapped[Any] = relationship(
        "EventProperties", back_populates="event", uselist=False, cascade="all, delete-orphan", passive_deletes=True
    )
    user_traits: Mapped[Any] = relationship(
        "UserTraits", back_populates="event", uselist=False, cascade="all, delete-orphan", passive_deletes=True
    )
