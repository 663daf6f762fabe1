"""Writes a table or view as Parquet, with the types that SQLite does not keep."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from src.marketing_messaging_service.dictionary import Entry
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.vocabulary import DataType

ROWS_AT_ONCE = 50_000
"""How many rows are in memory at a time, and in a row group of the file."""

ARROW_TYPES = {
    DataType.TEXT: pa.string(),
    DataType.INTEGER: pa.int64(),
    DataType.NUMBER: pa.float64(),
    DataType.BOOLEAN: pa.bool_(),
    DataType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    DataType.DATE: pa.date32(),
    DataType.BYTES: pa.binary(),
}


def write_parquet(
    connection: Connection, columns: Sequence[Entry], path: Path, on_progress: Callable[[int], None]
) -> int:
    """Write all rows of the table or view that has these columns, and return how many there are.

    Each column carries its sentence as the metadata `comment`. `on_progress` gets the number of rows written since the
    last call. Memory does not grow with the number of rows. Raises DatabaseError at a value that is not of its column's
    type, which SQLite lets anybody write.
    """
    schema = pa.schema(
        [
            pa.field(
                column.column_name,
                ARROW_TYPES[column.data_type or DataType.TEXT],
                metadata={"comment": column.sentence},
            )
            for column in columns
        ]
    )
    names = ", ".join(f'"{column.column_name}"' for column in columns)
    rows = connection.exec_driver_sql(f'SELECT {names} FROM "{columns[0].table_name}"')  # noqa: S608  own names
    row_count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while chunk := rows.fetchmany(ROWS_AT_ONCE):
            arrays = [
                _column(columns, chunk, position, values, schema.field(position).type)
                for position, values in enumerate(zip(*chunk, strict=True))
            ]
            writer.write_table(pa.table(arrays, schema=schema))
            row_count += len(chunk)
            on_progress(len(chunk))
    return row_count


def _column(
    columns: Sequence[Entry], rows: Sequence[Any], position: int, values: Sequence[Any], kind: pa.DataType
) -> pa.Array:
    """Return the values of a column of rows as an array of its type."""
    try:
        return _array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        first = next(row for row in rows if not _is_of_kind(row[position], kind))
        raise DatabaseError(
            f"{columns[0].table_name}.{columns[position].column_name} holds something that is not a {kind}, in the row "
            f"whose {columns[0].column_name} is {first[0]}; nothing was published. Correct it, then publish again."
        ) from None


def _is_of_kind(value: Any, kind: pa.DataType) -> bool:
    try:
        _array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values as SQLite gives them as an array of a type."""
    if pa.types.is_boolean(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_timestamp(kind):
        # SQLite's text has no offset and is UTC.
        return pa.array(values, pa.string()).cast(pa.timestamp("us")).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
