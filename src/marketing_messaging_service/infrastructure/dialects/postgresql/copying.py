"""Many rows into one table by COPY."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table

STAGE = "copied_rows"
"""The temporary table of rows, some of which may be there already; dropped after it is emptied."""


def copy_rows(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], *, unique: str | None) -> int:
    """Append rows given as columns, in the form that SQLite stores, and return how many went in."""
    values = {name: _as_held(table, name, column) for name, column in columns.items()}
    names = ", ".join(f'"{name}"' for name in values)
    if not any(values.values()):
        return 0
    if unique is None:
        return _copy(connection, f'"{table.name}"', names, values)
    return copy_new_rows(connection, table, [columns], unique=unique)


def copy_new_rows(
    connection: Connection, table: Table, parts: Iterable[Mapping[str, Sequence[Any]]], *, unique: str
) -> int:
    """Append rows, given as columns in parts, by one statement: the first of each value that is not there yet.

    Return how many went in.
    """
    count, names = 0, ""
    for columns in parts:
        values = {name: _as_held(table, name, column) for name, column in columns.items()}
        rows = len(next(iter(values.values())))
        if not rows:
            continue
        if not count:
            names = ", ".join(f'"{name}"' for name in values)
            connection.exec_driver_sql(
                f"CREATE TEMPORARY TABLE {STAGE} AS SELECT row_number() OVER () AS row_place, {names} "  # noqa: S608  names of our own tables
                f'FROM "{table.name}" WITH NO DATA'
            )
        places = list(range(count, count + rows))
        _copy(connection, STAGE, f"row_place, {names}", {"row_place": places, **values})
        count += rows
    if not count:
        return 0
    # Always in the same order, so that if two write the same keys at once, the second simply waits.
    inserted = connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM (SELECT DISTINCT ON ("{unique}") * FROM {STAGE} '  # noqa: S608  names of our own tables
        f'ORDER BY "{unique}", row_place) AS firsts ORDER BY "{unique}" ON CONFLICT ("{unique}") DO NOTHING'
    ).rowcount
    connection.exec_driver_sql(f"DROP TABLE {STAGE}")
    return inserted


def _copy(connection: Connection, table: str, names: str, values: Mapping[str, Sequence[Any]]) -> int:
    cursor: Any = connection.connection.cursor()
    with cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(_csv(values))
    return len(next(iter(values.values())))


def _csv(values: Mapping[str, Sequence[Any]]) -> Any:
    """Return rows as CSV, where an empty cell means NULL; row by row it would take four times as long."""
    # Loading has imported both anyway; the settings, which import the dialects, need not.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    csv.write_csv(pa.table({name: _array(column) for name, column in values.items()}), sink, options)
    return sink.getvalue()


def _array(values: Sequence[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415  as in _csv

    array = pa.array(values)
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    if pa.types.is_binary(array.type):
        return pa.array([None if value is None else f"\\x{value.hex()}" for value in values], pa.string())
    return array.cast(pa.string()) if pa.types.is_decimal(array.type) else array


def _as_held(table: Table, name: str, values: Sequence[Any]) -> Sequence[Any]:
    # Only money has a scale: SQLite stores it as a whole number of the smallest unit.
    scale = getattr(table.columns[name].type, "scale", None)
    if scale is None:
        return values
    return [None if value is None else Decimal(value).scaleb(-scale) for value in values]
