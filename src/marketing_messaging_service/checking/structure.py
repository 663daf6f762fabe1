"""What must hold whatever the rows mean: a sound file, references that lead somewhere, times in the one format."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    type_coerce,
    union,
)

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime
from src.marketing_messaging_service.infrastructure.dialects.sqlite.wal import WAL
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.results import Invariant
from src.marketing_messaging_service.vocabulary import PAYLOAD

TIMESTAMP_PATTERN = "dddd-dd-dd dd:dd:dd.dddddd".replace("d", "[0-9]")


def timestamp_columns() -> list[Column[Any]]:
    """Return every column of every table that holds an instant."""
    return [
        column
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime)
    ]


def _damages(_connection: Connection) -> Iterator[Select[Any]]:
    # In a file that is opened read-only SQLite passes over CHECK constraints; what they say is checked by the ledger's.
    message = func.pragma_integrity_check().table_valued("integrity_check", name="damage").c.integrity_check
    yield select(message).where(message != "ok")


def _dangling_references(connection: Connection) -> Iterator[Select[Any]]:
    declared = func.pragma_foreign_key_check().table_valued("table", "rowid", "parent", name="declared").c
    dangling = [select(told(declared.table, ".rowid ", declared.rowid, " points at no row of ", declared.parent))]
    # A table that was rebuilt by hand may have lost foreign keys that the models declare.
    foreign_keys = func.pragma_foreign_key_list(bindparam("table")).table_valued("from", "table", name="foreign_key").c
    for table in Base.metadata.sorted_tables:
        in_file = connection.execute(select(foreign_keys["from"], foreign_keys.table), {"table": table.name}).all()
        known = {(column.lower(), parent.lower()) for column, parent in in_file}
        for constraint in table.foreign_key_constraints:
            parent = constraint.referred_table
            (key,) = constraint.elements
            if (key.parent.name, parent.name) in known:
                continue
            place = told(f"{table.name}.rowid ", _rowid(table), f" points at no row of {parent.description}")
            found = parent.alias("found").c[key.column.name]
            dangling.append(select(place).where(key.parent.is_not(None), ~exists().where(found == key.parent)))
    yield select(*union(*dangling).subquery("dangling").c)


def _other_journal_modes(connection: Connection) -> Iterator[Select[Any]]:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != WAL:
        yield select(
            literal(f"the mode is {mode}: the next run brings the file into {WAL}; a published copy is not meant to be")
        )


def _empty_children(_connection: Connection) -> Iterator[Select[Any]]:
    for part in PAYLOAD.parts:
        columns = part.table.columns
        yield select(told(f"{part.table.name}.id ", columns.id, " of events.id ", columns.event_id)).where(
            *(field.column.is_(None) for field in part.fields)
        )


def _other_timestamps(_connection: Connection) -> Iterator[Select[Any]]:
    for column in timestamp_columns():
        text = type_coerce(column, String)
        second = func.substr(text, 1, 19)
        place = told(f"{column.table.name}.rowid ", _rowid(column.table), f": {column.name} is ", column)
        yield select(place).where(
            column.is_not(None),
            or_(
                func.typeof(column) != "text",
                not_(text.op("GLOB", is_comparison=True)(TIMESTAMP_PATTERN)),
                # A date such as 2026-02-30 has the format and yet is none.
                func.datetime(second, "+0 days").is_distinct_from(second),
            ),
        )


def _rowid(table: Table) -> ColumnElement[int]:
    return literal_column(f"{table.name}.rowid", Integer)


STRUCTURE_INVARIANTS = (
    Invariant("sound_file", "SQLite finds no damage in the file (PRAGMA integrity_check)", _damages),
    Invariant(
        "references_lead_somewhere",
        "Every row that points at another finds it there; no child is without its event",
        _dangling_references,
    ),
    Invariant(
        "wal_mode",
        "The file is in WAL mode, in which reading never disturbs a run (PRAGMA journal_mode)",
        _other_journal_modes,
    ),
    Invariant("no_empty_children", "Every row of properties or traits has at least one value", _empty_children),
    Invariant("one_time_format", "Every time is UTC text like 2026-11-23 10:00:00.000000", _other_timestamps),
)
