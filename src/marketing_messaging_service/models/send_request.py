"""A message that is owed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.models.event import Event

ALERT_CHANNEL = "internal"
"""The channel of alerts, and of nothing else: an alert is not a send and uses up no "once"."""

EVER_KEY = "ever"
"""The dedupe key of a message that a user gets once in a lifetime."""

DAY_KEY = "day:"
"""How the dedupe key of a message that a user gets once on a UTC day begins; the date follows."""


class SendRequest(Base):
    """One message owed to a user, or an alert to our own people, and the rule and event it follows from.

    `rule_name` and `ruleset_id` are null only on rows that were there before decisions recorded their rule.
    """

    __tablename__ = "send_requests"
    __table_args__ = (
        UniqueConstraint("event_id", "rule_name"),
        UniqueConstraint("user_id", "template_name", "dedupe_key"),
        # Answers "has this user had this message, ever or on that day" without reading the user's other rows.
        Index(None, "user_id", "template_name", "event_timestamp"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64))
    event_id: Mapped[int | None] = mapped_column(ForeignKey("events.id", ondelete="SET NULL"))
    template_name: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, server_default=func.current_timestamp())
    rule_name: Mapped[str | None] = mapped_column(String(64))
    ruleset_id: Mapped[int | None] = mapped_column(ForeignKey("rulesets.id"))
    event_timestamp: Mapped[datetime] = mapped_column(UtcDateTime)
    dedupe_key: Mapped[str] = mapped_column(String(128))

    event: Mapped[Event | None] = relationship()
