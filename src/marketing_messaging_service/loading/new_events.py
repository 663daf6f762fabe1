"""Events on their way into their table: those that stand there are left out, and its indexes kept up or rebuilt."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from src.marketing_messaging_service.infrastructure.database import SORTING_THREADS, cache_for_sorting
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows
from src.marketing_messaging_service.loading.bulk import bulk_insert
from src.marketing_messaging_service.loading.first_deliveries import FirstDeliveries, Mask, Numbers
from src.marketing_messaging_service.loading.split import event_columns, scalars
from src.marketing_messaging_service.models import Event

SMALLEST_REBUILD = 50_000
"""Events below which a load keeps the indexes: at 10,000 either way takes 0.2 s, at 100,000 rebuilding takes a third
less."""

LARGEST_STANDING = 0.5
"""How many times the coming events may stand already for the indexes to be rebuilt. With as many standing as coming, a
load takes as long either way at 100,000 and 45 s instead of 32 at a million; with a tenth standing, a million take less
than half as long with rebuilding as without."""

STANDING_AT_ONCE = 50_000

InsertNew = Callable[[pd.DataFrame, Numbers, int, str], Mask]
"""Inserts those of a frame of EVENT_SCHEMA that are new, under the given ids, load and time of creation, and returns
which they are."""

_INSERT = insert(Event)
_INSERT_UNKNOWN = sqlite_insert(Event).on_conflict_do_nothing(index_elements=[Event.message_id])


@contextmanager
def new_events(
    connection: Connection, coming: Callable[[], Iterable[pd.DataFrame]], *, coming_count: int, standing_count: int
) -> Iterator[InsertNew]:
    """Yield the way to insert a load's events, and leave the table with every index that it had.

    For a load that is large against what stands already, the indexes are dropped and built anew from sorted rows: a
    million events into an empty table take half as long as with three indexes kept up row by row. SQLite's schema is
    part of the transaction, so that no crash can leave a table without them, and the unique index, when it is built,
    holds the new rows against each other and those that stood. `coming` gives the frames of EVENT_SCHEMA
    that are to come, for looking at their message ids beforehand.
    """
    if coming_count >= max(SMALLEST_REBUILD, standing_count / LARGEST_STANDING):
        coming_ids = (scalars(events, "message_id") for events in coming())
        most_count = coming_count + standing_count
        deliveries = FirstDeliveries(lambda: _standing_ids(connection), coming_ids, most_count)
        if deliveries.can_tell:
            with _indexes_rebuilt(connection):
                yield _inserting_first_deliveries(connection, deliveries)
            return
    yield _inserting_unknown(connection)


def _standing_ids(connection: Connection) -> Iterator[Sequence[str]]:
    # From the driver itself, in 0.6 s a million; by way of SQLAlchemy's rows it takes 2.9 s.
    cursor = connection.connection.cursor()
    cursor.execute(str(select(Event.message_id).compile(connection)))
    while found := cursor.fetchmany(STANDING_AT_ONCE):
        yield [message_id for (message_id,) in found]


@contextmanager
def _indexes_rebuilt(connection: Connection) -> Iterator[None]:
    table = Event.__table__
    assert isinstance(table, Table)  # noqa: S101  the type checker knows less of declarative classes
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    for index in indexes:
        index.drop(connection, checkfirst=True)
    with cache_for_sorting(connection, threads=SORTING_THREADS):
        yield
        for index in indexes:
            index.create(connection)


def _inserting_first_deliveries(connection: Connection, deliveries: FirstDeliveries) -> InsertNew:
    def insert_new(events: pd.DataFrame, event_ids: Numbers, load_id: int, created_at: str) -> Mask:
        is_new = deliveries.are_first(scalars(events, "message_id"))
        if not is_new.all():
            events, event_ids = events.loc[is_new], event_ids[is_new]
        standing = bulk_insert(connection, _INSERT, event_columns(events, event_ids.tolist(), load_id, created_at))
        refuse_lost_rows(connection, {Event.__tablename__: (len(events), standing)})
        return is_new

    return insert_new


def _inserting_unknown(connection: Connection) -> InsertNew:
    def insert_new(events: pd.DataFrame, event_ids: Numbers, load_id: int, created_at: str) -> Mask:
        columns = event_columns(events, event_ids.tolist(), load_id, created_at)
        # Of each page that a statement with many rows changes SQLite keeps a copy, to undo a half of it: where every
        # row changes pages of its own, as 100,000 on five million do, that took 5.2 s instead of 3.3.
        if bulk_insert(connection, _INSERT_UNKNOWN, columns, rows_a_statement=1) == len(events):
            return np.ones(len(events), dtype=np.bool_)
        return np.isin(event_ids, _ids_between(connection, int(event_ids[0]), int(event_ids[-1])))

    return insert_new


def _ids_between(connection: Connection, first_id: int, last_id: int) -> list[Any]:
    return list(connection.execute(select(Event.id).where(Event.id.between(first_id, last_id))).scalars())
