"""Finds the trigger or index of somebody else, on a table of this project, that keeps a run from writing."""

import re
import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection, MetaData

from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, SchemaObject, quoted, tokens
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects

_FUNCTION = re.compile(r"(?:no such|unknown) function: (\w+)")
_MISSING = re.compile(r"no such (?:table|column|view): (?:\w+\.)?(\w+)|table \w+ has no column named (\w+)")
_UNIQUE_INDEX = re.compile(r"UNIQUE constraint failed: index '(.+)'")
_UNIQUE_COLUMNS = re.compile(r"UNIQUE constraint failed: (.+)")


def may_be_of_others(error: BaseException | None) -> bool:
    """Whether an error of the driver can be caused by somebody else's object."""
    if not isinstance(error, sqlite3.Error):
        return False
    told = (_FUNCTION, _MISSING, _UNIQUE_COLUMNS)
    is_of_trigger = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_TRIGGER
    return is_of_trigger or any(each.search(str(error)) for each in told)


def culprit_told(connection: Connection, error: BaseException | None, own: MetaData) -> str | None:
    """Return a sentence about somebody else's object that caused an error of the driver, None if there is none."""
    if not isinstance(error, sqlite3.Error) or not may_be_of_others(error):
        return None
    found = next(_culprits(connection, error, own), None)
    if found is None:
        return None
    why = (
        f"The database refused a row because of {found}, which is not part of this project, and not because of one of "
        f"its own constraints ({error})"
        if isinstance(error, sqlite3.IntegrityError)
        else f"The database cannot be written to because of {found}, which is not part of this project ({error})"
    )
    return (
        f"{why}; nothing of this step was kept. Change the {found.kind} so that every row passes unchanged, or drop it "
        f"(DROP {found.kind.upper()} {quoted(found.name)}), then run again."
    )


def _culprits(connection: Connection, error: sqlite3.Error, own: MetaData) -> Iterator[SchemaObject]:
    message = str(error)
    own_indexes = {str(index.name).lower() for table in own.tables.values() for index in table.indexes}
    strangers = [
        each
        for each in standing_objects(connection)
        if each.table_name.lower() in own.tables
        and (each.kind is Kind.TRIGGER or (each.kind is Kind.INDEX and each.name.lower() not in own_indexes))
    ]
    triggers = [each for each in strangers if each.kind is Kind.TRIGGER]
    if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
        raising = [each for each in triggers if "RAISE" in tokens(each.sql)]
        literal = message.replace("'", "''")
        yield from sorted(raising, key=lambda each: f"'{literal}'" not in each.sql)
    elif function := _FUNCTION.search(message):
        yield from (each for each in strangers if function[1].upper() in tokens(each.sql))
    elif missing := _MISSING.search(message):
        name = missing[1] or missing[2]
        if name.lower() not in _own_names(own):
            yield from (each for each in triggers if name.upper() in tokens(each.sql))
    elif index := _UNIQUE_INDEX.search(message):
        yield from (each for each in strangers if each.name == index[1])
    elif columns := _UNIQUE_COLUMNS.search(message):
        indexes = [each for each in strangers if each.kind is Kind.INDEX and tokens(each.sql)[1] == "UNIQUE"]
        yield from (each for each in indexes if _columns_of(connection, each) == columns[1].split(", "))


def _own_names(own: MetaData) -> set[str]:
    return {name.lower() for table in own.tables.values() for name in (table.name, *table.columns.keys())}


def _columns_of(connection: Connection, index: SchemaObject) -> list[str]:
    """Return an index's columns as SQLite names them when it refuses a row."""
    rows = connection.exec_driver_sql(f"PRAGMA index_info({quoted(index.name)})").fetchall()
    return [f"{index.table_name}.{name}" for _, _, name in rows]
