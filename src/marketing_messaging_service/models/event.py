"""A behavioural event, as its producer reported it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now

if TYPE_CHECKING:
    from src.marketing_messaging_service.models.event_properties import EventProperties
    from src.marketing_messaging_service.models.user_traits import UserTraits


class Event(Base):
    """One event, whatever number of times it was delivered.

    `message_id` is the producer's own id, or `content:<sha256>` where the producer gave none. `load_id` is
    null on rows that were there before loads were recorded.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("message_id"),
        # Serves prior_event and every question about one user. An index on event_type alone would lure
        # SQLite's planner away from it and make deciding hundreds of times slower.
        Index(None, "user_id", "event_type", "event_timestamp"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[str] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(64))
    event_timestamp: Mapped[datetime] = mapped_column(UtcDateTime)
    load_id: Mapped[int | None] = mapped_column(ForeignKey("loads.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, server_default=func.current_timestamp())

    properties: Mapped[EventProperties | None] = relationship(
        back_populates="event", cascade="all, delete-orphan", passive_deletes=True
    )
    user_traits: Mapped[UserTraits | None] = relationship(
        back_populates="event", cascade="all, delete-orphan", passive_deletes=True
    )
