"""Rules of the whole language, changed from run to run, for runs that are killed while matches wait.

The events come by their time: what is after a run's logical time is held and decided by a later one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NO_PAYMENT = {"not": {"happened": {"event_type": "payment_succeeded", "since_trigger": True}}}
KNOWN_COUNTRY = {"field": "latest_traits.country", "operator": "exists"}


def _rule(name: str, trigger: str, template: str = "", channel: str = "email", **keys: Any) -> dict[str, Any]:
    action = {"type": "send", "template_name": template or name.upper(), "delivery_method": channel}
    return {"name": name, "trigger": {"event_type": trigger}, "action": action, **keys}


REMINDER = _rule(
    "reminder",
    "payment_failed",
    wait={"hours": 0.5},
    conditions={"all": [NO_PAYMENT, KNOWN_COUNTRY]},
    suppression={"mode": "once_ever", "per": ["properties.failure_reason"]},
)
COME_BACK = _rule(
    "come_back",
    "app_opened",
    channel="sms",
    wait={"hours": 0.75},
    conditions={"happened": {"event_type": "payment_succeeded", "at_most": 1, "within_hours": 3}},
    suppression={"mode": "once_per_hours", "hours": 2},
)
LATE = _rule("late", "payment_succeeded", wait={"hours": 0.25}, expires_after_hours=0.5)
THANKS = _rule(
    "thanks",
    "payment_succeeded",
    "COME_BACK",
    conditions={"any": [{"happened": {"event_type": "app_opened", "at_least": 2}}, {"not": KNOWN_COUNTRY}]},
    suppression={"mode": "once_per_calendar_day"},
)
GONE = _rule("gone", "link_bank_success", wait={"hours": 1})

BLOCKS = [
    {
        "name": "opted_out",
        "while": {
            "any": [
                {"field": "latest_traits.marketing_opt_in", "operator": "equals", "value": False},
                {"field": "latest_traits.country", "operator": "in", "value": ["NL", "GB"]},
            ]
        },
    },
    {
        "name": "failing",
        "channels": ["sms"],
        "from": {"event_type": "payment_failed"},
        "until": {"event_type": "payment_succeeded"},
    },
]
FIRST: Mapping[str, Any] = {
    "timezone": "Asia/Kolkata",
    "holdout": {"percent": 25, "salt": "torture"},
    "blocks": BLOCKS,
    "limits": [{"name": "two", "at_most": 2, "calendar": "day"}, {"name": "some", "at_most": 2, "hours": 3}],
    "rules": [REMINDER, COME_BACK, LATE, THANKS, GONE],
}
SECOND: Mapping[str, Any] = {
    "timezone": "Pacific/Apia",
    "blocks": BLOCKS[1:],
    "limits": [{"name": "one", "channels": ["email"], "at_most": 1, "hours": 2}],
    "rules": [
        {**LATE, "wait": {"hours": 2}},
        {**REMINDER, "conditions": NO_PAYMENT, "suppression": {"mode": "once_per_calendar_week"}},
        {**COME_BACK, "conditions": KNOWN_COUNTRY, "exempt_from": ["blocks"]},
        THANKS,
    ],
}
"""One rule is gone, one was moved and waits longer, one asks for less, and one for something else."""

PATIENT: Mapping[str, Any] = {**FIRST, "wait_for_data": True}
"""By which everything keeps waiting, because no event was on time."""

RULES: Mapping[str, Mapping[str, Any]] = {"first": FIRST, "second": SECOND, "patient": PATIENT}

PLANS: Mapping[str, tuple[str, ...]] = {
    "waits by changed rules": (
        *("first rules at 1", "second rules at 2", "patient rules at 3", "first rules at 4", "second rules at 9"),
    ),
}
"""Runs one after the other, each by its rules and at its hour of the day on which the samples end."""


def rules_of(job: str) -> Mapping[str, Any] | None:
    """Return the rules that a job of these plans decides by, None for any other job."""
    name, _, rest = job.partition(" rules at ")
    return RULES[name] if rest else None


def limits_of(job: str) -> Mapping[str, Any]:
    """Return what the order of a job of these plans says of time."""
    hour = int(job.rpartition(" ")[2])
    return {"as_of": datetime(2026, 11, 3, hour, tzinfo=UTC), "max_event_ahead_hours": 0}
