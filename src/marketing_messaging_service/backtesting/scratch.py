"""A backtest's own database, in which the code that decides for real decides the history again.

It holds only decisions. The events stay in the snapshot, which is attached as `history` and never written to: the
deciding code finds them through a temporary view named `events`, which shows what a past run had loaded, and by which
load.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert, text

from src.marketing_messaging_service.decisions import decide_pending
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.infrastructure.database import (
    Base,
    create_database_engine,
    read_transaction,
    timestamp_text,
    url_of,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.instants import LAST_INSTANT
from src.marketing_messaging_service.models import (
    Event,
    EventProperties,
    EventType,
    Load,
    LoadState,
    RunMode,
    UserTraits,
)
from src.marketing_messaging_service.run_options import RunOptions

_IN_HISTORY = frozenset(model.__tablename__ for model in (Event, EventProperties, UserTraits, EventType))

_OWN_TABLES = [table for table in Base.metadata.sorted_tables if table.name not in _IN_HISTORY]

SCANNED_AN_EVENT = 4
"""If more rows of history than this are read per event of a run, listing the events is cheaper."""

DECIDED = 0
"""The load that the view gives to events that a run is not to decide."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The events that one run decides, from one instant up to another."""

    start: datetime
    end: datetime
    event_count: int = 0
    first_id: int = 0
    last_id: int = 0


class Scratch:
    """What one or more rulesets decide about a history, run after run."""

    def __init__(self, path: Path, history: Path) -> None:
        self._history = history
        self._visible_until: datetime | None = None
        self._decides_from: datetime | None = None
        self._run_count = 0
        self.path = path
        path.touch()
        self.engine = create_database_engine(url_of(path), foreign_keys=False)
        with write_transaction(self.engine) as connection:
            Base.metadata.create_all(connection, tables=_OWN_TABLES)
        event.listen(self.engine, "connect", self._attach)
        [(self._last_event_id,)] = self.rows("SELECT coalesce(max(id), 0) FROM history.events")

    def _attach(self, driver: sqlite3.Connection, _record: Any) -> None:
        driver.execute("PRAGMA synchronous=OFF")
        driver.execute("ATTACH DATABASE ? AS history", (f"{self._history.as_uri()}?mode=ro&immutable=1",))
        driver.execute(self._view())

    def _view(self) -> str:
        """Return the SQL of the events view; the plus keeps SQLite from using its bound to search by time."""
        load_id = str(DECIDED)
        if self._decides_from is not None:
            since = timestamp_text(self._decides_from)
            load_id = f"CASE WHEN event_timestamp >= '{since}' THEN {self._run_count} ELSE {DECIDED} END"
        bound = ""
        if self._visible_until is not None:
            bound = f" WHERE +event_timestamp < '{timestamp_text(self._visible_until)}'"
        return (
            f"CREATE TEMP VIEW events AS SELECT id, message_id, user_id, event_type, event_timestamp, {load_id} "
            f"AS load_id, created_at FROM history.events{bound}"
        )

    def seed(self, since: datetime, *, also_sent: str = "") -> None:
        """Begin with the known rulesets, what was sent before an instant, and what was waiting then.

        `also_sent` is a condition on further sends to include.
        """
        at = {"since": timestamp_text(since)}
        before = "coalesce(decision_time, event_timestamp, decided_at) < :since"
        if also_sent:
            waits = "SELECT event_id, rule_name FROM main.waiting_matches"
            before += f" OR ({also_sent}) AND (event_id, rule_name) NOT IN ({waits})"
        with write_transaction(self.engine) as connection:
            # For blocks, an event counts from its own time, because it is loaded on time.
            connection.execute(insert(Load), [_load(DECIDED, LAST_INSTANT, LoadState.DECIDED)])
            for name in ("rulesets", "ruleset_rules"):
                connection.execute(text(_copy(name)))
            for name in ("waiting_matches", "ended_waits"):
                connection.execute(
                    text(
                        "INSERT INTO main.waiting_matches (event_id, rule_name, decide_at, is_too_old, batch_id) "
                        f"SELECT event_id, rule_name, decide_at, is_too_old, 0 FROM history.{name} AS wait "
                        "WHERE decide_at >= :since AND (SELECT event_timestamp FROM history.events WHERE id = "
                        "wait.event_id) < :since"
                    ),
                    at,
                )
            connection.execute(text(f"{_copy('send_requests')} WHERE {before}"), at)

    def slice(self, start: datetime, end: datetime) -> Slice:
        """Return the events from one instant up to another."""
        query = (
            "SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM history.events "
            "WHERE event_timestamp >= :start AND event_timestamp < :end"
        )
        [counts] = self.rows(query, start=timestamp_text(start), end=timestamp_text(end))
        return Slice(start, end, *counts)

    def is_any_due(self, as_of: datetime) -> bool:
        """Return whether the wait of any match is over for a run."""
        query = "SELECT 1 FROM main.waiting_matches WHERE decide_at < :as_of LIMIT 1"
        return bool(self.rows(query, as_of=timestamp_text(as_of)))

    def decide(self, rules: RulesFile, events: Slice, as_of: datetime) -> None:
        """Decide some events, and what has waited, as a run of that logical time that has just loaded them would."""
        if not (events.event_count or self.is_any_due(as_of)):
            return
        scanned = self._last_event_id - events.first_id + 1
        if events.event_count and scanned <= SCANNED_AN_EVENT * events.event_count:
            self._decide_as_load(rules, events, as_of)
            return
        listed = (
            "SELECT id, event_timestamp FROM history.events "
            f"WHERE event_timestamp >= '{timestamp_text(events.start)}' "
            f"AND event_timestamp < '{timestamp_text(events.end)}'"
        )
        self.decide_listed(rules, listed, RunOptions("backtest", RunMode.LOAD_AND_DECIDE, as_of, Path()), events.end)

    def _decide_as_load(self, rules: RulesFile, events: Slice, as_of: datetime) -> None:
        """Decide them as one load, which the view gives them."""
        self._run_count += 1
        self._visible_until, self._decides_from = events.end, events.start
        with write_transaction(self.engine) as connection:
            connection.execute(insert(Load), [_load(self._run_count, as_of, LoadState.LOADED, events)])
        decide_pending(self.engine, rules, decided_at=as_of)
        self._decides_from = None

    def decide_listed(self, rules: RulesFile, events: str, options: RunOptions, visible_until: datetime) -> None:
        """Decide the events that a query gives, by id and time, as a run with those options decides what waited."""
        self._run_count += 1
        self._visible_until = visible_until
        with write_transaction(self.engine) as connection:
            connection.execute(text(f"INSERT INTO main.held_events (event_id, due_at) {events}"))
        decide_pending(self.engine, rules, decided_at=options.as_of, options=options, run_id=self._run_count)

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """Return the rows of a query over the decisions and the history."""
        with read_transaction(self.engine) as connection:
            return connection.execute(text(query), values).all()


def _copy(name: str) -> str:
    """Return the statement that copies rows of a table; in an older database its columns are in another order."""
    columns = ", ".join(Base.metadata.tables[name].columns.keys())
    return f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM history.{name}"


def _load(number: int, as_of: datetime, state: LoadState, events: Slice | None = None) -> dict[str, Any]:
    """Return the row of a load that brought some events."""
    counts = dict.fromkeys(("duplicate_count", "conflict_count", "rejected_count", "blank_count"), 0)
    count = events.event_count if events else 0
    return {
        **counts,
        "id": number,
        "source_file_id": number,
        "as_of": as_of,
        "state": state,
        "read_count": count,
        "inserted_count": count,
        "first_event_id": events.first_id if events else None,
        "last_event_id": events.last_id if events else None,
    }
