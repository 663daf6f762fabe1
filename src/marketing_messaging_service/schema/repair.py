"""Making views and indexes anew, which touches no row."""

import sqlite3
from dataclasses import replace

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.infrastructure.database import (
    SORTING_THREADS,
    cache_for_sorting,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import Kind, SchemaObject, standing_objects
from src.marketing_messaging_service.results import RepairedObject
from src.marketing_messaging_service.schema.declared import declared_objects
from src.marketing_messaging_service.schema.differences import find_differences, refuse_older_schema

_PRIMARY_CODE = 0xFF
"""The part of an extended result code of SQLite that is its primary one."""


def repair(engine: Engine) -> list[RepairedObject]:
    """Make the views and indexes anew that are missing or differ, in one transaction; return what became of each.

    A unique index that rows stand against is not made, and whatever stands in its place stays. What else differs is
    left as it is. Raises DatabaseError when the schema is not at the newest revision.
    """
    wanted = {(declared.kind, declared.name): declared for declared in declared_objects()}
    with write_transaction(engine) as connection, cache_for_sorting(connection, threads=SORTING_THREADS):
        refuse_older_schema(connection)
        made = [
            _make(connection, wanted[difference.kind, difference.name])
            for difference in find_differences(connection)
            if difference.is_repairable
        ]
        # At the end, because views read one another.
        return [_tried(connection, repaired) for repaired in made]


def _make(connection: Connection, wanted: SchemaObject) -> RepairedObject:
    name = wanted.name.lower()
    objects = standing_objects(connection)
    replaced = "".join(
        standing.sql for standing in objects if standing.kind is wanted.kind and standing.name.lower() == name
    )
    # Dropping a view drops the triggers that somebody put on it.
    triggers = [
        standing.sql for standing in objects if standing.kind is Kind.TRIGGER and standing.table_name.lower() == name
    ]
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"DROP {wanted.kind.upper()} IF EXISTS {wanted.name}")
            for sql in (wanted.sql, *triggers):
                connection.exec_driver_sql(sql)
    except DBAPIError as error:
        return RepairedObject(wanted.kind, wanted.name, problem=_problem(error))
    return RepairedObject(wanted.kind, wanted.name, replaced_sql=replaced)


def _tried(connection: Connection, repaired: RepairedObject) -> RepairedObject:
    """A view can be made over tables that lack its columns; whether it can be read is another matter."""
    if repaired.kind is not Kind.VIEW or repaired.problem:
        return repaired
    try:
        connection.exec_driver_sql(f"EXPLAIN SELECT * FROM {repaired.name}")  # noqa: S608  a name of our own
    except DBAPIError as error:
        return replace(repaired, problem=_problem(error))
    return repaired


def _problem(error: DBAPIError) -> str:
    """Return what SQLite says of an object that cannot be made; what comes from elsewhere, a full disk, is raised."""
    code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    if code == sqlite3.SQLITE_CONSTRAINT:
        return f"rows stand against it ({error.orig}); the self-check says which"
    if code == sqlite3.SQLITE_ERROR:
        return str(error.orig)
    raise error
