"""A suppression that its rule has replaced by deciding again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime


class FormerSuppression(Base):
    """One suppression with the reason expired that was in force until a backfill let its rule decide the event again.

    It is as it was in `suppressions`, including its id, which no other suppression gets. The decision that replaced it
    has the same event and rule.
    """

    __tablename__ = "former_suppressions"
    __table_args__ = (
        # What replaces an expired suppression has not expired, so this happens only once.
        UniqueConstraint("event_id", "rule_name"),
        # Answers "what did that run decide".
        Index(None, "run_id"),
        {
            "comment": "One row per expired suppression whose event its rule decided again, in a backfill with "
            "decide_again; the new decision is in send_requests or suppressions."
        },
    )

    id: Mapped[int] = mapped_column(
        primary_key=True, comment="The number that the row had in suppressions, where no other row will get it."
    )
    user_id: Mapped[str] = mapped_column(String(64), comment="The user who did not get the message then.")
    event_id: Mapped[int | None] = mapped_column(
        ForeignKey("events.id", ondelete="SET NULL"),
        comment="The event that the rule matched, in events; null only if the event was deleted since.",
    )
    template_name: Mapped[str] = mapped_column(
        String(64), comment="The message refused then, from action.template_name of the rule."
    )
    suppression_reason: Mapped[str] = mapped_column(
        Text, comment="What refused it: always expired, as the event was older than the run allowed."
    )
    decided_at: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When it was refused, in UTC by the clock of the machine."
    )
    rule_name: Mapped[str] = mapped_column(String(64), comment="The rule that matched, from rules.yaml.")
    ruleset_id: Mapped[int] = mapped_column(
        ForeignKey("rulesets.id"), comment="The version of rules.yaml that refused it, in rulesets."
    )
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"), comment="The run that refused it, in runs; null where it is not known."
    )
    event_timestamp: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When the event happened that the rule matched, in UTC; a copy of events.event_timestamp."
    )
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id"), comment="The batch in which the rule decided the event again, in batches."
    )
