"""The floor: rows that are ready as Python tuples, `executemany` into the same tables, and the four rules by hand.

Nothing is parsed, validated, distinguished or recorded, and the SQL is written for just these four rules, each with its
own template: anything that takes raw lines and any rules can come close to this but not below it, unless it inserts in
another way.
"""

import gc
import marshal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.job import not_measured, step

PRAGMAS = ("foreign_keys=ON", "synchronous=NORMAL", "cache_size=-65536", "busy_timeout=60000")
"""The settings of our own connections, with a page cache twice as large."""

COPIED = {
    "source_files": "id = (SELECT source_file_id FROM loads ORDER BY id DESC LIMIT 1)",
    "loads": "id = (SELECT max(id) FROM loads)",
    "events": "load_id = (SELECT max(id) FROM loads)",
    "event_properties": "event_id >= (SELECT first_event_id FROM loads ORDER BY id DESC LIMIT 1)",
    "user_traits": "event_id >= (SELECT first_event_id FROM loads ORDER BY id DESC LIMIT 1)",
}
"""The rows of a database's last load, by table, in the order in which they can be inserted."""

CREATE_MATCHES = """
CREATE TEMPORARY TABLE matches (
    sequence INTEGER PRIMARY KEY, event_id INTEGER, user_id TEXT, event_timestamp TEXT, rule_name TEXT,
    template_name TEXT, channel TEXT, mode TEXT, dedupe_key TEXT
)
"""
FILL_MATCHES = """
INSERT INTO matches (event_id, user_id, event_timestamp, rule_name, template_name, channel, mode, dedupe_key)
SELECT e.id, e.user_id, e.event_timestamp, 'welcome_email', 'WELCOME_EMAIL', 'email', 'once_ever', 'ever'
FROM events e JOIN user_traits t ON t.event_id = e.id
WHERE e.id >= :first AND +e.event_type = 'signup_completed' AND t.marketing_opt_in = 1
UNION ALL
SELECT e.id, e.user_id, e.event_timestamp, 'bank_link_nudge', 'BANK_LINK_NUDGE_SMS', 'sms', 'once_ever', 'ever'
FROM events e
WHERE e.id >= :first AND +e.event_type = 'link_bank_success' AND EXISTS (
    SELECT 1 FROM events p WHERE p.user_id = e.user_id AND p.event_type = 'signup_completed' AND p.event_timestamp
    BETWEEN strftime('%Y-%m-%d %H:%M:%S', substr(e.event_timestamp, 1, 19), '-86400 seconds')
        || substr(e.event_timestamp, 20) AND e.event_timestamp)
UNION ALL
SELECT e.id, e.user_id, e.event_timestamp, 'insufficient_funds_email', 'INSUFFICIENT_FUNDS_EMAIL', 'email',
    'once_per_calendar_day', 'day:' || substr(e.event_timestamp, 1, 10)
FROM events e JOIN event_properties p ON p.event_id = e.id
WHERE e.id >= :first AND +e.event_type = 'payment_failed' AND p.failure_reason = 'INSUFFICIENT_FUNDS'
UNION ALL
SELECT e.id, e.user_id, e.event_timestamp, 'high_risk_alert', 'HIGH_RISK_ALERT', 'internal', 'none',
    'event:' || e.id || ':high_risk_alert'
FROM events e JOIN event_properties p ON p.event_id = e.id
WHERE e.id >= :first AND +e.event_type = 'payment_failed' AND p.attempt_number >= 3
ORDER BY 3, 1
"""
SEND = """
INSERT INTO send_requests (
    user_id, event_id, template_name, channel, reason, decided_at, rule_name, event_timestamp, dedupe_key)
SELECT user_id, event_id, template_name, channel, 'rule:' || rule_name, '2026-11-01 00:00:00.000000', rule_name,
    event_timestamp, dedupe_key
FROM matches WHERE true ORDER BY sequence
ON CONFLICT (user_id, template_name, dedupe_key) DO NOTHING
"""
SUPPRESS = """
INSERT INTO suppressions (
    user_id, event_id, template_name, suppression_reason, decided_at, rule_name, event_timestamp,
    blocked_by_send_request_id)
SELECT m.user_id, m.event_id, m.template_name, m.mode, '2026-11-01 00:00:00.000000', m.rule_name, m.event_timestamp,
    (SELECT s.id FROM send_requests s
     WHERE s.user_id = m.user_id AND s.template_name = m.template_name AND s.dedupe_key = m.dedupe_key)
FROM matches m
WHERE NOT EXISTS (SELECT 1 FROM send_requests s WHERE s.event_id = m.event_id AND s.rule_name = m.rule_name)
ORDER BY m.sequence
"""
DECIDED = "UPDATE loads SET state = 'decided', decided_at = '2026-11-01 00:00:00.000000' WHERE state = 'loaded'"


def prepare(rows_file: Path, database: Path) -> None:
    """Write the rows of a database's last load into a file, as the tuples that `insert_and_decide` inserts."""
    with closing(sqlite3.connect(database)) as connection:
        tables = {}
        for table, condition in COPIED.items():
            found = connection.execute(f"SELECT * FROM {table} WHERE {condition} ORDER BY 1")  # noqa: S608  names of this file
            tables[table] = ([column[0] for column in found.description], found.fetchall())
    rows_file.write_bytes(marshal.dumps(tables))


def insert_and_decide(rows_file: Path, database: Path) -> None:
    """Insert the rows, and decide the events among them."""
    with not_measured():
        # The garbage collector would go through the tuples of a million rows over and over; this is the floor.
        gc.disable()
        tables: dict[str, tuple[list[str], list[Any]]] = marshal.loads(rows_file.read_bytes())  # noqa: S302  written by `prepare`
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        with step("load"):
            connection.execute("BEGIN IMMEDIATE")
            for table, (columns, rows) in tables.items():
                places = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)  # noqa: S608  names of a table
            connection.execute("COMMIT")
        with step("decide"):
            first = tables["events"][1][0][0]
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(CREATE_MATCHES)
            connection.execute(FILL_MATCHES, {"first": first})
            for statement in (SEND, SUPPRESS, DECIDED):
                connection.execute(statement)
            connection.execute("COMMIT")
