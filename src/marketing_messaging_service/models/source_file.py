"""A raw file that has been taken."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now


class SourceFile(Base):
    """One raw file by its content, under the name it had when it was read.

    `file_signature` is what the file system says about the file (size, times, inode); a file that still has the same
    signature is recognised without being read again. A file of which no line could be read is not taken: `refused_code`
    says why, and it is read again when it is delivered again, or by a newer reader. The rejected lines that a replay
    takes from a file become a separate file, which nobody has delivered.
    """

    __tablename__ = "source_files"
    __table_args__ = (
        UniqueConstraint("content_hash"),
        {"comment": "One row per raw file that has been read, identified by its content."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the row, given by the database.")
    content_hash: Mapped[str] = mapped_column(
        String(64),
        comment="SHA-256 of the bytes of the file in hexadecimal, unique; the same content is taken once under "
        "whatever name.",
    )
    path: Mapped[str] = mapped_column(
        Text, comment="Where the file was when it was last read, relative to the landing folder."
    )
    size_bytes: Mapped[int] = mapped_column(
        BigInteger, comment="Size of the file as it was there, compressed or not, in bytes."
    )
    modified_at: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When the file was last changed by the clock of the file system, in UTC."
    )
    file_signature: Mapped[str] = mapped_column(
        Text,
        comment="Size, times and inode as the file system gave them; a file that still has the same is not read again.",
    )
    taken_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, comment="When the file was first taken, in UTC; equal to loads.loaded_at."
    )
    read_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="When the file was last read, in UTC; null on files that were read before this was recorded.",
    )
    reader_number: Mapped[int] = mapped_column(
        server_default=text("0"),
        comment="Which reader last read the file: its version, and a checksum of what sources.yaml "
        "says about the file; 0 on files from before that was recorded.",
    )
    refused_code: Mapped[str | None] = mapped_column(
        String(32),
        comment="Why no line of the file could be read: the reason code of the first line; null when some could, or "
        "it has no lines.",
    )
    replayed_file_id: Mapped[int | None] = mapped_column(
        ForeignKey("source_files.id"),
        comment="The file in source_files whose rejected lines a replay took; the content is then these lines, under "
        "the path of that file. Null for every file that was delivered.",
    )
