"""Works out from today's events what a rule's conditions came to when an event was decided.

A run knew what it or an earlier run had loaded; where runs load at the same time, its batch says what. So for each
event in question, the last load known is known too. From before runs were recorded there is only a lower bound: what
came with the event or earlier was there.

Taken one at a time, each event would look through everything that came later: 10,000 events of one user and 10,000 late
ones are a hundred million looks. For all events at once, in order of time, one sort gives how many events are in each
window, and the first and last load in which they came. If the last load was known then, the count is the count of then;
if only the first was, there was at least one; if not even the first, none. So whether something happened at all is
exact, and a count that late events have changed lies between two bounds. The latest trait is that of then if its event
was known; if it came later, nobody knows what it replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FrameClause,
    FrameClauseType,
    FromClause,
    Integer,
    Select,
    SQLColumnExpression,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)

from src.marketing_messaging_service.decisions.conditions import (
    EventCondition,
    FieldCondition,
    Happened,
    happenings,
    latest_traits,
    leaves,
)
from src.marketing_messaging_service.decisions.looks import (
    is_counted_directly,
    looks_directly,
    meets,
    others,
    with_payload,
)
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.sql_time import EpochMicroseconds, SecondsAfter, SecondsBefore
from src.marketing_messaging_service.decisions.truth import MatchRow, at_least_true, at_most_true
from src.marketing_messaging_service.models import Batch, BatchShard, Event, Load, Run, UserTraits
from src.marketing_messaging_service.vocabulary import Field

MICROSECONDS = 1_000_000

# Events without a load are older than all loads; every batch agrees with the order of load ids.
_LOAD_ID = func.coalesce(Event.load_id, 0)
_LAST = 2**62
"""Greater than every load id."""

# Made once, because making an alias with all of its columns takes longer than most of a statement.
_LATER = Load.__table__.alias("later")
_LATER_RUN = Run.__table__.alias("later_run")
_ITS_BATCH = Batch.__table__.alias("its_batch")
_ITS_SHARD = BatchShard.__table__.alias("its_shard")
_LOADED_BESIDE = Load.__table__.alias("loaded_beside")
_RUN_BESIDE = Run.__table__.alias("run_beside")


def looks_elsewhere(rule: Rule) -> bool:
    """Return whether a rule asks about more than its event's own fields."""
    return any(happenings(rule.conditions)) or any(latest_traits(rule.conditions))


def candidate_columns(
    rules: Iterable[Rule],
    run_id: SQLColumnExpression[int | None],
    decision_time: SQLColumnExpression[datetime] = Event.event_timestamp,
) -> Sequence[ColumnElement[Any]]:
    """Return the columns of the events to check rules against, each as a run decided it or should have."""
    last_known = _last_known(run_id)
    return [
        Event.id.label("event_id"),
        Event.user_id.label("user_id"),
        Event.event_timestamp.label("event_timestamp"),
        decision_time.label("decision_time"),
        case((run_id.is_not(None), last_known), else_=_LOAD_ID).label("surely_known"),
        case((run_id.is_not(None), _perhaps_known(run_id, last_known)), else_=literal(_LAST, BigInteger)).label(
            "perhaps_known"
        ),
        *(field.column.label(_label(field)) for field in dict.fromkeys(chain.from_iterable(map(_fields_of, rules)))),
    ]


def _last_known(run_id: SQLColumnExpression[int | None]) -> ColumnElement[int]:
    """Return the last load that a run knew: the one before the first load of a later run, unless its batch says which.

    Runs beside each other load in any order; later runs record what they knew, and earlier ones knew none of it.
    """
    load, batch, own, run, later_run = _LATER.c, _ITS_BATCH.c, _LOADED_BESIDE.c, _RUN_BESIDE.c, _LATER_RUN.c
    said = select(batch.last_load_id).where(batch.run_id == run_id).correlate_except(_ITS_BATCH).scalar_subquery()
    first_beside = select(func.min(own.id)).where(own.run_id.in_(select(run.id).where(run.is_beside_others)))
    first_later = (
        select(case((later_run.is_beside_others, first_beside.correlate(None).scalar_subquery()), else_=load.id))
        .join_from(_LATER, _LATER_RUN, later_run.id == load.run_id)
        .where(load.run_id > run_id)
        .order_by(load.run_id, load.id)
        .limit(1)
    )
    before = first_later.correlate_except(_LATER, _LATER_RUN).scalar_subquery()
    return func.coalesce(said, func.coalesce(before, literal(_LAST, BigInteger)) - 1)


def _perhaps_known(run_id: SQLColumnExpression[int | None], last_known: ColumnElement[int]) -> ColumnElement[int]:
    """Return the last load that a run may have known: a shard of its batch decided later knew more."""
    batch, shard = _ITS_BATCH.c, _ITS_SHARD.c
    of_shards = select(func.max(shard.last_load_id)).where(shard.batch_id == batch.id, batch.run_id == run_id)
    return func.coalesce(of_shards.correlate_except(_ITS_BATCH, _ITS_SHARD).scalar_subquery(), last_known)


def _surely_known(run_id: SQLColumnExpression[int | None]) -> ColumnElement[int]:
    return case((run_id.is_not(None), _last_known(run_id)), else_=_LOAD_ID)


def _fields_of(rule: Rule) -> Iterable[Field]:
    """Return the facts about the event itself that the rules may need."""
    paths = [leaf.field for leaf in leaves(rule.conditions) if isinstance(leaf, FieldCondition)]
    for look in happenings(rule.conditions):
        paths += [*look.same, *(each.field for each in look.where)]
    return dict.fromkeys(path.field for path in paths if not path.is_latest)


def _label(field: Field) -> str:
    return f"value_of_{field.path.replace('.', '_')}"


def certain_matches(rule: Rule, wanted: FromClause, number: int) -> Select[Any]:
    """Return the candidates that a rule certainly matched when they were decided.

    Columns: event_id, and `place` where `wanted` has it. No other part of the statement has the same `number`.
    """
    candidate = _candidate(wanted, number)
    return _shown(candidate).where(at_least_true(rule.conditions, _row(candidate), _Then(candidate, rule)))


def impossible_matches(rule: Rule, wanted: FromClause, number: int) -> Select[Any]:
    """Return the candidates that a rule cannot have matched, whatever is unknown about then; same columns."""
    candidate = _candidate(wanted, number)
    may = at_most_true(rule.conditions, _row(candidate), _Then(candidate, rule))
    return _shown(candidate).where(not_(func.coalesce(may, false())))


def shared_candidates(events: Sequence[Select[Any]], number: int) -> CTE:
    """Return events, given with their `candidate_columns`, that several rules are checked against."""
    return select(*union_all(*events).subquery().c).cte(f"shared_{number}").prefix_with("MATERIALIZED")


def candidates_among(shared: CTE, rule: Rule) -> Select[Any]:
    """Return the shared candidates that a rule may have matched, judging by a few steps into an index."""
    row = _row(shared)
    return select(*shared.c).where(
        at_most_true(rule.conditions, row, _AtAGlance(row, shared.c.surely_known)),
    )


def seems_to_have_matched(rule: Rule, row: MatchRow, run_id: SQLColumnExpression[int | None]) -> ColumnElement[bool]:
    """Return whether a rule matched an event, judging by a few steps into an index."""
    return at_least_true(rule.conditions, row, _AtAGlance(row, _surely_known(run_id)))


FEW_STEPS = 20
"""Events of which each match asks whether there was one."""


@dataclass(frozen=True, slots=True)
class _AtAGlance:
    """What a few steps into the index say about looks at other events, so that few events need a full look.

    There can be more events now than then, but not fewer.
    """

    row: MatchRow
    surely_known: ColumnElement[int]

    def happened(self, look: Happened, /, *, open_as: bool) -> ColumnElement[bool]:
        """Return whether other events can have happened so often, or must have."""
        is_simple = is_counted_directly(look)
        if is_simple and (look.at_most is None if open_as else look.least == 0):
            return looks_directly(look, self.row)
        if is_simple and not open_as and (look.least, look.at_most) == (1, None):
            return self._was_there(look)
        if is_simple and open_as and look.at_most == 0:
            return not_(self._was_there(look))
        return true() if open_as else false()

    def latest(self, _condition: FieldCondition, /, *, open_as: bool) -> ColumnElement[bool]:
        """Return that nothing is known."""
        return true() if open_as else false()

    def _was_there(self, look: Happened) -> ColumnElement[bool]:
        found = others(look, self.row, "load_id").limit(FEW_STEPS).subquery("some")
        known = select(found.c.load_id).where(func.coalesce(found.c.load_id, 0) <= self.surely_known)
        return exists(known.correlate_except(found))


def _candidate(wanted: FromClause, number: int) -> CTE:
    return select(*wanted.c).cte(f"candidate_{number}").prefix_with("MATERIALIZED")


def _shown(candidate: CTE) -> Select[Any]:
    return select(*(candidate.c[name] for name in ("event_id", "place") if name in candidate.c))


def _row(candidate: CTE) -> MatchRow:
    c = candidate.c
    return MatchRow(
        c.event_id, c.user_id, c.event_timestamp, c.decision_time, (candidate,), lambda field: c[_label(field)]
    )


@dataclass(frozen=True, slots=True)
class _Then:
    """What looks at other events found when the candidates were decided: at most, and at least."""

    candidate: CTE
    rule: Rule

    def happened(self, look: Happened, *, open_as: bool) -> ColumnElement[bool]:
        """Return whether other events can have happened so often, or must have."""
        seen = _Seen(self.candidate, look, self.rule).counted()
        least, most = look.least, look.at_most
        if open_as:
            found = and_(seen.upper >= least, true() if most is None else seen.lower <= most)
        else:
            found = and_(seen.lower >= least, true() if most is None else seen.upper <= most)
        return self.candidate.c.event_id.in_(select(seen.event_id).where(found))

    def latest(self, condition: FieldCondition, *, open_as: bool) -> ColumnElement[bool]:
        """Return whether a comparison with the latest trait can have held, or must have."""
        ask = _latest(self.candidate, condition.field.field)
        compared = condition.compared(ask.value)
        is_known = or_(ask.arrival.is_(None), ask.arrival <= ask.surely_known)
        found = or_(not_(is_known), compared) if open_as else and_(is_known, compared)
        return self.candidate.c.event_id.in_(select(ask.event_id).where(ask.is_ask == 1, found))


@dataclass(frozen=True, slots=True)
class _Counts:
    """The lower and upper bound of a look's count, for each candidate."""

    event_id: ColumnElement[int]
    lower: ColumnElement[int]
    upper: ColumnElement[int]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The events that a look counts, and the candidates among them, in order of time."""

    candidate: CTE
    look: Happened
    rule: Rule

    @property
    def _length(self) -> int | None:
        """How many seconds long the window is, None if it has no beginning."""
        if self.look.within_hours is not None:
            return seconds_of(self.look.within_hours)
        return seconds_of(self.rule.wait_hours) if self.look.since_trigger else None

    @property
    def _counts_own_type(self) -> bool:
        return self.look.event_type == self.rule.trigger.event_type

    def counted(self) -> _Counts:
        """Return the bounds of the counts."""
        row = self._rows().subquery().c
        frame = self._frame(row)
        first_loads = [func.min(row.arrival).over(**frame)]
        if self._counts_own_type and self.rule.wait is None:
            first_loads = self._first_loads_of_others(row)
        names = [f"first_load_{place}" for place in range(len(first_loads))]
        seen = (
            select(
                *(row.event_id, row.is_ask, row.own, row.is_usual, row.surely_known, row.perhaps_known),
                func.count(row.arrival).over(**frame).label("total"),
                func.max(row.arrival).over(**frame).label("last_load"),
                *(each.label(name) for each, name in zip(first_loads, names, strict=True)),
            )
            .subquery()
            .c
        )
        count, last_load = seen.total - seen.own, func.coalesce(seen.last_load, 0)
        firsts = [func.coalesce(seen[name], _LAST) for name in names]
        lower = case(
            (last_load <= seen.surely_known, count),
            (self._one_was_there(seen, firsts), 1),
            else_=0,
        )
        upper = case(
            (and_(*(first > seen.perhaps_known for first in firsts)), 0),
            (last_load > seen.perhaps_known, count - 1),
            else_=count,
        )
        # If a match waited for another time than its rule now says, nobody knows when its window began.
        any_count = literal(_LAST, BigInteger)
        bounds = select(
            seen.event_id,
            case((seen.is_usual == 1, lower), else_=0).label("lower_count"),
            case((seen.is_usual == 1, upper), else_=any_count).label("upper_count"),
        ).where(seen.is_ask == 1)
        c = bounds.subquery().c
        return _Counts(c.event_id, c.lower_count, c.upper_count)

    def _one_was_there(self, seen: Any, firsts: Sequence[ColumnElement[int]]) -> ColumnElement[bool]:
        if self._counts_own_type and self.rule.wait is not None:
            # The first may be the event itself.
            return false()
        return or_(*(first <= seen.surely_known for first in firsts))

    def _rows(self) -> Any:
        look, c = self.look, self.candidate.c
        same = [path.field for path in look.same]
        columns = [Event.user_id, Event.event_timestamp.label("at"), Event.id.label("event_id")]
        columns += [field.column.label(f"same_{place}") for place, field in enumerate(same)]
        nothing = [cast(null(), BigInteger)] * 2
        events: Any = select(*columns, literal(0).label("is_ask"), _LOAD_ID.label("arrival"))
        events = events.add_columns(
            literal(0).label("own"),
            literal(1).label("is_usual"),
            nothing[0].label("surely_known"),
            nothing[1].label("perhaps_known"),
        ).where(
            Event.user_id.in_(select(c.user_id)),
            Event.event_type == look.event_type,
            *(field.column.is_not(None) for field in same),
            *meets(look.where),
        )
        if look.where or look.same:
            events = with_payload(events.select_from(Event))
        asks = select(
            *(c.user_id, c.decision_time, c.event_id),
            *(c[_label(field)] for field in same),
            *(literal(1), cast(null(), Integer), self._own(), self._is_usual(), c.surely_known, c.perhaps_known),
        )
        return union_all(events, asks)

    def _own(self) -> ColumnElement[int]:
        """Return 1 where the candidate itself lies among the events that are counted for it, 0 elsewhere."""
        if not self._counts_own_type:
            return literal(0)
        c, length = self.candidate.c, self._length
        is_counted: list[ColumnElement[bool]] = [c[_label(path.field)].is_not(None) for path in self.look.same]
        is_counted += _meets(self.look.where, c)
        if length is not None and self.rule.wait is not None:
            is_counted.append(SecondsBefore(c.decision_time, length) <= c.event_timestamp)
        return case((and_(true(), *is_counted), 1), else_=0)

    def _is_usual(self) -> ColumnElement[int]:
        if not self.look.since_trigger:
            return literal(1)
        c = self.candidate.c
        waited = SecondsAfter(c.event_timestamp, seconds_of(self.rule.wait_hours))
        return case((c.decision_time == waited, 1), else_=0)

    def _partition(self, row: Any) -> tuple[ColumnElement[Any], ...]:
        return (row.user_id, *(row[f"same_{place}"] for place in range(len(self.look.same))))

    def _frame(self, row: Any) -> dict[str, Any]:
        """Return the window that ends at each row, all of its instant included."""
        if self._length is None:
            return {"partition_by": self._partition(row), "order_by": row.at}
        length = literal(self._length * MICROSECONDS, BigInteger)
        to_now = FrameClause(length, None, FrameClauseType.PRECEDING, FrameClauseType.CURRENT)
        return {"partition_by": self._partition(row), "order_by": EpochMicroseconds(row.at), "range_": to_now}

    def _first_loads_of_others(self, row: Any) -> list[Any]:
        """Return the first loads of what is in each row's window, except for the event itself."""
        at, one = EpochMicroseconds(row.at), literal(1, BigInteger)
        length = literal((self._length or 0) * MICROSECONDS, BigInteger)
        kind = FrameClauseType.PRECEDING if self._length is not None else FrameClauseType.UNBOUNDED
        before = FrameClause(length if self._length is not None else None, one, kind, FrameClauseType.PRECEDING)
        partition = self._partition(row)
        first = func.min(row.arrival)
        smaller = FrameClause(None, one, FrameClauseType.UNBOUNDED, FrameClauseType.PRECEDING)
        return [
            first.over(partition_by=partition, order_by=at, range_=before),
            # At the same instant, all the others count.
            first.over(partition_by=(*partition, row.at), order_by=row.event_id, range_=smaller),
            first.over(partition_by=(*partition, row.at), order_by=row.event_id.desc(), range_=smaller),
        ]


def _meets(where: Iterable[EventCondition], c: Any) -> list[ColumnElement[bool]]:
    return [each.compared(c[_label(each.field.field)]) for each in where]


def _latest(candidate: CTE, trait: Field) -> Any:
    """Return each candidate with a trait's last value by its decision time, and the load in which that came."""
    c = candidate.c
    givers = (
        select(
            *(Event.user_id, Event.event_timestamp.label("at"), Event.id.label("event_id")),
            *(literal(0).label("is_ask"), _LOAD_ID.label("arrival"), trait.column.label("value")),
            cast(null(), BigInteger).label("surely_known"),
        )
        .select_from(Event)
        .join(UserTraits, UserTraits.event_id == Event.id)
        .where(Event.user_id.in_(select(c.user_id)), trait.column.is_not(None))
    )
    nothing = cast(null(), Integer), cast(null(), trait.column.type)
    asks = select(c.user_id, c.decision_time, c.event_id, literal(1), *nothing, c.surely_known)
    row = union_all(givers, asks).subquery().c
    in_order = row.at, row.is_ask, row.event_id
    # Each event that gives a value shares a number with the candidates up to the next such event.
    number = func.count(row.arrival).over(partition_by=row.user_id, order_by=in_order, rows=(None, 0))
    after = select(*row, number.label("number")).subquery().c
    of_giver: Any = {
        "partition_by": (after.user_id, after.number),
        "order_by": (after.at, after.is_ask, after.event_id),
    }
    return (
        select(
            *(after.event_id, after.is_ask, after.surely_known),
            func.first_value(after.value).over(**of_giver).label("value"),
            func.first_value(after.arrival).over(**of_giver).label("arrival"),
        )
        .subquery()
        .c
    )
