"""What becomes of matches that have to be taken one after the other: the messages of one user, in order.

Set-based SQL says well what goes out once ever or once a UTC day. Whether a third e-mail of a week may go out depends
on which of the two before it did, and that is a loop. It takes one user after the other, is linear in the number of
their matches and earlier sends but for a search in a sorted list, and keeps in memory what is one user's only.
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
from src.marketing_messaging_service.models import CALENDAR_KEY, DAY_KEY, EVER_KEY, EXPIRED_REASON, LIMIT_REASON
from src.marketing_messaging_service.vocabulary import Period, SuppressionMode

Values = Mapping[str, Any]
"""Of an event, the values of the fields that some rule has in `per`, by their paths."""

PER_HASH_LENGTH = 32
"""Hexadecimal digits of a hash of `per` values in a dedupe key: 128 bits."""

# Made once, because making one takes longer than writing the few values of a key.
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
        """Its place in the order by which the earliest of several is named; of one event's the first decided."""
        return self.decision_time, self.event_id, self.id


class Candidate(NamedTuple):
    """A match that earns a message unless something stands against it."""

    sequence_number: int
    event_id: int
    decision_time: datetime
    rule_position: int
    refusal: str | None
    """What stands against it whatever was sent before: a block or the holdout."""
    is_too_old: bool
    values: Values


class Verdict(NamedTuple):
    """What becomes of a match: a send under a key, or a refusal with its reason and the send that stood in the way."""

    sequence_number: int
    dedupe_key: str | None
    reason: str | None
    blocked_by_id: int | None


class _Reach(Protocol):
    """Finds, among the sends that it knows, the earliest that stands in the way of a match."""

    def start(self, sends: Iterable[Send]) -> None:
        """Take in the sends so far, in any order."""

    def add(self, send: Send) -> None:
        """Take in one that was just made, not earlier than those before it."""

    def blocker(self, at: datetime, values: Values) -> Send | None:
        """Return the earliest that stands in the way, None where none does."""


def _hashable(values: Values, per: Sequence[str]) -> tuple[Hashable, ...]:
    return tuple(values[path] for path in per)


def _per_hash(values: Values, per: Sequence[str]) -> str:
    """Return what stands for the values of the fields in a dedupe key, of which they cannot be read off."""
    # The zeros of a float are equal and are not written alike.
    said = [[path, values[path] + 0.0 if isinstance(values[path], float) else values[path]] for path in per]
    return hashlib.sha256(_written(said).encode()).hexdigest()[:PER_HASH_LENGTH]


def _with_per(key: str, values: Values, per: Sequence[str]) -> str:
    return f"{key}:{_per_hash(values, per)}" if per else key


class _Once:
    """The reach of once_ever and of the calendar modes: all sends that have one name of a period in common."""

    def __init__(self, period: Period | None, zone: ZoneInfo, per: Sequence[str]) -> None:
        self._period, self._zone, self._per = period, zone, per
        self._earliest: dict[tuple[Hashable, ...], Send] = {}

    def _place(self, at: datetime, values: Values) -> tuple[Hashable, ...]:
        name = period_of(self._period, at, self._zone) if self._period else ""
        return (name, *_hashable(values, self._per))

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
        """Return how many lie after one instant and not after another."""
        return sum(
            bisect_right(times, until) - bisect_right(times, after) for times in (self._before_times, self._made_times)
        )

    def first_between(self, after: datetime, before: datetime) -> Send | None:
        """Return the earliest that lies strictly between two instants."""
        found = []
        for sends, times in ((self._before, self._before_times), (self._made, self._made_times)):
            place = bisect_right(times, after)
            if place < len(sends) and times[place] < before:
                found.append(sends[place])
        return min(found, key=lambda send: send.order, default=None)

    def times_between(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """Yield the times that lie strictly between two instants, in order; those of this batch are not later."""
        for place in range(bisect_right(self._before_times, after), bisect_left(self._before_times, before)):
            yield self._before_times[place]


class _WithinHours:
    """The reach of once_per_hours: what lies less than so many hours apart, before or after."""

    def __init__(self, length: timedelta, per: Sequence[str]) -> None:
        self._length, self._per = length, per
        self._lines: dict[tuple[Hashable, ...], _Line] = defaultdict(_Line)

    def start(self, sends: Iterable[Send]) -> None:
        grouped: dict[tuple[Hashable, ...], list[Send]] = defaultdict(list)
        for send in sends:
            grouped[_hashable(send.values, self._per)].append(send)
        for place, each in grouped.items():
            self._lines[place].start(each)

    def add(self, send: Send) -> None:
        self._lines[_hashable(send.values, self._per)].add(send)

    def blocker(self, at: datetime, values: Values) -> Send | None:
        line = self._lines.get(_hashable(values, self._per))
        if line is None:
            return None
        return line.first_between(moved(at, -self._length), moved(at, self._length))


class _HoursLimit:
    """A limit over any window of so many hours."""

    def __init__(self, at_most: int, length: timedelta) -> None:
        self._at_most, self._length = at_most, length
        self._line = _Line()

    def start(self, sends: Iterable[Send]) -> None:
        self._line.start(sends)

    def add(self, send: Send) -> None:
        self._line.add(send)

    def blocker(self, at: datetime, _values: Values) -> Send | None:
        before, after = moved(at, -self._length), moved(at, self._length)
        # A window that holds too many can be moved until it ends at the last of them. Of the later ends no more than
        # the limit are looked at: so many sends after the match are too many by themselves.
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
    """Something that may stand against a match: which sends it looks at, and how."""

    reason: str
    looks_at: Callable[[Send], bool]
    make: Callable[[], _Reach]


def dedupe_key(rule: Rule, candidate: Candidate, zone: ZoneInfo) -> str:
    """Return what a send of a match may happen once for, in a form that no other zone, mode or `per` has.

    The reach was looked at before; the key only guards what it permits, in the database.
    """
    mode, per = rule.suppression.mode, [str(path) for path in rule.suppression.per or ()]
    if mode is SuppressionMode.ONCE_EVER:
        return _with_per(EVER_KEY, candidate.values, per)
    if mode.period is None:
        return f"event:{candidate.event_id}:{rule.name}"
    name = period_of(mode.period, candidate.decision_time, zone)
    if mode.period is Period.DAY and zone.key == UTC and not per:
        return f"{DAY_KEY}{name}"
    return _with_per(f"{CALENDAR_KEY}{zone.key}:{name}", candidate.values, per)


class OneByOne:
    """The decisions on messages by the rules of one file, a user at a time."""

    def __init__(self, whole: Rules, rules: Mapping[int, Rule]) -> None:
        """Prepare for the rules that decide, by their positions."""
        self._zone = whole.timezone
        self._rules = rules
        tests: dict[Hashable, _Test] = {}
        self._once: dict[int, _Test | None] = {}
        self._limits: dict[int, tuple[_Test, ...]] = {}
        of_limits = [(limit, self._limit_test(limit)) for limit in whole.limits]
        for position, rule in rules.items():
            key = (rule.action.template_name, rule.suppression)
            has_once = rule.suppression.mode is not SuppressionMode.NONE
            self._once[position] = tests.setdefault(key, self._once_test(rule)) if has_once else None
            is_exempt = Exemption.LIMITS in rule.exempt_from
            self._limits[position] = tuple(
                test for limit, test in of_limits if not is_exempt and limit.covers(rule.action)
            )

    def _once_test(self, rule: Rule) -> _Test:
        policy, template_name = rule.suppression, rule.action.template_name
        per = [str(path) for path in policy.per or ()]
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
            f"{LIMIT_REASON}{limit.name}",
            lambda send: not send.is_exempt and limit.counts(send.channel, send.template_name),
            make,
        )

    def verdicts(
        self, candidates: Iterable[Candidate], earlier: Iterable[Send], last_send_id: int
    ) -> Iterator[Verdict]:
        """Yield what becomes of the matches of one user, given in the order of decision.

        `earlier` is every send of earlier batches that can stand in the way; a send of this batch gets the id that
        follows `last_send_id` by its sequence number.
        """
        sends = list(earlier)
        reaches: dict[int, tuple[_Test, _Reach]] = {}

        def blocker(test: _Test, candidate: Candidate) -> Send | None:
            if not sends:
                return None
            known = reaches.get(id(test))
            if known is None:
                known = reaches[id(test)] = (test, test.make())
                known[1].start(send for send in sends if test.looks_at(send))
            return known[1].blocker(candidate.decision_time, candidate.values)

        for candidate in candidates:
            rule = self._rules[candidate.rule_position]
            reason, standing = self._refusal(candidate, blocker)
            if reason is not None:
                yield Verdict(candidate.sequence_number, None, reason, None if standing is None else standing.id)
                continue
            made = Send(
                last_send_id + candidate.sequence_number,
                candidate.event_id,
                candidate.decision_time,
                rule.action.template_name,
                rule.action.delivery_method,
                Exemption.LIMITS in rule.exempt_from,
                candidate.values,
            )
            sends.append(made)
            for test, reach in reaches.values():
                if test.looks_at(made):
                    reach.add(made)
            yield Verdict(candidate.sequence_number, dedupe_key(rule, candidate, self._zone), None, None)

    def _refusal(
        self, candidate: Candidate, blocker: Callable[[_Test, Candidate], Send | None]
    ) -> tuple[str | None, Send | None]:
        """Return the first that stands against a match, and the send where it is one."""
        once = self._once[candidate.rule_position]
        if once is not None and (standing := blocker(once, candidate)) is not None:
            return once.reason, standing
        if candidate.refusal is not None:
            return candidate.refusal, None
        for limit in self._limits[candidate.rule_position]:
            if (standing := blocker(limit, candidate)) is not None:
                return limit.reason, standing
        return (EXPIRED_REASON, None) if candidate.is_too_old else (None, None)
