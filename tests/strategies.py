"""Hypothesis strategies for raw events and rules, crowded around what goes wrong.

Values come from small pools, so that users, instants, templates and contents meet; the pools hold the pairs
that a careless reader takes for one another, such as the users "001" and "1".
"""

import copy
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

RawEvent = dict[str, Any]
RawFile = list[RawEvent]
RulesDocument = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What makes one run differ from another."""

    window: tuple[datetime, datetime] | None
    mode: str
    max_event_age_hours: int
    """0 for no limit."""
    as_of: datetime
    max_event_ahead_hours: int | None
    """None for no limit."""


SHIPPED_RULES: RulesDocument = YAML(typ="safe", pure=True).load(Path(__file__).parent.parent / "data" / "rules.yaml")

USERS = ("001", "1", "O'Brien", "zoë 🙂")
EVENT_TYPES = ("payment_failed", "signup_completed", "payment_failed", "link_bank_success", "app_opened")

AMOUNTS = (0.0, -0.0, 9.99, 100.0, 250.5, -5.25)
ATTEMPT_NUMBERS = (1, 2, 3, 3, 4)
FAILURE_REASONS = ("INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "insufficient_funds", "CARD_EXPIRED", "051")
ORDER_IDS = ("o-1", "O-1", "17")
CURRENCIES = ("EUR", "BRL")
EMAILS = ("ana@example.com", "Ana@example.com", "o'brien@example.com")
COUNTRIES = ("BR", "DE", "NO")
OPT_INS = (True, True, False)
RISK_SEGMENTS = ("low", "high")

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
"""The logical time of every run."""

DAY_BORDER = datetime(2024, 3, 1, tzinfo=UTC)
ANCHORS = (DAY_BORDER, DAY_BORDER - timedelta(hours=12))
STEPS = tuple(timedelta(hours=hours) for hours in (24, -24, 1, -1, 0.5, -0.5, 12))
TICKS = (timedelta(microseconds=-1), timedelta(microseconds=1))
DAY_STEPS = (
    *(timedelta(hours=hours) for hours in (0, 0.5, 1, 12, 12.5, 13, 23)),
    timedelta(hours=1, microseconds=1),
    timedelta(hours=12, microseconds=-1),
    timedelta(hours=12, microseconds=1),
    timedelta(hours=24, microseconds=-1),
)
OFFSETS = (
    None,
    UTC,
    timezone(timedelta(hours=5, minutes=30)),
    timezone(timedelta(hours=-8)),
)

TEMPLATES = ("WELCOME_EMAIL", "BANK_LINK_NUDGE_SMS", "INSUFFICIENT_FUNDS_EMAIL")
RULE_NAMES = ("zeta", "alpha", "middle", "Beta", "rule_10", "rule_9", "o_brien", "last")
FIELD_VALUES: Mapping[str, tuple[Any, ...]] = {
    "properties.amount": (*AMOUNTS, 100, 9.990001),
    "properties.attempt_number": (1, 2, 3, 4),
    "properties.failure_reason": tuple(sorted(set(FAILURE_REASONS))),
    "properties.order_id": ORDER_IDS,
    "properties.currency": CURRENCIES,
    "user_traits.email": EMAILS,
    "user_traits.country": COUNTRIES,
    "user_traits.marketing_opt_in": (True, False),
    "user_traits.risk_segment": RISK_SEGMENTS,
}
ORDERED_FIELDS = ("properties.amount", "properties.attempt_number")


@dataclass(frozen=True)
class Facts:
    """What an event says, before it is written down one way or another; what is missing is left out."""

    message_id: str | None
    user_id: str
    event_type: str
    instant: datetime
    properties: Mapping[str, Any]
    user_traits: Mapping[str, Any]
    unknown: Mapping[str, Any] = field(default_factory=dict)
    unknown_properties: Mapping[str, Any] = field(default_factory=dict)
    unknown_traits: Mapping[str, Any] = field(default_factory=dict)


@st.composite
def event_batches(draw: st.DrawFn, max_files: int = 4, max_events: int = 10) -> list[RawFile]:
    """Files of raw events as they land: late, tied, repeated, rewritten and contradicting one another."""
    users = USERS[: draw(st.sampled_from((2, 2, 3, 4)))]
    instants = draw(_instants())
    files: list[RawFile] = []
    told: list[tuple[Facts, RawEvent]] = []
    for _ in range(draw(st.integers(1, max_files))):
        file: RawFile = []
        least = min(max_events, draw(st.sampled_from((0, 3, 6))))
        for kind in draw(st.lists(st.sampled_from(_KINDS), min_size=least, max_size=max_events)):
            if kind == "fresh" or not told:
                facts = draw(_facts(_message_id(len(told)), users, instants))
                raw = draw(written(facts))
            else:
                facts, raw = draw(st.sampled_from(told))
                if kind == "changed":
                    facts = draw(_changed(facts, users, instants))
                raw = copy.deepcopy(raw) if kind == "repeated" else draw(written(facts))
            told.append((facts, raw))
            file.append(raw)
        files.append(file)
    return files


@st.composite
def run_orders(draw: st.DrawFn) -> Told:
    """A run's order: no window, or one with borders on the instants of events; a mode; and limits on them too."""
    borders = [anchor + step for anchor in ANCHORS for step in (*STEPS, timedelta(0))]
    as_of = draw(st.sampled_from((NOW, NOW, *borders)))
    ages = [hours for anchor in ANCHORS if (hours := int((as_of - anchor).total_seconds() // 3600)) > 0]
    limits = (draw(st.sampled_from((0, 0, *ages))), as_of, draw(st.sampled_from((None, 0, 1, 1, 12))))
    if draw(st.booleans()):
        return Told(None, "load and decide", *limits)
    start, end = sorted(draw(st.lists(st.sampled_from(borders), min_size=2, max_size=2, unique=True)))
    return Told((start, end), draw(st.sampled_from(("load and decide", "load only"))), *limits)


@st.composite
def on_time_day(draw: st.DrawFn, days: int = 1, max_events: int = 20) -> list[RawEvent]:
    """One day's events (or some days') in the order of time, ties among them, no message_id used twice."""
    users = USERS[: draw(st.sampled_from((2, 2, 3, 4)))]
    pool = [DAY_BORDER + timedelta(days=day) + step for day in range(days) for step in DAY_STEPS]
    instants = sorted(draw(st.lists(st.sampled_from(pool), min_size=1, max_size=max_events)))
    return [
        draw(written(draw(_facts(st.just(f"m{position}"), users, [instant]))))
        for position, instant in enumerate(instants)
    ]


@st.composite
def early_deliveries(draw: st.DrawFn, files: Sequence[RawFile]) -> list[RawFile]:
    """The same files, with some events delivered in an earlier file than their own."""
    delivered: list[RawFile] = [[] for _ in files]
    for number, file in enumerate(files):
        for event in file:
            is_early = draw(st.sampled_from((False, False, True)))
            delivered[draw(st.integers(0, number)) if is_early else number].append(event)
    return delivered


def cut_points(events: Sequence[RawEvent]) -> list[int]:
    """The positions where a sequence in the order of time may be cut: time moves on there."""
    times = [datetime.fromisoformat(event["event_timestamp"]) for event in events]
    return [position for position in range(1, len(times)) if times[position - 1] < times[position]]


def split_at(events: Sequence[RawEvent], cuts: Collection[int]) -> list[RawFile]:
    """The same sequence as consecutive files, a new one at each position of cuts."""
    borders = [0, *sorted(cuts), len(events)]
    return [list(events[start:end]) for start, end in pairwise(borders)]


def partitions(events: Sequence[RawEvent]) -> st.SearchStrategy[list[RawFile]]:
    """Ways to cut a sequence in the order of time into one or more files, never between equal instants."""
    allowed = cut_points(events)
    if not allowed:
        return st.just([list(events)])
    return st.sets(st.sampled_from(allowed)).map(lambda cuts: split_at(events, cuts))


def rules_documents() -> st.SearchStrategy[RulesDocument]:
    """Documents as rules.yaml holds them: as shipped, with rules added, or one to five of other making."""
    shipped = st.builds(copy.deepcopy, st.just(SHIPPED_RULES))
    return st.one_of(generated_rules(), shipped, _extended_rules(), shipped)


def enabled_names(rules: RulesDocument) -> list[str]:
    """The names of the enabled rules of a document."""
    return [rule["name"] for rule in rules["rules"] if rule.get("enabled", True)]


def names_of(rules: RulesDocument) -> st.SearchStrategy[list[str]]:
    """Some names of the enabled rules of a document, mostly one or more."""
    names = enabled_names(rules)
    return st.lists(st.sampled_from(names), max_size=3, unique=True) if names else st.just([])


@st.composite
def generated_rules(draw: st.DrawFn, max_rules: int = 5) -> RulesDocument:
    """A document of one to five rules that share templates, groups and triggers."""
    names = draw(st.lists(st.sampled_from(RULE_NAMES), min_size=1, max_size=max_rules, unique=True))
    templates = TEMPLATES[: draw(st.integers(1, len(TEMPLATES)))]
    return {"rules": [draw(_rule(name, templates)) for name in names]}


@st.composite
def written(draw: st.DrawFn, facts: Facts) -> RawEvent:
    """One of the many ways to write down the same event."""
    raw: RawEvent = {}
    if facts.message_id is not None:
        raw["message_id"] = facts.message_id
    elif draw(st.booleans()):
        raw["message_id"] = None
    raw["user_id"] = facts.user_id
    raw["event_type"] = facts.event_type
    raw["event_timestamp"] = draw(_timestamp(facts.instant))
    parts = (
        (
            "properties",
            facts.properties,
            facts.unknown_properties,
            ("amount", "attempt_number", "failure_reason", "order_id", "currency"),
        ),
        (
            "user_traits",
            facts.user_traits,
            facts.unknown_traits,
            ("email", "country", "marketing_opt_in", "risk_segment"),
        ),
    )
    for name, known, unknown, keys in parts:
        part: dict[str, Any] = {}
        for key in keys:
            if key in known:
                part[key] = draw(_spelling(key, known[key]))
            elif draw(st.sampled_from((False, False, True))):
                part[key] = None
        part.update(copy.deepcopy(dict(unknown)))
        if part:
            raw[name] = part
        else:
            way = draw(st.sampled_from(("absent", "null", "empty")))
            if way != "absent":
                raw[name] = None if way == "null" else {}
    raw.update(copy.deepcopy(dict(facts.unknown)))
    return raw


_KINDS = ("fresh", "fresh", "fresh", "fresh", "fresh", "fresh", "repeated", "rewritten", "changed")

_PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.sampled_from(AMOUNTS),
        "attempt_number": st.sampled_from(ATTEMPT_NUMBERS),
        "failure_reason": st.sampled_from(FAILURE_REASONS),
        "order_id": st.sampled_from(ORDER_IDS),
        "currency": st.sampled_from(CURRENCIES),
    },
)
_TRAITS = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(EMAILS),
        "country": st.sampled_from(COUNTRIES),
        "marketing_opt_in": st.sampled_from(OPT_INS),
        "risk_segment": st.sampled_from(RISK_SEGMENTS),
    },
)


def _rarely(values: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[Mapping[str, Any]]:
    """Mostly an empty mapping, now and then one of the values."""
    return st.sampled_from(({}, {}, {}, {}, *values))


_UNKNOWN = _rarely(
    (
        {"device": "ios"},
        {"sent_at": 1},
        {"sent_at": 2, "retries": 1},
        {"device": "android", "context": {"tags": ["a", "b"], "build": 7}},
    )
)
_UNKNOWN_PROPERTIES = _rarely(({"coupon": "A"}, {"coupon": "B"}))
_UNKNOWN_TRAITS = _rarely(({"plan": "pro"}, {"plan": "free"}))


def _message_id(serial: int) -> st.SearchStrategy[str | None]:
    """A message_id not used yet, or now and then none at all."""
    fresh = {0: "7", 1: "007"}.get(serial, f"m{serial}")
    return st.sampled_from((fresh, fresh, fresh, fresh, None))


@st.composite
def _instants(draw: st.DrawFn) -> list[datetime]:
    """A few instants exactly a day, an hour or half an hour apart, and some a microsecond beside them."""
    anchor = draw(st.sampled_from(ANCHORS))
    steps = (timedelta(0), *draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3, unique=True)))
    exact = [anchor + step for step in steps]
    beside = st.builds(operator.add, st.sampled_from(exact), st.sampled_from(TICKS))
    return exact + draw(st.lists(beside, max_size=3))


@st.composite
def _facts(
    draw: st.DrawFn,
    message_ids: st.SearchStrategy[str | None],
    users: Sequence[str],
    instants: Sequence[datetime],
) -> Facts:
    """What a new event says."""
    return Facts(
        message_id=draw(message_ids),
        user_id=draw(st.sampled_from((users[0], *users))),
        event_type=draw(st.sampled_from(EVENT_TYPES)),
        instant=draw(st.sampled_from(instants)),
        properties=draw(_PROPERTIES),
        user_traits=draw(_TRAITS),
        unknown=draw(_UNKNOWN),
        unknown_properties=draw(_UNKNOWN_PROPERTIES),
        unknown_traits=draw(_UNKNOWN_TRAITS),
    )


@st.composite
def _changed(draw: st.DrawFn, facts: Facts, users: Sequence[str], instants: Sequence[datetime]) -> Facts:
    """The same facts with one of them stated again, mostly differently."""
    anew: Mapping[str, st.SearchStrategy[Any]] = {
        "user_id": st.sampled_from(users),
        "event_type": st.sampled_from(EVENT_TYPES),
        "instant": st.sampled_from(instants),
        "properties": _PROPERTIES,
        "user_traits": _TRAITS,
        "unknown": _UNKNOWN,
        "unknown_properties": _UNKNOWN_PROPERTIES,
        "unknown_traits": _UNKNOWN_TRAITS,
    }
    name = draw(st.sampled_from(sorted(anew)))
    return replace(facts, **{name: draw(anew[name])})


@st.composite
def _timestamp(draw: st.DrawFn, instant: datetime) -> str:
    """An instant as ISO-8601, at one of several offsets and with as many decimals as it needs, or more."""
    offset = draw(st.sampled_from(OFFSETS))
    precisions = ("seconds", "milliseconds", "microseconds") if instant.microsecond == 0 else ("microseconds",)
    text = instant.astimezone(offset or UTC).isoformat(timespec=draw(st.sampled_from(precisions)))
    return text if offset is not None else text.removesuffix("+00:00") + "Z"


def _spelling(key: str, value: Any) -> st.SearchStrategy[Any]:
    """A known value as JSON may carry it: numbers also as text."""
    if key == "amount":
        whole = (int(value), str(int(value))) if value == int(value) else ()
        return st.sampled_from((value, *whole, str(value)))
    if key == "attempt_number":
        return st.sampled_from((value, str(value)))
    return st.just(value)


@st.composite
def _extended_rules(draw: st.DrawFn) -> RulesDocument:
    """The shipped rules, some of them perhaps off, and one or two more before or after them."""
    rules = [
        {**copy.deepcopy(rule), "enabled": draw(st.sampled_from((True, True, True, False)))}
        for rule in SHIPPED_RULES["rules"]
    ]
    for rule in draw(generated_rules(max_rules=2))["rules"]:
        rules.insert(draw(st.integers(0, len(rules))), rule)
    return {"rules": rules}


@st.composite
def _rule(draw: st.DrawFn, name: str, templates: Sequence[str]) -> dict[str, Any]:
    """A rule, valid and complete, with its optional keys there or not."""
    rule: dict[str, Any] = {"name": name, "description": f"Generated rule {name}"}
    enabled = draw(st.sampled_from((True, True, True, None, None, False)))
    if enabled is not None:
        rule["enabled"] = enabled
    rule["trigger"] = {"event_type": draw(st.sampled_from(EVENT_TYPES))}
    conditions = [draw(_condition()) for _ in range(draw(st.sampled_from((0, 0, 1, 2))))]
    if draw(st.booleans()) or conditions:
        rule["conditions"] = {"all": conditions}
    alert = draw(st.sampled_from((False, False, False, True)))
    rule["action"] = {
        "type": "alert" if alert else "send",
        "template_name": draw(st.sampled_from(templates)),
        "delivery_method": "internal" if alert else draw(st.sampled_from(("email", "sms"))),
    }
    modes = ("none",) if alert else ("none", "once_ever", "once_per_calendar_day")
    mode = draw(st.sampled_from(modes))
    if mode != "none" or draw(st.booleans()):
        rule["suppression"] = {"mode": mode}
    group = draw(st.sampled_from((None, "first", "first", "second")))
    if group is not None:
        rule["exclusive_group"] = group
    return rule


@st.composite
def _condition(draw: st.DrawFn) -> dict[str, Any]:
    """A comparison with a value of the field's type, or a look back at another event."""
    if draw(st.sampled_from((False, False, True))):
        return {
            "prior_event": {
                "event_type": draw(st.sampled_from(EVENT_TYPES)),
                "hours": draw(st.sampled_from((24, 1, 0.5))),
            }
        }
    name = draw(st.sampled_from(sorted(FIELD_VALUES)))
    values = st.sampled_from(FIELD_VALUES[name])
    operators = ["equals", "not_equals", "in", "exists", "not_exists"]
    if name in ORDERED_FIELDS:
        operators += ["gt", "gte", "lt", "lte"]
    condition: dict[str, Any] = {"field": name, "operator": draw(st.sampled_from(operators))}
    if condition["operator"] == "in":
        condition["value"] = draw(st.lists(values, min_size=1, max_size=3, unique=True))
    elif condition["operator"] not in ("exists", "not_exists"):
        condition["value"] = draw(values)
    return condition
