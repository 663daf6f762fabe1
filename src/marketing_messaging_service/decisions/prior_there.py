"""Whether a prior event was in the tables, for certain, when another event was decided.

Asked of one event after the other, each would look through all the events of its window that came later: 10,000 events
of one user and 10,000 that came late are a hundred million looks. Asked of all at once, in the order of time, it takes
one sort and a moving minimum of the loads in which they came.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
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
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from src.marketing_messaging_service.decisions.conditions import (
    AllOf,
    Condition,
    Happened,
    HappenedCondition,
    PriorEventCondition,
)
from src.marketing_messaging_service.decisions.looks import DIRECT_LOOKS
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.sql_time import EpochMicroseconds
from src.marketing_messaging_service.decisions.truth import MatchRow, at_least_true, at_most_true, holds
from src.marketing_messaging_service.models import Event

MICROSECONDS = 1_000_000

# Events without a load are older than all loads, which are numbered in the order in which they were committed.
_LOAD_ID = func.coalesce(Event.load_id, 0)


COLUMNS: Mapping[str, SQLColumnExpression[Any]] = {
    "event_id": Event.id,
    "user_id": Event.user_id,
    "event_type": Event.event_type,
    "event_timestamp": Event.event_timestamp,
    "load_id": _LOAD_ID,
}


def candidate_columns() -> Sequence[ColumnElement[Any]]:
    """Return the columns of events that candidates must have to be asked about."""
    return [column.label(name) for name, column in COLUMNS.items()]


def had_prior_event(candidate: CTE, prior_event: Happened, name: str) -> Select[Any]:
    """Return the ids of events before which a prior event lay that had been loaded with them or earlier.

    Among them are those of the candidates of which it is true, and others. `candidate` has `candidate_columns`; `name`
    is one that no other part of the statement has.
    """
    of_type = select(*candidate_columns(), _LOAD_ID.label("prior_load_id")).where(
        Event.user_id.in_(select(candidate.c.user_id)), Event.event_type == prior_event.event_type
    )
    # A candidate of that very type is among them already.
    own = (candidate.c[name] for name in COLUMNS)
    others = select(*own, cast(null(), Integer)).where(candidate.c.event_type != prior_event.event_type)
    row = union_all(of_type, others).subquery(f"{name}_row").c
    at = EpochMicroseconds(row.event_timestamp)
    earliest_load = func.min(row.prior_load_id)
    ranked = select(
        row.event_id,
        row.load_id,
        earliest_load.over(
            partition_by=row.user_id,
            order_by=at,
            range_=_before(seconds_of(prior_event.within_hours or Decimal(0)) * MICROSECONDS),
        ).label("before"),
        # Of one instant all the others count, and the event itself does not.
        *(
            earliest_load.over(partition_by=(row.user_id, at), order_by=order, rows=(None, -1)).label(side)
            for side, order in (("beside_smaller", row.event_id.asc()), ("beside_greater", row.event_id.desc()))
        ),
    ).subquery(f"{name}_ranked")
    return select(ranked.c.event_id).where(
        or_(*(ranked.c[place] <= ranked.c.load_id for place in ("before", "beside_smaller", "beside_greater")))
    )


def match_for_certain(rule: Rule, wanted: FromClause, number: int) -> Select[Any]:
    """Return the events that a rule certainly matched when they were decided, of those that it matches now.

    Columns: event_id, and `place` where `wanted` has it. `number` is that of no other part of the statement.
    """
    looking_back = [look for part in _parts(rule) if (look := _plain_look(part)) is not None]
    event: FromClause = wanted
    if looking_back:
        event = candidate = select(*wanted.c).cte(f"candidate_{number}").prefix_with("MATERIALIZED")
    certain = (
        candidate.c.event_id.in_(had_prior_event(candidate, prior_event, f"prior_{number}_{place}"))
        for place, prior_event in enumerate(looking_back)
    )
    return select(*(event.c[name] for name in ("event_id", "place") if name in event.c)).where(*certain)


def may_have_matched(rule: Rule, row: MatchRow) -> ColumnElement[bool]:
    """Return whether a rule may have matched an event when it was decided, judged by the events there are now."""
    return at_most_true(rule.conditions, row, DIRECT_LOOKS)


def seems_to_have_matched(rule: Rule, row: MatchRow) -> ColumnElement[bool]:
    """Return whether a rule must have matched an event, provided that the prior events it asks for had been loaded.

    `match_for_certain` checks that, for all events at once.
    """
    return and_(
        true(),
        *(
            at_least_true(part, row, DIRECT_LOOKS) if _plain_look(part) is None else holds(part, row, DIRECT_LOOKS)
            for part in _parts(rule)
        ),
    )


def _parts(rule: Rule) -> tuple[Condition, ...]:
    """Return the conditions that must hold together."""
    return rule.conditions.all if isinstance(rule.conditions, AllOf) else (rule.conditions,)


def _plain_look(condition: Condition) -> Happened | None:
    """Return what a condition asks if it is whether one event of a type came within a time before."""
    if not isinstance(condition, HappenedCondition | PriorEventCondition):
        return None
    look = condition.happened
    is_plain = look.within_hours is not None and look.least == 1 and look.at_most is None
    return look if is_plain and not look.where and not look.same else None


def _before(microseconds: int) -> FrameClause:
    """Return the frame of the rows that lie so many microseconds, or fewer, before the row itself."""
    first, last = (literal(number, BigInteger) for number in (microseconds, 1))
    return FrameClause(first, last, FrameClauseType.PRECEDING, FrameClauseType.PRECEDING)
