"""What must hold between the ledger and the rows that it counts: nothing lost, nothing taken twice."""

from typing import Any

from sqlalchemy import Select, and_, func, not_, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import Conflict, Event, Load, LoadState, RejectedRow, SourceFile
from src.marketing_messaging_service.results import Invariant


def _repeated(column: InstrumentedAttribute[str]) -> Select[Any]:
    """The values that stand in more than one row of a table."""
    return (
        select(told(f"{column.class_.__tablename__}.{column.key} ", column, " stands ", func.count(), " times"))
        .group_by(column)
        .having(func.count() > 1)
    )


def _files_without_their_load() -> Select[Any]:
    load_count = func.count(Load.id)
    return (
        select(told("source_files.id ", SourceFile.id, " (", SourceFile.path, "): loads ", load_count))
        .select_from(SourceFile)
        .outerjoin(Load, Load.source_file_id == SourceFile.id)
        .group_by(SourceFile.id)
        .having(load_count != 1)
    )


def _counts_that_do_not_add_up() -> Select[Any]:
    accounted = Load.inserted_count + Load.duplicate_count + Load.rejected_count + Load.blank_count
    counts = (Load.read_count, " of which accounted for ", accounted, "; duplicate ", Load.duplicate_count)
    return select(told("loads.id ", Load.id, ": read ", *counts, ", conflict ", Load.conflict_count)).where(
        or_(
            Load.read_count != accounted,
            not_(Load.conflict_count.between(0, Load.duplicate_count)),
            *(count < 0 for count in (Load.inserted_count, Load.rejected_count, Load.blank_count)),
        )
    )


def _wrong_count(counted: InstrumentedAttribute[int], load_id: InstrumentedAttribute[Any]) -> Select[Any]:
    """The loads whose rows in a table are not as many as their count says."""
    present = select(load_id.label("load_id"), func.count().label("row_count")).group_by(load_id).subquery("present")
    row_count = func.coalesce(present.c.row_count, 0)
    return (
        select(told("loads.id ", Load.id, f": {counted.key} ", counted, ", rows ", row_count))
        .select_from(Load)
        .outerjoin(present, present.c.load_id == Load.id)
        .where(counted != row_count)
    )


def _events_out_of_range() -> Select[Any]:
    is_outside = not_(Event.id.between(Load.first_event_id, Load.last_event_id))
    return (
        select(told("events.id ", Event.id, " of loads.id ", Load.id))
        .select_from(Event)
        .join(Load, Load.id == Event.load_id)
        .where(func.coalesce(is_outside, true()))
    )


def _half_decided_loads() -> Select[Any]:
    decided = (Load.state == LoadState.DECIDED, Load.decided_at.is_not(None), Load.ruleset_id.is_not(None))
    waiting = (Load.state == LoadState.LOADED, Load.decided_at.is_(None), Load.ruleset_id.is_(None))
    facts = (Load.state, ", decided_at ", Load.decided_at, ", ruleset_id ", Load.ruleset_id)
    return select(told("loads.id ", Load.id, ": ", *facts)).where(not_(or_(and_(*decided), and_(*waiting))))


LEDGER_INVARIANTS = (
    Invariant(
        "one_event_a_message_id",
        "No two events have one message_id",
        lambda _: [_repeated(Event.message_id)],
    ),
    Invariant(
        "one_file_a_content",
        "No content was taken under two names",
        lambda _: [_repeated(SourceFile.content_hash)],
    ),
    Invariant(
        "one_load_a_file",
        "Every raw file that was taken has exactly one load",
        lambda _: [_files_without_their_load()],
    ),
    Invariant(
        "counts_add_up",
        "Of every load, read = inserted + duplicate + rejected + blank; conflicts are duplicates",
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
        lambda _: [_wrong_count(Load.rejected_count, RejectedRow.load_id)],
    ),
    Invariant(
        "conflict_count",
        "Every load has as many conflicts as it counted",
        lambda _: [_wrong_count(Load.conflict_count, Conflict.load_id)],
    ),
    Invariant(
        "event_id_range",
        "Every event lies between the first and the last of its load",
        lambda _: [_events_out_of_range()],
    ),
    Invariant(
        "load_state",
        "Every load is either decided, at a time and by a ruleset, or waiting, with neither",
        lambda _: [_half_decided_loads()],
    ),
)
