"""Looks up what conditions need as a batch could see it: the events that its run, or an earlier one, had loaded.

Each look reads the index of events by user, so a set of events costs only what its own users have.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    SQLColumnExpression,
    and_,
    case,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.conditions import Happened
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.sql_time import SecondsBefore
from src.marketing_messaging_service.decisions.truth import Looks, MatchRow
from src.marketing_messaging_service.explaining.history import NEVER
from src.marketing_messaging_service.models import Batch, Event, Load
from src.marketing_messaging_service.vocabulary import PAYLOAD, Field

IsSeen: TypeAlias = Callable[[Any], ColumnElement[bool]]
"""Whether the deciding batch knew the load of an event (joined to it, if there is one)."""


def seen_by(batch: type[Batch]) -> IsSeen:
    """Return what a batch, part of the asking row, could see."""

    def is_seen(load: type[Load]) -> ColumnElement[bool]:
        # Every batch could see what was there before loads were recorded.
        of_batch = case((load.id.is_(None), 0), else_=func.coalesce(load.batch_id, NEVER))
        has_runs = and_(load.run_id.is_not(None), batch.run_id.is_not(None))
        return case(
            # Where runs load at the same time, the batch says so.
            (batch.last_load_id.is_not(None), func.coalesce(load.id, 0) <= batch.last_load_id),
            (has_runs, load.run_id <= batch.run_id),
            else_=of_batch <= batch.id,
        )

    return is_seen


def looks_at(is_seen: IsSeen | None, *asking: FromClause) -> Looks:
    """Return how to look things up among the events seen; with None, among all events in the database now.

    `asking` are the tables of the asking row, besides those of the event, that `is_seen` reads.
    """

    def other_events(row: MatchRow, *columns: Any) -> tuple[Select[Any], type[Event], Any]:
        other = aliased(Event, name="other")
        payload = {part.key: part.table.alias(f"other_{part.key}") for part in PAYLOAD.parts}
        found = select(*columns).select_from(other).where(other.user_id == row.user_id)
        if is_seen is not None:
            load = aliased(Load, name="other_load")
            found = found.outerjoin(load, load.id == other.load_id).where(is_seen(load))
        return found, other, payload

    def happened(asked: Happened, row: MatchRow) -> ColumnElement[bool]:
        found, other, payload = other_events(row, literal(1).label("one"))
        if asked.where or asked.same:
            for table in payload.values():
                found = found.outerjoin(table, table.c.event_id == other.id)
        columns = {field.path: payload[part.key].c[field.name] for part in PAYLOAD.parts for field in part.fields}
        found = found.where(
            other.event_type == asked.event_type,
            _lies_within(other.event_timestamp, asked, row),
            other.id != row.event_id,
            *(each.compared(columns[each.field.field.path]) for each in asked.where),
            *(columns[path.field.path] == row.value(path.field) for path in asked.same),
        )
        enough = asked.least if asked.at_most is None else asked.at_most + 1
        few = found.limit(enough).correlate(*row.sources, *asking).subquery("few")
        count = select(func.count()).select_from(few).scalar_subquery()
        return and_(count >= asked.least, true() if asked.at_most is None else count <= asked.at_most)

    def latest(trait: Field, row: MatchRow) -> ColumnElement[Any]:
        part = next(part for part in PAYLOAD.parts if trait in part.fields)
        found, other, payload = other_events(row)
        column = payload[part.key].c[trait.name]
        return (
            found.with_only_columns(column)
            .join(payload[part.key], payload[part.key].c.event_id == other.id)
            .where(other.event_timestamp <= row.decision_time, column.is_not(None))
            .order_by(other.event_timestamp.desc(), other.id.desc())
            .limit(1)
            .correlate(*row.sources, *asking)
            .scalar_subquery()
        )

    return Looks(happened, latest)


def _lies_within(at: SQLColumnExpression[datetime], asked: Happened, row: MatchRow) -> ColumnElement[bool]:
    if asked.within_hours is not None:
        return at.between(SecondsBefore(row.decision_time, seconds_of(asked.within_hours)), row.decision_time)
    since = [at >= row.event_timestamp] if asked.since_trigger else []
    return and_(at <= row.decision_time, *since)
