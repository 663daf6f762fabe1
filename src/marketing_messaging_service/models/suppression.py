"""A message that must not go out."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.models.event import Event
from src.marketing_messaging_service.models.send_request import SendRequest


class Suppression(Base):
    """One message refused, the mode that refused it, and the earlier send that had used up the "once".

    `rule_name`, `ruleset_id` and `blocked_by_send_request_id` are null only on rows that were there before
    decisions recorded them.
    """

    __tablename__ = "suppressions"
    __table_args__ = (
        UniqueConstraint("event_id", "rule_name"),
        # Answers "what was refused to this user".
        Index(None, "user_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64))
    event_id: Mapped[int | None] = mapped_column(ForeignKey("events.id", ondelete="SET NULL"))
    template_name: Mapped[str] = mapped_column(String(64))
    suppression_reason: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, server_default=func.current_timestamp())
    rule_name: Mapped[str | None] = mapped_column(String(64))
    ruleset_id: Mapped[int | None] = mapped_column(ForeignKey("rulesets.id"))
    event_timestamp: Mapped[datetime] = mapped_column(UtcDateTime)
    blocked_by_send_request_id: Mapped[int | None] = mapped_column(ForeignKey("send_requests.id"))

    event: Mapped[Event | None] = relationship()
    blocked_by: Mapped[SendRequest | None] = relationship()
