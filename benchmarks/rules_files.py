"""Makes rules to measure with: words of the language one by one, many rules, and everything that looks back far."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RulesFile = Mapping[str, Any]

ONE_TYPE = "payment_failed"
"""The type of every event of one busy user."""
MANY = 300
TYPES = ("transfer_created", "payment_failed", "payment_succeeded", "link_bank_failed")
"""Types whose events have an amount."""

_OPTED_IN = {"field": "latest_traits.marketing_opt_in", "operator": "equals", "value": True}
_BEFORE = {"happened": {"event_type": "payment_succeeded", "within_hours": 24}}
_WEEKLY = {"name": "three_a_week", "channels": ["email"], "at_most": 3, "hours": 168}


def _rule(name: str, event_type: str, condition: Any = None, mode: str = "none", **others: Any) -> dict[str, Any]:
    """Return a rule; `hours` and `per` belong to its suppression, everything else to the rule."""
    policy = {"mode": mode} | {key: others.pop(key) for key in ("hours", "per") if key in others}
    action = {"type": "send", "template_name": others.pop("template", name.upper()), "delivery_method": "email"}
    rule = {"name": name, "trigger": {"event_type": event_type}, "action": action, "suppression": policy}
    return rule | ({"conditions": condition} if condition else {}) | others


def _of_one_user(condition: Any = None, mode: str = "none", *, of_file: RulesFile | None = None, **others: Any) -> Any:
    return {**(of_file or {}), "rules": [_rule("busy", ONE_TYPE, condition, mode, **others)]}


ONE_BUSY_USER: Mapping[str, RulesFile] = {
    "a daily once": _of_one_user(mode="once_per_calendar_day"),
    "a limit": _of_one_user(of_file={"limits": [_WEEKLY]}),
    "once_per_hours": _of_one_user(mode="once_per_hours", hours=1),
    "per": _of_one_user(mode="once_ever", per=["properties.amount"]),
    "wait": _of_one_user(wait={"hours": 2}),
    "happened without bounds": _of_one_user({"happened": {"event_type": ONE_TYPE, "at_least": 1000}}),
    "latest_traits": _of_one_user(_OPTED_IN),
}
"""What must not take quadratic time in a user's matches."""


def _many(count: int, **others: Any) -> RulesFile:
    def condition(number: int) -> Any:
        return {"field": "properties.amount", "operator": "gte", "value": 40 + number}

    rules = [
        _rule(f"rule_{number}", TYPES[number % len(TYPES)], condition(number), "once_per_calendar_day", **others)
        for number in range(count)
    ]
    return {"rules": rules}


def _without_events(count: int) -> RulesFile:
    return {
        "rules": [*_many(1)["rules"], *(_rule(f"never_{number}", f"type {number}", _BEFORE) for number in range(count))]
    }


MANY_RULES: Mapping[str, RulesFile] = {
    "1 rule": _many(1),
    "300 rules": _many(MANY),
    "300 rules of one template": _many(MANY, template="ONE"),
    "1 rule, and 299 whose trigger no event has": _without_events(MANY - 1),
}

LOOKING_BACK: RulesFile = {
    "timezone": "Europe/Paris",
    "limits": [_WEEKLY],
    "rules": [
        _rule("welcome", "signup_completed", _OPTED_IN, "once_ever"),
        _rule("nudge", "link_bank_success", {"not": _BEFORE}, "once_ever", wait={"hours": 2}),
        _rule("failed", "payment_failed", _OPTED_IN, "once_per_calendar_day"),
    ],
}
"""Waiting, the latest traits and limits."""


def write_rules(path: Path, rules: RulesFile) -> Path:
    """Write a rules file as people write one, a rule below the other, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: Sequence[str] = [f"{key}: {json.dumps(value)}" for key, value in rules.items() if key != "rules"]
    path.write_text("\n".join([*lines, "rules:", *(f"  - {json.dumps(rule)}" for rule in rules["rules"]), ""]))
    return path
