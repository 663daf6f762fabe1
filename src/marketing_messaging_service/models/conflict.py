"""A redelivery that says something else than the event that stands."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class Conflict(Base):
    """One line whose message_id was known but whose content differed; the event that came first stands."""

    __tablename__ = "conflicts"
    __table_args__ = (
        Index(None, "event_id"),
        {
            "comment": "One row a redelivered line that says something else than the event that stands; the first one "
            "stands."
        },
    )

    load_id: Mapped[int] = mapped_column(
        ForeignKey("loads.id", ondelete="CASCADE"), primary_key=True, comment="The load that met the line, in loads."
    )
    line_number: Mapped[int] = mapped_column(primary_key=True, comment="Line of the file, counted from 1.")
    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), comment="The event that stands, in events."
    )
    differing_fields: Mapped[str] = mapped_column(
        Text, comment="The columns in which the line differs, separated by a comma and a blank."
    )
