"""What must be true of the record of runs: how each ended, what it says about that, and what its loads copy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    String,
    and_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from src.marketing_messaging_service.infrastructure.database import timestamp_text
from src.marketing_messaging_service.infrastructure.instants import hours_after, hours_before
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import FlowName, Load, RemarkKind, Run, RunMode, RunRemark, RunState
from src.marketing_messaging_service.vocabulary import Invariant

WITHOUT_END = (RunState.RUNNING, RunState.KILLED)
"""The states of runs that did not record their end."""


def _is_both_or_neither(one: SQLColumnExpression[Any], other: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    return or_(and_(one.is_(None), other.is_(None)), and_(one.is_not(None), other.is_not(None)))


def _ended_wrongly(_connection: Connection) -> Iterator[Select[Any]]:
    later, remark = aliased(Run, name="later"), aliased(RunRemark, name="remark")
    has_problem = Run.id.in_(select(remark.run_id).where(remark.kind == RemarkKind.PROBLEM))
    is_followed = Run.id.in_(
        select(Run.id)
        .join(later, later.id > Run.id)
        .where(Run.state == RunState.RUNNING, not_(and_(Run.is_beside_others, later.is_beside_others)))
    )
    has_no_end = Run.state.in_(WITHOUT_END)
    facts = (Run.state, ", ended_at ", Run.ended_at)
    yield select(told("runs.id ", Run.id, ": ", *facts)).where(
        or_(
            has_no_end != Run.ended_at.is_(None),
            and_(has_no_end, Run.message.is_not(None)),
            # A new run records the previous one as killed if that recorded no end, unless both may be at work.
            is_followed,
            and_(has_problem, Run.state != RunState.FAILED),
        )
    )


def _ordered_wrongly(connection: Connection) -> Iterator[Select[Any]]:
    has_window = Run.window_start_at.is_not(None)
    facts = (Run.flow_name, ", ", Run.window_start_at, " to ", Run.window_end_at)
    yield select(told("runs.id ", Run.id, ": ", *facts)).where(
        not_(
            func.coalesce(
                and_(
                    (Run.flow_name == FlowName.BACKFILL) == has_window,
                    Run.flow_name.in_([name.value for name in FlowName]),
                    _is_both_or_neither(Run.window_start_at, Run.window_end_at),
                    or_(not_(has_window), Run.window_start_at < Run.window_end_at),
                ),
                false(),
            )
        )
    )
    yield from _limits_that_are_not_of_their_hours(connection)


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit on the time of events that a run has both as hours and as the instant that follows from its as_of."""

    hours: InstrumentedAttribute[int | None]
    instant: InstrumentedAttribute[datetime | None]
    reckoned: Callable[[datetime, int], datetime]


LIMITS = (
    _Limit(Run.max_event_age_hours, Run.oldest_event_at, hours_before),
    _Limit(Run.max_event_ahead_hours, Run.latest_event_at, hours_after),
)


def _limits_that_are_not_of_their_hours(connection: Connection) -> Iterator[Select[Any]]:
    for limit in LIMITS:
        name = limit.instant.key
        # In Python, because the calendar's ends are Python's own.
        times = (type_coerce(column, String) for column in (Run.as_of, limit.instant))
        limited: Select[*tuple[Any, ...]] = select(Run.id, limit.hours, *times).where(limit.hours.is_not(None))
        for run_id, hours, as_of, found in connection.execute(limited):
            try:
                instant = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
            except (TypeError, ValueError):
                # Other formats are reported elsewhere.
                continue
            if found != timestamp_text(limit.reckoned(instant, hours)):
                yield select(literal(f"runs.id {run_id}: {name} {found}, {hours} h from {as_of}"))
        yield select(told("runs.id ", Run.id, f": {name} ", limit.instant, " without hours")).where(
            limit.hours.is_(None), limit.instant.is_not(None)
        )


def _decided_wrongly(_connection: Connection) -> Iterator[Select[Any]]:
    counts = (Run.known_file_count, Run.outside_file_count, Run.decided_count)
    decided = ("decided_count ", Run.decided_count, ", ruleset_id ", Run.ruleset_id)
    yield select(told("runs.id ", Run.id, ": ", Run.mode, ", ", *decided)).where(
        or_(
            not_(_is_both_or_neither(Run.decided_count, Run.decide_seconds)),
            and_(Run.ruleset_id.is_(None), func.coalesce(Run.decided_count, 0) > 0),
            and_(Run.mode == RunMode.LOAD_ONLY, Run.decided_count.is_not(None)),
            not_(_is_both_or_neither(Run.known_file_count, Run.outside_file_count)),
            *(func.coalesce(count, 0) < 0 for count in counts),
        )
    )


def _remarks_out_of_order(_connection: Connection) -> Iterator[Select[Any]]:
    last = func.max(RunRemark.remark_position)
    yield (
        select(told("run_remarks of runs.id ", RunRemark.run_id, ": ", func.count(), ", the last at place ", last))
        .group_by(RunRemark.run_id)
        .having(or_(func.min(RunRemark.remark_position) != 1, last != func.count()))
    )


def _loads_unlike_their_run(_connection: Connection) -> Iterator[Select[Any]]:
    facts = ("as_of ", Load.as_of, ", flow_run_id ", Load.flow_run_id)
    yield (
        select(told("loads.id ", Load.id, " of runs.id ", Run.id, ": ", *facts))
        .select_from(Load)
        .join(Run, Run.id == Load.run_id)
        .where(or_(Load.as_of != Run.as_of, Load.flow_run_id.is_distinct_from(Run.flow_run_id)))
    )


RUN_INVARIANTS = (
    Invariant(
        "run_end",
        "Every run has an end unless it is at work or was killed, and failed if it left a problem",
        _ended_wrongly,
    ),
    Invariant(
        "run_order",
        "Every run has the window that its flow asks for, and limits on events that follow from its hours and as_of",
        _ordered_wrongly,
    ),
    Invariant(
        "run_counts",
        "Every run that decided names its ruleset and its duration, and a run that only loads decided nothing",
        _decided_wrongly,
    ),
    Invariant(
        "remarks_in_order",
        "The remarks of every run are numbered from 1, and none is missing",
        _remarks_out_of_order,
    ),
    Invariant(
        "load_of_the_run",
        "Every load has the logical time and the Prefect run of its run",
        _loads_unlike_their_run,
    ),
)
