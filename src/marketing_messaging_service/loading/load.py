"""Loads files into the tables: everything of a file appears together, or nothing does."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Insert, func, insert, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from src.marketing_messaging_service.errors import LoadError, RefusedRowError
from src.marketing_messaging_service.infrastructure.bulk import Columns, bulk_insert
from src.marketing_messaging_service.infrastructure.database import timestamp_text, utc_now, write_transaction
from src.marketing_messaging_service.infrastructure.several_writers import is_beside_others, next_ids
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows, triggers_on
from src.marketing_messaging_service.loading.collisions import CollisionKeeper
from src.marketing_messaging_service.loading.conflicts import Collision, DuplicateCheck
from src.marketing_messaging_service.loading.first_deliveries import Mask, Numbers
from src.marketing_messaging_service.loading.former_ids import StandingIds
from src.marketing_messaging_service.loading.ledger import (
    COUNT_NAMES,
    FileHistory,
    close_loads,
    file_histories,
    forget_loads,
    hold_events,
    note_readings,
    open_loads,
    record_files,
)
from src.marketing_messaging_service.loading.new_events import InsertNew, new_events
from src.marketing_messaging_service.loading.rejected_lines import mark_replayed
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded, Unreadable
from src.marketing_messaging_service.loading.split import are_there, left_out_columns, part_columns, scalars
from src.marketing_messaging_service.models import (
    Event,
    EventType,
    LeftOutValue,
    Load,
    LoadState,
    RejectedRow,
    UnknownKey,
)
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.staging.results import (
    LEFT_OUT,
    REJECTED_SCHEMA,
    StagedFile,
    as_frame,
    lines_between,
    with_column,
)
from src.marketing_messaging_service.vocabulary import PAYLOAD, Part, ReasonCode

RETRIES_BESIDE_OTHERS = 2
"""How often files are loaded again when a row was refused because another run may have committed it meanwhile."""


@dataclass(slots=True)
class _FileLoad:
    """How far the load of one file has come."""

    staged: StagedFile
    history: FileHistory
    source_file_id: int = 0
    load_id: int = 0
    first_event_id: int | None = None
    last_event_id: int | None = None
    inserted_count: int = 0
    duplicate_count: int = 0
    conflict_count: int = 0
    collision_count: int = 0
    outside_count: int = 0
    left_out_count: int = 0
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    refused_code: ReasonCode | None = None
    """Why no line of the file could be read."""
    seconds: float = 0.0

    @property
    def is_first_load(self) -> bool:
        """Whether nothing of the file was taken before, so that facts about the whole file are still to be recorded."""
        return self.history.is_first

    @property
    def is_unreadable(self) -> bool:
        """Whether the file has lines, and none of them could be read."""
        return not (self.staged.valid_count or self.staged.dropped_count) and self.staged.rejected_count > 0

    @property
    def earlier_file_ids(self) -> list[int]:
        """The files (ids in source_files) whose rejected lines must not be recorded a second time."""
        if self.is_unreadable:
            return []
        own = [] if self.history.source_file_id is None else [self.history.source_file_id]
        return [*self.history.grown_from_ids, *own]

    @property
    def brings_nothing(self) -> bool:
        """Whether only a part of the file was wanted, and all of that part was taken before."""
        brought = self.inserted_count or self.rejected_by_reason or self.conflict_count or self.collision_count
        return not self.is_first_load and self.outside_count > 0 and not brought

    @property
    def is_wanted(self) -> bool:
        """Whether the file is loaded: it was not taken before, and is not once more a file without a readable line."""
        return not (self.history.is_taken or (self.history.is_refused and self.is_unreadable) or self.is_still_rejected)

    @property
    def is_still_rejected(self) -> bool:
        """Whether it is a replay of rejected lines, none of which is taken."""
        return self.staged.replayed is not None and not self.staged.replayed.row_ids

    def outcome(self) -> LoadResult | NotLoaded | Unreadable:
        """Return the result for the file."""
        if self.history.is_taken:
            return NotLoaded.TAKEN
        if not self.is_wanted and self.refused_code is not None:
            is_delivered_again = self.history.reader_number == self.staged.file.reader_number
            return Unreadable(self.staged.file, self.refused_code, is_delivered_again)
        if self.is_still_rejected:
            return NotLoaded.STILL_REJECTED
        return NotLoaded.NOTHING_NEW if self.brings_nothing else self.result()

    def result(self) -> LoadResult:
        """Return what the load did."""
        return LoadResult(
            display_path=self.staged.file.display_path,
            read_count=self.staged.read_count,
            inserted_count=self.inserted_count,
            duplicate_count=self.duplicate_count,
            conflict_count=self.conflict_count,
            collision_count=self.collision_count,
            rejected_count=self.rejected_by_reason.total(),
            blank_count=self.staged.blank_count,
            dropped_count=self.staged.dropped_count,
            outside_count=self.outside_count,
            seconds=self.seconds,
            rejected_by_reason=dict(self.rejected_by_reason.most_common()),
            unknown_keys=self.staged.unknown_keys if self.is_first_load else {},
            left_out_count=self.left_out_count,
        )


def load_file(engine: Engine, staged: StagedFile, **options: Any) -> LoadResult | NotLoaded | Unreadable:
    """Put a staged file into the tables in a transaction of its own, and return its counts; as `load_files`."""
    [result] = load_files(engine, [staged], **options)
    return result


def load_files(
    engine: Engine,
    files: Sequence[StagedFile],
    *,
    as_of: datetime,
    flow_run_id: str | None = None,
    run_id: int | None = None,
    window: Window | None = None,
    is_held: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[LoadResult | NotLoaded | Unreadable]:
    """Put staged files into the tables in one transaction, and return the counts of each.

    The files are one, or several that were staged together; the outcome is the same as loading them one after the
    other, each with its own row in the ledger. Events with a known message_id, from this file or an earlier one,
    are left out and counted; those that name another time are recorded in `conflicts`. A line that differs in more than
    that is not a retry, and is kept whole in `rejected_rows`. A replay marks the rejected lines that are now taken.
    With a window, the events outside it are left for whoever takes the rest; facts about the whole file (rejected
    lines, unknown keys) are recorded by its first load. With `is_held` the events go into `held_events` and are decided
    only by a run that asks for their time. NotLoaded means that nothing changed for a file, because another run has
    taken the same content meanwhile or the window holds nothing new; Unreadable, that no line can be read, which
    an earlier load found already. `on_progress` gets the number of events handled since the last call. Raises
    LoadError, and keeps nothing, when a file's counts do not add up, and LandingError when a line to be kept cannot be
    read again.
    """
    outside = _files_outside(files, window)
    if len(outside) == len(files):
        return [NotLoaded.OUTSIDE] * len(files)
    loading_order = _Order(as_of, flow_run_id, run_id, window, is_held)
    for _ in range(RETRIES_BESIDE_OTHERS if is_beside_others(engine) else 0):
        # Another run that lost its place among the writers may have committed the rows that this one was about to.
        with suppress(RefusedRowError):
            return _load_together(engine, files, outside, loading_order, on_progress)
    return _load_together(engine, files, outside, loading_order, on_progress)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is recorded with every load, and which events are wanted."""

    as_of: datetime
    flow_run_id: str | None
    run_id: int | None
    window: Window | None
    is_held: bool


def _load_together(
    engine: Engine,
    files: Sequence[StagedFile],
    outside: Collection[int],
    order: _Order,
    on_progress: Callable[[int], None],
) -> list[LoadResult | NotLoaded | Unreadable]:
    """Put files into the tables, except for those (`outside`, by position) of which no event is wanted."""
    began = time.monotonic()
    with write_transaction(engine) as connection:
        histories = file_histories(connection, [each.file for each in files])
        loads = {
            place: _FileLoad(each, history)
            for place, (each, history) in enumerate(zip(files, histories, strict=True))
            if place not in outside
        }
        _find_refused(files, loads)
        _note_unreadable(connection, loads.values())
        wanted = {place: each for place, each in loads.items() if each.is_wanted}
        if wanted:
            loading = _Loading(connection, files, wanted, order.window)
            loading.open(as_of=order.as_of, flow_run_id=order.flow_run_id, run_id=order.run_id, is_held=order.is_held)
            loading.load(on_progress)
            loading.close(began, is_held=order.is_held)
    return [loads[place].outcome() if place in loads else NotLoaded.OUTSIDE for place in range(len(files))]


def _files_outside(files: Sequence[StagedFile], window: Window | None) -> set[int]:
    """Return the places of the files that have events, all of them outside the window."""
    if window is None:
        return set()
    outside = {place for place, each in enumerate(files) if each.valid_count}
    batches = files[0].rows.event_batches("line_number", "event_timestamp")
    for events in lines_between(batches, files[0].lines_before, files[-1].last_line):
        if not outside:
            break
        outside.difference_update(_places(files, events)[_lie_in(events, window)].tolist())
    return outside


def _places(files: Sequence[StagedFile], rows: pa.RecordBatch) -> Numbers:
    """Return for each row the place of its file among the files."""
    if len(files) == 1:
        return np.zeros(len(rows), np.int64)
    line_numbers: Numbers = rows["line_number"].to_numpy()
    return np.searchsorted([each.last_line for each in files], line_numbers)


def _lie_in(events: pa.RecordBatch, window: Window) -> Mask:
    timestamps = events["event_timestamp"]
    start, end = (pa.scalar(instant, timestamps.type) for instant in (window.start, window.end))
    found: Mask = pc.and_(pc.greater_equal(timestamps, start), pc.less(timestamps, end)).to_numpy(zero_copy_only=False)
    return found


_INSERT_TYPE = sqlite_insert(EventType).on_conflict_do_nothing(index_elements=[EventType.event_type])


class _Loading:
    """The transaction in which files are loaded, each by its own load."""

    def __init__(
        self, connection: Connection, files: Sequence[StagedFile], loads: Mapping[int, _FileLoad], window: Window | None
    ) -> None:
        """Prepare to load some of the files: `loads` has them by their position among `files`."""
        self._connection = connection
        self._files = files
        self._rows = files[0].rows
        self._places = list(loads)
        self._loads = list(loads.values())
        self._window = window
        self._lines_before = np.array([each.staged.lines_before for each in self._loads], np.int64)
        self._load_id_of_place = np.zeros(len(files), np.int64)
        """0 for a file that is not loaded."""
        self._load_ids = range(0)
        self._created_at = ""
        self._child_counts: Counter[Part] = Counter()
        """Rows by the part of the payload that they hold."""
        self._event_types: set[str] = set()
        """Of the events that were inserted."""

    def open(self, *, as_of: datetime, flow_run_id: str | None, run_id: int | None, is_held: bool) -> None:
        """Record the files and their loads."""
        loaded_at = utc_now()
        self._created_at = timestamp_text(loaded_at)
        new_files = [each.staged.file for each in self._loads if each.history.source_file_id is None]
        new_ids = iter(record_files(self._connection, new_files, loaded_at))
        for each in self._loads:
            each.source_file_id = each.history.source_file_id or next(new_ids)
        self._load_ids = open_loads(
            self._connection,
            [each.source_file_id for each in self._loads],
            as_of=as_of,
            flow_run_id=flow_run_id,
            run_id=run_id,
            state=LoadState.HELD if is_held else LoadState.LOADED,
            loaded_at=loaded_at,
        )
        self._load_id_of_place[self._places] = self._load_ids
        for load_id, each in zip(self._load_ids, self._loads, strict=True):
            each.load_id = load_id

    def load(self, on_progress: Callable[[int], None]) -> None:
        """Insert the rows of the files, and count the fates of their lines."""
        duplicates = DuplicateCheck(self._connection)
        standing = StandingIds(self._connection, self._rows.event_batches() if self._rows.has_former_ids else ())
        coming_count = sum(each.staged.valid_count for each in self._loads)
        with new_events(
            self._connection,
            lambda: self._inside_of_loads(standing.put_in(self._rows.event_batches())),
            (
                events["message_id"]
                for events, _ in self._inside_of_loads(
                    standing.put_in(self._rows.event_batches("line_number", "message_id", "event_timestamp"))
                )
            ),
            coming_count=coming_count,
            next_id=next_ids(self._connection, Event, coming_count),
            load_count=len(self._loads),
            created_at=self._created_at,
        ) as insert_new:
            for events, load_ids in self._of_loads(standing.put_in(self._rows.event_batches())):
                self._insert_events(events, load_ids, insert_new, duplicates)
                on_progress(len(events))
        standing.close()
        self._insert_unknown_keys()
        self._insert_event_types()
        duplicates.refuse_lost()
        with duplicates.compared():
            for load_id, count in duplicates.record_conflicts(self._load_ids).items():
                self._load(load_id).conflict_count = count
            self._insert_rejected_and_collisions(duplicates)
        self._refuse_lost_rows()

    def close(self, began: float, *, is_held: bool) -> None:
        """Record the loads' counts in the ledger, and take back loads that brought nothing."""
        for each in self._loads:
            _refuse_wrong_counts(each.result())
        forget_loads(self._connection, [each.load_id for each in self._loads if each.brings_nothing])
        kept = [each for each in self._loads if not each.brings_nothing]
        readings = [each for each in kept if each.history.source_file_id or each.refused_code]
        note_readings(
            self._connection,
            [(each.source_file_id, each.staged.file, each.refused_code) for each in readings],
            utc_now(),
        )
        for each in self._loads:
            if each.staged.replayed is not None:
                mark_replayed(self._connection, each.load_id, each.staged.replayed.row_ids)
        if is_held:
            hold_events(self._connection, self._load_ids, *self._event_ids())
        self._share_time(time.monotonic() - began)
        close_loads(self._connection, [_ledger_row(each, is_held=is_held) for each in kept])

    def _load(self, load_id: int) -> _FileLoad:
        return self._loads[load_id - self._load_ids.start]

    def _event_ids(self) -> tuple[int | None, int | None]:
        """Return the first and the last id of the events inserted, None for none."""
        first_ids = [each.first_event_id for each in self._loads if each.first_event_id is not None]
        last_ids = [each.last_event_id for each in self._loads if each.last_event_id is not None]
        return (first_ids[0], last_ids[-1]) if first_ids else (None, None)

    def _of_loads(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
        """Yield the rows of the files that are loaded, their lines numbered file by file, and the load of each row."""
        for batch in lines_between(batches, self._files[0].lines_before, self._files[-1].last_line):
            load_ids = self._load_id_of_place[_places(self._files, batch)]
            rows, load_ids = _only(load_ids > 0, batch, load_ids)
            before = self._lines_before[load_ids - self._load_ids.start]
            if before.any():
                rows = with_column(rows, "line_number", pa.array(rows["line_number"].to_numpy() - before))
            yield rows, load_ids

    def _inside_of_loads(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
        """Yield the events of the files that are loaded, without those outside the window, and the load of each."""
        for events, load_ids in self._of_loads(batches):
            yield _only(self._are_inside(events), events, load_ids)

    def _are_inside(self, events: pa.RecordBatch) -> Mask:
        return np.ones(len(events), np.bool_) if self._window is None else _lie_in(events, self._window)

    def _insert_events(
        self, events: pa.RecordBatch, load_ids: Numbers, insert_new: InsertNew, duplicates: DuplicateCheck
    ) -> None:
        """Insert those of staged events that are not known yet, with their children."""
        are_inside = self._are_inside(events)
        for load_id, count in _count(load_ids[~are_inside]):
            self._load(load_id).outside_count += count
        events, load_ids = _only(are_inside, events, load_ids)
        are_new, event_ids = insert_new(events, load_ids)
        duplicates.add(*_only(~are_new, events, load_ids))
        for load_id, count in _count(load_ids[~are_new]):
            self._load(load_id).duplicate_count += count
        (events, load_ids), event_ids = _only(are_new, events, load_ids), event_ids[are_new]
        self._event_types.update(events["event_type"].unique().to_pylist())
        place = 0
        for load_id, count in _count(load_ids):
            load = self._load(load_id)
            load.inserted_count += count
            load.first_event_id = load.first_event_id or int(event_ids[place])
            place += count
            load.last_event_id = int(event_ids[place - 1])
        frame = as_frame(events)
        for part in PAYLOAD.parts:
            columns = part_columns(frame, event_ids, part)
            self._child_counts[part] += len(columns["event_id"])
            self._insert(insert(part.table), columns)
        self._insert_left_out(events, load_ids, event_ids)

    def _insert_left_out(self, events: pa.RecordBatch, load_ids: Numbers, event_ids: Numbers) -> None:
        """Record the invalid values that were left out of inserted events."""
        if not (has_any := are_there(events, LEFT_OUT)).any():
            return
        columns = left_out_columns(*_only(has_any, events, load_ids), event_ids[has_any])
        for load_id in columns["load_id"]:
            self._load(load_id).left_out_count += 1
        self._insert(insert(LeftOutValue), columns)

    def _insert_rejected_and_collisions(self, duplicates: DuplicateCheck) -> None:
        """Keep what did not become an event: per load the rejected lines, then the lines with a known message_id."""
        keeper = CollisionKeeper(self._connection)
        colliding = duplicates.collisions()
        following = next(colliding, None)
        for rejected, load_ids in self._of_loads(self._rows.rejected_batches()):
            start = 0
            # All rows of a load are here only when rows of a later load have come.
            while following is not None and following[0] < load_ids[-1]:
                end = int(np.searchsorted(load_ids, following[0], side="right"))
                self._insert_rejected(rejected.slice(start, end - start), load_ids[start:end])
                start = end
                self._keep_collisions(keeper, *following)
                following = next(colliding, None)
            self._insert_rejected(rejected.slice(start), load_ids[start:])
        while following is not None:
            self._keep_collisions(keeper, *following)
            following = next(colliding, None)
        keeper.end()

    def _keep_collisions(self, keeper: CollisionKeeper, load_id: int, collisions: Iterator[Collision]) -> None:
        load = self._load(load_id)
        load.collision_count = keeper.keep(load_id, load.staged, collisions)
        load.duplicate_count -= load.collision_count

    def _insert_rejected(self, rejected: pa.RecordBatch, load_ids: Numbers) -> None:
        is_known = np.zeros(len(rejected), dtype=np.bool_)
        numbers = rejected["line_number"].to_numpy()
        for load_id, _ in _count(load_ids):
            load = self._load(load_id)
            if load.earlier_file_ids:
                is_own = load_ids == load_id
                before = _lines_rejected_before(self._connection, load, numbers[is_own])
                raw_lines = rejected["raw_line"]
                for place in np.flatnonzero(is_own & np.isin(numbers, list(before))).tolist():
                    is_known[place] = before[int(numbers[place])] == raw_lines[place].as_py()
                load.duplicate_count += int((is_own & is_known).sum())
        rejected, load_ids = _only(~is_known, rejected, load_ids)
        columns = {name: scalars(rejected, name) for name in REJECTED_SCHEMA.names}
        for load_id, reason_code in zip(load_ids.tolist(), columns["reason_code"], strict=True):
            self._load(load_id).rejected_by_reason[reason_code] += 1
        self._insert(insert(RejectedRow), columns | {"load_id": load_ids.tolist()})

    def _insert_unknown_keys(self) -> None:
        of_files = [each for each in self._loads if each.is_first_load]
        columns: Columns = {
            "load_id": [each.load_id for each in of_files for _ in each.staged.unknown_keys],
            "key_path": [key_path for each in of_files for key_path in each.staged.unknown_keys],
            "occurrence_count": [count for each in of_files for count in each.staged.unknown_keys.values()],
        }
        self._insert(insert(UnknownKey), columns)

    def _insert_event_types(self) -> None:
        types = sorted(self._event_types)
        columns = {"event_type": types, "first_loaded_at": [self._created_at] * len(types)}
        bulk_insert(self._connection, _INSERT_TYPE, columns, unique="event_type")
        if triggers_on(self._connection, EventType.__tablename__):
            known = set(self._connection.execute(select(EventType.event_type)).scalars())
            refuse_lost_rows(self._connection, {EventType.__tablename__: (len(types), len(known.intersection(types)))})

    def _insert(self, statement: Insert, columns: Columns) -> None:
        """Insert rows. Raises LostRowsError when not all of them went in."""
        inserted = bulk_insert(self._connection, statement, columns)
        refuse_lost_rows(self._connection, {str(statement.table): (len(next(iter(columns.values()))), inserted)})

    def _refuse_lost_rows(self) -> None:
        """Count what the loads wrote in the tables; raise LostRowsError when some of it is missing.

        Only a trigger (on any table) can remove what went in.
        """
        if not triggers_on(self._connection, *Event.metadata.tables):
            return
        first_id, last_id = self._event_ids()
        loads = (self._load_ids[0], self._load_ids[-1])
        written: dict[FromClause, tuple[Sequence[ColumnElement[bool]], int]] = {
            Event.__table__: (
                (Event.id.between(first_id, last_id), Event.load_id.between(*loads)),
                sum(each.inserted_count for each in self._loads),
            ),
            **{
                part.table: ((part.table.c.event_id.between(first_id, last_id),), self._child_counts[part])
                for part in PAYLOAD.parts
            },
            RejectedRow.__table__: (
                (RejectedRow.load_id.between(*loads),),
                sum(each.rejected_by_reason.total() + each.collision_count for each in self._loads),
            ),
            LeftOutValue.__table__: (
                (LeftOutValue.load_id.between(*loads),),
                sum(each.left_out_count for each in self._loads),
            ),
            UnknownKey.__table__: (
                (UnknownKey.load_id.between(*loads),),
                sum(len(each.staged.unknown_keys) for each in self._loads if each.is_first_load),
            ),
        }
        for table, (conditions, count) in written.items():
            standing = select(func.count()).select_from(table).where(*conditions)
            found = self._connection.execute(standing).scalar_one()
            refuse_lost_rows(self._connection, {str(table): (count, found)})

    def _share_time(self, seconds: float) -> None:
        """Give each load its share of the time, by the lines of its file."""
        whole = sum(each.staged.read_count + 1 for each in self._loads)
        for each in self._loads:
            each.seconds = round(seconds * (each.staged.read_count + 1) / whole, 3)


def _find_refused(files: Sequence[StagedFile], loads: Mapping[int, _FileLoad]) -> None:
    """Record of each unreadable file why no line could be read, judging by its first line."""
    unknown = {place for place, each in loads.items() if each.is_unreadable}
    for rejected in lines_between(files[0].rows.rejected_batches(), files[0].lines_before, files[-1].last_line):
        if not unknown:
            break
        places = _places(files, rejected)
        for place in sorted(unknown.intersection(places.tolist())):
            code = rejected["reason_code"][int(np.argmax(places == place))].as_py()
            loads[place].refused_code = ReasonCode.of(code)
            unknown.discard(place)


def _note_unreadable(connection: Connection, loads: Iterable[_FileLoad]) -> None:
    """Record that files were read again and are as unreadable as before."""
    read = [
        (each.history.source_file_id, each.staged.file, each.refused_code)
        for each in loads
        if each.history.source_file_id is not None and not (each.is_wanted or each.history.is_taken)
    ]
    note_readings(connection, read, utc_now())


def _lines_rejected_before(connection: Connection, load: _FileLoad, numbers: Numbers) -> dict[int, str]:
    """Return the lines that an earlier load of the file rejected, from the first to the last of the numbers.

    Those of the file that it has grown from count too; the caller checks which lines are still the same.
    """
    lines = (
        select(RejectedRow.line_number, RejectedRow.raw_line)
        .join(Load, Load.id == RejectedRow.load_id)
        .where(
            Load.source_file_id.in_(load.earlier_file_ids),
            Load.id != load.load_id,
            RejectedRow.line_number.between(int(numbers[0]), int(numbers[-1])),
        )
        .order_by(Load.id)
    )
    return {row.line_number: row.raw_line for row in connection.execute(lines)}


def _only(are_wanted: Mask, rows: pa.RecordBatch, load_ids: Numbers) -> tuple[pa.RecordBatch, Numbers]:
    """Return the wanted rows, and the load of each."""
    if are_wanted.all():
        return rows, load_ids
    return rows.filter(pa.array(are_wanted)), load_ids[are_wanted]


def _count(load_ids: Numbers) -> Iterable[tuple[int, int]]:
    """Return the loads in a sequence, in order, and how often each occurs."""
    found, counts = np.unique(load_ids, return_counts=True)
    return zip(found.tolist(), counts.tolist(), strict=True)


def _ledger_row(load: _FileLoad, *, is_held: bool) -> dict[str, Any]:
    """Return what is recorded in the ledger at the end of a load."""
    result = load.result()
    row = {
        "loaded_id": load.load_id,
        **{name: getattr(result, name) for name in COUNT_NAMES},
        "first_event_id": load.first_event_id,
        "last_event_id": load.last_event_id,
        "load_seconds": load.seconds,
    }
    if not is_held:
        return row
    # A load without events has nothing to wait for.
    waits = result.inserted_count > 0
    return row | {
        "state": LoadState.HELD if waits else LoadState.DECIDED,
        "decided_at": None if waits else utc_now(),
    }


def _refuse_wrong_counts(result: LoadResult) -> None:
    accounted = (
        result.inserted_count
        + result.duplicate_count
        + result.collision_count
        + result.rejected_count
        + result.blank_count
        + result.dropped_count
        + result.outside_count
    )
    if result.read_count != accounted:
        raise LoadError(
            f"{result.display_path}: {result.read_count} lines were read but {accounted} are accounted for "
            f"({result.inserted_count} inserted, {result.duplicate_count} duplicate, {result.collision_count} "
            f"collision, {result.rejected_count} rejected, {result.blank_count} blank, {result.dropped_count} "
            f"dropped, {result.outside_count} outside). Nothing of the file was kept; this is a defect, please report "
            "it."
        )
