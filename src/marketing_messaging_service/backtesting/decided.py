"""Takes what was really decided, batch by batch, and decides the same batches again with every event on time.

An event belongs to the batch that decided it or, if it came too late, to the first batch of a run without a window with
a later logical time: the one that would have decided it on time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text

from src.marketing_messaging_service.backtesting.schedule import Span
from src.marketing_messaging_service.backtesting.scratch import Scratch
from src.marketing_messaging_service.backtesting.snapshot import Look
from src.marketing_messaging_service.decisions.recorded_rules import recorded_file
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import read_transaction, timestamp_text, write_transaction
from src.marketing_messaging_service.infrastructure.instants import FIRST_INSTANT
from src.marketing_messaging_service.models import Batch, BatchRule, Ruleset, Run, RunMode
from src.marketing_messaging_service.run_options import RunOptions, Window

ONLY_REPLAYED = "EXISTS (SELECT 1 FROM after_db.replayed_events AS own WHERE own.event_id = decided.event_id)"
"""The condition on a decision that its event is one of those decided again."""

_EVENTS = """\
CREATE TABLE main.replayed_events (event_id INTEGER PRIMARY KEY, batch_id INTEGER, own_batch_id INTEGER)"""

_FILL = """\
INSERT INTO main.replayed_events
SELECT event_id, min(own_batch_id, coalesce(on_time_batch_id, own_batch_id)), own_batch_id FROM (
    SELECT
        event.id AS event_id,
        CASE WHEN held.event_id IS NULL THEN load.batch_id ELSE held.batch_id END AS own_batch_id,
        (
            SELECT batch_id FROM main.hourly_batches AS hourly
            WHERE hourly.as_of > event.event_timestamp ORDER BY hourly.as_of LIMIT 1
        ) AS on_time_batch_id
    FROM history.events AS event
    JOIN history.loads AS load ON load.id = event.load_id
    LEFT JOIN history.held_events AS held ON held.event_id = event.id
    WHERE event.event_timestamp >= :since AND event.event_timestamp < :until
)
WHERE own_batch_id IN (SELECT batch_id FROM main.known_batches)"""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A batch that decided."""

    id: int
    as_of: datetime
    ruleset_id: int
    max_event_age: timedelta | None
    window: Window | None
    again: tuple[str, ...]

    def options(self, *, is_alone: bool) -> RunOptions:
        """Return what the run was asked to do; batches decided together have no event that is too old for them."""
        has_limit = is_alone and self.max_event_age is not None
        age = (self.max_event_age or timedelta()) // timedelta(hours=1) if has_limit else 0
        return RunOptions(
            "backtest",
            RunMode.LOAD_AND_DECIDE,
            self.as_of,
            Path(),
            self.window if self.again else None,
            age,
            decide_again=self.again,
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """Consecutive batches that decide together what each would decide alone."""

    batches: tuple[_Recorded, ...]
    has_events: bool
    latest_event_at: datetime


def replay_decided(scratch: Scratch, span: Span, look: Look) -> int:
    """Decide again what was decided, with every event on time; return how many batches there were."""
    with read_transaction(scratch.engine) as connection:
        batches = _batches(connection)
        files = {batch.ruleset_id: _file(connection, batch.ruleset_id) for batch in batches}
    _assign_events(scratch, batches, span)
    scratch.seed(span.since, also_sent="event_id IS NULL OR event_id NOT IN (SELECT event_id FROM replayed_events)")
    for group in _groups(scratch, batches, files):
        look()
        last = group.batches[-1]
        if not (group.has_events or last.again or scratch.is_any_due(last.as_of)):
            continue
        first_id, last_id = group.batches[0].id, last.id
        due_at = "NULL" if last.again else "event.event_timestamp"
        events = (
            f"SELECT event.id, {due_at} FROM main.replayed_events AS own JOIN history.events AS event "
            f"ON event.id = own.event_id WHERE own.batch_id BETWEEN {first_id:d} AND {last_id:d}"
        )
        visible_until = max(last.as_of, group.latest_event_at + timedelta(microseconds=1))
        scratch.decide_listed(
            files[last.ruleset_id], events, last.options(is_alone=len(group.batches) == 1), visible_until
        )
    return len(batches)


def _batches(connection: Connection) -> list[_Recorded]:
    """Return the batches with a known logical time, in order."""
    history = {"schema_translate_map": {None: "history"}}
    as_of = func.coalesce(Batch.as_of, Batch.decided_at).label("as_of")
    rows = connection.execute(
        select(Batch.id, as_of, Batch.ruleset_id, Batch.oldest_event_at, Run.window_start_at, Run.window_end_at)
        .outerjoin(Run, Run.id == Batch.run_id)
        .where(as_of.is_not(None))
        .order_by(Batch.id),
        execution_options=history,
    ).all()
    named: dict[int, list[str]] = {}
    query = select(BatchRule.batch_id, BatchRule.rule_name).order_by(BatchRule.batch_id, BatchRule.rule_name)
    for batch_id, name in connection.execute(query, execution_options=history):
        named.setdefault(batch_id, []).append(name)
    return [
        _Recorded(
            row.id,
            row.as_of,
            row.ruleset_id,
            None if row.oldest_event_at is None else row.as_of - row.oldest_event_at,
            Window(row.window_start_at, row.window_end_at) if row.window_start_at else None,
            tuple(named.get(row.id, ())),
        )
        for row in rows
    ]


def _file(connection: Connection, ruleset_id: int) -> RulesFile:
    """Return a recorded version of the rules. Raises DatabaseError if it cannot be used."""
    connection = connection.execution_options(schema_translate_map={None: "history"})
    whole = recorded_file(connection, ruleset_id)
    row = connection.execute(
        select(Ruleset.content_hash, Ruleset.yaml_text).where(Ruleset.id == ruleset_id)
    ).one_or_none()
    if whole is None or row is None:
        raise DatabaseError(
            f"The rules that decided some batches (rulesets.id {ruleset_id}) cannot be used; the self-check says why. "
            "Choose a window that does not reach back to them, with --since."
        )
    return RulesFile(row.content_hash, row.yaml_text, whole)


def _assign_events(scratch: Scratch, batches: Sequence[_Recorded], span: Span) -> None:
    """Fill `replayed_events`: each decided event, with the batch that decides it here and the one that did."""
    hourly: list[dict[str, Any]] = []
    latest = FIRST_INSTANT
    for batch in batches:
        if batch.window is None and batch.as_of > latest:
            latest = batch.as_of
            hourly.append({"as_of": timestamp_text(batch.as_of), "batch_id": batch.id})
    with write_transaction(scratch.engine) as connection:
        connection.execute(text(_EVENTS))
        connection.execute(text("CREATE TABLE main.known_batches (batch_id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE main.hourly_batches (as_of TEXT PRIMARY KEY, batch_id INTEGER)"))
        if batches:
            known = [{"batch_id": batch.id} for batch in batches]
            connection.execute(text("INSERT INTO main.known_batches VALUES (:batch_id)"), known)
        if hourly:
            connection.execute(text("INSERT INTO main.hourly_batches VALUES (:as_of, :batch_id)"), hourly)
        values = {"since": timestamp_text(span.since), "until": timestamp_text(span.until)}
        connection.execute(text(_FILL), values)
        connection.execute(text("CREATE INDEX main.ix_replayed_events_batch ON replayed_events (batch_id)"))


def _groups(scratch: Scratch, batches: Sequence[_Recorded], files: dict[int, RulesFile]) -> Iterator[_Group]:
    """Yield the batches, grouping those that decide the same together as one after the other.

    A group has one ruleset, which does not look at when it decides, and each of its events came between the previous
    batch and its own, and was not too old for it.
    """
    ranges = {
        row.batch_id: (datetime.fromisoformat(f"{row.first}+00:00"), datetime.fromisoformat(f"{row.last}+00:00"))
        for row in scratch.rows(
            "SELECT batch_id, min(event_timestamp) AS first, max(event_timestamp) AS last FROM main.replayed_events "
            "JOIN history.events AS event ON event.id = event_id GROUP BY batch_id"
        )
    }
    waiting: list[_Recorded] = []
    latest = FIRST_INSTANT
    for batch in batches:
        first, last = ranges.get(batch.id, (None, None))
        whole = files[batch.ruleset_id].whole
        is_alone = bool(
            whole.blocks
            or batch.again
            or any(rule.expires_after_hours is not None for rule in whole.rules)
            or (first and first < latest)
            or (last and last >= batch.as_of)
            or (first and batch.max_event_age is not None and first < batch.as_of - batch.max_event_age)
            or batch.as_of < latest
        )
        if waiting and (is_alone or waiting[-1].ruleset_id != batch.ruleset_id):
            yield _group(waiting, ranges)
            waiting = []
        latest = max(latest, batch.as_of)
        if is_alone:
            yield _group([batch], ranges)
        else:
            waiting.append(batch)
    if waiting:
        yield _group(waiting, ranges)


def _group(batches: Sequence[_Recorded], ranges: dict[int, tuple[datetime, datetime]]) -> _Group:
    own = [ranges[batch.id] for batch in batches if batch.id in ranges]
    return _Group(tuple(batches), bool(own), max((last for _, last in own), default=FIRST_INSTANT))
