"""A redelivery that says something else than the event that stands."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class Conflict(Base):
    """One line whose message_id was known but whose content differed; the event that came first stands."""

    __tablename__ = "conflicts"
    __table_args__ = (Index(None, "event_id"),)

    load_id: Mapped[int] = mapped_column(ForeignKey("loads.id", ondelete="CASCADE"), primary_key=True)
    line_number: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    differing_fields: Mapped[str] = mapped_column(Text)
