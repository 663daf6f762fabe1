"""A raw line that did not become an event."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.infrastructure.indexes import partial


class RejectedRow(Base):
    r"""One rejected line, kept with the reason.

    `raw_line` is the line as text, without its line end; bytes that are not UTF-8, and NULs, appear as `\xNN`.
    `raw_bytes` holds the exact bytes where the text does not, and is otherwise null. If the reason is that an event
    already has the line's message_id, `event_id` names that event. `header_line` goes with a CSV row whose cells do not
    match its header: without it nobody could say what they are. A line that was read again and is now an event stays,
    and `replayed_load_id` names the load that took it.
    """

    __tablename__ = "rejected_rows"
    __table_args__ = (
        UniqueConstraint("load_id", "line_number"),
        # Finds whether the same line is kept already, or which lines lost their message_id to an event.
        Index(None, "event_id", **partial(text("event_id IS NOT NULL"))),
        # Finds what a replay took, without reading every line that was ever rejected.
        Index(None, "replayed_load_id", **partial(text("replayed_load_id IS NOT NULL"))),
        {"comment": "One row per raw line that did not become an event, kept with the reason."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the row, given by the database.")
    load_id: Mapped[int] = mapped_column(
        ForeignKey("loads.id", ondelete="CASCADE"), comment="The load that met the line, in loads."
    )
    line_number: Mapped[int] = mapped_column(comment="Line of the file, counted from 1, including blank lines.")
    raw_line: Mapped[str] = mapped_column(
        Text, comment="The line as text without its line end; bytes that are not UTF-8, and NULs, are written as \\xNN."
    )
    raw_bytes: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="The exact bytes of the line where raw_line cannot hold them; otherwise null."
    )
    reason_code: Mapped[str] = mapped_column(
        String(32), comment="Why it was rejected, as a reason code; docs/raw-events.md lists them and what to do."
    )
    field_name: Mapped[str | None] = mapped_column(
        String(64), comment="The key that is wrong, such as properties.amount; null when the whole line is wrong."
    )
    explanation: Mapped[str] = mapped_column(Text, comment="What is wrong with the line, as a sentence.")
    event_id: Mapped[int | None] = mapped_column(
        ForeignKey("events.id", ondelete="SET NULL"),
        comment="The event that already has the line's message_id, in events; null for every other reason.",
    )
    header_line: Mapped[str | None] = mapped_column(
        Text, comment="For a CSV row that is kept as it was, the header of its file; otherwise null."
    )
    replayed_load_id: Mapped[int | None] = mapped_column(
        ForeignKey("loads.id", ondelete="SET NULL"),
        comment="The load, in loads, of the replay that took the line after all; null while it is not an event.",
    )
