"""What must be true of the ledger and the rows that it counts: nothing lost, nothing taken twice."""

from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, false, func, not_, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    READ_COUNTS,
    Conflict,
    Event,
    EventType,
    HeldEvent,
    LeftOutValue,
    Load,
    LoadState,
    RejectedRow,
    Run,
    RunMode,
    SourceFile,
    takes_whole_file,
)
from src.marketing_messaging_service.vocabulary import Invariant, ReasonCode


def _repeated(column: InstrumentedAttribute[str]) -> Select[Any]:
    """The values that are in more than one row of a table."""
    return (
        select(told(f"{column.class_.__tablename__}.{column.key} ", column, " stands ", func.count(), " times"))
        .group_by(column)
        .having(func.count() > 1)
    )


def _files_taken_wrongly() -> list[Select[Any]]:
    load_count = func.count(Load.id)
    whole_count = func.count(Load.id).filter(takes_whole_file())
    has_read_nothing = and_(*(count == 0 for count in READ_COUNTS), Load.outside_count == 0)
    reading = exists().where(Load.source_file_id == SourceFile.id, or_(not_(has_read_nothing), takes_whole_file()))
    place = told("source_files.id ", SourceFile.id, " (", SourceFile.path, ")")
    loads = select(SourceFile.id).select_from(SourceFile).outerjoin(Load).group_by(SourceFile.id)
    return [
        loads.with_only_columns(place + told(": loads ", load_count)).having(load_count == 0),
        loads.with_only_columns(place + told(": loads of the whole file ", whole_count)).having(whole_count > 1),
        select(place + told(": refused_code ", SourceFile.refused_code)).where(
            SourceFile.refused_code.is_(None) != reading
        ),
        select(told("loads.id ", Load.id, ": lines outside of a window, of a run without one"))
        .outerjoin(Run, Run.id == Load.run_id)
        .where(Load.outside_count > 0, Run.window_start_at.is_(None)),
    ]


def _counts_that_do_not_add_up() -> Select[Any]:
    parts = (
        Load.inserted_count,
        Load.duplicate_count,
        Load.collision_count,
        Load.rejected_count,
        Load.blank_count,
        Load.dropped_count,
        Load.outside_count,
    )
    accounted = reduce(add, parts)
    counts = (Load.read_count, " of which accounted for ", accounted, "; duplicate ", Load.duplicate_count)
    return select(told("loads.id ", Load.id, ": read ", *counts, ", conflict ", Load.conflict_count)).where(
        or_(
            Load.read_count != accounted,
            not_(Load.conflict_count.between(0, Load.duplicate_count)),
            *(count < 0 for count in parts),
        )
    )


def _wrong_count(
    counted: InstrumentedAttribute[int], load_id: InstrumentedAttribute[Any], *conditions: ColumnElement[bool]
) -> Select[Any]:
    """The loads whose rows in a table, under some conditions, do not match their count."""
    present = (
        select(load_id.label("load_id"), func.count().label("row_count"))
        .where(*conditions)
        .group_by(load_id)
        .subquery("present")
    )
    row_count = func.coalesce(present.c.row_count, 0)
    return (
        select(told("loads.id ", Load.id, f": {counted.key} ", counted, ", rows ", row_count))
        .select_from(Load)
        .outerjoin(present, present.c.load_id == Load.id)
        .where(counted != row_count)
    )


def _collisions_without_event() -> Select[Any]:
    """The rejected rows that name an event although their reason does not call for one."""
    return select(
        told("rejected_rows.id ", RejectedRow.id, ": event_id ", RejectedRow.event_id, ", ", RejectedRow.reason_code)
    ).where(RejectedRow.event_id.is_not(None), RejectedRow.reason_code != ReasonCode.MESSAGE_ID_COLLISION)


def _left_out_of_other_loads() -> Select[Any]:
    place = (LeftOutValue.line_number, " of loads.id ", LeftOutValue.load_id, ": events.id ", LeftOutValue.event_id)
    return (
        select(told("left_out_values of line ", *place))
        .join(Event, Event.id == LeftOutValue.event_id, isouter=True)
        .where(func.coalesce(Event.load_id != LeftOutValue.load_id, true()))
    )


def _events_out_of_range() -> Select[Any]:
    is_outside = not_(Event.id.between(Load.first_event_id, Load.last_event_id))
    return (
        select(told("events.id ", Event.id, " of loads.id ", Load.id))
        .select_from(Event)
        .join(Load, Load.id == Event.load_id)
        .where(func.coalesce(is_outside, true()))
    )


def _was_held() -> ColumnElement[bool]:
    """Whether a load's run was one that only loads."""
    return func.coalesce(Load.run_id.in_(select(Run.id).where(Run.mode == RunMode.LOAD_ONLY)), false())


def _half_decided_loads() -> Select[Any]:
    was_held = _was_held()
    decided = (Load.state == LoadState.DECIDED, Load.decided_at.is_not(None), Load.ruleset_id.is_(None) == was_held)
    waiting = (
        Load.state == case((was_held, LoadState.HELD.value), else_=LoadState.LOADED.value),
        Load.decided_at.is_(None),
        Load.ruleset_id.is_(None),
    )
    facts = (Load.state, ", decided_at ", Load.decided_at, ", ruleset_id ", Load.ruleset_id)
    return select(told("loads.id ", Load.id, ": ", *facts)).where(
        not_(func.coalesce(or_(and_(*decided), and_(*waiting)), false()))
    )


def _wrongly_held_events() -> list[Select[Any]]:
    was_held = _was_held()
    events = select(told("events.id ", Event.id, " of loads.id ", Load.id, ", ", Load.state)).join(
        Load, Load.id == Event.load_id
    )
    held = events.outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
    in_reach = HeldEvent.event_id.between(Load.first_event_id, Load.last_event_id)
    waits = exists().where(
        in_reach, HeldEvent.run_id.is_(None), Event.id == HeldEvent.event_id, Event.load_id == Load.id
    )
    load = select(told("loads.id ", Load.id, ": ", Load.state))
    return [
        held.where(was_held, HeldEvent.event_id.is_(None)),
        events.join(HeldEvent, HeldEvent.event_id == Event.id).where(not_(was_held), HeldEvent.due_at.is_(None)),
        events.join(HeldEvent, HeldEvent.event_id == Event.id).where(HeldEvent.due_at != Event.event_timestamp),
        load.where(Load.state == LoadState.HELD, not_(waits)),
        load.where(was_held, Load.state != LoadState.HELD, waits),
    ]


def _unknown_event_types() -> Select[Any]:
    types = select(Event.event_type).where(Event.event_type.not_in(select(EventType.event_type))).distinct().subquery()
    return select(told("events of the type ", types.c.event_type, ": not in event_types"))


LEDGER_INVARIANTS = (
    Invariant(
        "one_event_a_message_id",
        "No two events have the same message_id",
        lambda _: [_repeated(Event.message_id)],
    ),
    Invariant(
        "known_event_types",
        "Every event's type is in event_types",
        lambda _: [_unknown_event_types()],
    ),
    Invariant(
        "one_file_a_content",
        "No content was taken under two names",
        lambda _: [_repeated(SourceFile.content_hash)],
    ),
    Invariant(
        "one_load_a_file",
        "Every raw file has loads, at most one of which took it to the end; it is refused if none could read a line",
        lambda _: _files_taken_wrongly(),
    ),
    Invariant(
        "counts_add_up",
        "In every load, read = inserted + duplicate + collision + rejected + blank + dropped + outside; "
        "conflicts are duplicates",
        lambda _: [_counts_that_do_not_add_up()],
    ),
    Invariant(
        "inserted_count",
        "Every load has as many events as it inserted",
        lambda _: [_wrong_count(Load.inserted_count, Event.load_id)],
    ),
    Invariant(
        "rejected_count",
        "Every load has as many rejected rows as it rejected lines",
        lambda _: [
            _wrong_count(
                Load.rejected_count,
                RejectedRow.load_id,
                RejectedRow.reason_code != ReasonCode.MESSAGE_ID_COLLISION,
            )
        ],
    ),
    Invariant(
        "collision_count",
        "Every load has as many lines with the message_id of another event as it counted; no other line names an event",
        lambda _: [
            _wrong_count(
                Load.collision_count,
                RejectedRow.load_id,
                RejectedRow.reason_code == ReasonCode.MESSAGE_ID_COLLISION,
            ),
            _collisions_without_event(),
        ],
    ),
    Invariant(
        "conflict_count",
        "Every load has as many conflicts as it counted",
        lambda _: [_wrong_count(Load.conflict_count, Conflict.load_id)],
    ),
    Invariant(
        "left_out_values",
        "Every value that was left out belongs to an event of the same load",
        lambda _: [_left_out_of_other_loads()],
    ),
    Invariant(
        "event_id_range",
        "Every event is between the first and the last of its load",
        lambda _: [_events_out_of_range()],
    ),
    Invariant(
        "load_state",
        "Every load is either decided, with a time and a ruleset, or waiting, with neither",
        lambda _: [_half_decided_loads()],
    ),
    Invariant(
        "held_events",
        "The events that wait for a backfill are those of the loads that were only loaded, each with its row, and what "
        "waits for its time waits for the time of its event",
        lambda _: _wrongly_held_events(),
    ),
)
