"""What must be true of a batch and what it decided: the run, the loads, the held events and the decisions."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, SQLColumnExpression, and_, case, exists, func, not_, or_, select, true
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    Batch,
    BatchShard,
    Event,
    HeldEvent,
    Load,
    LoadState,
    Run,
    SendRequest,
    Suppression,
)
from src.marketing_messaging_service.self_check.again import EVER_DECIDED
from src.marketing_messaging_service.vocabulary import Invariant


def _differ(*pairs: tuple[SQLColumnExpression[Any], SQLColumnExpression[Any]]) -> Any:
    return or_(*(left.is_distinct_from(right) for left, right in pairs))


def _unlike_their_run(_connection: Connection) -> Iterator[Select[Any]]:
    same = (
        (Batch.as_of, Run.as_of),
        (Batch.oldest_event_at, Run.oldest_event_at),
        (Batch.latest_event_at, Run.latest_event_at),
        (Batch.ruleset_id, Run.ruleset_id),
        (Batch.event_count, Run.decided_count),
        (Batch.decide_seconds, Run.decide_seconds),
    )
    yield (
        select(told("batches.id ", Batch.id, ": unlike runs.id ", Run.id))
        .join(Run, Run.id == Batch.run_id)
        .where(_differ(*same))
    )
    yield (
        select(told("runs.id ", Run.id, ": ruleset_id ", Run.ruleset_id, " and no batch"))
        .outerjoin(Batch, Batch.run_id == Run.id)
        .where(Run.ruleset_id.is_not(None), Batch.id.is_(None))
    )


def _wrongly_named(_connection: Connection) -> Iterator[Select[Any]]:
    is_complete = func.coalesce(Batch.is_complete, true())
    yield (
        select(told("loads.id ", Load.id, ": batch_id ", Load.batch_id, ", ruleset_id ", Load.ruleset_id))
        .outerjoin(Batch, Batch.id == Load.batch_id)
        .where(
            # A half-decided load is reported elsewhere.
            or_(
                and_(
                    Load.state == LoadState.DECIDED,
                    Load.ruleset_id.is_not(None),
                    Load.decided_at.is_not(None),
                    _differ((Load.ruleset_id, Batch.ruleset_id), (Load.decided_at, Batch.decided_at)),
                ),
                and_(
                    Load.state != LoadState.DECIDED,
                    Load.batch_id.is_not(None),
                    func.coalesce(Batch.is_complete, true()),
                ),
            )
        )
    )
    yield (
        select(told("held_events.event_id ", HeldEvent.event_id, ": batch_id ", HeldEvent.batch_id))
        .outerjoin(Batch, Batch.id == HeldEvent.batch_id)
        .where(
            or_(HeldEvent.batch_id.is_(None) != HeldEvent.run_id.is_(None), _differ((HeldEvent.run_id, Batch.run_id))),
            # Those of a batch decided in shards name it and wait until all shards are.
            or_(is_complete, HeldEvent.run_id.is_not(None)),
        )
    )
    for table in EVER_DECIDED:
        place = told(f"{table.__tablename__}.id ", table.id, ": runs.id ", table.run_id)
        yield (
            select(place + told(", decided_at ", table.decided_at))
            .outerjoin(Batch, Batch.run_id == table.run_id)
            .where(table.run_id.is_not(None), _differ((table.decided_at, Batch.decided_at)))
        )


def _miscounted(_connection: Connection) -> Iterator[Select[Any]]:
    loaded = (
        select(Load.batch_id, func.sum(Load.inserted_count).label("event_count"))
        .group_by(Load.batch_id)
        .subquery("loaded")
    )
    held = select(HeldEvent.batch_id, func.count().label("event_count")).group_by(HeldEvent.batch_id).subquery("held")
    ahead = (
        select(Load.batch_id, func.count().label("event_count"))
        .select_from(HeldEvent)
        .join(Event, Event.id == HeldEvent.event_id)
        .join(Load, Load.id == Event.load_id)
        .where(HeldEvent.due_at.is_not(None))
        .group_by(Load.batch_id)
        .subquery("ahead")
    )
    counted = (loaded, held, ahead)
    loaded_count, held_count, ahead_count = (func.coalesce(each.c.event_count, 0) for each in counted)
    counts = select(
        told(
            *("batches.id ", Batch.id, ": event_count ", Batch.event_count, ", held_count ", Batch.held_count),
            *(", ahead_count ", Batch.ahead_count, "; of loads ", loaded_count, ", held ", held_count),
            *(", ahead ", ahead_count),
        )
    )
    for each in counted:
        counts = counts.outerjoin(each, each.c.batch_id == Batch.id)
    yield counts.where(
        or_(
            Batch.held_count != held_count,
            Batch.event_count != loaded_count - ahead_count + held_count,
            # A backfill may have left more of what was only loaded waiting for its time.
            Batch.ahead_count < ahead_count,
        )
    )


def _wrong_shards(_connection: Connection) -> Iterator[Select[Any]]:
    place = told("batches.id ", Batch.id, ": shard_count ", Batch.shard_count)
    own = BatchShard.batch_id == Batch.id
    count = select(func.count()).where(own).correlate(Batch).scalar_subquery()
    first, last = (
        select(function(BatchShard.shard_number)).where(own).correlate(Batch).scalar_subquery()
        for function in (func.min, func.max)
    )
    yield select(place + told(", shards ", count)).where(
        or_(
            and_(Batch.shard_count == 1, or_(count != 0, not_(Batch.is_complete))),
            and_(Batch.shard_count != 1, or_(count != Batch.shard_count, first != 1, last != Batch.shard_count)),
        )
    )
    shard = told("batch_shards of batches.id ", BatchShard.batch_id, ": shard ", BatchShard.shard_number)
    facts = (BatchShard.decide_seconds, BatchShard.send_request_count, BatchShard.suppression_count)
    yield (
        select(shard)
        .join(Batch, Batch.id == BatchShard.batch_id)
        .where(
            or_(
                *(fact.is_(None) != BatchShard.decided_at.is_(None) for fact in facts),
                and_(Batch.is_complete, BatchShard.decided_at.is_(None)),
                BatchShard.last_load_id < Batch.last_load_id,
            )
        )
    )
    for table, counted in (
        (SendRequest, BatchShard.send_request_count),
        (Suppression, BatchShard.suppression_count),
    ):
        decided = select(func.coalesce(func.sum(counted), 0)).where(own).correlate(Batch).scalar_subquery()
        found = select(func.count()).where(table.run_id == Batch.run_id).correlate(Batch).scalar_subquery()
        yield select(place + told(f": {counted.key} ", decided, ", rows ", found)).where(
            Batch.shard_count > 1, Batch.run_id.is_not(None), decided != found
        )


def _decided_too_early(_connection: Connection) -> Iterator[Select[Any]]:
    of_load, of_held = aliased(Batch, name="of_load"), aliased(Batch, name="of_held")
    latest_event_at = case((HeldEvent.event_id.is_(None), of_load.latest_event_at), else_=of_held.latest_event_at)
    yield (
        select(told("events.id ", Event.id, " at ", Event.event_timestamp, ": decided although too far in the future"))
        .outerjoin(Load, Load.id == Event.load_id)
        .outerjoin(of_load, of_load.id == Load.batch_id)
        .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
        .outerjoin(of_held, of_held.id == HeldEvent.batch_id)
        .where(Event.event_timestamp > latest_event_at)
    )


def _waiting_too_long(_connection: Connection) -> Iterator[Select[Any]]:
    """What an hourly run should have decided: it leaves nothing waiting whose time has come."""
    reached = (
        select(Batch.id, Batch.latest_event_at)
        .join(Run, Run.id == Batch.run_id)
        .where(Run.window_start_at.is_(None), Batch.is_complete)
        .subquery("reached")
    )
    yield (
        select(told("held_events.event_id ", HeldEvent.event_id, ": due at ", HeldEvent.due_at, " and not decided"))
        .join(Event, Event.id == HeldEvent.event_id)
        .join(Load, Load.id == Event.load_id)
        .where(
            HeldEvent.run_id.is_(None),
            exists().where(reached.c.id > Load.batch_id, reached.c.latest_event_at >= HeldEvent.due_at),
        )
    )


BATCH_INVARIANTS = (
    Invariant(
        "batch_of_the_run",
        "Every batch has its run's logical time, limits and ruleset, and every run that decided has a batch",
        _unlike_their_run,
    ),
    Invariant(
        "named_batch",
        "Whatever is decided names its batch, with the same ruleset and time, and whatever waits names none",
        _wrongly_named,
    ),
    Invariant(
        "batch_counts",
        "Every batch has as many events as its loads brought, less future ones, plus the held events that name it",
        _miscounted,
    ),
    Invariant(
        "batch_shards",
        "Every batch decided in shards has a row for each shard, with as many decisions as it counts, and is "
        "complete when none is missing",
        _wrong_shards,
    ),
    Invariant(
        "future_waits",
        "No event was decided that was further in the future than its batch allowed",
        _decided_too_early,
    ),
    Invariant(
        "future_comes",
        "No event still waits for a time that an hourly run has reached",
        _waiting_too_long,
    ),
)
