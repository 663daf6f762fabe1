"""One rule of a version of rules.yaml."""

from __future__ import annotations

from sqlalchemy import Boolean, Float, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base


class RulesetRule(Base):
    """A rule's parts in one version of rules.yaml that questions about decisions need."""

    __tablename__ = "ruleset_rules"
    __table_args__ = (
        {"comment": "One row per rule in a version of rules.yaml, written when the version first decided."},
    )

    ruleset_id: Mapped[int] = mapped_column(
        ForeignKey("rulesets.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The version of rules.yaml that contains the rule, in rulesets.",
    )
    rule_name: Mapped[str] = mapped_column(
        String(64), primary_key=True, comment="Name of the rule, unique in its version."
    )
    rule_position: Mapped[int] = mapped_column(comment="Place of the rule in the file, counted from 1.")
    description: Mapped[str] = mapped_column(Text, comment="What the rule is for, as its owner wrote it.")
    is_enabled: Mapped[bool] = mapped_column(Boolean, comment="Whether the rule decided at all; 1 is yes, 0 is no.")
    trigger_event_type: Mapped[str] = mapped_column(String(64), comment="The events.event_type that the rule looks at.")
    condition_text: Mapped[str] = mapped_column(
        Text, comment="All the conditions that must hold, as a sentence; empty when the event type is enough."
    )
    exclusive_group: Mapped[str | None] = mapped_column(
        String(64),
        comment="Group of rules of which only the first that matches an event decides; null without a group.",
    )
    template_name: Mapped[str] = mapped_column(String(64), comment="The message that the rule sends.")
    channel: Mapped[str] = mapped_column(
        String(32), comment="The way the message goes out, such as email or sms; internal for an alert."
    )
    suppression_mode: Mapped[str] = mapped_column(
        String(32), comment="How often a user may get it: none (every time), once_ever, and so on; see docs/rules.md."
    )
    wait_hours: Mapped[float | None] = mapped_column(
        Float, comment="Hours after the event at which the rule decides; null where it decides at once."
    )
    expires_after_hours: Mapped[float | None] = mapped_column(
        Float,
        comment="Hours after its decision time from which a message is too late; null where the rule sets no limit.",
    )
