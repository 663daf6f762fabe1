"""A redelivery with a different time than the stored event."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class Conflict(Base):
    """One line whose message_id was known but whose time differed; the event that came first is kept.

    A line that differs in more is not a retry: it is kept in rejected_rows. Before that was distinguished, such a line
    was kept here with every field in which it differs.
    """

    __tablename__ = "conflicts"
    __table_args__ = (
        Index(None, "event_id"),
        {
            "comment": "One row per redelivered line whose time differs from that of the event already stored; the "
            "first one is kept."
        },
    )

    load_id: Mapped[int] = mapped_column(
        ForeignKey("loads.id", ondelete="CASCADE"), primary_key=True, comment="The load that met the line, in loads."
    )
    line_number: Mapped[int] = mapped_column(primary_key=True, comment="Line of the file, counted from 1.")
    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), comment="The event already stored, in events."
    )
    differing_fields: Mapped[str] = mapped_column(
        Text,
        comment="The columns in which the line differs: event_timestamp; on older loads any columns, separated by a "
        "comma and a blank.",
    )
