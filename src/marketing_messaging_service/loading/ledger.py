"""The record of what has been taken: source_files and loads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from src.marketing_messaging_service.infrastructure.database import read_transaction, utc_now
from src.marketing_messaging_service.infrastructure.written_rows import insert_one, update_all
from src.marketing_messaging_service.models import Event, HeldEvent, Load, LoadState, SourceFile
from src.marketing_messaging_service.results import KnownFiles, LandingFile, Window


def known_files(engine: Engine) -> KnownFiles:
    """Return what landing can be compared with to find the files that no load has taken to the end."""
    with read_transaction(engine) as connection:
        rows = connection.execute(
            select(SourceFile.content_hash, SourceFile.path, SourceFile.file_signature)
            .join(Load, Load.source_file_id == SourceFile.id)
            .where(Load.outside_count == 0)
        ).all()
    return KnownFiles(
        content_hashes=frozenset(row.content_hash for row in rows),
        signatures=frozenset((row.path, row.file_signature) for row in rows),
    )


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
    """None when no load has taken anything of it."""
    is_taken: bool
    """Whether one has taken it to the end."""


def file_history(connection: Connection, content_hash: str) -> FileHistory:
    """Return what is known of a file's content, under whatever name."""
    row = connection.execute(
        select(SourceFile.id, func.min(Load.outside_count))
        .join(Load, Load.source_file_id == SourceFile.id)
        .where(SourceFile.content_hash == content_hash)
        .group_by(SourceFile.id)
    ).first()
    return FileHistory(None, is_taken=False) if row is None else FileHistory(row[0], is_taken=row[1] == 0)


def record_file(connection: Connection, file: LandingFile, taken_at: datetime) -> int:
    """Record a file that nothing was taken of before, and return its id."""
    return insert_one(
        connection,
        insert(SourceFile).values(content_hash=file.content_hash, taken_at=taken_at, **_place_of(file)),
    )


def move_file(connection: Connection, source_file_id: int, file: LandingFile) -> None:
    """Record where a file lies now, so that it is known there without being read again."""
    update_all(connection, update(SourceFile).where(SourceFile.id == source_file_id).values(**_place_of(file)))


def _place_of(file: LandingFile) -> dict[str, Any]:
    return {
        "path": file.display_path,
        "size_bytes": file.size_bytes,
        "modified_at": file.modified_at,
        "file_signature": file.file_signature,
    }


def open_load(connection: Connection, source_file_id: int, **values: Any) -> int:
    """Record the load of a file, its counts still zero, and return the load's id."""
    zero_counts = dict.fromkeys(
        (
            "read_count",
            "inserted_count",
            "duplicate_count",
            "conflict_count",
            "rejected_count",
            "blank_count",
            "outside_count",
        ),
        0,
    )
    return insert_one(connection, insert(Load).values(source_file_id=source_file_id, **zero_counts, **values))


def close_load(connection: Connection, load_id: int, **values: Any) -> None:
    """Enter a load's counts, range of event ids and duration."""
    update_all(connection, update(Load).where(Load.id == load_id).values(**values))


def hold_events(connection: Connection, load_id: int, first_event_id: int | None, last_event_id: int | None) -> None:
    """Enter the events of a load among those that only a backfill decides."""
    if first_event_id is None:
        # A load without events has none to wait for.
        connection.execute(update(Load).where(Load.id == load_id).values(state=LoadState.DECIDED, decided_at=utc_now()))
        return
    events = select(Event.id).where(Event.id.between(first_event_id, last_event_id), Event.load_id == load_id)
    connection.execute(insert(HeldEvent).from_select(["event_id"], events))
