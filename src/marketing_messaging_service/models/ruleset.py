"""A version of rules.yaml."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now


class Ruleset(Base):
    """The rules as they were when they decided something, named by the SHA-256 of their text."""

    __tablename__ = "rulesets"
    __table_args__ = (
        UniqueConstraint("content_hash"),
        {"comment": "One row per version of rules.yaml that has decided something."},
    )

    id: Mapped[int] = mapped_column(
        primary_key=True, comment="Number of the version, given by the database in order of first use."
    )
    content_hash: Mapped[str] = mapped_column(
        String(64), comment="SHA-256 of the text of rules.yaml in hexadecimal; unique."
    )
    yaml_text: Mapped[str] = mapped_column(Text, comment="The whole text of rules.yaml as it was.")
    first_used_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, comment="When a run first decided with it, in UTC by the clock of the machine."
    )
