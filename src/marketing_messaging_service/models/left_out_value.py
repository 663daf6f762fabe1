"""An invalid value that was left out of its event."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class LeftOutValue(Base):
    """One invalid value, left out when its event was loaded because the file's mapping says so."""

    __tablename__ = "left_out_values"
    __table_args__ = (
        Index(None, "event_id"),
        {
            "comment": "One row per invalid value that was left out of an event, because of on_invalid: null in "
            "sources.yaml."
        },
    )

    load_id: Mapped[int] = mapped_column(
        ForeignKey("loads.id", ondelete="CASCADE"), primary_key=True, comment="The load that met the line, in loads."
    )
    line_number: Mapped[int] = mapped_column(primary_key=True, comment="Line of the file, counted from 1.")
    field_path: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="The field left without a value, such as user_traits.country."
    )
    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), comment="The event that was loaded without it, in events."
    )
    explanation: Mapped[str] = mapped_column(Text, comment="What is wrong with the value, as a sentence.")
