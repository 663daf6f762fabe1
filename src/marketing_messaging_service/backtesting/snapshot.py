"""Copies what a backtest needs within moments, so that nothing waits for it and it waits for nothing."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, Table, func, make_url, select

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    Base,
    create_database_engine,
    create_read_only_engine,
    foreseeable_errors,
    read_transaction,
    url_of,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_of
from src.marketing_messaging_service.infrastructure.dialects.sqlite.page_copy import copy_pages
from src.marketing_messaging_service.models import (
    Batch,
    BatchRule,
    EndedWait,
    Event,
    EventProperties,
    EventType,
    HeldEvent,
    Load,
    Ruleset,
    RulesetRule,
    Run,
    SendRequest,
    Suppression,
    UserTraits,
    WaitingMatch,
)
from src.marketing_messaging_service.moving_databases.rows import append, portions

Look = Callable[[], None]
"""Called repeatedly; ends the work by raising."""

_NEEDED: tuple[Table, ...] = tuple(
    Base.metadata.tables[model.__tablename__]
    for model in (
        Ruleset,
        RulesetRule,
        Run,
        Batch,
        BatchRule,
        Load,
        EventType,
        Event,
        EventProperties,
        UserTraits,
        HeldEvent,
        SendRequest,
        Suppression,
        WaitingMatch,
        EndedWait,
    )
)
"""The tables copied from a server; those that others point at come first."""

BYTES_AN_EVENT = 420
"""The size, in a copy taken from a server, of an event with its payload, indexes and decisions."""


def bytes_needed(database_url: str) -> int:
    """Return about how much disk the copy takes."""
    path = dialect_of(database_url).file_of(make_url(database_url))
    if path is not None:
        wal = path.with_name(f"{path.name}-wal")
        return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    with read_transaction(create_read_only_engine(database_url)) as connection:
        return BYTES_AN_EVENT * int(connection.execute(select(func.coalesce(func.max(Event.id), 0))).scalar_one())


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raise DatabaseError when a folder has no room for a number of bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatabaseError(
            f"A backtest works on a copy, which takes some {needed / 1e6:.0f} MB in {folder}, but only "
            f"{free / 1e6:.0f} MB are free. Free some space, or let TMPDIR name another folder, then run again."
        )


def take_snapshot(database_url: str, path: Path, look: Look) -> None:
    """Copy what a backtest needs into a SQLite file that must not exist yet; the database is only read.

    A file is copied page by page, 0.5 s per gigabyte; from a server rows come in portions, all from one snapshot.
    """
    file = dialect_of(database_url).file_of(make_url(database_url))
    with foreseeable_errors():
        if file is not None:
            copy_pages(file, path, lambda _: look())
            with closing(sqlite3.connect(path)) as connection:
                # Nobody else will write to it, and a file in WAL mode cannot be read where writing is impossible.
                connection.execute("PRAGMA journal_mode=DELETE")
        else:
            _copy_rows(create_read_only_engine(database_url), path, look)


def _copy_rows(source: Engine, path: Path, look: Look) -> None:
    path.touch()
    target = create_database_engine(url_of(path), foreign_keys=False)
    with write_transaction(target) as connection:
        Base.metadata.create_all(connection, tables=_NEEDED)
    # From one snapshot: where several runs load, rows with smaller ids may be committed after rows with larger ones.
    with read_transaction(source) as reading:
        for table in _NEEDED:
            for rows in portions(reading, table, lambda value: value):
                look()
                with write_transaction(target) as connection:
                    append(connection, table, rows)
    with closing(sqlite3.connect(path)) as driver:
        driver.execute("PRAGMA journal_mode=DELETE")
