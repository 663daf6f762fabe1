"""Compares two databases row for row: ids replaced by what they refer to, clocks left out.

A table or column that is not listed here is an error, so that nothing new goes uncompared unnoticed.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.vocabulary import PROPERTIES, TRAITS

Key = tuple[Any, ...]
Rows = list[tuple[Any, ...]]


class UnknownPartError(Exception):
    """A table or column that nobody has said how to compare."""


@dataclass(frozen=True, slots=True)
class TableShape:
    """The columns of a table; each has to be in exactly one of the groups."""

    compared: tuple[str, ...] = ()
    """Columns whose values are compared as they are."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Columns that hold the id of a row of another table, compared by what that row is."""
    given: tuple[str, ...] = ()
    """Columns for which it only matters whether they have a value, such as which of several runs did something."""
    left_out: tuple[str, ...] = ()
    """Clocks, ids of the row itself, and what the file system or Prefect says."""
    key: tuple[str, ...] = ()
    """The columns that identify a row when another one refers to it."""


TABLES: Mapping[str, TableShape] = {
    "alembic_version": TableShape(compared=("version_num",)),
    "data_dictionary": TableShape(
        compared=("table_name", "column_position", "column_name", "kind", "data_type", "sentence")
    ),
    "source_files": TableShape(
        compared=("content_hash", "path", "size_bytes", "modified_at", "reader_number", "refused_code"),
        references={"replayed_file_id": "source_files"},
        left_out=("id", "file_signature", "taken_at", "read_at"),
        key=("content_hash",),
    ),
    "rulesets": TableShape(
        compared=("content_hash", "yaml_text"), left_out=("id", "first_used_at"), key=("content_hash",)
    ),
    "ruleset_rules": TableShape(
        compared=(
            "rule_name",
            "rule_position",
            "description",
            "is_enabled",
            "trigger_event_type",
            "condition_text",
            "exclusive_group",
            "template_name",
            "channel",
            "suppression_mode",
            "wait_hours",
            "expires_after_hours",
        ),
        references={"ruleset_id": "rulesets"},
    ),
    "event_types": TableShape(compared=("event_type",), left_out=("first_loaded_at",)),
    "loads": TableShape(
        compared=(
            "as_of",
            "state",
            "read_count",
            "inserted_count",
            "duplicate_count",
            "conflict_count",
            "collision_count",
            "rejected_count",
            "blank_count",
            "dropped_count",
            "outside_count",
        ),
        references={
            "source_file_id": "source_files",
            "ruleset_id": "rulesets",
            "batch_id": "batches",
            "first_event_id": "events",
            "last_event_id": "events",
        },
        given=("run_id",),
        left_out=("id", "flow_run_id", "loaded_at", "load_seconds", "decided_at"),
        key=("source_file_id", "outside_count"),
    ),
    "events": TableShape(
        compared=("message_id", "user_id", "event_type", "event_timestamp"),
        references={"load_id": "loads"},
        left_out=("id", "created_at"),
        key=("message_id",),
    ),
    "event_properties": TableShape(
        compared=tuple(field.name for field in PROPERTIES.fields), references={"event_id": "events"}, left_out=("id",)
    ),
    "user_traits": TableShape(
        compared=tuple(field.name for field in TRAITS.fields),
        references={"event_id": "events"},
        left_out=("id",),
    ),
    "rejected_rows": TableShape(
        compared=("line_number", "raw_line", "raw_bytes", "reason_code", "field_name", "explanation", "header_line"),
        references={"load_id": "loads", "event_id": "events", "replayed_load_id": "loads"},
        left_out=("id",),
    ),
    "unknown_keys": TableShape(compared=("key_path", "occurrence_count"), references={"load_id": "loads"}),
    "conflicts": TableShape(
        compared=("line_number", "differing_fields"), references={"load_id": "loads", "event_id": "events"}
    ),
    "left_out_values": TableShape(
        compared=("line_number", "field_path", "explanation"), references={"load_id": "loads", "event_id": "events"}
    ),
    "held_events": TableShape(
        compared=("due_at",), references={"event_id": "events", "batch_id": "batches"}, given=("run_id",)
    ),
    "batches": TableShape(
        compared=(
            "as_of",
            "oldest_event_at",
            "latest_event_at",
            "event_count",
            "held_count",
            "ahead_count",
            "again_count",
            "shard_count",
            "is_complete",
        ),
        references={"ruleset_id": "rulesets"},
        given=("run_id",),
        left_out=("id", "decided_at", "decide_seconds", "last_load_id"),
        key=("ruleset_id", "as_of", "event_count", "held_count", "again_count"),
    ),
    "batch_shards": TableShape(
        compared=("shard_number", "send_request_count", "suppression_count"),
        references={"batch_id": "batches"},
        left_out=("decided_at", "decide_seconds", "last_load_id"),
    ),
    "batch_rules": TableShape(compared=("rule_name",), references={"batch_id": "batches"}),
    "send_requests": TableShape(
        compared=(
            "user_id",
            "template_name",
            "channel",
            "reason",
            "rule_name",
            "event_timestamp",
            "dedupe_key",
            "decision_time",
            "is_exempt_from_limits",
        ),
        references={"event_id": "events", "ruleset_id": "rulesets"},
        given=("run_id",),
        left_out=("id", "decided_at"),
        key=("event_id", "rule_name", "dedupe_key"),
    ),
    "suppressions": TableShape(
        compared=("user_id", "template_name", "suppression_reason", "rule_name", "event_timestamp", "decision_time"),
        references={
            "event_id": "events",
            "ruleset_id": "rulesets",
            "blocked_by_send_request_id": "send_requests",
            "blocked_by_event_id": "events",
        },
        given=("run_id",),
        left_out=("id", "decided_at"),
    ),
    "former_suppressions": TableShape(
        compared=("user_id", "template_name", "suppression_reason", "rule_name", "event_timestamp"),
        references={"event_id": "events", "ruleset_id": "rulesets", "batch_id": "batches"},
        given=("run_id",),
        left_out=("id", "decided_at"),
    ),
    "waiting_matches": TableShape(
        compared=("rule_name", "decide_at", "is_too_old"), references={"event_id": "events", "batch_id": "batches"}
    ),
    "ended_waits": TableShape(
        compared=("rule_name", "decide_at", "is_too_old", "outcome"),
        references={"event_id": "events", "batch_id": "batches", "ended_batch_id": "batches"},
    ),
}
"""Every table there is; `loads` and `events` refer to each other, so that a key never goes through both."""

LEFT_OUT_TABLES: Mapping[str, str] = {
    "runs": "A run that was killed is one more; `run_record_breaches` says what must hold of them all the same.",
    "replay_counts": "What a killed replay took, the next one finds taken.",
    "run_remarks": "What a run left undone is done by the next one.",
    "run_leases": "Nobody holds the lease of a database at rest; `run_record_breaches` sees to it.",
}
"""Tables that are not compared, each with the reason why."""

_EVENT_IN_TEXT: Mapping[str, re.Pattern[str]] = {
    "dedupe_key": re.compile(r"(?<=^event:)(\d+)(?=:)"),
    "explanation": re.compile(r"(?<=events\.id )(\d+)"),
}
"""Where a text contains the id of an event."""


DECISIONS = ("send_requests", "suppressions", "former_suppressions", "waiting_matches", "ended_waits")
"""The tables of what was decided, and of what waits or has waited for it."""


def differences(one: Path, other: Path, only: Sequence[str] = ()) -> list[str]:
    """Return what differs between two databases at the same schema, a sentence each; none when they are equal.

    `only` names the tables to be compared, all of them unless given.
    """
    left, right = everything(one), everything(other)
    found = []
    for name in only or sorted(left.keys() | right.keys()):
        ours, theirs = left.get(name, []), right.get(name, [])
        if ours == theirs:
            continue
        missing = [row for row in theirs if row not in ours]
        added = [row for row in ours if row not in theirs]
        told = f"{len(ours)} rows for {len(theirs)}, missing {missing[:2]}, added {added[:2]}"
        found.append(f"{name}: {told}" if missing or added or len(ours) != len(theirs) else f"{name}: another order")
    return found


def stored_rows(database: Path) -> dict[str, Rows]:
    """Return the rows of every table as they are, ids and clocks too; only who holds the lease is left out."""
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
            for name in names
            if name != "run_leases"
        }


def events_lost_or_doubled(one: Path, other: Path) -> list[str]:
    """Return which events are in only one of the databases, by their full content, whatever load brought them."""
    ours, theirs = _events(one), _events(other)
    lost, added = theirs - ours, ours - theirs
    return [
        f"{count} × {event} {what}"
        for what, rows in (("lost", lost), ("added", added))
        for event, count in rows.items()
    ]


def run_record_breaches(database: Path, *, killed: int | None = None) -> list[str]:
    """Return what is wrong with the record of runs once a run has ended, by itself, after all the others.

    `killed` is how many runs were killed between their first word and their last one, None when nobody knows.
    """
    with closing(sqlite3.connect(database)) as connection:
        runs = connection.execute(
            "SELECT id, state, ended_at IS NOT NULL AND message IS NOT NULL FROM runs ORDER BY id"
        ).fetchall()
        leases = connection.execute("SELECT holder_name FROM run_leases").fetchall()
    found = [f"runs: run {run_id} is recorded as {state}" for run_id, state, _ in runs if state == "running"]
    found += [
        f"runs: run {run_id} is {state} and {'has' if has_ended else 'lacks'} an end and a message"
        for run_id, state, has_ended in runs
        if has_ended == (state == "killed")
    ]
    found += [f"run_leases: {holder} holds the lease still" for (holder,) in leases]
    states = [state for _, state, _ in runs]
    if killed is not None and states.count("killed") != killed:
        found.append(f"runs: {killed} were killed and the record says {', '.join(states)}")
    return found


def _events(database: Path) -> Counter[Key]:
    columns = [
        f"{name}.{column}" for name in ("events", "event_properties", "user_traits") for column in TABLES[name].compared
    ]
    with closing(sqlite3.connect(database)) as connection:
        return Counter(
            connection.execute(
                f"SELECT {', '.join(columns)} FROM events LEFT JOIN event_properties ON event_properties.event_id = "
                "events.id LEFT JOIN user_traits ON user_traits.event_id = events.id"
            )
        )


def everything(database: Path) -> dict[str, Rows]:
    """Return all rows of a database by table, in the order of their ids, and its schema as one more table.

    Raises UnknownPartError for a table or column that TABLES does not list.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        schema = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY type, name"
        ).fetchall()
        names = [row["name"] for row in schema if row["type"] == "table" and row["name"] not in LEFT_OUT_TABLES]
        for name in names:
            _refuse_unknown(connection, name)
        reader = _Reader(connection)
        tables = {name: list(reader.rows(name)) for name in names}
    return tables | {"(schema)": [(*row[:3], _in_order(row["sql"])) for row in schema]}


def _in_order(definition: str) -> tuple[str, ...]:
    """Return the lines of a definition, its constraints sorted: Alembic's batch mode leaves their order to chance."""
    parts = [line.strip().removesuffix(",") for line in definition.splitlines()]
    constraints = sorted(part for part in parts if part.startswith("CONSTRAINT "))
    return (*(part for part in parts if part not in constraints), *constraints)


def _refuse_unknown(connection: sqlite3.Connection, name: str) -> None:
    if name not in TABLES:
        raise UnknownPartError(f"{__name__}.TABLES does not know the table {name}; say there how it is compared.")
    shape = TABLES[name]
    known = {*shape.compared, *shape.references, *shape.given, *shape.left_out}
    columns = {row["name"] for row in connection.execute(f"SELECT name FROM pragma_table_info('{name}')")}
    if columns != known:
        raise UnknownPartError(
            f"{__name__}.TABLES has {name} with other columns than the database: {', '.join(sorted(columns ^ known))}; "
            "say there how each is compared."
        )


class _Reader:
    """Reads rows with their references replaced by the keys of the rows that they lead to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._keys: dict[str, dict[int, Key]] = {}

    def rows(self, name: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table in the order of their ids."""
        shape = TABLES[name]
        columns = (*shape.references, *shape.compared, *shape.given)
        order = "id" if "id" in shape.left_out else ", ".join(columns)
        for row in self._connection.execute(f"SELECT * FROM {name} ORDER BY {order}"):
            yield tuple(self._value(shape, row, column) for column in columns)

    def _value(self, shape: TableShape, row: sqlite3.Row, column: str) -> Any:
        value = row[column]
        if column in shape.references:
            return self._key(shape.references[column], value)
        if column in shape.given:
            return value is not None
        if column in _EVENT_IN_TEXT:
            return _EVENT_IN_TEXT[column].sub(self._event_key(), value)
        return value

    def _key(self, name: str, row_id: int | None) -> Key | None:
        """Return the key of the row with an id; a missing row is identified by the id."""
        if row_id is None:
            return None
        if name not in self._keys:
            shape = TABLES[name]
            self._keys[name] = {
                row["id"]: tuple(self._value(shape, row, column) for column in shape.key)
                for row in self._connection.execute(f"SELECT * FROM {name}")
            }
        return self._keys[name].get(row_id, ("no such row", row_id))

    def _event_key(self) -> Callable[[re.Match[str]], str]:
        return lambda match: str(self._key("events", int(match[1])))
