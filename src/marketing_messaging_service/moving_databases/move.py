"""Moves a database to another one, in portions of one transaction each; after an interruption it continues."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, inspect

import src.marketing_messaging_service.models  # noqa: F401  registers every table on Base.metadata
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    Base,
    create_database_engine,
    create_read_only_engine,
    read_transaction,
    refuse_missing,
    shown_database,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_of
from src.marketing_messaging_service.infrastructure.migrations import MOVING, upgrade_to_head
from src.marketing_messaging_service.infrastructure.schema import newest_revision
from src.marketing_messaging_service.models import DictionaryEntry, RunLease
from src.marketing_messaging_service.moving_databases.nul import escaped, unescaped
from src.marketing_messaging_service.moving_databases.rows import append, checksum, last_key, portions, row_count
from src.marketing_messaging_service.schema_drift import refuse_older_schema

_NOT_MOVED = frozenset({DictionaryEntry.__tablename__, RunLease.__tablename__})
"""The tables that the migrations write, and the one that belongs to a run at work."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one table."""

    table_name: str
    row_count: int
    checksum: str


def tables() -> Iterator[Table]:
    """Yield each table to move, after those that it points at."""
    return (table for table in Base.metadata.sorted_tables if table.name not in _NOT_MOVED)


def _as_it_is(value: Any) -> Any:
    return value


def copy_everything(source_url: str, target_url: str, on_rows: Callable[[int], None]) -> None:
    """Make a new database, and copy every row into it from one snapshot; a run may go on meanwhile.

    `on_rows` gets the number of rows copied since the last call.
    """
    upgrade_to_head(target_url)
    target = create_database_engine(target_url)
    with read_transaction(create_read_only_engine(source_url)) as source:
        for table in tables():
            for rows in portions(source, table, _as_it_is):
                with write_transaction(target) as connection:
                    append(connection, table, rows)
                on_rows(len(rows))


def move(
    source_url: str,
    target_url: str,
    *,
    info: Callable[[str], None] = lambda _: None,
    look: Callable[[], None] = lambda: None,
) -> tuple[Moved, ...]:
    """Move every row of a database into a new one, and return what both hold now, table by table.

    No run may be at work on either. The source is only read. After an interruption the move continues; until everything
    is there, no run accepts the target. `look` is called repeatedly, and may end it by raising. Raises DatabaseError
    when the target holds something else, or the two differ at the end.
    """
    refuse_missing(source_url)
    source_engine = create_read_only_engine(source_url)
    with read_transaction(source_engine) as source:
        refuse_older_schema(source)
        target = _begun(target_url)
        translate = _translation(source_url, target_url)
        for table in tables():
            _move_table(source, target, table, translate, info=info, look=look)
        info("Comparing every row …")
        moved = _compared(source, target, translate, look)
    with write_transaction(target) as connection:
        dialect_of(target_url).after_moving(connection, Base.metadata)
        _note_revision(connection, newest_revision())
    return moved


def _translation(source_url: str, target_url: str) -> Callable[[Any], Any]:
    holds = dialect_of(source_url).holds_nul, dialect_of(target_url).holds_nul
    return {(True, False): escaped, (False, True): unescaped}.get(holds, _as_it_is)


def _begun(target_url: str) -> Engine:
    """Return an engine on the target, which from now on no run accepts."""
    target = create_database_engine(target_url, create=True)
    with read_transaction(target) as connection:
        is_under_way = MOVING in _revisions(connection)
    if is_under_way:
        return create_database_engine(target_url)
    upgrade_to_head(target_url)
    target = create_database_engine(target_url)
    with write_transaction(target) as connection:
        for table in tables():
            if row_count(connection, table):
                raise DatabaseError(
                    f"{shown_database(target_url)} holds rows in {table.name} already; nothing was moved. Let --to "
                    "name a new database."
                )
        _note_revision(connection, MOVING)
    return target


def _revisions(connection: Connection) -> list[str]:
    if not inspect(connection).has_table("alembic_version"):
        return []
    return list(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())


def _note_revision(connection: Connection, revision: str) -> None:
    connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608  our own words


def _move_table(
    source: Connection,
    target: Engine,
    table: Table,
    translate: Callable[[Any], Any],
    *,
    info: Callable[[str], None],
    look: Callable[[], None],
) -> None:
    with read_transaction(target) as connection:
        after = last_key(connection, table)
    count = 0
    for rows in portions(source, table, translate, after=after):
        look()
        with write_transaction(target) as connection:
            append(connection, table, rows)
        count += len(rows)
    if count:
        info(f"{table.name}: {count:,} rows" + (", after those moved before" if after is not None else ""))


def _compared(
    source: Connection, target: Engine, translate: Callable[[Any], Any], look: Callable[[], None]
) -> tuple[Moved, ...]:
    moved = []
    with read_transaction(target) as connection:
        for table in tables():
            count, total = checksum(connection, table, _as_it_is, look)
            if (count, total) != checksum(source, table, translate, look):
                raise DatabaseError(
                    f"{table.name} is not the same in both databases: this move was begun from another database, "
                    f"or rows of {shown_database(target.url)} were changed. Drop that database, then move "
                    "again."
                )
            moved.append(Moved(table.name, count, total))
    return tuple(moved)
