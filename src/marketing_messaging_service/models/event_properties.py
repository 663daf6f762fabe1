"""What an event says about the thing that happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Float, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base

if TYPE_CHECKING:
    from src.marketing_messaging_service.models.event import Event


class EventProperties(Base):
    """The known properties of one event; a row exists when at least one of them has a value."""

    __tablename__ = "event_properties"
    __table_args__ = (UniqueConstraint("event_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    amount: Mapped[float | None] = mapped_column(Float)
    attempt_number: Mapped[int | None] = mapped_column(Integer)
    failure_reason: Mapped[str | None] = mapped_column(String(64))

    event: Mapped[Event] = relationship(back_populates="properties")
