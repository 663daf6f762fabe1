"""What must be true whatever the rows mean: a sound file, references that lead somewhere, times in the one format."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Connection, Select, select

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.vocabulary import PAYLOAD, Invariant


def timestamp_columns() -> list[Column[Any]]:
    """Return every column of every table that holds an instant."""
    return [
        column
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime)
    ]


def _damages(connection: Connection) -> Iterator[Select[Any]]:
    # SQLite does not check CHECK constraints in a file that is opened read-only; the ledger's invariants do.
    yield from dialect_named(connection.dialect.name).damages()


def _dangling_references(connection: Connection) -> Iterator[Select[Any]]:
    yield dialect_named(connection.dialect.name).dangling_references(connection, Base.metadata)


def _other_modes(connection: Connection) -> Iterator[Select[Any]]:
    yield from dialect_named(connection.dialect.name).other_modes(connection)


def _empty_children(_connection: Connection) -> Iterator[Select[Any]]:
    for part in PAYLOAD.parts:
        columns = part.table.columns
        yield select(told(f"{part.table.name}.id ", columns.id, " of events.id ", columns.event_id)).where(
            *(field.column.is_(None) for field in part.fields)
        )


def _other_timestamps(connection: Connection) -> Iterator[Select[Any]]:
    dialect = dialect_named(connection.dialect.name)
    for column in timestamp_columns():
        yield from dialect.other_timestamps(column)


STRUCTURE_INVARIANTS = (
    Invariant("sound_file", "SQLite finds no damage in its file (PRAGMA integrity_check)", _damages),
    Invariant(
        "references_lead_somewhere",
        "Every row that points at another finds it there; no child is without its event",
        _dangling_references,
    ),
    Invariant(
        "wal_mode",
        "A SQLite file is in WAL mode, so that reading never disturbs a run (PRAGMA journal_mode)",
        _other_modes,
    ),
    Invariant("no_empty_children", "Every row of properties or traits has at least one value", _empty_children),
    Invariant("one_time_format", "Every time is UTC, like 2026-11-23 10:00:00.000000", _other_timestamps),
)
