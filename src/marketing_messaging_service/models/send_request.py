"""A message owed to a user."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, UniqueConstraint, and_, false, func, literal_column
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.infrastructure.indexes import partial
from src.marketing_messaging_service.models.event import Event

ALERT_CHANNEL = "internal"
"""The channel of alerts only: an alert is not a send and does not use up a "once"."""

EVER_KEY = "ever"
"""The dedupe key of a message that a user gets once in a lifetime."""

DAY_KEY = "day:"
"""How the dedupe key of a message that a user gets once on a UTC day begins; the date follows."""

CALENDAR_KEY = "calendar:"
"""How the dedupe key of a message begins that a user gets once in any other period; time zone and period follow."""

HAS_OTHER_KEY = and_(
    literal_column("channel") != literal_column(f"'{ALERT_CHANNEL}'"),
    literal_column("dedupe_key") != literal_column(f"'{EVER_KEY}'"),
    func.substr(literal_column("dedupe_key"), literal_column("1"), literal_column(str(len(DAY_KEY))))
    != literal_column(f"'{DAY_KEY}'"),
)
"""The condition on sends, alerts aside, whose dedupe key is neither of these; word for word the condition of their
index, as SQLite requires."""

HAS_WAITED = literal_column("decision_time").is_not(None)
"""The condition on sends whose rule waited."""

HAS_NO_EVENT = literal_column("event_id").is_(None)
"""The condition on sends from before decisions recorded their event, and on those whose event was deleted."""


class SendRequest(Base):
    """One message owed to a user, or an alert to our own people, with the rule and event that led to it.

    `rule_name` and `ruleset_id` are null only on rows that were there before decisions recorded their rule.
    """

    __tablename__ = "send_requests"
    __table_args__ = (
        UniqueConstraint("event_id", "rule_name"),
        # The user comes last, so that a day's sends are side by side. With the user first, each send changed a
        # different page: deciding 100,000 events on five million took 1.35 s instead of 0.9. A user's sends are found
        # through the user's events instead, as in the view user_timeline.
        UniqueConstraint("template_name", "dedupe_key", "user_id"),
        # With the constraint above, answers "has this user had this message on that day" without reading the user's
        # other rows. Most sends have a key that says so and are not in it.
        Index("ix_send_requests_other_keys", "user_id", "template_name", "event_timestamp", **partial(HAS_OTHER_KEY)),
        # Finds a user's sends by rules that wait, by decision time; the others are found through their events.
        Index("ix_send_requests_waited", "user_id", "decision_time", **partial(HAS_WAITED)),
        # Finds a user's sends that no event leads to.
        Index("ix_send_requests_no_event", "user_id", **partial(HAS_NO_EVENT)),
        # Answers "what did that run decide".
        Index(None, "run_id"),
        # Answers "what went out on that day".
        Index(None, "event_timestamp"),
        {"comment": "One row per message owed to a user, or alert to our own people, as a rule decided on an event."},
    )

    id: Mapped[int] = mapped_column(
        primary_key=True,
        comment="Number of the row, given in the order of decision; after an older copy of the file is restored, "
        "numbers are given again.",
    )
    user_id: Mapped[str] = mapped_column(
        String(64),
        comment="The user who is owed the message, or whom the alert is about; to find one user's rows quickly, ask "
        "the view user_timeline.",
    )
    event_id: Mapped[int | None] = mapped_column(
        ForeignKey("events.id", ondelete="SET NULL"),
        comment="The event that earned the message, in events; null only on rows from before decisions recorded "
        "their event.",
    )
    template_name: Mapped[str] = mapped_column(
        String(64), comment="The message to send, from action.template_name of the rule."
    )
    channel: Mapped[str] = mapped_column(
        String(32),
        comment="The way it goes out, from action.delivery_method of the rule, such as email or sms; internal marks "
        "an alert, which does not count as a send.",
    )
    reason: Mapped[str] = mapped_column(
        Text, comment="Why the row is there: `rule:` and the name of the rule that decided it."
    )
    decided_at: Mapped[datetime] = mapped_column(
        UtcDateTime,
        default=utc_now,
        server_default=func.current_timestamp(),
        comment="When the run decided it, in UTC by the clock of the machine.",
    )
    rule_name: Mapped[str | None] = mapped_column(
        String(64),
        comment="The rule that decided it, from rules.yaml; null only on rows from before rules were recorded.",
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
        UtcDateTime, comment="When the event that earned it happened, in UTC; a copy of events.event_timestamp."
    )
    dedupe_key: Mapped[str] = mapped_column(
        String(128),
        comment="The scope within which the user gets this template once: `ever`, `day:<UTC date>`, "
        "`calendar:<time zone>:<period>`, or `event:<event id>:<rule>` where nothing guards it; with "
        "`per`, a hash of the values follows.",
    )
    decision_time: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The decision time in UTC (the event's time plus the rule's wait); null if the rule did not wait.",
    )
    is_exempt_from_limits: Mapped[bool] = mapped_column(
        Boolean,
        default=False,
        server_default=false(),
        comment="Whether its rule was exempt from limits, so no limit counts it; 1 is yes, 0 is no.",
    )

    event: Mapped[Event | None] = relationship()
