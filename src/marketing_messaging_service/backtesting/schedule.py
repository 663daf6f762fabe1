"""Works out the hourly runs of the past, and which of them can be decided together without a difference.

An hourly run decides what happened before its whole hour. Decisions do not depend on where runs are cut, except for
what looks at a run's logical time: blocks, and expiry. So runs are decided together as long as nobody's blocks change,
and one by one where a match can expire.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, Text, case, cast, func, literal, or_, select, union_all

from src.marketing_messaging_service.decisions.conditions import Condition, latest_traits
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Block, Rules
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.truth import Looks, MatchRow, holds
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import Event, UserTraits
from src.marketing_messaging_service.vocabulary import Field

HOUR = timedelta(hours=1)

MANY_AN_HOUR = 5_000
"""From this many events per hour, if a block may begin or end, each hour is decided separately: finding the hours
without a change takes 5 s per million events, and a separate run 30 ms."""

EVENTS_AT_ONCE = 1_000_000
"""How many events are decided at once if nothing else requires a cut, so that memory does not grow with the history."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of the past to decide again: the events from one instant up to another."""

    since: datetime
    until: datetime
    event_count: int = 0

    @property
    def last_run(self) -> datetime:
        """The logical time of its last hourly run."""
        return whole_hour(self.until)


def whole_hour(instant: datetime) -> datetime:
    """Return the first whole hour at or after an instant."""
    floor = instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return floor if floor == instant else floor + HOUR


def run_of(instant: datetime) -> datetime:
    """Return the logical time of the hourly run that loads what happens at an instant: the first one after it."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR


def without_what_cannot_expire(file: RulesFile, longest_gap: timedelta) -> RulesFile:
    """Return rules that decide the same as long as no run is later than that, but do not look at the run's time.

    What is decided on time is never older than the time between two runs.
    """
    whole = file.whole
    if whole.wait_for_data:
        return file
    rules = tuple(
        rule.model_copy(update={"expires_after_hours": None})
        if rule.expires_after_hours is not None and seconds_of(rule.expires_after_hours) >= longest_gap.total_seconds()
        else rule
        for rule in whole.rules
    )
    return replace(file, whole=whole.model_copy(update={"rules": rules}))


def can_expire(whole: Rules) -> bool:
    """Return whether a rule's decisions depend on the hour of the run."""
    return any(rule.enabled and rule.expires_after_hours is not None for rule in whole.rules)


def ends_of_batches(connection: Connection, whole: Rules, span: Span) -> Iterator[datetime]:
    """Yield the logical times of the runs that also decide for the runs before them, back to the last one yielded."""
    first, last = run_of(span.since), span.last_run
    hour_count = max(1, (last - first) // HOUR)
    if can_expire(whole) or (whole.blocks and span.event_count > MANY_AN_HOUR * hour_count):
        while first < last:
            yield first
            first += HOUR
    else:
        # A run that sees a block in another state than the previous run begins a batch.
        begins = {*_changes(connection, whole.blocks, span), *_full(connection, span)}
        yield from sorted(begin - HOUR for begin in begins if first < begin <= last)
    yield last


def _full(connection: Connection, span: Span) -> Iterator[datetime]:
    """Yield the runs that begin a batch because the previous one is large enough."""
    for place in range(EVENTS_AT_ONCE, span.event_count, EVENTS_AT_ONCE):
        events = select(Event.event_timestamp).where(
            Event.event_timestamp >= span.since, Event.event_timestamp < span.until
        )
        yield run_of(connection.execute(events.order_by(Event.event_timestamp).offset(place).limit(1)).scalar_one())


def _changes(connection: Connection, blocks: Sequence[Block], span: Span) -> Iterator[datetime]:
    """Yield the runs, within a span, that load an event that may begin or end its user's block."""
    queries = [query for block in blocks for query in _changing_events(block)]
    if not queries:
        return
    at = union_all(*queries).subquery("change").c.event_timestamp
    # Up to the hour, as the history's file has them.
    hours = select(func.substr(cast(at, Text), 1, len("2026-11-23 10"))).where(at >= span.since, at < span.until)
    for hour in connection.execute(hours.distinct()).scalars():
        yield datetime.fromisoformat(f"{hour}:00:00+00:00") + HOUR


def _changing_events(block: Block) -> Iterator[Select[datetime]]:
    signs = [sign.event_type for sign in (block.from_, block.until) if sign is not None]
    if signs:
        yield select(Event.event_timestamp).where(Event.event_type.in_(signs))
    if block.while_ is None:
        return
    fields = {path.field for path in latest_traits(block.while_)}
    for trait in fields:
        yield _changed_values(trait, block.while_ if len(fields) == 1 else None)


def _changed_values(trait: Field, condition: Condition | None) -> Select[datetime]:
    """Return when a user's trait changed its value; with a condition on it alone, when its truth changed."""
    value: ColumnElement[object] = trait.column
    before: ColumnElement[object] | None = None
    if condition is not None:
        value, before = _truth(condition, trait.column), _truth(condition, literal(None, trait.column.type))
    given = (
        select(
            Event.event_timestamp,
            value.label("value"),
            func.lag(value)
            .over(partition_by=Event.user_id, order_by=(Event.event_timestamp, Event.id))
            .label("value_before"),
            (literal(None) if before is None else before).label("value_without"),
        )
        .join(UserTraits, UserTraits.event_id == Event.id)
        .where(trait.column.is_not(None))
        .subquery("given")
        .c
    )
    had = func.coalesce(given.value_before, given.value_without)
    return select(given.event_timestamp).where(or_(had.is_(None), given.value != had))


def _truth(condition: Condition, value: ColumnElement[object]) -> ColumnElement[object]:
    """Return 1 if a condition holds for a value of the one trait that it looks at, else 0."""
    at = literal(datetime.min.replace(tzinfo=UTC), UtcDateTime)
    row = MatchRow(literal(0), literal(""), at, at, ())

    def no_other_event(*_: object) -> ColumnElement[bool]:
        raise AssertionError("a block looks at latest_traits alone")

    return case((holds(condition, row, Looks(no_other_event, lambda *_: value)), 1), else_=0)
