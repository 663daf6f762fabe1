"""A version of rules.yaml."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now


class Ruleset(Base):
    """The rules as they stood when they decided something, named by the SHA-256 of their text."""

    __tablename__ = "rulesets"
    __table_args__ = (UniqueConstraint("content_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64))
    yaml_text: Mapped[str] = mapped_column(Text)
    first_used_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
