"""Many rows into one table by COPY."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table

from src.marketing_messaging_service.infrastructure.column_types import Money

STAGE = "copied_rows"
"""The temporary table of rows some of which may stand already; gone with the statement that empties it."""


def copy_rows(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], *, unique: str | None) -> int:
    """Append rows given as columns, in the form that SQLite stores, and return how many went in."""
    values = {name: _as_held(table, name, column) for name, column in columns.items()}
    names = ", ".join(f'"{name}"' for name in values)
    if not any(values.values()):
        return 0
    if unique is None:
        return _copy(connection, f'"{table.name}"', names, values)
    connection.exec_driver_sql(
        f'CREATE TEMPORARY TABLE {STAGE} AS SELECT row_number() OVER () AS row_place, {names} FROM "{table.name}" '  # noqa: S608  names of our own tables
        "WITH NO DATA"
    )
    places = range(len(next(iter(values.values()))))
    _copy(connection, STAGE, f"row_place, {names}", {"row_place": places, **values})
    # In one order whoever comes, so that of two that write the same keys at once the second waits.
    inserted = connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM (SELECT DISTINCT ON ("{unique}") * FROM {STAGE} '  # noqa: S608  names of our own tables
        f'ORDER BY "{unique}", row_place) AS firsts ORDER BY "{unique}" ON CONFLICT ("{unique}") DO NOTHING'
    ).rowcount
    connection.exec_driver_sql(f"DROP TABLE {STAGE}")
    return inserted


def _copy(connection: Connection, table: str, names: str, values: Mapping[str, Sequence[Any]]) -> int:
    count = 0
    cursor: Any = connection.connection.cursor()
    with cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in zip(*values.values(), strict=True):
            copy.write_row(row)
            count += 1
    return count


def _as_held(table: Table, name: str, values: Sequence[Any]) -> Sequence[Any]:
    type_ = table.columns[name].type
    if not isinstance(type_, Money):
        return values
    return [None if value is None else Decimal(value).scaleb(-type_.scale) for value in values]
