"""The record of what has been taken: source_files and loads."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Update,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from src.marketing_messaging_service.earlier_runs import KnownFile, KnownFiles
from src.marketing_messaging_service.infrastructure.database import read_transaction
from src.marketing_messaging_service.infrastructure.several_writers import next_ids
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows
from src.marketing_messaging_service.models import (
    Event,
    HeldEvent,
    Load,
    LoadState,
    RejectedRow,
    SourceFile,
    takes_whole_file,
)
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.staging.results import READER_VERSION, LandingFile
from src.marketing_messaging_service.vocabulary import ReasonCode

MOST_PARAMETERS = 1_000
"""How many values one statement gets in a list."""

COUNT_NAMES = (
    "read_count",
    "inserted_count",
    "duplicate_count",
    "conflict_count",
    "collision_count",
    "rejected_count",
    "blank_count",
    "dropped_count",
    "outside_count",
)
"""A load's counts of lines; each is also a field of LoadResult."""


def known_files(engine: Engine) -> KnownFiles:
    """Return the files that landing is compared with: those taken completely, and those that could not be read.

    One that could not be read counts as taken once replays have taken every line of it.
    """
    with read_transaction(engine) as connection:
        return KnownFiles(tuple(_known_files(connection)))


def known_files_at(engine: Engine, paths: Collection[str], contents: Collection[str] = ()) -> Sequence[KnownFile]:
    """Return the files that were at some display paths, for comparing landing with them.

    With `contents`, by their hashes, also those that were where one of these was.
    """
    of_contents = sorted(contents)
    with read_transaction(engine) as connection:
        lay_at = [
            path
            for start in range(0, len(of_contents), MOST_PARAMETERS)
            for path in connection.execute(
                select(SourceFile.path).where(SourceFile.content_hash.in_(of_contents[start : start + MOST_PARAMETERS]))
            ).scalars()
        ]
        wanted = sorted({*paths, *lay_at})
        return [
            file
            for start in range(0, len(wanted), MOST_PARAMETERS)
            for file in _known_files(connection, SourceFile.path.in_(wanted[start : start + MOST_PARAMETERS]))
        ]


def _known_files(connection: Connection, *conditions: ColumnElement[bool]) -> Iterator[KnownFile]:
    is_taken = exists().where(Load.source_file_id == SourceFile.id, takes_whole_file())
    is_rejected_still = exists().where(
        Load.source_file_id == SourceFile.id, RejectedRow.load_id == Load.id, RejectedRow.replayed_load_id.is_(None)
    )
    rows = connection.execute(
        select(
            SourceFile.path,
            SourceFile.content_hash,
            SourceFile.size_bytes,
            SourceFile.file_signature,
            case((is_rejected_still, SourceFile.refused_code)),
            SourceFile.reader_number,
            SourceFile.read_at,
        )
        .where(
            or_(SourceFile.refused_code.is_not(None), is_taken),
            # What a replay takes was not delivered by anybody.
            SourceFile.replayed_file_id.is_(None),
            *conditions,
        )
        .order_by(SourceFile.id)
    ).all()
    for path, content_hash, size, signature, code, version, read_at in rows:
        refused_code = ReasonCode.of(code) if code else None
        yield KnownFile(path, content_hash, size, signature, refused_code, version, read_at)


def undecided_event_count(engine: Engine) -> int:
    """Return how many loaded events wait for their decision."""
    with read_transaction(engine) as connection:
        count = select(func.coalesce(func.sum(Load.inserted_count), 0)).where(Load.state == LoadState.LOADED)
        return connection.execute(count).scalar_one()


def held_event_count(engine: Engine, window: Window) -> int:
    """Return how many events of a window wait for a backfill."""
    with read_transaction(engine) as connection:
        return connection.execute(
            select(func.count())
            .select_from(HeldEvent)
            .join(Event, Event.id == HeldEvent.event_id)
            .where(
                HeldEvent.run_id.is_(None), Event.event_timestamp >= window.start, Event.event_timestamp < window.end
            )
        ).scalar_one()


@dataclass(frozen=True, slots=True)
class FileHistory:
    """What earlier loads made of a file with the same content."""

    source_file_id: int | None
    """None when the content is new."""
    is_taken: bool = False
    """Whether one has taken it completely."""
    is_refused: bool = False
    """Whether one could read no line of it."""
    reader_number: int = READER_VERSION
    """The number of the reader that read it last."""
    grown_from_ids: tuple[int, ...] = ()
    """The files in source_files that this one begins with."""

    @property
    def is_first(self) -> bool:
        """Whether nothing of the file was taken before, so that what is said of the file as a whole is still unsaid."""
        return self.source_file_id is None or self.is_refused


def file_histories(connection: Connection, files: Sequence[LandingFile]) -> list[FileHistory]:
    """Return what is known about the content of each file, under whatever name."""
    wanted = {each for file in files for each in (file.content_hash, *file.grown_from)}
    known = _known_contents(connection, sorted(wanted))
    histories = []
    for file in files:
        earlier = (known[each].source_file_id for each in file.grown_from if each in known)
        history = known.get(file.content_hash, FileHistory(None))
        histories.append(replace(history, grown_from_ids=tuple(each for each in earlier if each is not None)))
    return histories


def _known_contents(connection: Connection, content_hashes: Sequence[str]) -> dict[str, FileHistory]:
    taken = func.max(case((takes_whole_file(), 1), else_=0))
    known = (
        select(SourceFile.content_hash, SourceFile.id, taken, SourceFile.refused_code, SourceFile.reader_number)
        .join(Load, Load.source_file_id == SourceFile.id)
        .group_by(SourceFile.id)
    )
    histories = {}
    for start in range(0, len(content_hashes), MOST_PARAMETERS):
        some = content_hashes[start : start + MOST_PARAMETERS]
        for content_hash, file_id, is_taken, refused_code, reader_number in connection.execute(
            known.where(SourceFile.content_hash.in_(some))
        ):
            histories[content_hash] = FileHistory(
                file_id,
                is_taken=bool(is_taken),
                is_refused=refused_code is not None,
                reader_number=reader_number,
            )
    return histories


def known_contents(engine: Engine, content_hashes: Collection[str]) -> Mapping[str, FileHistory]:
    """Return what is known about contents, for those about which anything is."""
    with read_transaction(engine) as connection:
        return _known_contents(connection, sorted(content_hashes))


def refused_contents(engine: Engine) -> frozenset[str]:
    """Return the contents of which a load could read no line."""
    with read_transaction(engine) as connection:
        refused = select(SourceFile.content_hash).where(SourceFile.refused_code.is_not(None))
        return frozenset(connection.execute(refused).scalars())


def record_files(connection: Connection, files: Sequence[LandingFile], taken_at: datetime) -> range:
    """Record files of which nothing was taken before, and return their ids."""
    rows = [
        {
            "content_hash": file.content_hash,
            "taken_at": taken_at,
            "refused_code": None,
            "replayed_file_id": file.kept.source_file_id if file.kept else None,
            **_reading_of(file, taken_at),
        }
        for file in files
    ]
    return _insert_all(connection, SourceFile, rows)


def note_readings(
    connection: Connection, readings: Sequence[tuple[int, LandingFile, ReasonCode | None]], read_at: datetime
) -> None:
    """Record where files were when they were read, by their ids in source_files, and why no line could be read.

    They are then recognised there without being read again.
    """
    rows = [
        {"read_id": file_id, "refused_code": refused_code, **_reading_of(file, read_at)}
        for file_id, file, refused_code in readings
    ]
    _update_each(connection, update(SourceFile).where(SourceFile.id == bindparam("read_id")), rows)


def _reading_of(file: LandingFile, read_at: datetime) -> dict[str, Any]:
    return {
        "read_at": read_at,
        "reader_number": file.reader_number,
        "path": file.display_path,
        "size_bytes": file.size_bytes,
        "modified_at": file.modified_at,
        "file_signature": file.file_signature,
    }


def open_loads(connection: Connection, source_file_ids: Sequence[int], **values: Any) -> range:
    """Record the loads of files, their counts still zero, and return their ids, which are consecutive."""
    zero_counts = dict.fromkeys(COUNT_NAMES, 0)
    rows = [{"source_file_id": file_id, **zero_counts, **values} for file_id in source_file_ids]
    return _insert_all(connection, Load, rows)


def close_loads(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record counts, range of event ids and duration of loads, each named by `loaded_id`."""
    _update_each(connection, update(Load).where(Load.id == bindparam("loaded_id")), rows)


def forget_loads(connection: Connection, load_ids: Sequence[int]) -> None:
    """Take back the records of loads that brought nothing."""
    if load_ids:
        connection.execute(
            delete(Load).where(Load.id == bindparam("load_id")), [{"load_id": each} for each in load_ids]
        )


def hold_events(connection: Connection, load_ids: range, first_event_id: int | None, last_event_id: int | None) -> None:
    """Put the events of loads among those that only a backfill decides.

    Raises LostRowsError when some are not stored.
    """
    if first_event_id is None:
        return
    events = select(Event.id).where(
        Event.id.between(first_event_id, last_event_id), Event.load_id.between(load_ids[0], load_ids[-1])
    )
    connection.execute(insert(HeldEvent).from_select(["event_id"], events))
    written = select(func.count()).select_from(events.subquery())
    standing = select(func.count()).where(HeldEvent.event_id.in_(events))
    counts = connection.execute(written).scalar_one(), connection.execute(standing).scalar_one()
    refuse_lost_rows(connection, {HeldEvent.__tablename__: counts})


def _insert_all(connection: Connection, model: type[SourceFile | Load], rows: Sequence[Mapping[str, Any]]) -> range:
    """Insert rows under the next ids, and return these. Raises LostRowsError when some are not stored."""
    if not rows:
        return range(0)
    first_id = next_ids(connection, model, len(rows))
    ids = range(first_id, first_id + len(rows))
    connection.execute(insert(model), [{"id": row_id, **row} for row_id, row in zip(ids, rows, strict=True)])
    standing = select(func.count()).select_from(model).where(model.id.between(ids[0], ids[-1]))
    refuse_lost_rows(connection, {model.__tablename__: (len(ids), connection.execute(standing).scalar_one())})
    return ids


def _update_each(connection: Connection, statement: Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """Change one row for each mapping. Raises LostRowsError when the table lets fewer be changed."""
    if rows:
        found = connection.execute(statement, list(rows)).rowcount
        refuse_lost_rows(connection, {str(statement.table): (len(rows), found)})
