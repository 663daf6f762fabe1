"""What an event says about its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Boolean, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base

if TYPE_CHECKING:
    from src.marketing_messaging_service.models.event import Event

TRAITS_IN_CONTENT_ID = ("email", "country", "marketing_opt_in", "risk_segment")
"""The traits that go into an event's content id in their plain form. Frozen: no field is ever added."""


class UserTraits(Base):
    """The known traits of the user at the time of one event; a row exists when at least one has a value.

    Every column below event_id is a field: one line declares it, and everything else follows.
    """

    __tablename__ = "user_traits"
    __table_args__ = (
        UniqueConstraint("event_id"),
        {"comment": "What an event says about its user at that time; a row exists when at least one value is known."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the row, given by the database.")
    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"),
        comment="The event that said it, in events; at most one row per event.",
    )
    email: Mapped[str | None] = mapped_column(
        String(256), comment="E-mail address of the user, from user_traits.email of the raw event; personal data."
    )
    country: Mapped[str | None] = mapped_column(
        String(8),
        comment="Country of the user, from user_traits.country of the raw event, as the producer writes it, such as "
        "DE.",
    )
    marketing_opt_in: Mapped[bool | None] = mapped_column(
        Boolean,
        comment="Whether the user agreed to marketing, from user_traits.marketing_opt_in of the raw event; 1 is yes, "
        "0 is no, null means not said.",
    )
    risk_segment: Mapped[str | None] = mapped_column(
        String(32),
        comment="Risk class of the user, from user_traits.risk_segment of the raw event, in the producer's word, "
        "such as low or high.",
    )

    event: Mapped[Event] = relationship(back_populates="user_traits")
