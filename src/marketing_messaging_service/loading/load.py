"""One file's transaction: everything of it appears in the tables together, or nothing does."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, Engine, FromClause, func, insert, select

from src.marketing_messaging_service.errors import LoadError
from src.marketing_messaging_service.infrastructure.database import timestamp_text, utc_now, write_transaction
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows
from src.marketing_messaging_service.loading.bulk import bulk_insert
from src.marketing_messaging_service.loading.conflicts import DuplicateCheck
from src.marketing_messaging_service.loading.ledger import (
    close_load,
    file_history,
    hold_events,
    move_file,
    open_load,
    record_file,
)
from src.marketing_messaging_service.loading.new_events import InsertNew, new_events
from src.marketing_messaging_service.loading.split import part_columns, scalars
from src.marketing_messaging_service.models import (
    Event,
    Load,
    LoadState,
    RejectedRow,
    UnknownKey,
)
from src.marketing_messaging_service.results import REJECTED_SCHEMA, LoadResult, NotLoaded, StagedFile, Window
from src.marketing_messaging_service.vocabulary import PAYLOAD, Part


class _NothingNewError(Exception):
    """A part of a file was taken again and brought nothing; its transaction is rolled back."""


@dataclass(slots=True)
class _Progress:
    """How far a load has come."""

    load_id: int
    source_file_id: int
    is_first_load: bool
    """Whether nothing of the file was taken before, so that what is said of the file as a whole is still unsaid."""
    created_at: str
    next_event_id: int
    first_event_id: int | None = None
    last_event_id: int | None = None
    inserted_count: int = 0
    outside_count: int = 0
    known_rejected_count: int = 0
    child_counts: Counter[Part] = field(default_factory=Counter)
    """Rows by the part of the payload that they hold."""
    rejected_by_reason: Counter[str] = field(default_factory=Counter)


def load_file(
    engine: Engine,
    staged: StagedFile,
    *,
    as_of: datetime,
    flow_run_id: str | None = None,
    run_id: int | None = None,
    window: Window | None = None,
    is_held: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> LoadResult | NotLoaded:
    """Put a staged file into the tables in one transaction, and return its counts.

    Events whose message_id is known, in this file or any before, are left out and counted; those among them
    that say something else are recorded in `conflicts`. With a window, the events outside of it are left for whoever
    takes the rest; what concerns the whole file (rejected lines, unknown keys) is recorded by its first load. With
    `is_held` the events are entered in `held_events` and decided only by a run that asks for their time. Returns
    NotLoaded, and changes nothing, when another run has taken the same content meanwhile or the window holds nothing
    new. `on_progress` is told how many events were handled since the last call. Raises LoadError, and keeps nothing,
    when the counts do not add up.
    """
    if window is not None and staged.valid_count and not _has_event_in(staged, window):
        return NotLoaded.OUTSIDE
    loaded_at = utc_now()
    began = time.monotonic()
    try:
        with write_transaction(engine) as connection:
            history = file_history(connection, staged.file.content_hash)
            if history.is_taken:
                return NotLoaded.TAKEN
            source_file_id = history.source_file_id or record_file(connection, staged.file, loaded_at)
            load_id = open_load(
                connection,
                source_file_id,
                as_of=as_of,
                flow_run_id=flow_run_id,
                run_id=run_id,
                state=LoadState.HELD if is_held else LoadState.LOADED,
                loaded_at=loaded_at,
            )
            progress = _Progress(
                load_id,
                source_file_id,
                is_first_load=history.source_file_id is None,
                created_at=timestamp_text(loaded_at),
                next_event_id=connection.execute(select(func.coalesce(func.max(Event.id), 0) + 1)).scalar_one(),
            )
            result = _load(connection, staged, progress, window=window, on_progress=on_progress, began=began)
            _finish(connection, staged, progress, result, is_held=is_held)
    except _NothingNewError:
        return NotLoaded.NOTHING_NEW
    return result


def _load(
    connection: Connection,
    staged: StagedFile,
    progress: _Progress,
    *,
    window: Window | None,
    on_progress: Callable[[int], None],
    began: float,
) -> LoadResult:
    """Insert the rows of a file and return what became of its lines."""
    duplicates = DuplicateCheck(connection)
    with new_events(
        connection,
        lambda: (_inside(events, window) for events in staged.event_chunks()),
        coming_count=staged.valid_count,
        standing_count=progress.next_event_id - 1,
    ) as insert_new:
        for events in staged.event_chunks():
            inside = _inside(events, window)
            progress.outside_count += len(events) - len(inside)
            duplicates.add(_insert_chunk(connection, inside, progress, insert_new))
            on_progress(len(events))
    for rejected in staged.rejected_chunks():
        _insert_rejected(connection, rejected, progress)
    if progress.is_first_load:
        _insert_unknown_keys(connection, staged, progress.load_id)
    duplicates.refuse_lost()
    _refuse_lost_rows(connection, staged, progress)
    return LoadResult(
        display_path=staged.file.display_path,
        read_count=staged.read_count,
        inserted_count=progress.inserted_count,
        duplicate_count=duplicates.count + progress.known_rejected_count,
        conflict_count=duplicates.record_conflicts(progress.load_id, progress.source_file_id),
        rejected_count=progress.rejected_by_reason.total(),
        blank_count=staged.blank_count,
        outside_count=progress.outside_count,
        seconds=round(time.monotonic() - began, 3),
        rejected_by_reason=dict(progress.rejected_by_reason.most_common()),
        unknown_keys=staged.unknown_keys if progress.is_first_load else {},
    )


def _finish(
    connection: Connection, staged: StagedFile, progress: _Progress, result: LoadResult, *, is_held: bool
) -> None:
    """Enter the counts of a load in the ledger; raise _NothingNewError when it changed nothing."""
    _refuse_wrong_counts(result)
    if not progress.is_first_load:
        if result.outside_count and not (result.inserted_count or result.rejected_count or result.conflict_count):
            raise _NothingNewError
        move_file(connection, progress.source_file_id, staged.file)
    if is_held:
        hold_events(connection, progress.load_id, progress.first_event_id, progress.last_event_id)
    close_load(
        connection,
        progress.load_id,
        read_count=result.read_count,
        inserted_count=result.inserted_count,
        duplicate_count=result.duplicate_count,
        conflict_count=result.conflict_count,
        rejected_count=result.rejected_count,
        blank_count=result.blank_count,
        outside_count=result.outside_count,
        first_event_id=progress.first_event_id,
        last_event_id=progress.last_event_id,
        load_seconds=result.seconds,
    )


def _has_event_in(staged: StagedFile, window: Window) -> bool:
    return any(_lies_in(events, window).any() for events in staged.event_chunks())


def _inside(events: pd.DataFrame, window: Window | None) -> pd.DataFrame:
    return events if window is None else events.loc[_lies_in(events, window)]


def _lies_in(events: pd.DataFrame, window: Window) -> "pd.Series[bool]":
    timestamps = events["event_timestamp"]
    return (timestamps >= pd.Timestamp(window.start)) & (timestamps < pd.Timestamp(window.end))


def _insert_chunk(
    connection: Connection, events: pd.DataFrame, progress: _Progress, insert_new: InsertNew
) -> pd.DataFrame:
    """Insert the events of a chunk that are not known yet, with their children, and return the others."""
    event_ids = np.arange(progress.next_event_id, progress.next_event_id + len(events))
    progress.next_event_id += len(events)
    is_new = insert_new(events, event_ids, progress.load_id, progress.created_at)
    duplicates = events.iloc[:0]
    if not is_new.all():
        duplicates, events, event_ids = events.loc[~is_new], events.loc[is_new], event_ids[is_new]
    progress.inserted_count += len(events)
    if len(events):
        progress.first_event_id = progress.first_event_id or int(event_ids[0])
        progress.last_event_id = int(event_ids[-1])
    for part in PAYLOAD.parts:
        columns = part_columns(events, event_ids, part)
        progress.child_counts[part] += len(columns["event_id"])
        bulk_insert(connection, insert(part.table), columns)
    return duplicates


def _insert_rejected(connection: Connection, rejected: pd.DataFrame, progress: _Progress) -> None:
    if not (progress.is_first_load or rejected.empty):
        numbers = rejected["line_number"]
        before = _lines_rejected_before(connection, progress, int(numbers.min()), int(numbers.max()))
        is_known = numbers.isin(before)
        progress.known_rejected_count += int(is_known.sum())
        rejected = rejected.loc[~is_known]
    columns = {name: scalars(rejected, name) for name in REJECTED_SCHEMA.names}
    progress.rejected_by_reason.update(columns["reason_code"])
    bulk_insert(connection, insert(RejectedRow), columns | {"load_id": [progress.load_id] * len(rejected)})


def _lines_rejected_before(connection: Connection, progress: _Progress, first_line: int, last_line: int) -> list[int]:
    lines = (
        select(RejectedRow.line_number)
        .join(Load, Load.id == RejectedRow.load_id)
        .where(
            Load.source_file_id == progress.source_file_id,
            Load.id != progress.load_id,
            RejectedRow.line_number.between(first_line, last_line),
        )
    )
    return list(connection.execute(lines).scalars())


def _insert_unknown_keys(connection: Connection, staged: StagedFile, load_id: int) -> None:
    bulk_insert(
        connection,
        insert(UnknownKey),
        {
            "load_id": [load_id] * len(staged.unknown_keys),
            "key_path": list(staged.unknown_keys),
            "occurrence_count": list(staged.unknown_keys.values()),
        },
    )


def _refuse_lost_rows(connection: Connection, staged: StagedFile, progress: _Progress) -> None:
    """Count what stands in the tables of what the load wrote; raise LostRowsError when some of it does not."""
    first, last = progress.first_event_id, progress.last_event_id
    of_load = (Event.id.between(first, last), Event.load_id == progress.load_id)
    written: dict[FromClause, tuple[Sequence[ColumnElement[bool]], int]] = {
        Event.__table__: (of_load, progress.inserted_count),
        **{
            part.table: ((part.table.c.event_id.between(first, last),), progress.child_counts[part])
            for part in PAYLOAD.parts
        },
        RejectedRow.__table__: ((RejectedRow.load_id == progress.load_id,), progress.rejected_by_reason.total()),
        UnknownKey.__table__: (
            (UnknownKey.load_id == progress.load_id,),
            len(staged.unknown_keys) if progress.is_first_load else 0,
        ),
    }
    standing = connection.execute(
        select(
            *(
                select(func.count()).select_from(table).where(*conditions).scalar_subquery()
                for table, (conditions, _) in written.items()
            )
        )
    ).one()
    refuse_lost_rows(
        connection,
        {str(table): (count, found) for (table, (_, count)), found in zip(written.items(), standing, strict=True)},
    )


def _refuse_wrong_counts(result: LoadResult) -> None:
    accounted = (
        result.inserted_count
        + result.duplicate_count
        + result.rejected_count
        + result.blank_count
        + result.outside_count
    )
    if result.read_count != accounted:
        raise LoadError(
            f"{result.display_path}: {result.read_count} lines were read but {accounted} are accounted for "
            f"({result.inserted_count} inserted, {result.duplicate_count} duplicate, {result.rejected_count} rejected, "
            f"{result.blank_count} blank, {result.outside_count} outside). Nothing of the file was kept; this is a "
            "defect, please report it."
        )
