"""The dictionary inside the file."""

from __future__ import annotations

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class DictionaryEntry(Base):
    """What one table, view or column means, in a sentence.

    The rows are rewritten from the models and views whenever they differ; never edit them.
    """

    __tablename__ = "data_dictionary"
    __table_args__ = (
        UniqueConstraint("table_name", "column_name"),
        {"comment": "One row per table, view or column of this file, with its meaning; written from the code."},
    )

    table_name: Mapped[str] = mapped_column(String(64), primary_key=True, comment="The table or view.")
    column_position: Mapped[int] = mapped_column(
        primary_key=True, comment="Position of the column, counted from 1; 0 for the table or view itself."
    )
    column_name: Mapped[str | None] = mapped_column(
        String(64), comment="The column; null for the table or view itself."
    )
    kind: Mapped[str] = mapped_column(String(8), comment="What the table_name is: table or view.")
    data_type: Mapped[str | None] = mapped_column(
        String(16),
        comment="What the column holds: text, integer, number, boolean, timestamp, date or bytes; null for the table "
        "or view itself.",
    )
    sentence: Mapped[str] = mapped_column(
        Text, comment="What it means, with unit, time zone, allowed values and where it comes from."
    )
