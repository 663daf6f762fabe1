"""What the pipeline must end in, worked out one event at a time.

The oracle that the set-based pipeline is compared with, row for row. It is slow and simple on purpose, and
shares no code with what it judges: it imports the standard library only.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

KNOWN_KEYS = ("message_id", "user_id", "event_type", "event_timestamp", "properties", "user_traits")
KNOWN_PROPERTIES = ("amount", "attempt_number", "failure_reason", "order_id", "currency")
DELIVERY_KEYS = ("sent_at", "received_at", "retry", "retries", "sentAt", "receivedAt")
PLAIN_PROPERTIES = KNOWN_PROPERTIES[:3]
"""The properties compared by value and not by how they are written, when there is no message_id."""
KNOWN_TRAITS = ("email", "country", "marketing_opt_in", "risk_segment")

Row = tuple[Any, ...]
Span = tuple[datetime, datetime]
"""A half-open stretch of time, its start in it and its end not."""


@dataclass(frozen=True)
class LoadCounts:
    """What became of one file's events; a conflict is counted among the duplicates too."""

    inserted: int
    duplicate: int
    conflict: int
    collision: int = 0


@dataclass(frozen=True)
class Properties:
    """The known properties of an event, each None when it has none."""

    amount: float | None
    attempt_number: int | None
    failure_reason: str | None
    order_id: str | None
    currency: str | None


@dataclass(frozen=True)
class Traits:
    """The known traits of an event's user, each None when it has none."""

    email: str | None
    country: str | None
    marketing_opt_in: bool | None
    risk_segment: str | None


@dataclass(frozen=True)
class Content:
    """What a raw event says, as far as the tables keep it; the timestamp is in UTC."""

    user_id: str
    event_type: str
    timestamp: datetime
    properties: Properties
    user_traits: Traits


@dataclass(frozen=True)
class Event:
    """An event that was inserted; its key is its position among all that were.

    `oldest` is the limit of age that the run which loaded it was given, if any. A held event has none, and waits for
    a run that asks for its time; neither has one that waited for its time to come. What a run without a window has
    loaded is left to such runs.
    """

    key: int
    message_id: str | None
    content: Content
    oldest: datetime | None = None
    is_held: bool = False
    has_window: bool = False


@dataclass(frozen=True)
class Request:
    """A rule's decision to send, or to alert; an alert uses up nobody's once. `group` is that of the rule then."""

    event: Event
    rule_name: str
    template_name: str
    channel: str
    is_alert: bool
    group: str | None = None


@dataclass(frozen=True)
class Suppressed:
    """A rule's decision not to send, and the send that stood in its way; none did where the event was too old."""

    event: Event
    rule_name: str
    template_name: str
    reason: str
    blocked_by: Request | None
    group: str | None = None


class Reference:
    """Everything loaded and decided so far, run after run."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._by_identity: dict[tuple[Any, ...], Event] = {}
        self._kept: set[tuple[int, str]] = set()
        self._decided: set[int] = set()
        self._ahead: set[int] = set()
        self._requests: list[Request] = []
        self._suppressed: list[Suppressed] = []
        self._former: list[Suppressed] = []

    def load(
        self,
        raw_events: Sequence[Mapping[str, Any]],
        window: Span | None = None,
        oldest: datetime | None = None,
        *,
        is_held: bool = False,
    ) -> LoadCounts:
        """Take one file's events in file order; of those with one identity the first ever seen is kept.

        One that differs from it in the time is a retry; one that differs in more is kept, with its line, once.
        """
        inserted = duplicate = conflict = collision = 0
        for raw in raw_events:
            content = _content(raw)
            if window is not None and not window[0] <= content.timestamp < window[1]:
                continue
            identity = _identity(raw, content)
            standing = self._by_identity.get(identity)
            if standing is None:
                event = Event(len(self._events), raw.get("message_id"), content, oldest, is_held, window is not None)
                self._events.append(event)
                self._by_identity[identity] = event
                inserted += 1
                continue
            is_same = replace(content, timestamp=standing.content.timestamp) == standing.content
            line = (standing.key, json.dumps(raw))
            if not is_same and line not in self._kept:
                self._kept.add(line)
                collision += 1
                continue
            duplicate += 1
            conflict += is_same and content != standing.content
        return LoadCounts(inserted, duplicate, conflict, collision)

    def decide(
        self,
        rules_document: Mapping[str, Any],
        window: Span | None = None,
        oldest: datetime | None = None,
        latest: datetime | None = None,
        again: Sequence[str] = (),
    ) -> None:
        """Decide every event not decided yet by the enabled rules that match it, once and for all.

        An event after `latest` waits for its time from now on. One that waits for it, and a held one, which waits for
        a window that it lies in, is held to the limit `oldest` when it is decided. The rules named in `again` decide
        events of the window that were decided before, too, up to `latest` and within the limit `oldest`. Rules none of
        which is enabled decide nothing.
        """
        if not any(rule.get("enabled", True) for rule in rules_document.get("rules") or []):
            return
        decided_before = frozenset(self._decided)
        waiting = [event for event in self._events if event.key not in self._decided and self._is_asked(event, window)]
        before = [event for event in self._events if event.key in decided_before and _lies_in(event, window)]
        for event in sorted(
            [*waiting, *(before if again else [])], key=lambda each: (each.content.timestamp, each.key)
        ):
            is_too_early = latest is not None and event.content.timestamp > latest
            if event.key in decided_before:
                if not is_too_early:
                    self._decide_again(rules_document, replace(event, oldest=oldest), again)
                continue
            if is_too_early:
                self._ahead.add(event.key)
                continue
            has_waited = event.is_held or event.key in self._ahead
            self._decide_one(rules_document, replace(event, oldest=oldest) if has_waited else event)

    def _decide_again(self, rules_document: Mapping[str, Any], event: Event, again: Sequence[str]) -> None:
        """Let the named rules decide one event that was decided before, if nothing forbids it."""
        rules = rules_document.get("rules") or []
        groups_spoken_for: set[str] = set()
        for rule in rules:
            if not rule.get("enabled", True) or not self._matches(rule, event):
                continue
            group = rule.get("exclusive_group")
            mates = [each["name"] for each in rules if group is not None and each.get("exclusive_group") == group]
            ever: list[Request | Suppressed] = [*self._requests, *self._suppressed]
            decisions = [each for each in ever if each.event.key == event.key]
            own = [each for each in decisions if each.rule_name == rule["name"]]
            in_group = [
                each
                for each in decisions
                if each.rule_name != rule["name"]
                and group is not None
                and (each.rule_name in mates or each.group == group)
            ]
            is_first = group is None or group not in groups_spoken_for
            if group is not None:
                groups_spoken_for.add(group)
            if rule["name"] not in again or in_group:
                continue
            if not own and is_first:
                self._apply(rule, event)
            for each in own:
                if isinstance(each, Suppressed) and each.reason == "expired" and not _expires(rule, event):
                    self._suppressed.remove(each)
                    self._former.append(each)
                    self._apply(rule, event)

    def _is_asked(self, event: Event, window: Span | None) -> bool:
        """Whether a run of this window, or of none, is to decide the event if its time has come."""
        if event.key in self._ahead:
            return _lies_in(event, window)
        if event.is_held:
            return window is not None and _lies_in(event, window)
        return window is None or event.has_window

    def _decide_one(self, rules_document: Mapping[str, Any], event: Event) -> None:
        """Decide one event."""
        groups_spoken_for: set[str] = set()
        for rule in rules_document.get("rules") or []:
            if not rule.get("enabled", True) or not self._matches(rule, event):
                continue
            group = rule.get("exclusive_group")
            if group is not None and group in groups_spoken_for:
                continue
            if group is not None:
                groups_spoken_for.add(group)
            self._apply(rule, event)
        self._decided.add(event.key)

    def latest_traits(self, reached: datetime | None) -> list[Row]:
        """Rows of (user_id, email, country, marketing_opt_in, risk_segment): the latest value of each by then."""
        latest: dict[str, dict[str, Any]] = {}
        for event in sorted(self._events, key=lambda event: (event.content.timestamp, event.key)):
            traits = asdict(event.content.user_traits)
            if any(value is not None for value in traits.values()) and (
                reached is None or event.content.timestamp <= reached
            ):
                known = latest.setdefault(event.content.user_id, dict.fromkeys(traits))
                known.update({name: value for name, value in traits.items() if value is not None})
        return sort_rows((user_id, *known.values()) for user_id, known in latest.items())

    def waiting(self) -> list[Row]:
        """Rows of (event key, what it waits for), of the events that are not decided."""
        return sort_rows(
            (event.key, "its time" if event.key in self._ahead else "a backfill" if event.is_held else "the next run")
            for event in self._events
            if event.key not in self._decided
        )

    def events(self) -> list[Row]:
        """Rows of (message_id, user_id, event_type, event_timestamp)."""
        return sort_rows(
            (
                event.message_id,
                event.content.user_id,
                event.content.event_type,
                _text(event.content.timestamp),
            )
            for event in self._events
        )

    def event_properties(self) -> list[Row]:
        """Rows of (event key and the five properties in order), for events with at least one."""
        rows = [(event.key, *astuple(event.content.properties)) for event in self._events]
        return sort_rows(row for row in rows if any(value is not None for value in row[1:]))

    def user_traits(self) -> list[Row]:
        """Rows of (event key, email, country, marketing_opt_in, risk_segment), likewise."""
        rows = [(event.key, *astuple(event.content.user_traits)) for event in self._events]
        return sort_rows(row for row in rows if any(value is not None for value in row[1:]))

    def send_requests(self) -> list[Row]:
        """Rows of (event key, user_id, template_name, channel, reason, rule_name, event_timestamp)."""
        return sort_rows(
            (
                request.event.key,
                request.event.content.user_id,
                request.template_name,
                request.channel,
                f"rule:{request.rule_name}",
                request.rule_name,
                _text(request.event.content.timestamp),
            )
            for request in self._requests
        )

    def suppressions(self) -> list[Row]:
        """Rows of (event key, user_id, template_name, suppression_reason, rule_name, timestamp, blocker).

        The blocker is the send that stood in the way, as the pair (event key, rule_name), or None if none did.
        """
        return sort_rows(map(_suppression, self._suppressed))

    def former_suppressions(self) -> list[Row]:
        """Rows as those of suppressions, of what had expired and was decided again."""
        return sort_rows(map(_suppression, self._former))

    def _matches(self, rule: Mapping[str, Any], event: Event) -> bool:
        """Whether the event is of the rule's type and every condition holds."""
        if event.content.event_type != rule["trigger"]["event_type"]:
            return False
        conditions = (rule.get("conditions") or {}).get("all") or []
        return all(self._holds(condition, event) for condition in conditions)

    def _holds(self, condition: Mapping[str, Any], event: Event) -> bool:
        """Whether one condition holds for the event, given everything loaded by now."""
        if "prior_event" in condition:
            wanted = condition["prior_event"]
            return self._has_prior(event, wanted["event_type"], timedelta(hours=wanted["hours"]))
        return _compare(_field(event, condition["field"]), condition["operator"], condition.get("value"))

    def _has_prior(self, event: Event, event_type: str, window: timedelta) -> bool:
        """Whether another event of the type by the user is in the window up to the event, ends included."""
        for other in self._events:
            if (
                other.key != event.key
                and other.content.user_id == event.content.user_id
                and other.content.event_type == event_type
                and event.content.timestamp - window <= other.content.timestamp <= event.content.timestamp
            ):
                return True
        return False

    def _apply(self, rule: Mapping[str, Any], event: Event) -> None:
        """Write what a matching rule decides on the event: a request or a suppression."""
        action = rule["action"]
        mode = (rule.get("suppression") or {}).get("mode", "none")
        group = rule.get("exclusive_group")
        request = Request(
            event, rule["name"], action["template_name"], action["delivery_method"], action["type"] == "alert", group
        )
        in_the_way = [] if request.is_alert else self._in_the_way(request, mode)
        if not in_the_way and _expires(rule, event):
            self._suppressed.append(Suppressed(event, request.rule_name, request.template_name, "expired", None, group))
            return
        if not in_the_way:
            self._requests.append(request)
            return
        # Requests are in the order they were decided and min takes the first of equals.
        blocker = min(in_the_way, key=lambda send: send.event.content.timestamp)
        self._suppressed.append(Suppressed(event, request.rule_name, request.template_name, mode, blocker, group))

    def _in_the_way(self, wanted: Request, mode: str) -> list[Request]:
        """The sends made so far that use up the once of the wanted one."""
        same_message = [
            sent
            for sent in self._requests
            if not sent.is_alert
            and sent.event.content.user_id == wanted.event.content.user_id
            and sent.template_name == wanted.template_name
        ]
        if mode == "none":
            return []
        if mode == "once_ever":
            return same_message
        if mode == "once_per_calendar_day":
            day = wanted.event.content.timestamp.date()
            return [sent for sent in same_message if sent.event.content.timestamp.date() == day]
        raise ValueError(f"unknown suppression mode {mode!r}")


def _suppression(suppressed: Suppressed) -> Row:
    return (
        suppressed.event.key,
        suppressed.event.content.user_id,
        suppressed.template_name,
        suppressed.reason,
        suppressed.rule_name,
        _text(suppressed.event.content.timestamp),
        suppressed.blocked_by and (suppressed.blocked_by.event.key, suppressed.blocked_by.rule_name),
    )


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows in one fixed order, None before any value; sort the database's rows with it too."""
    return sorted(rows, key=lambda row: [(value is not None, value) for value in row])


def _lies_in(event: Event, window: Span | None) -> bool:
    """Whether an event is in the window, if there is one."""
    return window is None or window[0] <= event.content.timestamp < window[1]


def _expires(rule: Mapping[str, Any], event: Event) -> bool:
    """Whether an event is too old for what a rule would send; nothing is for an alert."""
    is_alert = rule["action"]["type"] == "alert"
    return not is_alert and event.oldest is not None and event.content.timestamp < event.oldest


def _content(raw: Mapping[str, Any]) -> Content:
    """What a raw event says, in one spelling."""
    timestamp = datetime.fromisoformat(raw["event_timestamp"])
    if timestamp.tzinfo is None:
        raise ValueError(f"timestamp without an offset: {raw['event_timestamp']!r}")
    properties = raw.get("properties") or {}
    traits = raw.get("user_traits") or {}
    amount = properties.get("amount")
    attempt_number = properties.get("attempt_number")
    return Content(
        user_id=raw["user_id"],
        event_type=raw["event_type"],
        timestamp=timestamp.astimezone(UTC),
        properties=Properties(
            amount=None if amount is None else float(amount),
            attempt_number=None if attempt_number is None else int(attempt_number),
            failure_reason=properties.get("failure_reason"),
            order_id=properties.get("order_id"),
            currency=properties.get("currency"),
        ),
        user_traits=Traits(
            email=traits.get("email"),
            country=traits.get("country"),
            marketing_opt_in=traits.get("marketing_opt_in"),
            risk_segment=traits.get("risk_segment"),
        ),
    )


def _identity(raw: Mapping[str, Any], content: Content) -> tuple[Any, ...]:
    """What makes two raw events the same one: the message_id, or for want of it all they say."""
    message_id = raw.get("message_id")
    if message_id is not None:
        return ("message_id", message_id)
    unknown = [
        {key: value for key, value in raw.items() if key not in KNOWN_KEYS and key not in DELIVERY_KEYS},
        {key: value for key, value in (raw.get("properties") or {}).items() if key not in PLAIN_PROPERTIES},
        {key: value for key, value in (raw.get("user_traits") or {}).items() if key not in KNOWN_TRAITS},
    ]
    return ("content", content, json.dumps(unknown, sort_keys=True))


def _field(event: Event, field: str) -> Any:
    """The event's value of a field named as rules name it, None when it is missing."""
    part, _, name = field.partition(".")
    if part == "properties" and name in KNOWN_PROPERTIES:
        return getattr(event.content.properties, name)
    if part == "user_traits" and name in KNOWN_TRAITS:
        return getattr(event.content.user_traits, name)
    raise ValueError(f"unknown field {field!r}")


def _compare(actual: Any, operator: str, value: Any) -> bool:
    """Whether the comparison holds; with a missing value none does but not_exists."""
    if operator == "exists":
        return actual is not None
    if operator == "not_exists":
        return actual is None
    if actual is None:
        return False
    if operator == "equals":
        return bool(actual == value)
    if operator == "not_equals":
        return bool(actual != value)
    if operator == "gt":
        return bool(actual > value)
    if operator == "gte":
        return bool(actual >= value)
    if operator == "lt":
        return bool(actual < value)
    if operator == "lte":
        return bool(actual <= value)
    if operator == "in":
        return actual in value
    raise ValueError(f"unknown operator {operator!r}")


def _text(timestamp: datetime) -> str:
    """A UTC timestamp as SQLite keeps it: YYYY-MM-DD HH:MM:SS.ffffff."""
    return timestamp.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
