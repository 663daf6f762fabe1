"""The record of what has been taken: source_files and loads."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from src.marketing_messaging_service.infrastructure.database import read_transaction
from src.marketing_messaging_service.models import Load, LoadState, SourceFile
from src.marketing_messaging_service.results import KnownFiles, LandingFile


def known_files(engine: Engine) -> KnownFiles:
    """Return what landing can be compared with to find the files that no load has taken."""
    with read_transaction(engine) as connection:
        rows = connection.execute(select(SourceFile.content_hash, SourceFile.path, SourceFile.file_signature)).all()
    return KnownFiles(
        content_hashes=frozenset(row.content_hash for row in rows),
        signatures=frozenset((row.path, row.file_signature) for row in rows),
    )


def undecided_event_count(engine: Engine) -> int:
    """Return how many loaded events wait for their decision."""
    with read_transaction(engine) as connection:
        count = select(func.coalesce(func.sum(Load.inserted_count), 0)).where(Load.state == LoadState.LOADED)
        return connection.execute(count).scalar_one()


def is_taken(connection: Connection, content_hash: str) -> bool:
    """Return whether a load has taken this content, under whatever name."""
    found = connection.execute(select(SourceFile.id).where(SourceFile.content_hash == content_hash)).first()
    return found is not None


def open_load(
    connection: Connection, file: LandingFile, *, as_of: datetime, flow_run_id: str | None, loaded_at: datetime
) -> int:
    """Record a file and the load that takes it, its counts still zero, and return the load's id."""
    source_file_id = connection.execute(
        insert(SourceFile)
        .values(
            content_hash=file.content_hash,
            path=file.display_path,
            size_bytes=file.size_bytes,
            modified_at=file.modified_at,
            file_signature=file.file_signature,
            taken_at=loaded_at,
        )
        .returning(SourceFile.id)
    ).scalar_one()
    zero_counts = dict.fromkeys(
        (
            "read_count",
            "inserted_count",
            "duplicate_count",
            "conflict_count",
            "rejected_count",
            "blank_count",
        ),
        0,
    )
    return connection.execute(
        insert(Load)
        .values(
            source_file_id=source_file_id,
            as_of=as_of,
            flow_run_id=flow_run_id,
            state=LoadState.LOADED,
            loaded_at=loaded_at,
            **zero_counts,
        )
        .returning(Load.id)
    ).scalar_one()


def close_load(connection: Connection, load_id: int, **values: Any) -> None:
    """Enter a load's counts, range of event ids and duration."""
    connection.execute(update(Load).where(Load.id == load_id).values(**values))
