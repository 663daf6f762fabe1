"""Reads and writes a table's rows in the one form shared by all databases: that in which SQLite stores them."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Table, func, insert, make_url, select, tuple_

from src.marketing_messaging_service.infrastructure.bulk import bulk_insert

Row = tuple[Any, ...]

ROWS_A_PORTION = 20_000
"""How many rows are in memory at a time, and in one transaction."""

_SQLITE = make_url("sqlite://").get_dialect()()


def portions(
    connection: Connection, table: Table, translate: Callable[[Any], Any], *, after: Row | None = None
) -> Iterator[list[Row]]:
    """Yield the rows of a table after a key, in key order, in portions."""
    keys = list(table.primary_key.columns)
    stored = [column.type.dialect_impl(_SQLITE).bind_processor(_SQLITE) for column in table.columns]
    places = [list(table.columns).index(key) for key in keys]
    while True:
        query = select(table).order_by(*keys).limit(ROWS_A_PORTION)
        if after is not None:
            query = query.where(tuple_(*keys) > tuple_(*after))
        rows = connection.execute(query).all()
        if not rows:
            return
        after = tuple(rows[-1][place] for place in places)
        yield [
            tuple(
                translate(_plain(value if store is None else store(value)))
                for store, value in zip(stored, row, strict=True)
            )
            for row in rows
        ]
        if len(rows) < ROWS_A_PORTION:
            return


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def append(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Append rows to a table."""
    columns = dict(zip(table.columns.keys(), map(list, zip(*rows, strict=True)), strict=True))
    bulk_insert(connection, insert(table), columns)


def last_key(connection: Connection, table: Table) -> Row | None:
    """Return the greatest key of a table, None when it is empty."""
    keys = list(table.primary_key.columns)
    found = connection.execute(select(*keys).order_by(*(key.desc() for key in keys)).limit(1)).first()
    return None if found is None else tuple(found)


def row_count(connection: Connection, table: Table) -> int:
    """Return how many rows a table has."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def checksum(
    connection: Connection, table: Table, translate: Callable[[Any], Any], look: Callable[[], None]
) -> tuple[int, str]:
    """Return how many rows a table has, and a sum over all that is in them."""
    count, total = 0, blake2b(digest_size=16)
    for rows in portions(connection, table, translate):
        look()
        count += len(rows)
        for row in rows:
            total.update(repr(row).encode())
    return count, total.hexdigest()
