"""Prepares a migration that rebuilds tables: checks the room, estimates the time, and keeps a copy."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.schema_object import quoted
from src.marketing_messaging_service.infrastructure.dialects.sqlite.page_copy import copy_pages
from src.marketing_messaging_service.paths import COPY_BEFORE_MIGRATION, companion

ROOM_A_TABLE = 3
"""How many times a rebuilt table's size must be free: for the new table in the -wal file, for the database to grow when
it is moved there, and for sorting its indexes."""


def copy_path(database_path: Path) -> Path:
    """Return where the copy from before a migration is kept until the migration has succeeded."""
    return companion(database_path, COPY_BEFORE_MIGRATION)


def row_counts(connection: Connection, tables: Collection[str]) -> dict[str, int]:
    """Return the row counts of those tables that exist."""
    counts = {}
    for table in tables:
        if _is_there(connection, table):
            counts[table] = connection.exec_driver_sql(f"SELECT count(*) FROM {quoted(table)}").scalar_one()  # noqa: S608  quoted
    return counts


def _is_there(connection: Connection, table: str) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND lower(name) = ?"
    return bool(connection.exec_driver_sql(query, (table.lower(),)).scalar_one())


def refuse_full_disk(connection: Connection, path: Path, tables: Collection[str], *, is_copied: bool) -> None:
    """Raise DatabaseError if the disk has no room for rebuilding tables, and for a copy if there is to be one."""
    database_bytes = _database_bytes(connection)
    rebuilding = ROOM_A_TABLE * _bytes_of(connection, tables, database_bytes)
    needed = rebuilding + (database_bytes if is_copied else 0)
    free = shutil.disk_usage(path.resolve().parent).free
    old_copy = copy_path(path)
    if is_copied and old_copy.exists():
        # The new copy replaces it.
        free += old_copy.stat().st_size
    if free < needed:
        without = (
            f", or {_megabytes(rebuilding)} without a copy from before (MIGRATION_COPY=False)" if is_copied else ""
        )
        raise DatabaseError(
            f"The database was not migrated: that needs some {_megabytes(needed)} of free disk in "
            f"{path.resolve().parent}{without}, and {_megabytes(free)} are free. Free some space, then run again. "
            "Nothing was changed."
        )


def _megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.{1 if size_bytes < 10e6 else 0}f} MB"


def _database_bytes(connection: Connection) -> int:
    page_count: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    page_size: int = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    return page_count * page_size


def _bytes_of(connection: Connection, tables: Collection[str], database_bytes: int) -> int:
    """Return the size of tables with their indexes; the whole database's if SQLite lacks dbstat."""
    places = ", ".join("?" * len(tables))
    query = (
        "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = TRUE AND name IN "  # noqa: S608  question marks only
        f"(SELECT name FROM sqlite_master WHERE lower(tbl_name) IN ({places}))"
    )
    try:
        found: int = connection.exec_driver_sql(query, tuple(table.lower() for table in tables)).scalar_one()
    except DBAPIError:
        return database_bytes
    return found


def duration_told(counts: Mapping[str, int], seconds_a_million: Mapping[str, float]) -> str:
    """Return how long rebuilding tables may take, by their rows and the measurements."""
    seconds = sum(count * seconds_a_million[table] / 1e6 for table, count in counts.items())
    return f"about {seconds / 60:.0f} minutes" if seconds >= 120 else f"about {max(1, round(seconds))} s"


def keep_copy(path: Path, on_progress: Callable[[], None]) -> Path:
    """Keep a copy of the committed database beside it; return where. It replaces an older copy.

    The caller holds the write lock, so nothing changes meanwhile. The pages are copied as they are, because VACUUM INTO
    rebuilds every index, and fails if one uses another program's function.
    """
    copy = copy_path(path)
    partial = copy.with_name(f"{copy.name}.partial")
    try:
        _forget(partial)
        copy_pages(path, partial, lambda _: on_progress())
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(copy)
    except (OSError, sqlite3.OperationalError) as error:
        # SQLite reports a disk that fills up as full, and names what is wrong with a place that it cannot write to.
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatabaseError(
            f"The database was not migrated: a copy from before cannot be kept in {copy.parent} ({reason}). Free some "
            "space there, let this user write there, or do without a copy (MIGRATION_COPY=False), then run again. "
            "Nothing was changed."
        ) from None
    finally:
        _forget(partial)
    return copy


def forget_copy(path: Path) -> None:
    """Remove the copy: the migration has succeeded."""
    _forget(copy_path(path))


def _forget(copy: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        copy.with_name(copy.name + ending).unlink(missing_ok=True)
