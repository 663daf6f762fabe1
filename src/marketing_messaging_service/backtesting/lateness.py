"""Finds which late events changed which decisions."""

import sqlite3
from typing import Any

from src.marketing_messaging_service.backtesting.comparison import rows
from src.marketing_messaging_service.backtesting.difference import Late

_IS_LATE = "own.batch_id < own.own_batch_id"

_OF_USER = f"""\
SELECT event.id FROM history_db.events AS event JOIN after_db.replayed_events AS own ON own.event_id = event.id
    WHERE event.user_id = change.user_id AND {_IS_LATE}"""

_CAUSES = f"""\
CREATE TEMP TABLE cause AS
SELECT coalesce(
    (SELECT event_id FROM after_db.replayed_events AS own WHERE own.event_id = change.event_id AND {_IS_LATE}),
    ({_OF_USER} AND event.event_timestamp <= coalesce(change.at_after, change.at_before)
        ORDER BY event.event_timestamp DESC LIMIT 1),
    ({_OF_USER} ORDER BY event.event_timestamp LIMIT 1)
) AS event_id
FROM change"""
"""A change is due to the late event itself, to the same user's last late one up to its time, or to the next one."""

_LEDGER = f"""\
SELECT event.event_type, count(*), count(changed.event_id), coalesce(sum(changed.number), 0), (
    SELECT event_id FROM cause JOIN history_db.events AS other ON other.id = cause.event_id
    WHERE other.event_type = event.event_type ORDER BY other.event_timestamp, other.id LIMIT 1
)
FROM after_db.replayed_events AS own
JOIN history_db.events AS event ON event.id = own.event_id
LEFT JOIN (SELECT event_id, count(*) AS number FROM cause GROUP BY event_id) AS changed USING (event_id)
WHERE {_IS_LATE}
GROUP BY event.event_type ORDER BY 4 DESC, 1"""

_EXAMPLE = """\
SELECT event.message_id, event.user_id, event.event_timestamp,
    round((julianday(coalesce(batch.as_of, batch.decided_at)) - julianday(event.event_timestamp)) * 24, 1)
FROM history_db.events AS event
JOIN after_db.replayed_events AS own ON own.event_id = event.id
JOIN history_db.batches AS batch ON batch.id = own.own_batch_id
WHERE event.id = ?"""


def late_events(connection: sqlite3.Connection) -> tuple[tuple[Late, ...], int]:
    """Return, by type, how many events were late and what they changed, and how many changes no late event explains."""
    connection.execute(_CAUSES)
    [(unexplained,)] = rows(connection, "SELECT count(*) FROM cause WHERE event_id IS NULL")
    return tuple(_late(connection, row) for row in rows(connection, _LEDGER)), unexplained


def _late(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Late:
    event_type, late_count, changing_count, change_count, example_id = row
    example = ""
    for message_id, user_id, at, hours in rows(connection, _EXAMPLE, example_id):
        example = f"{message_id} of {user_id} at {at[:16]}, decided {hours:g} h later"
    return Late(event_type, late_count, changing_count, change_count, example)
