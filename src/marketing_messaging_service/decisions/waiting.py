"""Matches of rules with `wait`: which begin to wait, which are due, and how each wait ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Delete,
    MetaData,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    String,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy import Column as TableColumn

from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.shard import Shard
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows
from src.marketing_messaging_service.models import (
    EndedWait,
    Event,
    Load,
    WaitingMatch,
    WaitOutcome,
)

due_match = Table(
    "batch_due_matches",
    MetaData(),
    TableColumn("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    TableColumn("rule_name", String, primary_key=True),
    TableColumn("decision_time", UtcDateTime),
    TableColumn("is_too_old", Boolean),
    TableColumn("rule_position", WHOLE_NUMBER),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""The matches whose wait is over; those without a position lapse, because no rule takes them over."""

_begun = Table(
    "batch_begun_waits",
    MetaData(),
    TableColumn("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    TableColumn("rule_name", String, primary_key=True),
    TableColumn("decide_at", UtcDateTime),
    TableColumn("is_too_old", Boolean),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""The matches that begin to wait; the rows stored afterwards are counted against them."""


def data_reach(connection: Connection) -> datetime | None:
    """Return the latest effective time of an event of any user: how far the data have come."""
    effective = (
        select(Event.event_timestamp)
        .outerjoin(Load, Load.id == Event.load_id)
        .where(or_(Load.id.is_(None), Event.event_timestamp <= Load.as_of))
        .order_by(Event.event_timestamp.desc())
        .limit(1)
    )
    on_time = connection.execute(effective).scalar()
    ahead = select(func.max(Load.as_of)).select_from(Event).join(Load, Load.id == Event.load_id)
    ahead = ahead.where(Event.event_timestamp > Load.as_of)
    if on_time is not None:
        ahead = ahead.where(Event.event_timestamp > on_time)
    return max(filter(None, (on_time, connection.execute(ahead).scalar())), default=None)


@dataclass(frozen=True, slots=True)
class Until:
    """The times before which a decision time must be for its wait to be over."""

    as_of: datetime
    """The logical time of the run; the decision time must be before it."""
    data: datetime | None
    """How far the data reach; the decision time must not be later. None where that does not matter."""

    @property
    def is_over(self) -> ColumnElement[bool]:
        """Whether the wait of a `waiting_matches` row is over."""
        is_over = WaitingMatch.decide_at < self.as_of
        return is_over if self.data is None else and_(is_over, WaitingMatch.decide_at <= self.data)


def is_any_due(connection: Connection, until: Until) -> bool:
    """Return whether the wait of any match is over."""
    return connection.execute(select(WaitingMatch.event_id).where(until.is_over).limit(1)).first() is not None


def insert_due_matches(
    connection: Connection, rules: Mapping[int, Rule], until: Until, shard: Shard | None = None
) -> None:
    """Fill `batch_due_matches` with the matches whose wait is over; with a shard, only those of its users."""
    event_type = _type_of(WaitingMatch.event_id)
    taken_over = [
        (and_(WaitingMatch.rule_name == rule.name, event_type == rule.trigger.event_type), literal(position))
        for position, rule in rules.items()
        if rule.wait is not None
    ]
    position = case(*taken_over, else_=None) if taken_over else literal(None, WHOLE_NUMBER)
    kept = WaitingMatch.event_id, WaitingMatch.rule_name, WaitingMatch.decide_at, WaitingMatch.is_too_old
    due = select(*kept, position).where(until.is_over)
    if shard is not None:
        due = due.where(exists().where(Event.id == WaitingMatch.event_id, shard.holds(Event.user_id)))
    connection.execute(insert(due_match).from_select(list(due_match.c), due))


def lapse_warnings(connection: Connection, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Return a sentence for each rule whose waiting matches no rule of the file will take over."""
    waiting = (
        select(WaitingMatch.rule_name, _type_of(WaitingMatch.event_id).label("event_type"), func.count().label("count"))
        .group_by(WaitingMatch.rule_name, "event_type")
        .order_by(WaitingMatch.rule_name)
    )
    takers = {(rule.name, rule.trigger.event_type) for rule in rules if rule.wait is not None}
    lapsing: Counter[str] = Counter()
    for rule_name, event_type, count in connection.execute(waiting):
        if (rule_name, event_type) not in takers:
            lapsing[rule_name] += count
    return tuple(
        f"Matches wait for the rule {name} ({count}), but no rule of the file would decide them. They lapse when their "
        "time comes; to keep them, put the rule back as it was."
        for name, count in lapsing.items()
    )


def _type_of(event_id: SQLColumnExpression[int]) -> ScalarSelect[str]:
    # Not joined, because with stale statistics SQLite's planner would read all events first.
    return select(Event.event_type).where(Event.id == event_id).scalar_subquery()


def let_wait(connection: Connection, matches: Select[Any], batch_id: int) -> None:
    """Store waiting matches: event_id, rule_name, decide_at and is_too_old. Raises LostRowsError if one is missing."""
    columns = [WaitingMatch.event_id, WaitingMatch.rule_name, WaitingMatch.decide_at, WaitingMatch.is_too_old]
    _begun.create(connection, checkfirst=False)
    count = connection.execute(insert(_begun).from_select(list(_begun.c), matches)).rowcount
    rows = select(*_begun.c, literal(batch_id))
    standing = connection.execute(insert(WaitingMatch).from_select([*columns, WaitingMatch.batch_id], rows)).rowcount
    refuse_lost_rows(connection, {WaitingMatch.__tablename__: (count, standing)})
    _begun.drop(connection, checkfirst=False)


def end_waits(connection: Connection, batch_id: int, is_decided: ColumnElement[bool]) -> None:
    """Move what was due to `ended_waits`. Raises LostRowsError when a row is lost or left behind.

    `is_decided` says whether a row of `batch_due_matches` became a decision.
    """
    due_count = connection.execute(select(func.count()).select_from(due_match)).scalar_one()
    outcome = case(
        (due_match.c.rule_position.is_(None), literal(WaitOutcome.LAPSED.value)),
        (is_decided, literal(WaitOutcome.DECIDED.value)),
        else_=literal(WaitOutcome.NO_MATCH.value),
    )
    is_due = and_(WaitingMatch.event_id == due_match.c.event_id, WaitingMatch.rule_name == due_match.c.rule_name)
    kept = [WaitingMatch.event_id, WaitingMatch.rule_name, WaitingMatch.decide_at, WaitingMatch.is_too_old]
    ended = select(*kept, WaitingMatch.batch_id, literal(batch_id), outcome).join(due_match, is_due)
    columns = [*(column.name for column in kept), "batch_id", "ended_batch_id", "outcome"]
    kept_count = connection.execute(insert(EndedWait).from_select(columns, ended)).rowcount
    taken_count = connection.execute(_delete_due()).rowcount
    counts = {EndedWait.__tablename__: (due_count, kept_count), WaitingMatch.__tablename__: (due_count, taken_count)}
    refuse_lost_rows(connection, counts)


def _delete_due() -> Delete:
    is_due = exists().where(
        due_match.c.event_id == WaitingMatch.event_id, due_match.c.rule_name == WaitingMatch.rule_name
    )
    return delete(WaitingMatch).where(is_due)
