"""Inserts new events into their table, leaving out those that it has; keeps up its indexes or rebuilds them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, islice, pairwise

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Table, bindparam, insert, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from src.marketing_messaging_service.infrastructure.bulk import Columns, bulk_insert
from src.marketing_messaging_service.infrastructure.database import cache_for_sorting
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.dialects.dialect import SeveralWriters
from src.marketing_messaging_service.infrastructure.several_writers import writers_of
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows
from src.marketing_messaging_service.loading.first_deliveries import FirstDeliveries, Mask, Numbers
from src.marketing_messaging_service.loading.split import event_columns
from src.marketing_messaging_service.models import Event

SMALLEST_REBUILD = 50_000
"""Below this many events a load keeps the indexes: at 10,000 either way takes 0.2 s, at 100,000 rebuilding takes a
third less."""

LARGEST_STANDING = 0.5
"""Indexes are rebuilt if the table has at most this many times the coming events. With as many stored as coming, a load
of 100,000 takes equally long either way, and one of a million 45 s instead of 32; with a tenth stored, a million take
less than half as long with rebuilding as without."""

STANDING_AT_ONCE = 50_000

LOOKED_UP_AT_ONCE = 1_000

InsertNew = Callable[[pa.RecordBatch, Numbers], tuple[Mask, Numbers]]
"""Inserts the new ones of staged events, given the load of each, and returns which they are and the id that each event
has, or would have."""

_STANDING_AMONG = select(Event.message_id).where(Event.message_id.in_(bindparam("message_ids", expanding=True)))
_INSERT = insert(Event)
_INSERT_UNKNOWN = sqlite_insert(Event).on_conflict_do_nothing(index_elements=[Event.message_id])


class EventIds:
    """Numbers events that come load by load, as if each load were its own transaction.

    An event that is not new leaves a gap before the next one of its load, but none before the next load.
    """

    def __init__(self, next_id: int) -> None:
        self._load_id = -1
        self._next_id = next_id
        self._next_id_of_a_load = next_id

    def give(self, load_ids: Numbers, is_new: Mask) -> Numbers:
        """Return the ids of the next events."""
        event_ids = np.empty(len(load_ids), np.int64)
        starts = np.flatnonzero(np.diff(load_ids, prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(load_ids)]):
            if self._load_id != load_ids[start]:
                self._load_id = int(load_ids[start])
                self._next_id = self._next_id_of_a_load
            event_ids[start:end] = np.arange(self._next_id, self._next_id + end - start)
            self._next_id += end - start
            new_ones = np.flatnonzero(is_new[start:end])
            if len(new_ones):
                self._next_id_of_a_load = int(event_ids[start + new_ones[-1]]) + 1
        return event_ids


@contextmanager
def new_events(
    connection: Connection,
    coming: Callable[[], Iterable[tuple[pa.RecordBatch, Numbers]]],
    coming_ids: Iterable[pa.StringArray],
    *,
    coming_count: int,
    next_id: int,
    load_count: int,
    created_at: str,
) -> Iterator[InsertNew]:
    """Yield a function that inserts the events of loads, and leave the table with every index that it had.

    Where many events come compared with those stored, the indexes are dropped and rebuilt from sorted rows: a million
    events into an empty table take half as long as with three indexes kept up row by row. SQLite's schema is part of
    the transaction, so no crash can leave a table without them, and building the unique index checks the new rows
    against each other and the old ones. `coming` gives the staged events to come, each with its load, and `coming_ids`
    their message ids, for checking them beforehand. Where other runs load at the same time, one statement inserts
    them all before the first is asked for.
    """
    if (several := writers_of(connection)) is not None:
        yield _inserting_at_once(connection, several, coming, next_id, created_at)
        return
    event_ids = EventIds(next_id)
    standing_count = next_id - 1
    may_rebuild = dialect_named(connection.dialect.name).rebuilds_indexes
    if may_rebuild and coming_count >= max(SMALLEST_REBUILD, standing_count / LARGEST_STANDING):
        most_count = coming_count + standing_count
        deliveries = FirstDeliveries(lambda: _standing_ids(connection), map(pa.Array.to_pylist, coming_ids), most_count)
        if deliveries.can_tell:
            with _indexes_rebuilt(connection):
                insert_many = partial(bulk_insert, connection, _INSERT)
                yield _inserting_told(connection, insert_many, deliveries.are_first, event_ids, created_at)
            return
    # SQLite keeps a copy of each page that a statement with many rows changes, to be able to undo half of it. Where
    # every row changes different pages, as with 100,000 on five million, that took 5.2 s instead of 3.3.
    insert_each = partial(bulk_insert, connection, _INSERT_UNKNOWN, rows_a_statement=1, unique="message_id")
    if load_count == 1:
        yield _inserting_unknown(connection, insert_each, event_ids, created_at)
    else:
        # Which are new must be known before they get ids, because a load's ids continue from those before it.
        yield _inserting_told(connection, insert_each, partial(_are_new, connection), event_ids, created_at)


def _standing_ids(connection: Connection) -> Iterator[Sequence[str]]:
    # Straight from the driver: 0.6 s per million; through SQLAlchemy's rows it takes 2.9 s.
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
    with cache_for_sorting(connection, is_for_indexes=True):
        yield
        for index in indexes:
            index.create(connection)


def _inserting_told(
    connection: Connection,
    insert_all: Callable[[Columns], int],
    are_new: Callable[[pa.StringArray], Mask],
    event_ids: EventIds,
    created_at: str,
) -> InsertNew:
    """Return a function that inserts events, if it is known beforehand whether they are new."""

    def insert_new(events: pa.RecordBatch, load_ids: Numbers) -> tuple[Mask, Numbers]:
        is_new = are_new(events["message_id"])
        given = event_ids.give(load_ids, is_new)
        new = events.filter(pa.array(is_new))
        columns = event_columns(new, given[is_new].tolist(), load_ids[is_new].tolist(), created_at)
        standing = insert_all(columns)
        refuse_lost_rows(connection, {Event.__tablename__: (len(columns["id"]), standing)})
        return is_new, given

    return insert_new


def _are_new(connection: Connection, coming_ids: pa.StringArray) -> Mask:
    """Return which message ids are neither in the table nor come earlier."""
    message_ids = coming_ids.to_pylist()
    seen: set[str] = set()
    for start in range(0, len(message_ids), LOOKED_UP_AT_ONCE):
        some = message_ids[start : start + LOOKED_UP_AT_ONCE]
        seen.update(connection.execute(_STANDING_AMONG, {"message_ids": list(some)}).scalars().all())
    are_new = np.zeros(len(message_ids), dtype=np.bool_)
    for place, message_id in enumerate(message_ids):
        if message_id not in seen:
            seen.add(message_id)
            are_new[place] = True
    return are_new


def _inserting_unknown(
    connection: Connection, insert_each: Callable[[Columns], int], event_ids: EventIds, created_at: str
) -> InsertNew:
    """Return a function that inserts events of one load, where the table itself shows whether they are new."""

    def insert_new(events: pa.RecordBatch, load_ids: Numbers) -> tuple[Mask, Numbers]:
        is_new = np.ones(len(events), dtype=np.bool_)
        given = event_ids.give(load_ids, is_new)
        columns = event_columns(events, given.tolist(), load_ids.tolist(), created_at)
        if insert_each(columns) < len(events):
            is_new = np.isin(given, _ids_between(connection, int(given[0]), int(given[-1])))
        return is_new, given

    return insert_new


def _inserting_at_once(
    connection: Connection,
    several: SeveralWriters,
    coming: Callable[[], Iterable[tuple[pa.RecordBatch, Numbers]]],
    next_id: int,
    created_at: str,
) -> InsertNew:
    """Insert all that is to come, and return a function that finds out which of it went in.

    Each row takes the next id, so an event that is not new leaves a gap.
    """
    table = Event.__table__
    assert isinstance(table, Table)  # noqa: S101  the type checker knows less of declarative classes
    numbers = count(next_id)

    def columns() -> Iterator[Columns]:
        for events, load_ids in coming():
            yield event_columns(events, list(islice(numbers, len(events))), load_ids.tolist(), created_at)

    several.copy_new_rows(connection, table, columns(), unique="message_id")
    ids_again = count(next_id)

    def tell_new(events: pa.RecordBatch, _load_ids: Numbers) -> tuple[Mask, Numbers]:
        given = np.fromiter(islice(ids_again, len(events)), np.int64, len(events))
        if not len(given):
            return np.zeros(0, dtype=np.bool_), given
        return np.isin(given, _ids_between(connection, int(given[0]), int(given[-1]))), given

    return tell_new


def _ids_between(connection: Connection, first_id: int, last_id: int) -> Sequence[int]:
    # All at once: one by one, 50,000 of them took a sixth of their whole load.
    return connection.execute(select(Event.id).where(Event.id.between(first_id, last_id))).scalars().all()
