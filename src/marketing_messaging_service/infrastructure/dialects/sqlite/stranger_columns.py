"""Keeps columns that others have added to this project's tables as they were when a table is rebuilt.

Alembic rebuilds a table from what it understands of a column, which excludes its collation and checks, and it cannot
fill a generated one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.schema_object import (
    Kind,
    SchemaObject,
    quoted,
    token_spans,
    tokens,
)
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects
from src.marketing_messaging_service.infrastructure.dialects.sqlite.retyping import change_statements

_VIRTUAL, _STORED = 2, 3
"""The value of `hidden` in SQLite's table_xinfo for columns generated when they are read, or when a row is written."""

_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


@dataclass(frozen=True, slots=True)
class StrangeColumn:
    """Somebody else's column, and the SQL that makes it."""

    table: str
    name: str
    definition: str
    is_generated: bool


def columns_to_rename(
    connection: Connection, own: Mapping[str, SchemaObject], needed: Mapping[str, Collection[str]]
) -> list[tuple[str, str]]:
    """Return table and name of other people's columns whose names a migration needs.

    `needed` are the names, in capitals, of all columns that a table of this project ever has.
    """
    return [
        (each.name, row.name)
        for each in standing_objects(connection)
        if each.kind is Kind.TABLE and each.key in own
        for row in _columns(connection, each.name)
        if row.name.upper() in needed.get(each.key, ()) and row.name.upper() not in definitions(own[each.key].sql)
    ]


def rename_columns(connection: Connection, columns: Collection[tuple[str, str]], suffix: str) -> list[str]:
    """Rename columns, and return a sentence about each."""
    told = []
    for table, name in columns:
        new = f"{name}{suffix}"
        connection.exec_driver_sql(f"ALTER TABLE {quoted(table)} RENAME COLUMN {quoted(name)} TO {quoted(new)}")
        told.append(
            f"The column {name} of {table} is not part of this project, and its name was needed: it is called {new} "
            "now, with every value. Change what reads it."
        )
    return told


def set_columns_aside(
    connection: Connection, own: Mapping[str, SchemaObject], rebuilt: Collection[str]
) -> list[StrangeColumn]:
    """Find other people's columns in tables to be rebuilt, and remove the generated ones.

    Raises DatabaseError for a stored generated column, which cannot be added to a table again.
    """
    columns = [
        column
        for each in standing_objects(connection)
        if each.kind is Kind.TABLE and each.name in rebuilt and each.key in own
        for column in _strange_columns(connection, each, own[each.key])
    ]
    for column in columns:
        if column.is_generated:
            connection.exec_driver_sql(f"ALTER TABLE {quoted(column.table)} DROP COLUMN {quoted(column.name)}")
    return columns


def put_columns_back(connection: Connection, columns: Collection[StrangeColumn]) -> Iterator[str]:
    """Restore other people's columns, and yield a sentence about each that cannot be restored."""
    tables = {each.name: each for each in standing_objects(connection) if each.kind is Kind.TABLE}
    for column in columns:
        if column.table not in tables:
            continue
        if column.is_generated:
            yield from _add_again(connection, column)
        else:
            yield from _define_again(connection, column, tables[column.table].sql)
            tables = {each.name: each for each in standing_objects(connection) if each.kind is Kind.TABLE}


def definitions(sql: str) -> dict[str, tuple[int, int]]:
    """Return where a CREATE TABLE statement defines each column (from, to), by its name in capitals."""
    places: dict[str, tuple[int, int]] = {}
    depth, first = 0, None
    for word, start, end in token_spans(sql):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if first is not None and ((depth == 1 and word == ",") or depth == 0):
            name, begins, ends = first
            if name not in _CONSTRAINTS:
                places[name] = (begins, ends)
            first = None
            if depth == 0:
                break
        elif depth >= 1 and (first is not None or word != "("):
            first = (word, start, end) if first is None else (first[0], first[1], end)
    return places


def _strange_columns(connection: Connection, standing: SchemaObject, own: SchemaObject) -> Iterator[StrangeColumn]:
    known = definitions(own.sql)
    places = definitions(standing.sql)
    for row in _columns(connection, standing.name):
        name = row.name.upper()
        if name in known or name not in places:
            continue
        if row.hidden == _STORED:
            raise DatabaseError(
                f"The database was not migrated: the column {row.name} of {standing.name} is not part of this project, "
                "and is generated and stored, so it cannot be kept. Drop it (ALTER TABLE "
                f"{quoted(standing.name)} DROP COLUMN {quoted(row.name)}), then run again."
            )
        start, end = places[name]
        yield StrangeColumn(standing.name, row.name, standing.sql[start:end], is_generated=row.hidden == _VIRTUAL)


def _columns(connection: Connection, table: str) -> Sequence[Row[Any]]:
    return connection.exec_driver_sql(f"PRAGMA table_xinfo({quoted(table)})").fetchall()


def _add_again(connection: Connection, column: StrangeColumn) -> Iterator[str]:
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"ALTER TABLE {quoted(column.table)} ADD COLUMN {column.definition}")
    except DBAPIError as error:
        yield _sentence(column, f"cannot be added again after the migration ({error.orig})")


def _define_again(connection: Connection, column: StrangeColumn, sql: str) -> Iterator[str]:
    place = definitions(sql).get(column.name.upper())
    if place is None:
        yield _sentence(column, "is gone after the migration")
        return
    start, end = place
    if tokens(sql[start:end]) == tokens(column.definition):
        return
    if not change_statements(connection, {column.table: sql[:start] + column.definition + sql[end:]}):
        yield _sentence(column, f"is {sql[start:end]} after the migration")


def _sentence(column: StrangeColumn, what: str) -> str:
    which = f"The column {column.name} of {column.table}"
    return f"{which} is not part of this project and {what}. It was: {column.definition}"
