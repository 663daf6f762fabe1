"""What an event says about what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Float, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.models.taken import taken

if TYPE_CHECKING:
    from src.marketing_messaging_service.models.event import Event

PROPERTIES_IN_CONTENT_ID = ("amount", "attempt_number", "failure_reason")
"""The properties that go into an event's content id in their plain form. Frozen: no field is ever added."""


class EventProperties(Base):
    """The known properties of one event; a row exists when at least one of them has a value.

    Every column below event_id is a field: one line declares it, and everything else follows.
    """

    __tablename__ = "event_properties"
    __table_args__ = (
        UniqueConstraint("event_id"),
        {"comment": "What an event says about what happened; a row exists when at least one value is known."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the row, given by the database.")
    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"),
        comment="The event that these belong to, in events; at most one row per event.",
    )
    amount: Mapped[float | None] = mapped_column(
        Float,
        comment="Amount of money from properties.amount of the raw event, in the producer's unit and currency; any "
        "finite number.",
        info=taken(from_text=True),
    )
    attempt_number: Mapped[int | None] = mapped_column(
        comment="Which attempt it was, from properties.attempt_number of the raw event; a whole number from 0.",
        info=taken(least=0, from_text=True),
    )
    failure_reason: Mapped[str | None] = mapped_column(
        String(64),
        comment="Why it failed, from properties.failure_reason of the raw event, in the producer's word, such as "
        "INSUFFICIENT_FUNDS.",
    )

    order_id: Mapped[str | None] = mapped_column(
        String(64),
        comment="The order it was about, from properties.order_id of the raw event, as the producer writes it.",
    )
    currency: Mapped[str | None] = mapped_column(
        String(8),
        comment="Currency of the amount, from properties.currency of the raw event, as the producer writes it.",
    )

    event: Mapped[Event] = relationship(back_populates="properties")
