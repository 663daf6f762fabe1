"""What the rule language means, worked out one match at a time.

The oracle for decisions: slow and simple on purpose. It shares no code with what it judges and imports the standard
library only. `tests/reference.py` keeps the events, and calls `Decider.decide` once for each run.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """A loaded event; its key is its place in the order of loading, and `loaded_as_of` the logical time of its run."""

    key: int
    user_id: str
    event_type: str
    timestamp: datetime
    properties: Mapping[str, Any]
    user_traits: Mapping[str, Any]
    loaded_as_of: datetime

    @property
    def effective_time(self) -> datetime:
        """When blocks take it to have happened: never later than its run."""
        return min(self.timestamp, self.loaded_as_of)

    def value(self, name: str) -> Any:
        """The value of `properties.x` or `user_traits.x`, None when it is missing."""
        part, _, key = name.partition(".")
        values = {"properties": self.properties, "user_traits": self.user_traits}[part]
        return values.get(key)


@dataclass(frozen=True)
class Match:
    """A rule's match with an event at its decision time; `is_too_old` by the limit of the run that met it first."""

    event: Event
    rule: Mapping[str, Any]
    position: int
    decision_time: datetime
    is_too_old: bool


@dataclass(frozen=True)
class Send:
    """A decision to send, or to alert."""

    event: Event
    rule_name: str
    template_name: str
    channel: str
    decision_time: datetime
    is_alert: bool
    is_exempt_from_limits: bool


@dataclass(frozen=True)
class Refusal:
    """A decision not to send: the reason, and the send or event that stood in the way, where one did."""

    event: Event
    rule_name: str
    template_name: str
    channel: str
    reason: str
    decision_time: datetime
    blocking_send: Send | None = None
    blocking_event: Event | None = None
    reasons: tuple[str, ...] = ()
    """Every reason against it, this one first."""


@dataclass(frozen=True)
class Waiting:
    """A match whose decision time has not come."""

    event: Event
    rule_name: str
    decision_time: datetime
    is_too_old: bool


@dataclass
class Decider:
    """Everything decided so far, run after run."""

    sends: list[Send] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    lapsed: list[Waiting] = field(default_factory=list)

    def decide(
        self,
        document: Document,
        as_of: datetime,
        fresh: Sequence[tuple[Event, datetime | None]],
        loaded: Sequence[Event],
    ) -> None:
        """Decide the fresh events, each given with the instant before which it is too old, and what was waited for.

        `loaded` is every event in the tables by now.
        """
        rules = [
            (position, rule) for position, rule in enumerate(document.get("rules") or []) if rule.get("enabled", True)
        ]
        matches: list[Match] = []
        for event, oldest in fresh:
            is_too_old = oldest is not None and event.timestamp < oldest
            for position, rule in rules:
                if rule["trigger"]["event_type"] != event.event_type:
                    continue
                if "wait" not in rule:
                    matches.append(Match(event, rule, position, event.timestamp, is_too_old))
                elif _may_hold(rule.get("conditions"), event):
                    decision_time = event.timestamp + _hours(rule["wait"]["hours"])
                    self.waiting.append(Waiting(event, rule["name"], decision_time, is_too_old))
        matches.extend(self._due(document, rules, as_of, loaded))
        matches.sort(key=lambda match: (match.decision_time, match.event.key, match.position))
        holding = [match for match in matches if _holds(match.rule.get("conditions"), match, loaded)]
        for match in _first_of_each_group(holding):
            self._decide_match(match, document, as_of, loaded)

    def _due(
        self,
        document: Document,
        rules: Sequence[tuple[int, Mapping[str, Any]]],
        as_of: datetime,
        loaded: Sequence[Event],
    ) -> list[Match]:
        """Take out what need not wait any longer: as matches, or as lapsed."""
        by_name = {rule["name"]: (position, rule) for position, rule in rules}
        due: list[Match] = []
        still_waiting: list[Waiting] = []
        for waiting in self.waiting:
            has_data = not document.get("wait_for_data", False) or any(
                event.effective_time >= waiting.decision_time for event in loaded
            )
            if not waiting.decision_time < as_of or not has_data:
                still_waiting.append(waiting)
                continue
            position, rule = by_name.get(waiting.rule_name, (0, None))
            if rule is None or "wait" not in rule or rule["trigger"]["event_type"] != waiting.event.event_type:
                self.lapsed.append(waiting)
            else:
                due.append(Match(waiting.event, rule, position, waiting.decision_time, waiting.is_too_old))
        self.waiting = still_waiting
        return due

    def _decide_match(self, match: Match, document: Document, as_of: datetime, loaded: Sequence[Event]) -> None:
        action = match.rule["action"]
        is_alert = action["type"] == "alert"
        exempt = set(match.rule.get("exempt_from") or ())
        refusals = [] if is_alert else list(self._refusals_of(match, document, as_of, loaded, exempt))
        if refusals:
            reason, blocking_send, blocking_event = refusals[0]
            self.refusals.append(
                Refusal(
                    match.event,
                    match.rule["name"],
                    action["template_name"],
                    action["delivery_method"],
                    reason,
                    match.decision_time,
                    blocking_send,
                    blocking_event,
                    tuple(each[0] for each in refusals),
                )
            )
            return
        self.sends.append(
            Send(
                match.event,
                match.rule["name"],
                action["template_name"],
                action["delivery_method"],
                match.decision_time,
                is_alert,
                "limits" in exempt,
            )
        )

    def _refusals_of(
        self, match: Match, document: Document, as_of: datetime, loaded: Sequence[Event], exempt: set[str]
    ) -> Iterator[tuple[str, Send | None, Event | None]]:
        """What stops a match, in order: the reason, and the send or the event."""
        zone = ZoneInfo(document.get("timezone", "UTC"))
        in_reach = self._sends_in_reach(match, zone)
        if in_reach:
            yield match.rule["suppression"]["mode"], _earliest(in_reach), None
        if "blocks" not in exempt:
            for block in document.get("blocks") or []:
                if _applies(block, match):
                    is_blocked, event = _block(block, match.event.user_id, as_of, loaded)
                    if is_blocked:
                        yield f"blocked:{block['name']}", None, event
        if "holdout" not in exempt and _is_held_out(document.get("holdout"), match.event.user_id):
            yield "holdout", None, None
        if "limits" not in exempt:
            for limit in document.get("limits") or []:
                if _applies(limit, match):
                    blocker = self._limit(limit, match, zone)
                    if blocker is not None:
                        yield f"limit:{limit['name']}", blocker, None
        expires_after = match.rule.get("expires_after_hours")
        if match.is_too_old or (expires_after is not None and as_of - match.decision_time > _hours(expires_after)):
            yield "expired", None, None

    def _sends_to(self, match: Match) -> list[Send]:
        return [send for send in self.sends if not send.is_alert and send.event.user_id == match.event.user_id]

    def _sends_in_reach(self, match: Match, zone: ZoneInfo) -> list[Send]:
        suppression = match.rule.get("suppression") or {}
        mode = suppression.get("mode", "none")
        if mode == "none":
            return []
        per = suppression.get("per") or []
        same_message = [
            send
            for send in self._sends_to(match)
            if send.template_name == match.rule["action"]["template_name"]
            and all(send.event.value(name) == match.event.value(name) for name in per)
        ]
        reaches: Mapping[str, Callable[[Send], bool]] = {
            "once_ever": lambda _: True,
            "once_per_calendar_day": lambda send: _same_period("day", send, match, zone),
            "once_per_calendar_week": lambda send: _same_period("week", send, match, zone),
            "once_per_calendar_month": lambda send: _same_period("month", send, match, zone),
            "once_per_hours": lambda send: abs(send.decision_time - match.decision_time) < _hours(suppression["hours"]),
        }
        return [send for send in same_message if reaches[mode](send)]

    def _limit(self, limit: Mapping[str, Any], match: Match, zone: ZoneInfo) -> Send | None:
        """The earliest send that fills a limit for a match, or None when there is room."""
        counted = [
            send
            for send in self._sends_to(match)
            if not send.is_exempt_from_limits
            and send.channel in (limit.get("channels") or [send.channel])
            and send.template_name in (limit.get("templates") or [send.template_name])
        ]
        if "calendar" in limit:
            near = [send for send in counted if _same_period(limit["calendar"], send, match, zone)]
            return _earliest(near) if len(near) >= limit["at_most"] else None
        hours = _hours(limit["hours"])
        near = [send for send in counted if abs(send.decision_time - match.decision_time) < hours]
        times = [match.decision_time, *(send.decision_time for send in near)]
        # A window that holds too many can be moved until it ends at the last of them.
        is_full = any(
            end - hours < match.decision_time <= end
            and sum(end - hours < time <= end for time in times) > limit["at_most"]
            for end in times
        )
        return _earliest(near) if is_full else None


def _earliest(sends: Sequence[Send]) -> Send:
    return min(sends, key=lambda send: (send.decision_time, send.event.key))


def _first_of_each_group(matches: Sequence[Match]) -> list[Match]:
    """Of the rules of one exclusive group that match an event the first in the file, and all without a group."""
    first: dict[tuple[int, str], int] = {}
    for match in matches:
        group = match.rule.get("exclusive_group")
        if group is not None:
            key = (match.event.key, group)
            first[key] = min(first.get(key, match.position), match.position)
    return [
        match
        for match in matches
        if match.rule.get("exclusive_group") is None
        or first[(match.event.key, match.rule["exclusive_group"])] == match.position
    ]


def _hours(hours: Any) -> timedelta:
    return timedelta(seconds=int(Decimal(str(hours)) * 3600))


def _period(kind: str, instant: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """The calendar day, ISO week or month of an instant on the wall calendar of a zone."""
    day: date = instant.astimezone(zone).date()
    if kind == "day":
        return (day.year, day.month, day.day)
    if kind == "week":
        return tuple(day.isocalendar())[:2]
    if kind == "month":
        return (day.year, day.month)
    raise ValueError(f"unknown period {kind!r}")


def _same_period(kind: str, send: Send, match: Match, zone: ZoneInfo) -> bool:
    return _period(kind, send.decision_time, zone) == _period(kind, match.decision_time, zone)


def _applies(part: Mapping[str, Any], match: Match) -> bool:
    """Whether a block or limit looks at the match's channel, and at its template where it names some."""
    action = match.rule["action"]
    return action["delivery_method"] in (part.get("channels") or [action["delivery_method"]]) and action[
        "template_name"
    ] in (part.get("templates") or [action["template_name"]])


def _block(
    block: Mapping[str, Any], user_id: str, as_of: datetime, loaded: Sequence[Event]
) -> tuple[bool, Event | None]:
    """Whether a block holds for a user at `as_of`, and the event by which it does."""
    events = sorted(
        (event for event in loaded if event.user_id == user_id),
        key=lambda event: (event.effective_time, event.timestamp, event.key),
    )
    if "while" in block:
        seen = [event for event in events if event.effective_time <= as_of]
        return _holds_while(block["while"], seen)
    begins = [event for event in events if _is_one_of(block["from"], event)]
    if not begins:
        return False, None
    ends = [
        event
        for event in events
        if "until" in block and _is_one_of(block["until"], event) and event.effective_time <= as_of
    ]
    is_blocked = not ends or begins[-1].effective_time >= ends[-1].effective_time
    return is_blocked, begins[-1] if is_blocked else None


def _holds_while(condition: Mapping[str, Any], seen: Sequence[Event]) -> tuple[bool, Event | None]:
    """Whether a condition on latest_traits alone holds; the event is the last that gave one of its values."""
    givers: list[Event] = []

    def evaluate(part: Any) -> bool:
        if "all" in part:
            held = [evaluate(each) for each in part["all"]]
            return all(held)
        if "any" in part:
            held = [evaluate(each) for each in part["any"]]
            return any(held)
        if "not" in part:
            return not evaluate(part["not"])
        name = part["field"].removeprefix("latest_traits.")
        giver = next((event for event in reversed(seen) if event.user_traits.get(name) is not None), None)
        if giver is not None:
            givers.append(giver)
        actual = None if giver is None else giver.user_traits[name]
        return _compare(actual, part["operator"], part.get("value"))

    holds = evaluate(condition)
    last = max(givers, key=lambda event: (event.effective_time, event.timestamp, event.key), default=None)
    return holds, last if holds else None


def _is_one_of(wanted: Mapping[str, Any], event: Event) -> bool:
    return event.event_type == wanted["event_type"] and all(
        _compare(event.value(each["field"]), each["operator"], each.get("value")) for each in wanted.get("where") or []
    )


def _is_held_out(holdout: Mapping[str, Any] | None, user_id: str) -> bool:
    if holdout is None:
        return False
    number = int(hashlib.md5(f"{holdout['salt']}:{user_id}".encode(), usedforsecurity=False).hexdigest()[:8], 16)
    return number % 10000 < Decimal(str(holdout["percent"])) * 100


def _holds(condition: Any, match: Match, loaded: Sequence[Event]) -> bool:
    """Whether a condition holds for a match, on what is loaded by now."""
    if not condition:
        return True
    if "all" in condition:
        return all(_holds(part, match, loaded) for part in condition["all"])
    if "any" in condition:
        return any(_holds(part, match, loaded) for part in condition["any"])
    if "not" in condition:
        return not _holds(condition["not"], match, loaded)
    if "prior_event" in condition:
        prior = condition["prior_event"]
        return _happened({"event_type": prior["event_type"], "within_hours": prior["hours"]}, match, loaded)
    if "happened" in condition:
        return _happened(condition["happened"], match, loaded)
    name = condition["field"]
    if name.startswith("latest_traits."):
        actual = _latest(name.removeprefix("latest_traits."), match, loaded)
    else:
        actual = match.event.value(name)
    return _compare(actual, condition["operator"], condition.get("value"))


def _latest(trait: str, match: Match, loaded: Sequence[Event]) -> Any:
    known = [
        event
        for event in loaded
        if event.user_id == match.event.user_id
        and event.timestamp <= match.decision_time
        and event.user_traits.get(trait) is not None
    ]
    last = max(known, key=lambda event: (event.timestamp, event.key), default=None)
    return None if last is None else last.user_traits[trait]


def _happened(wanted: Mapping[str, Any], match: Match, loaded: Sequence[Event]) -> bool:
    start = datetime.min.replace(tzinfo=UTC)
    if "within_hours" in wanted:
        start = match.decision_time - _hours(wanted["within_hours"])
    elif wanted.get("since_trigger", False):
        start = match.event.timestamp
    count = sum(
        event.key != match.event.key
        and event.user_id == match.event.user_id
        and start <= event.timestamp <= match.decision_time
        and _is_one_of(wanted, event)
        and all(
            event.value(name) is not None and event.value(name) == match.event.value(name)
            for name in wanted.get("same") or []
        )
        for event in loaded
    )
    at_most = wanted.get("at_most")
    at_least = wanted.get("at_least", 1 if at_most is None else 0)
    return at_least <= count and (at_most is None or count <= at_most)


def _may_hold(condition: Any, event: Event) -> bool:
    """Whether a condition is not already false by the event's own fields, all that looks elsewhere left open."""
    return _three_valued(condition, event) is not False


def _three_valued(condition: Any, event: Event) -> bool | None:
    if not condition:
        return True
    if "all" in condition:
        parts = [_three_valued(part, event) for part in condition["all"]]
        return False if False in parts else None if None in parts else True
    if "any" in condition:
        parts = [_three_valued(part, event) for part in condition["any"]]
        return True if True in parts else None if None in parts else False
    if "not" in condition:
        inner = _three_valued(condition["not"], event)
        return None if inner is None else not inner
    if "field" in condition and not condition["field"].startswith("latest_traits."):
        return _compare(event.value(condition["field"]), condition["operator"], condition.get("value"))
    return None


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": lambda actual, value: actual == value,
    "not_equals": lambda actual, value: actual != value,
    "in": lambda actual, value: actual in value,
    "not_in": lambda actual, value: actual not in value,
    "gt": lambda actual, value: actual > value,
    "gte": lambda actual, value: actual >= value,
    "lt": lambda actual, value: actual < value,
    "lte": lambda actual, value: actual <= value,
    "contains": lambda actual, value: value in actual,
    "starts_with": lambda actual, value: actual.startswith(value),
    "ends_with": lambda actual, value: actual.endswith(value),
}


def _compare(actual: Any, operator: str, value: Any) -> bool:
    """Whether a comparison holds; with a missing value none does but not_exists."""
    if operator == "exists":
        return actual is not None
    if operator == "not_exists":
        return actual is None
    return actual is not None and _COMPARISONS[operator](actual, value)
