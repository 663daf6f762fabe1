"""Counts the messages of one user for limits and longer onces: matches that have to be taken one after the other.

Set-based SQL handles well what goes out once ever or once per UTC day. Whether a third e-mail of a week may go out
depends on which of the two before it did, and that takes a loop. It takes one user after the other, is linear in their
matches and earlier sends except for a search in a sorted list, and keeps only one user's data in memory.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from src.marketing_messaging_service.decisions.calendar import moved, period_of
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import UTC, Exemption, Limit, Rule, Rules
from src.marketing_messaging_service.models import CALENDAR_KEY, DAY_KEY, EVER_KEY
from src.marketing_messaging_service.vocabulary import Period, SuppressionMode, SuppressionReason

Values = tuple[Any, ...]
"""An event's values of the fields that some rule has in `per`, always in the same order."""

PER_HASH_LENGTH = 32
"""Hexadecimal digits of a hash of `per` values in a dedupe key: 128 bits."""

# Made once, because making an encoder takes longer than writing the few values of a key.
_written = json.JSONEncoder(default=str).encode


class Send(NamedTuple):
    """A message that was decided for a user: by an earlier batch, or by this one."""

    id: int
    event_id: int
    decision_time: datetime
    template_name: str
    channel: str
    is_exempt: bool
    """Whether no limit counts it."""
    values: Values

    @property
    def order(self) -> tuple[datetime, int, int]:
        """Sorts so that the earliest of several is named; among those of one event, the first decided."""
        return self.decision_time, self.event_id, self.id


class Candidate(NamedTuple):
    """A match that earns a message unless something forbids it."""

    sequence_number: int
    event_id: int
    decision_time: datetime
    rule_position: int
    refusal: str | None
    """What forbids it whatever was sent before: a block or the holdout."""
    is_too_old: bool
    values: Values


class Verdict(NamedTuple):
    """The outcome of a match: a send under a key, or a refusal with its reason and the send in the way."""

    sequence_number: int
    dedupe_key: str | None
    reason: str | None
    blocked_by_id: int | None


class _Reach(Protocol):
    """Finds the earliest send that it knows to be in the way of a match."""

    def start(self, sends: Iterable[Send]) -> None:
        """Take in the sends so far, in any order."""

    def add(self, send: Send) -> None:
        """Take in a send that was just made, no earlier than those before it."""

    def blocker(self, at: datetime, values: Values) -> Send | None:
        """Return the earliest send in the way, None if there is none."""


@dataclass(frozen=True, slots=True)
class _Per:
    """The fields by whose values a rule distinguishes messages."""

    paths: tuple[str, ...]
    places: tuple[int, ...]
    """Their places among an event's values."""

    def of(self, values: Values) -> tuple[Hashable, ...]:
        """Return their values."""
        return tuple([values[place] for place in self.places])

    def hash(self, values: Values) -> str:
        """Return what represents their values in a dedupe key, from which they cannot be read back."""
        # 0.0 and -0.0 are equal but are written differently.
        said = [
            [path, value + 0.0 if isinstance(value, float) else value]
            for path, value in zip(self.paths, self.of(values), strict=True)
        ]
        return hashlib.sha256(_written(said).encode()).hexdigest()[:PER_HASH_LENGTH]


class _Once:
    """The reach of once_ever and of the calendar modes: all sends in the same named period."""

    def __init__(self, period: Period | None, zone: ZoneInfo, per: _Per) -> None:
        self._period, self._zone, self._per = period, zone, per
        self._earliest: dict[tuple[Hashable, ...], Send] = {}

    def _place(self, at: datetime, values: Values) -> tuple[Hashable, ...]:
        name = period_of(self._period, at, self._zone) if self._period else ""
        return (name, *self._per.of(values))

    def start(self, sends: Iterable[Send]) -> None:
        for send in sends:
            self.add(send)

    def add(self, send: Send) -> None:
        place = self._place(send.decision_time, send.values)
        known = self._earliest.get(place)
        if known is None or send.order < known.order:
            self._earliest[place] = send

    def blocker(self, at: datetime, values: Values) -> Send | None:
        return self._earliest.get(self._place(at, values))


@dataclass(slots=True)
class _Line:
    """Sends in the order of their decision times: those of earlier batches, and those of this one as they are made."""

    _before: list[Send] = field(default_factory=list)
    _made: list[Send] = field(default_factory=list)
    _before_times: list[datetime] = field(default_factory=list)
    _made_times: list[datetime] = field(default_factory=list)

    def start(self, sends: Iterable[Send]) -> None:
        self._before = sorted(sends, key=lambda send: send.order)
        self._before_times = [send.decision_time for send in self._before]

    def add(self, send: Send) -> None:
        self._made.append(send)
        self._made_times.append(send.decision_time)

    def count(self, after: datetime, until: datetime) -> int:
        """Return how many are after one instant and not after another."""
        return sum(
            bisect_right(times, until) - bisect_right(times, after) for times in (self._before_times, self._made_times)
        )

    def first_between(self, after: datetime, before: datetime) -> Send | None:
        """Return the earliest strictly between two instants."""
        found = []
        for sends, times in ((self._before, self._before_times), (self._made, self._made_times)):
            place = bisect_right(times, after)
            if place < len(sends) and times[place] < before:
                found.append(sends[place])
        return min(found, key=lambda send: send.order, default=None)

    def times_between(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """Yield the times strictly between two instants, in order; those of this batch are not later."""
        for place in range(bisect_right(self._before_times, after), bisect_left(self._before_times, before)):
            yield self._before_times[place]


class _WithinHours:
    """The reach of once_per_hours: sends less than that many hours away, before or after."""

    def __init__(self, length: timedelta, per: _Per) -> None:
        self._length, self._per = length, per
        self._lines: dict[tuple[Hashable, ...], _Line] = defaultdict(_Line)

    def start(self, sends: Iterable[Send]) -> None:
        grouped: dict[tuple[Hashable, ...], list[Send]] = defaultdict(list)
        for send in sends:
            grouped[self._per.of(send.values)].append(send)
        for place, each in grouped.items():
            self._lines[place].start(each)

    def add(self, send: Send) -> None:
        self._lines[self._per.of(send.values)].add(send)

    def blocker(self, at: datetime, values: Values) -> Send | None:
        line = self._lines.get(self._per.of(values))
        if line is None:
            return None
        return line.first_between(moved(at, -self._length), moved(at, self._length))


class _HoursLimit:
    """A limit over any window of that many hours."""

    def __init__(self, at_most: int, length: timedelta) -> None:
        self._at_most, self._length = at_most, length
        self._line = _Line()

    def start(self, sends: Iterable[Send]) -> None:
        self._line.start(sends)

    def add(self, send: Send) -> None:
        self._line.add(send)

    def blocker(self, at: datetime, _values: Values) -> Send | None:
        before, after = moved(at, -self._length), moved(at, self._length)
        # A window that holds too many can be moved until it ends at the last of them. No more later ends than the limit
        # are looked at: that many sends after the match are already too many.
        ends = chain((at,), self._line.times_between(at, after))
        if any(self._line.count(moved(end, -self._length), end) >= self._at_most for end in ends):
            return self._line.first_between(before, after)
        return None


class _CalendarLimit:
    """A limit over each period of the calendar."""

    def __init__(self, at_most: int, period: Period, zone: ZoneInfo) -> None:
        self._at_most, self._period, self._zone = at_most, period, zone
        self._counts: dict[str, int] = defaultdict(int)
        self._earliest: dict[str, Send] = {}

    def start(self, sends: Iterable[Send]) -> None:
        for send in sends:
            self.add(send)

    def add(self, send: Send) -> None:
        name = period_of(self._period, send.decision_time, self._zone)
        self._counts[name] += 1
        known = self._earliest.get(name)
        if known is None or send.order < known.order:
            self._earliest[name] = send

    def blocker(self, at: datetime, _values: Values) -> Send | None:
        name = period_of(self._period, at, self._zone)
        return self._earliest[name] if self._counts.get(name, 0) >= self._at_most else None


@dataclass(frozen=True, slots=True)
class _Test:
    """Something that may forbid a match: which sends it looks at, and how."""

    reason: str
    looks_at: Callable[[Send], bool]
    make: Callable[[], _Reach]


def _key_maker(rule: Rule, zone: ZoneInfo, per: _Per) -> Callable[[Candidate], str] | None:
    """Return what makes a send's dedupe key, None where the key names only the event and the rule.

    The key says what the send may happen once for, in a form that no other zone, mode or `per` has. The reach was
    checked before; the key only enforces it in the database.
    """
    mode, period = rule.suppression.mode, rule.suppression.mode.period
    if mode is SuppressionMode.ONCE_EVER:
        return (lambda match: f"{EVER_KEY}:{per.hash(match.values)}") if per.paths else (lambda _: EVER_KEY)
    if period is None:
        return None
    begin = DAY_KEY if period is Period.DAY and zone.key == UTC and not per.paths else f"{CALENDAR_KEY}{zone.key}:"
    if per.paths:
        return lambda match: f"{begin}{period_of(period, match.decision_time, zone)}:{per.hash(match.values)}"
    return lambda match: f"{begin}{period_of(period, match.decision_time, zone)}"


@dataclass(frozen=True, slots=True)
class _Course:
    """The tests that a rule's match has to pass."""

    template_name: str
    channel: str
    is_exempt: bool
    once: _Test | None
    limits: tuple[_Test, ...]
    key: Callable[[Candidate], str] | None


class OneByOne:
    """The decisions on messages by the rules of one file, a user at a time."""

    def __init__(self, whole: Rules, rules: Mapping[int, Rule], paths: Sequence[str]) -> None:
        """Prepare for the rules that decide, by position; `paths` name the fields whose values the events carry."""
        self._zone = whole.timezone
        self._places = {path: place for place, path in enumerate(paths)}
        tests: dict[Hashable, _Test] = {}
        self._courses: dict[int, _Course] = {}
        of_limits = [(limit, self._limit_test(limit)) for limit in whole.limits]
        for position, rule in rules.items():
            key = (rule.action.template_name, rule.suppression)
            has_once = rule.suppression.mode is not SuppressionMode.NONE
            is_exempt = Exemption.LIMITS in rule.exempt_from
            self._courses[position] = _Course(
                rule.action.template_name,
                rule.action.delivery_method,
                is_exempt,
                tests.setdefault(key, self._once_test(rule)) if has_once else None,
                tuple(test for limit, test in of_limits if not is_exempt and limit.covers(rule.action)),
                _key_maker(rule, self._zone, self._per(rule)),
            )

    def _per(self, rule: Rule) -> _Per:
        paths = tuple(str(path) for path in rule.suppression.per or ())
        return _Per(paths, tuple(self._places[path] for path in paths))

    def _once_test(self, rule: Rule) -> _Test:
        policy, template_name, per = rule.suppression, rule.action.template_name, self._per(rule)
        length = None if policy.hours is None else timedelta(seconds=seconds_of(policy.hours))

        def make() -> _Reach:
            return _Once(policy.mode.period, self._zone, per) if length is None else _WithinHours(length, per)

        return _Test(policy.mode.value, lambda send: send.template_name == template_name, make)

    def _limit_test(self, limit: Limit) -> _Test:
        def make() -> _Reach:
            if limit.calendar is not None:
                return _CalendarLimit(limit.at_most, limit.calendar, self._zone)
            seconds = seconds_of(limit.hours) if limit.hours is not None else 0
            return _HoursLimit(limit.at_most, timedelta(seconds=seconds))

        return _Test(
            f"{SuppressionReason.LIMIT}{limit.name}",
            lambda send: not send.is_exempt and limit.counts(send.channel, send.template_name),
            make,
        )

    def verdicts(
        self, candidates: Iterable[Candidate], earlier: Iterable[Send], last_send_id: int
    ) -> Iterator[Verdict]:
        """Yield the outcomes of one user's matches, given in the order of decision.

        `earlier` is every send of earlier batches that can be in the way; a send of this batch gets the id
        `last_send_id` plus its sequence number. What was clear beforehand is left out: sends whose key names only their
        event and rule, and what is too old or refused whatever was sent before.
        """
        sends = _Sends(earlier)
        for candidate in candidates:
            course = self._courses[candidate.rule_position]
            found = _obstacle(candidate, course, sends) if sends.every else None
            if found is not None:
                test, standing = found
                yield Verdict(candidate.sequence_number, None, test.reason, standing.id)
            elif candidate.refusal is None and not candidate.is_too_old:
                sends.add(
                    Send(
                        last_send_id + candidate.sequence_number,
                        candidate.event_id,
                        candidate.decision_time,
                        course.template_name,
                        course.channel,
                        course.is_exempt,
                        candidate.values,
                    )
                )
                if course.key is not None:
                    yield Verdict(candidate.sequence_number, course.key(candidate), None, None)

    def obstacles(self, candidate: Candidate, earlier: Iterable[Send]) -> tuple[list[str], list[str]]:
        """Return why earlier sends forbid a match: the rule's own once mode, and every limit that is full."""
        course, sends = self._courses[candidate.rule_position], _Sends(earlier)
        once = [] if course.once is None else [course.once]
        of_once, of_limits = (
            [test.reason for test in tests if sends.blocker(test, candidate) is not None]
            for tests in (once, course.limits)
        )
        return of_once, of_limits


class _Sends:
    """The sends of one user so far, and the reaches of the tests that were applied to them."""

    __slots__ = ("_reaches", "every")

    def __init__(self, earlier: Iterable[Send]) -> None:
        self.every = list(earlier)
        self._reaches: dict[int, tuple[_Test, _Reach]] = {}

    def blocker(self, test: _Test, candidate: Candidate) -> Send | None:
        """Return the send by which a test forbids a match."""
        known = self._reaches.get(id(test))
        if known is None:
            known = self._reaches[id(test)] = (test, test.make())
            known[1].start([send for send in self.every if test.looks_at(send)])
        return known[1].blocker(candidate.decision_time, candidate.values)

    def add(self, send: Send) -> None:
        """Take in a send that was just made."""
        self.every.append(send)
        for test, reach in self._reaches.values():
            if test.looks_at(send):
                reach.add(send)


def _obstacle(candidate: Candidate, course: _Course, sends: _Sends) -> tuple[_Test, Send] | None:
    """Return the first test that forbids a match, and the send by which it does."""
    if course.once is not None and (standing := sends.blocker(course.once, candidate)) is not None:
        return course.once, standing
    if candidate.refusal is None:
        for limit in course.limits:
            if (standing := sends.blocker(limit, candidate)) is not None:
                return limit, standing
    return None
