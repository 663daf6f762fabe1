"""Events that were delivered again, and whether they still say the same."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

import pandas as pd
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Exists,
    Integer,
    MetaData,
    SQLColumnExpression,
    String,
    Table,
    case,
    exists,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows, triggers_on
from src.marketing_messaging_service.loading.bulk import bulk_insert
from src.marketing_messaging_service.loading.first_deliveries import Numbers
from src.marketing_messaging_service.loading.split import duplicate_columns
from src.marketing_messaging_service.models import Conflict, Event, EventProperties, Load, UserTraits
from src.marketing_messaging_service.vocabulary import PAYLOAD

_delivered = Table(
    "delivered_again",
    MetaData(),
    Column("load_id", Integer, primary_key=True),
    Column("line_number", Integer, primary_key=True),
    Column("message_id", String),
    Column("user_id", String),
    Column("event_type", String),
    Column("event_timestamp", UtcDateTime),
    *(Column(field.staged_name, field.column.type) for field in PAYLOAD.fields),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)

_COMPARED: Mapping[str, SQLColumnExpression[Any]] = {
    "user_id": Event.user_id,
    "event_type": Event.event_type,
    "event_timestamp": Event.event_timestamp,
    **{field.staged_name: field.column for field in PAYLOAD.fields},
}


class DuplicateCheck:
    """Collects the duplicates of loads in a temporary table, and compares all of them with what stands at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.count = 0

    def add(self, duplicates: pd.DataFrame, load_ids: Numbers) -> None:
        """Add duplicates, as a frame of EVENT_SCHEMA, given the load of each."""
        if duplicates.empty:
            return
        if self.count == 0:
            _delivered.create(self._connection, checkfirst=False)
        columns = {"load_id": load_ids.tolist(), **duplicate_columns(duplicates)}
        self.count += bulk_insert(self._connection, insert(_delivered), columns)

    def refuse_lost(self) -> None:
        """Raise LostRowsError when an event that was taken for a duplicate does not stand: it was kept out.

        Only a trigger can do that.
        """
        if self.count == 0 or not triggers_on(self._connection, Event.__tablename__):
            return
        standing = exists().where(Event.message_id == _delivered.c.message_id)
        count = self._connection.execute(select(func.count()).select_from(_delivered).where(standing)).scalar_one()
        refuse_lost_rows(self._connection, {Event.__tablename__: (self.count, count)})

    def record_conflicts(self, load_ids: range) -> dict[int, int]:
        """Record the duplicates that differ from the event that stands, and return how many there are by load.

        A line that an earlier load of the same file recorded is left out.
        """
        if self.count == 0:
            return {}
        differs: dict[str, ColumnElement[bool]] = {
            name: _delivered.c[name].is_distinct_from(standing) for name, standing in _COMPARED.items()
        }
        # Each differing field adds ", name"; the text proper begins at its third character.
        names = reduce(add, (case((condition, f", {name}"), else_="") for name, condition in differs.items()))
        conflicts = (
            select(_delivered.c.load_id, _delivered.c.line_number, Event.id, func.substr(names, 3))
            .select_from(_delivered)
            .join(Event, Event.message_id == _delivered.c.message_id)
            .outerjoin(EventProperties, EventProperties.event_id == Event.id)
            .outerjoin(UserTraits, UserTraits.event_id == Event.id)
            .where(or_(*differs.values()), ~_is_recorded())
        )
        columns = ["load_id", "line_number", "event_id", "differing_fields"]
        self._connection.execute(insert(Conflict).from_select(columns, conflicts))
        # A preview's loads share one connection.
        _delivered.drop(self._connection, checkfirst=False)
        by_load = (
            select(Conflict.load_id, func.count().label("line_count"))
            .where(Conflict.load_id.between(load_ids.start, load_ids.stop - 1))
            .group_by(Conflict.load_id)
        )
        return {row.load_id: row.line_count for row in self._connection.execute(by_load)}


def _is_recorded() -> Exists:
    """Whether an earlier load of the same file has recorded a line."""
    this, other = aliased(Load), aliased(Load)
    return exists().where(
        this.id == _delivered.c.load_id,
        other.source_file_id == this.source_file_id,
        other.id != this.id,
        Conflict.load_id == other.id,
        Conflict.line_number == _delivered.c.line_number,
    )
