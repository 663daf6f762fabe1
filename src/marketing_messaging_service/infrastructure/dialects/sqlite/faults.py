"""Finds what is wrong with a file, whatever its rows mean; each row of these queries reports one fault."""

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
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

from src.marketing_messaging_service.infrastructure.dialects.sqlite.wal import WAL
from src.marketing_messaging_service.infrastructure.sql_text import Fits, told

TIMESTAMP_PATTERN = "dddd-dd-dd dd:dd:dd.dddddd".replace("d", "[0-9]")


def damages() -> list[Select[Any]]:
    """Return what SQLite finds damaged."""
    message = func.pragma_integrity_check().table_valued("integrity_check", name="damage").c.integrity_check
    return [select(message).where(message != "ok")]


def dangling_references(connection: Connection, own: MetaData) -> Select[Any]:
    """Return the rows whose foreign key points at nothing, also in other people's tables."""
    declared = func.pragma_foreign_key_check().table_valued("table", "rowid", "parent", name="declared").c
    dangling = [select(told(declared.table, ".rowid ", declared.rowid, " points at no row of ", declared.parent))]
    # A table rebuilt by hand may have lost foreign keys that the models declare.
    foreign_keys = func.pragma_foreign_key_list(bindparam("table")).table_valued("from", "table", name="foreign_key").c
    for table in own.sorted_tables:
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
    return select(*union(*dangling).subquery("dangling").c)


def other_modes(connection: Connection) -> list[Select[Any]]:
    """Return the mode of the file, unless it is WAL."""
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode == WAL:
        return []
    told_ = f"the mode is {mode}: the next run brings the file into {WAL}; a published copy is not meant to be"
    return [select(literal(told_))]


def other_timestamps(column: Column[Any]) -> list[Select[Any]]:
    """Return the values of a column of instants that are not in the one form, or are not instants."""
    text = type_coerce(column, String)
    second = func.substr(text, 1, 19)
    place = told(f"{column.table.name}.rowid ", _rowid(column.table), f": {column.name} is ", column)
    return [
        select(place).where(
            column.is_not(None),
            or_(
                func.typeof(column) != "text",
                not_(Fits(text, TIMESTAMP_PATTERN)),
                # A date such as 2026-02-30 has the right format but does not exist.
                func.datetime(second, "+0 days").is_distinct_from(second),
            ),
        )
    ]


def _rowid(table: Table) -> ColumnElement[int]:
    return literal_column(f"{table.name}.rowid", Integer)
