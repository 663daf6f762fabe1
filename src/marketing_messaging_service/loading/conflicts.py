"""Compares events that were delivered again with the stored ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from itertools import groupby
from operator import add, attrgetter
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Exists,
    Insert,
    MetaData,
    Select,
    SQLColumnExpression,
    String,
    Table,
    and_,
    case,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
)

from src.marketing_messaging_service.infrastructure.bulk import bulk_insert
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows, triggers_on
from src.marketing_messaging_service.loading.first_deliveries import Numbers
from src.marketing_messaging_service.loading.split import duplicate_columns
from src.marketing_messaging_service.models import Conflict, Event, Load, RejectedRow, UnknownKey
from src.marketing_messaging_service.vocabulary import PAYLOAD

_delivered = Table(
    "delivered_again",
    MetaData(),
    Column("load_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    Column("line_number", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    Column("message_id", String),
    Column("user_id", String),
    Column("event_type", String),
    Column("event_timestamp", UtcDateTime),
    *(Column(field.staged_name, field.column.type) for field in PAYLOAD.fields),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)

_otherwise = Table(
    "delivered_otherwise",
    MetaData(),
    Column("load_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    Column("line_number", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    Column("event_id", WHOLE_NUMBER),
    Column("differing_fields", String),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""The duplicates that differ from the stored event, and in what."""

# Tables, because SQLAlchemy takes several times as long to compile a statement over the models.
_events, _loads, _unknown_keys = Event.__table__, Load.__table__, UnknownKey.__table__

_COMPARED: Mapping[str, SQLColumnExpression[Any]] = {
    "user_id": _events.c.user_id,
    "event_type": _events.c.event_type,
    "event_timestamp": _events.c.event_timestamp,
    **{field.staged_name: field.column for field in PAYLOAD.fields},
}


@dataclass(frozen=True, slots=True)
class Collision:
    """A line with the message_id of another event."""

    line_number: int
    event_id: int
    differing_fields: str


RETRY = Event.event_timestamp.key
"""The only thing in which a retry may differ: some producers stamp it with the time of the retry."""


class DuplicateCheck:
    """Collects the duplicates of loads in a temporary table, and compares them all at once with what is stored."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.count = 0

    def add(self, duplicates: pa.RecordBatch, load_ids: Numbers) -> None:
        """Add duplicates, which are staged events, given the load of each."""
        if not len(duplicates):
            return
        if self.count == 0:
            _delivered.create(self._connection, checkfirst=False)
        columns = {"load_id": load_ids.tolist(), **duplicate_columns(duplicates)}
        self.count += bulk_insert(self._connection, insert(_delivered), columns)

    def refuse_lost(self) -> None:
        """Raise LostRowsError when an event taken for a duplicate is not stored: it was kept out.

        Only a trigger can do that.
        """
        if self.count == 0 or not triggers_on(self._connection, Event.__tablename__):
            return
        standing = exists().where(_events.c.message_id == _delivered.c.message_id)
        count = self._connection.execute(select(func.count()).select_from(_delivered).where(standing)).scalar_one()
        refuse_lost_rows(self._connection, {Event.__tablename__: (self.count, count)})

    @contextmanager
    def compared(self) -> Iterator[None]:
        """Put those that differ from the stored event into their own table.

        A line that an earlier load of the same file has recorded is left out.
        """
        if self.count == 0:
            yield
            return
        _otherwise.create(self._connection, checkfirst=False)
        self._connection.execute(_insert_otherwise())
        yield
        # A preview's loads share one connection.
        for table in (_otherwise, _delivered):
            table.drop(self._connection, checkfirst=False)

    def record_conflicts(self, load_ids: range) -> dict[int, int]:
        """Record those that differ only in time, and return how many there are by load.

        Raises LostRowsError when some are not stored.
        """
        if self.count == 0:
            return {}
        conflicts = select(*_otherwise.c).where(_otherwise.c.differing_fields == RETRY)
        self._connection.execute(insert(Conflict).from_select(_otherwise.c.keys(), conflicts))
        written = self._connection.execute(select(func.count()).select_from(conflicts.subquery())).scalar_one()
        by_load = (
            select(Conflict.load_id, func.count().label("line_count"))
            .where(Conflict.load_id.between(load_ids.start, load_ids.stop - 1))
            .group_by(Conflict.load_id)
        )
        counts = {row.load_id: row.line_count for row in self._connection.execute(by_load)}
        refuse_lost_rows(self._connection, {Conflict.__tablename__: (written, sum(counts.values()))})
        return counts

    def collisions(self) -> Iterator[tuple[int, Iterator[Collision]]]:
        """Yield the loads with lines that differ in more than time, each with these lines in order."""
        if self.count == 0:
            return
        found = select(*_otherwise.c).where(_is_collision()).order_by(*_otherwise.primary_key)
        for load_id, rows in groupby(self._connection.execute(found), key=attrgetter("load_id")):
            yield load_id, (Collision(row.line_number, row.event_id, row.differing_fields) for row in rows)


def standing_events() -> Select[int]:
    """The events whose message_id the collisions have."""
    return select(_otherwise.c.event_id).where(_is_collision())


@cache
def _insert_otherwise() -> Insert:
    """Insert those that differ from the stored event; compiled once, because that takes longer than most loads."""
    differs = {name: _differs(name) for name in _COMPARED}
    # Each differing field adds ", name"; the text proper begins at its third character.
    names = reduce(add, (case((condition, f", {name}"), else_="") for name, condition in differs.items()))
    standing = _events.join(_delivered, _events.c.message_id == _delivered.c.message_id)
    for part in PAYLOAD.parts:
        standing = standing.outerjoin(part.table, part.table.c.event_id == _events.c.id)
    otherwise = (
        select(_delivered.c.load_id, _delivered.c.line_number, _events.c.id, func.substr(names, 3))
        .select_from(standing)
        .where(or_(*differs.values()), ~_is_recorded(Conflict), ~_is_recorded(RejectedRow))
    )
    return insert(_otherwise).from_select(_otherwise.c.keys(), otherwise)


def _is_collision() -> ColumnElement[bool]:
    return _otherwise.c.differing_fields != RETRY


def _differs(name: str) -> ColumnElement[bool]:
    """Whether a delivered line says something different from the stored event.

    An event has no value in a field that was declared after it came, though its line may have had one: then its file is
    one of those with the key among the unknown ones.
    """
    delivered, standing = _delivered.c[name], _COMPARED[name]
    differs = delivered.is_distinct_from(standing)
    field = next((each for each in PAYLOAD.fields if each.staged_name == name), None)
    if field is None:
        return differs
    own, told = _loads.alias().c, _loads.alias().c
    was_unknown = exists().where(
        own.id == _events.c.load_id,
        told.source_file_id == own.source_file_id,
        _unknown_keys.c.load_id == told.id,
        _unknown_keys.c.key_path == field.path,
    )
    return and_(differs, not_(and_(standing.is_(None), was_unknown)))


def _is_recorded(table: type[Conflict | RejectedRow]) -> Exists:
    """Whether an earlier load of the same file has recorded a line."""
    this, other = _loads.alias().c, _loads.alias().c
    recorded = table.__table__.c
    return exists().where(
        this.id == _delivered.c.load_id,
        other.source_file_id == this.source_file_id,
        other.id != this.id,
        recorded.load_id == other.id,
        recorded.line_number == _delivered.c.line_number,
    )
