"""A message that must not go out."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.models.event import Event
from src.marketing_messaging_service.models.send_request import SendRequest


class Suppression(Base):
    """One refused message, why, and what was in the way: an earlier send, or the event by which the user is blocked.

    `rule_name`, `ruleset_id` and `run_id` are null only on rows that were there before decisions recorded them.
    """

    __tablename__ = "suppressions"
    __table_args__ = (
        UniqueConstraint("event_id", "rule_name"),
        # Answers "what did that run decide".
        Index(None, "run_id"),
        # Answers "what was refused to this user".
        Index(None, "user_id"),
        # Answers "what was refused on that day".
        Index(None, "event_timestamp"),
        {
            "comment": "One row per message that a rule matched but that must not go out, with the send that stood in "
            "its way."
        },
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the row, given in the order of decision.")
    user_id: Mapped[str] = mapped_column(String(64), comment="The user who does not get the message.")
    event_id: Mapped[int | None] = mapped_column(
        ForeignKey("events.id", ondelete="SET NULL"),
        comment="The event that the rule matched, in events; null only on rows from before decisions recorded their "
        "event.",
    )
    template_name: Mapped[str] = mapped_column(
        String(64), comment="The message refused, from action.template_name of the rule."
    )
    suppression_reason: Mapped[str] = mapped_column(
        Text,
        comment="What refused it, one of SuppressionReason.",
    )
    decided_at: Mapped[datetime] = mapped_column(
        UtcDateTime,
        default=utc_now,
        server_default=func.current_timestamp(),
        comment="When the run decided it, in UTC by the clock of the machine.",
    )
    rule_name: Mapped[str | None] = mapped_column(
        String(64), comment="The rule that matched, from rules.yaml; null only on rows from before rules were recorded."
    )
    ruleset_id: Mapped[int | None] = mapped_column(
        ForeignKey("rulesets.id"),
        comment="The version of rules.yaml that decided it, in rulesets; null only on rows from before rulesets were "
        "recorded.",
    )
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"),
        comment="The run that decided it, in runs; null only on rows from before runs were recorded.",
    )
    event_timestamp: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When the event that the rule matched happened, in UTC; a copy of events.event_timestamp."
    )
    blocked_by_send_request_id: Mapped[int | None] = mapped_column(
        ForeignKey("send_requests.id"),
        comment="The earliest send that had already used up the once or the limit, in send_requests; null where no "
        "send stood in the way, and on rows from before it was recorded.",
    )
    blocked_by_event_id: Mapped[int | None] = mapped_column(
        ForeignKey("events.id", ondelete="SET NULL"),
        comment="The event by which the user is blocked, in events; null where no event stood in the way.",
    )
    decision_time: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The decision time in UTC (the event's time plus the rule's wait); null if the rule did not wait.",
    )

    event: Mapped[Event | None] = relationship(foreign_keys=[event_id])
    blocked_by: Mapped[SendRequest | None] = relationship()
