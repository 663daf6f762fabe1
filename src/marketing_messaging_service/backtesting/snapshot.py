"""A copy of what a backtest needs, made within moments, so that nothing waits for it and it waits for nothing."""

import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, make_url, select

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
from src.marketing_messaging_service.moving.rows import append, portions

Look = Callable[[], None]
"""Called again and again; ends the work by raising."""

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
"""The tables of which a copy is taken from a server, those first that others point at."""

_COUNTED = (Batch, Load, Event, SendRequest, Suppression)
"""Those whose rows are numbered in the order in which they came."""

BYTES_AN_EVENT = 420
"""Of a copy taken from a server: an event with its payload, indexes and decisions."""


def bytes_needed(database_url: str) -> int:
    """Return about how much disk the copy takes."""
    path = dialect_of(database_url).file_of(make_url(database_url))
    if path is not None:
        wal = path.with_name(f"{path.name}-wal")
        return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    with read_transaction(create_read_only_engine(database_url)) as connection:
        return BYTES_AN_EVENT * int(connection.execute(select(func.coalesce(func.max(Event.id), 0))).scalar_one())


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raise DatabaseError when a folder has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatabaseError(
            f"A backtest works on a copy, which takes some {needed / 1e6:.0f} MB in {folder}, and {free / 1e6:.0f} MB "
            "are free. Free some space, or let TMPDIR name a folder that has it, then run again."
        )


def take_snapshot(database_url: str, path: Path, look: Look) -> None:
    """Copy what a backtest needs into a SQLite file that must not be there yet; the database is only read.

    A file is copied page by page, 0.5 s for a gigabyte; from a server rows come in portions, each in a short read.
    """
    file = dialect_of(database_url).file_of(make_url(database_url))
    with foreseeable_errors():
        if file is not None:
            copy_pages(file, path, lambda _: look())
            with closing(sqlite3.connect(path)) as connection:
                # Nobody else will write to it, and a file in WAL mode cannot be read where nothing can be written.
                connection.execute("PRAGMA journal_mode=DELETE")
        else:
            _copy_rows(create_read_only_engine(database_url), path, look)


def _copy_rows(source: Engine, path: Path, look: Look) -> None:
    with read_transaction(source) as connection:
        newest = {model: connection.execute(select(func.max(model.id))).scalar() or 0 for model in _COUNTED}
    path.touch()
    target = create_database_engine(url_of(path), foreign_keys=False)
    with write_transaction(target) as connection:
        Base.metadata.create_all(connection, tables=_NEEDED)
    for table in _NEEDED:
        _copy_table(source, target, table, look)
    with write_transaction(target) as connection:
        _forget_what_came_meanwhile(connection, newest)
    with closing(sqlite3.connect(path)) as driver:
        driver.execute("PRAGMA journal_mode=DELETE")


def _copy_table(source: Engine, target: Engine, table: Table, look: Look) -> None:
    keys = [list(table.columns).index(key) for key in table.primary_key.columns]
    after: tuple[object, ...] | None = None
    while True:
        look()
        with read_transaction(source) as connection:
            rows = next(portions(connection, table, lambda value: value, after=after), None)
        if rows is None:
            return
        with write_transaction(target) as connection:
            append(connection, table, rows)
        after = tuple(rows[-1][place] for place in keys)


def _forget_what_came_meanwhile(connection: Connection, newest: Mapping[Any, int]) -> None:
    """Take away what a run wrote while rows were copied, so that the copy is of one moment."""
    for model, last in newest.items():
        connection.execute(delete(model).where(model.__table__.c.id > last))
    for waits in (WaitingMatch, EndedWait):
        connection.execute(delete(waits).where(waits.batch_id > newest[Batch]))
