"""Publishes everything, from one snapshot."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection

from src.marketing_messaging_service.dictionary import Entry, entries
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    copy_name,
    create_database_engine,
    file_of,
    foreseeable_errors,
    is_there,
    read_transaction,
    shown_database,
    url_of,
)
from src.marketing_messaging_service.moving_databases import copy_everything
from src.marketing_messaging_service.published_copies.copy import forget_wal, vacuum_into
from src.marketing_messaging_service.published_copies.files import (
    forget_companions,
    partial_path,
    put_in_place,
    refuse_obstacles,
)
from src.marketing_messaging_service.published_copies.parquet import write_parquet

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Takes what is being done and how much of it there is (None if unknown), and returns a context with a function that
takes how much was done."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file for others; the copy of the database has no row_count."""

    path: Path
    size_bytes: int
    row_count: int | None


def publish(database_url: str, folder: Path, progress: Progress) -> tuple[PublishedFile, ...]:
    """Write a copy of the database, and each table and view as Parquet, into a folder, all from one snapshot.

    Everything is first written to temporary names and put in place at the end, so that a reader only finds complete
    files, old or new. A run may keep writing meanwhile. The schema must be the newest. Raises DatabaseError for outside
    causes; what was published before then stays.
    """
    if not is_there(database_url):
        shown = shown_database(database_url)
        raise DatabaseError(f"There is no database at {shown} to publish; run the hourly job first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with foreseeable_errors():
            return _publish(database_url, folder, progress)
    except OSError as error:
        # Arrow adds its own words before the system's.
        raise _unwritable(folder, os.strerror(error.errno) if error.errno else str(error)) from None


def _unwritable(folder: Path, reason: str) -> DatabaseError:
    return DatabaseError(
        f"PUBLISH_PATH names {folder}, which cannot be written to ({reason}); what was published before stays. Free "
        "its disk, or correct PUBLISH_PATH."
    )


def _publish(database_url: str, folder: Path, progress: Progress) -> tuple[PublishedFile, ...]:
    copy_path = folder / copy_name(database_url)
    tables = [(name, list(group)) for name, group in groupby(entries(), key=lambda entry: entry.table_name)]
    refuse_obstacles([copy_path, *(folder / f"{name}.parquet" for name, _ in tables)])
    partials = {copy_path: partial_path(copy_path)}
    row_counts: dict[Path, int] = {}
    try:
        _copy(database_url, partials[copy_path], progress)
        with read_transaction(create_database_engine(url_of(partials[copy_path]))) as connection:
            for name, (own, *columns) in tables:
                path = folder / f"{name}.parquet"
                partials[path] = partial_path(path)
                with progress(f"Writing {path.name}", _row_count(connection, own)) as advance:
                    row_counts[path] = write_parquet(connection, columns, partials[path], advance)
        forget_companions(copy_path)
        put_in_place(partials)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return tuple(PublishedFile(path, path.stat().st_size, row_counts.get(path)) for path in partials)


def _copy(database_url: str, partial: Path, progress: Progress) -> None:
    """Write a copy in one SQLite file, whatever the database is."""
    path = file_of(create_database_engine(database_url))
    try:
        if path is not None:
            with progress(f"Copying {path.name}", path.stat().st_size) as advance:
                vacuum_into(path, partial, advance)
            return
        with progress(f"Copying {shown_database(database_url)}", None) as advance:
            copy_everything(database_url, url_of(partial), advance)
        forget_wal(partial)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            # SQLite's own words do not say which disk is meant.
            raise _unwritable(partial.parent, os.strerror(errno.ENOSPC)) from None
        raise


def _row_count(connection: Connection, entry: Entry) -> int | None:
    """Return how many rows a table has; None for a view, whose counting may take as long as writing it."""
    if entry.kind != "table":
        return None
    count: int = connection.exec_driver_sql(f'SELECT count(*) FROM "{entry.table_name}"').scalar_one()  # noqa: S608  own name
    return count
