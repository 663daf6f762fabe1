"""A rule that a batch was asked to decide again."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class BatchRule(Base):
    """A rule that a backfill with `decide_again` let decide events that earlier batches had decided.

    These are the events in the window of the batch's run, up to its limit on the future, on which the rule had no
    decision, or an expired one; where its exclusive group had decided, the rule did not.
    """

    __tablename__ = "batch_rules"
    __table_args__ = (
        {
            "comment": "One row per rule that a backfill named in decide_again: it decided events of the window that "
            "had been decided before without it, or had expired."
        },
    )

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The batch in which the rule decided again, in batches.",
    )
    rule_name: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="The rule, enabled in the ruleset of the batch."
    )
