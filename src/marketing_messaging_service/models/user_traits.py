"""What an event says about its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Boolean, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base

if TYPE_CHECKING:
    from src.marketing_messaging_service.models.event import Event


class UserTraits(Base):
    """The known traits of the user at the time of one event; a row exists when at least one has a value."""

    __tablename__ = "user_traits"
    __table_args__ = (UniqueConstraint("event_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    email: Mapped[str | None] = mapped_column(String(256))
    country: Mapped[str | None] = mapped_column(String(8))
    marketing_opt_in: Mapped[bool | None] = mapped_column(Boolean)
    risk_segment: Mapped[str | None] = mapped_column(String(32))

    event: Mapped[Event] = relationship(back_populates="user_traits")
