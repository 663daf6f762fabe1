"""A raw file that has been taken."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now


class SourceFile(Base):
    """One raw file by its content, under the name it had when it was taken.

    `file_signature` is what the file system said of the file (size, times, inode); a file that still shows
    the same signature is known without being read again.
    """

    __tablename__ = "source_files"
    __table_args__ = (UniqueConstraint("content_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_at: Mapped[datetime] = mapped_column(UtcDateTime)
    file_signature: Mapped[str] = mapped_column(Text)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
