"""Recognises events without a message_id that an earlier version loaded under another id."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import Column, Connection, MetaData, String, Table, select

from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.loading.split import are_there, scalars
from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.staging.results import FORMER_IDS, with_column

IDS_AT_ONCE = 500

_standing = Table(
    "standing_ids",
    MetaData(),
    Column("message_id", String, primary_key=True),
    Column("standing_id", String),
    prefixes=["TEMPORARY"],
)


class StandingIds:
    """Knows which of the coming events are stored under a former id, and gives them that id.

    So an event that was loaded before is recognised when it is delivered again. The stored ones are kept in a temporary
    table, so that memory does not grow with their number; `close` drops it.
    """

    def __init__(self, connection: Connection, coming: Iterable[pa.RecordBatch]) -> None:
        """Look up the former ids of the staged events that are coming."""
        self._connection = connection
        self._count = 0
        for events in coming:
            if (has_some := are_there(events, FORMER_IDS)).any():
                self._look_up(events.filter(pa.array(has_some)))

    def put_in(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield staged events with the ids under which they are stored."""
        for events in batches:
            yield self._with_standing_ids(events) if self._count else events

    def close(self) -> None:
        """Forget the stored ids."""
        if self._count:
            _standing.drop(self._connection, checkfirst=False)

    def _look_up(self, events: pa.RecordBatch) -> None:
        todays = {
            former_id: message_id
            for message_id, former_ids in zip(scalars(events, "message_id"), scalars(events, FORMER_IDS), strict=True)
            for former_id in former_ids
        }
        found = _standing_of(list(todays), self._connection, Event.message_id, Event.message_id)
        if found and not self._count:
            _standing.create(self._connection, checkfirst=False)
        rows = [{"message_id": todays[former_id], "standing_id": former_id} for former_id, _ in found]
        if rows:
            self._connection.execute(dialect_named(self._connection.dialect.name).insert_ignoring(_standing), rows)
            self._count += len(rows)

    def _with_standing_ids(self, events: pa.RecordBatch) -> pa.RecordBatch:
        message_ids = scalars(events, "message_id")
        standing = dict(_standing_of(message_ids, self._connection, _standing.c.message_id, _standing.c.standing_id))
        if not standing:
            return events
        found = [standing.get(each, each) for each in message_ids]
        return with_column(events, "message_id", pa.array(found, pa.string()))


def _standing_of(
    message_ids: Sequence[str], connection: Connection, looked_up: Any, wanted: Any
) -> list[tuple[str, str]]:
    """Return each of the ids found in a column, with another column's value."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(message_ids), IDS_AT_ONCE):
        some = message_ids[start : start + IDS_AT_ONCE]
        rows = connection.execute(select(looked_up, wanted).where(looked_up.in_(some)))
        found.extend((row[0], row[1]) for row in rows)
    return found
