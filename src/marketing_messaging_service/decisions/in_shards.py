"""Decides a batch in shards, each in its own transaction, and finishes one that a killed run left.

What happens to a user's events depends on that user alone, so shards of users need not know about each other. The batch
is recorded first, with a row per shard; its loads and held events name it and wait. Each shard records that it is
decided in the transaction that decides it; all shards see the same moment. When all are done, loads and held events are
marked. If anything is cut off, the next run finishes it as it was begun: with the same shards, rules, logical time and
limits.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, func, insert, select, update

from src.marketing_messaging_service.decisions import outcomes
from src.marketing_messaging_service.decisions.decide import (
    BatchLeftError,
    Decided,
    DecidedBatch,
    Pending,
    Prepared,
    batch_held,
    complete,
    decide_batch,
    decide_pending,
    due_until_of,
    mark_held_loads,
    mark_loads,
    note_decision,
    prepare,
    result_of,
    tell_planner_of,
)
from src.marketing_messaging_service.decisions.recorded_rules import recorded_file
from src.marketing_messaging_service.decisions.results import DecisionResult
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.shard import Shard
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import read_transaction, utc_now, write_transaction
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.several_writers import (
    alone_transaction,
    deciding_alone,
    is_beside_others,
    transaction_of_moment,
)
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows, update_all
from src.marketing_messaging_service.models import (
    Batch,
    BatchShard,
    Event,
    HeldEvent,
    Load,
    LoadState,
    Run,
)
from src.marketing_messaging_service.run_options import RunOptions

Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction in which a shard is decided."""


def decide(
    engine: Engine,
    rules_file: RulesFile,
    *,
    decided_at: datetime,
    options: RunOptions | None = None,
    run_id: int | None = None,
    shard_count: int = 1,
) -> DecisionResult:
    """Decide the loaded events that no run has decided, as `decide_pending` does, after what a killed run left.

    Where other runs may write beside this one, it uses that many shards at once; with `decide_again`, only one.
    """
    in_shards = shard_count > 1 and is_beside_others(engine) and bool(rules_file.enabled_rules)
    if options is not None and options.decide_again:
        in_shards = False
    while True:
        end_batches(engine)
        try:
            if in_shards:
                return _decide_in_shards(engine, rules_file, decided_at, shard_count, options=options, run_id=run_id)
            return decide_pending(engine, rules_file, decided_at=decided_at, options=options, run_id=run_id)
        except BatchLeftError:
            # A run that was deciding when this one looked has been killed since.
            continue


def end_batches(engine: Engine) -> None:
    """Decide the missing shards of batches that killed runs left."""
    if dialect_named(engine.dialect.name).several_writers is None or not _left(engine):
        return
    if not is_beside_others(engine):
        for batch_id in _left(engine):
            with write_transaction(engine) as connection:
                _see_loads(connection, batch_id)
            for number in _missing(engine, batch_id):
                _decide_shard(lambda: write_transaction(engine), batch_id, number)
            _end(engine, batch_id)
        return
    with deciding_alone(engine) as decider:
        for batch_id in _left(engine):
            with alone_transaction(engine, decider) as (connection, moment):
                _see_loads(connection, batch_id)
            _decide_shards(engine, moment(), batch_id)
            _end(engine, batch_id)


def _left(engine: Engine) -> Sequence[int]:
    with read_transaction(engine) as connection:
        return connection.execute(select(Batch.id).where(~Batch.is_complete).order_by(Batch.id)).scalars().all()


def _missing(engine: Engine, batch_id: int) -> Sequence[int]:
    numbers = select(BatchShard.shard_number).where(BatchShard.batch_id == batch_id, BatchShard.decided_at.is_(None))
    with read_transaction(engine) as connection:
        return connection.execute(numbers.order_by(BatchShard.shard_number)).scalars().all()


def _see_loads(connection: Connection, batch_id: int) -> None:
    """Record the last load that the missing shards see; it is later than for the other shards."""
    newest = select(func.coalesce(func.max(Load.id), 0)).scalar_subquery()
    missing = update(BatchShard).where(BatchShard.batch_id == batch_id, BatchShard.decided_at.is_(None))
    connection.execute(missing.values(last_load_id=newest))


def _decide_in_shards(
    engine: Engine,
    rules_file: RulesFile,
    decided_at: datetime,
    shard_count: int,
    *,
    options: RunOptions | None,
    run_id: int | None,
) -> DecisionResult:
    began = time.monotonic()
    with deciding_alone(engine) as decider:
        with alone_transaction(engine, decider) as (connection, moment):
            prepared = prepare(connection, rules_file, decided_at, options=options, run_id=run_id)
            if not prepared.has_work or prepared.batch_id is None:
                return complete(connection, prepared, began, options=options, run_id=run_id, named={})
            _freeze(connection, prepared, run_id, prepared.batch_id, shard_count)
        decided = _decide_shards(engine, moment(), prepared.batch_id)
        seconds = _end(engine, prepared.batch_id)
    return result_of(prepared, decided, seconds, {})


def _freeze(connection: Connection, prepared: Prepared, run_id: int | None, batch_id: int, shard_count: int) -> None:
    """Record which loads and held events the shards of a batch decide; these name the batch and wait."""
    pending = prepared.pending
    frozen = update(Load).where(pending.loads).values(batch_id=batch_id)
    update_all(connection, frozen, pending.load_count)
    if pending.held_count:
        of_batch = update(HeldEvent).where(HeldEvent.event_id.in_(select(batch_held.c.event_id)))
        update_all(connection, of_batch.values(batch_id=batch_id), pending.held_count)
    batch_held.drop(connection, checkfirst=False)
    newest = connection.execute(select(Batch.last_load_id).where(Batch.id == batch_id)).scalar_one() or 0
    shards = [
        {"batch_id": batch_id, "shard_number": number, "last_load_id": newest} for number in range(1, shard_count + 1)
    ]
    standing = connection.execute(insert(BatchShard), shards).rowcount
    refuse_lost_rows(connection, {BatchShard.__tablename__: (shard_count, standing)})
    begun = {"shard_count": shard_count, "is_complete": False, "decide_seconds": 0.0}
    update_all(connection, update(Batch).where(Batch.id == batch_id).values(begun))
    note_decision(connection, run_id, prepared.ruleset_id, pending.event_count, 0.0)
    tell_planner_of(connection, pending)


def _decide_shards(engine: Engine, moment: str, batch_id: int) -> Decided:
    """Decide all missing shards at once; if one fails, the others are still decided."""
    numbers = _missing(engine, batch_id)
    counts: Counter[tuple[int, bool]] = Counter()
    if not numbers:
        return Decided()
    with ThreadPoolExecutor(len(numbers), thread_name_prefix="shard") as pool:
        shards = [
            pool.submit(_decide_shard, lambda: transaction_of_moment(engine, moment), batch_id, number)
            for number in numbers
        ]
    for shard in shards:
        for position, (send_count, suppression_count) in shard.result().items():
            counts[position, True] += send_count
            counts[position, False] += suppression_count
    return Decided({position: (counts[position, True], counts[position, False]) for position, _ in counts})


def _decide_shard(begin: Begin, batch_id: int, number: int) -> Mapping[int, tuple[int, int]]:
    """Decide one shard unless it is already decided; return its sends and suppressions by position of the rule."""
    began = time.monotonic()
    with begin() as connection:
        own = and_(BatchShard.batch_id == batch_id, BatchShard.shard_number == number)
        is_done = select(BatchShard.decided_at).where(own).with_for_update()
        if connection.execute(is_done).scalar_one() is not None:
            return {}
        batch, pending = _recorded(connection, batch_id, number)
        decided = decide_batch(connection, batch, pending)
        batch_held.drop(connection, checkfirst=False)
        done = {
            "decided_at": utc_now(),
            "decide_seconds": round(time.monotonic() - began, 3),
            "send_request_count": sum(sends for sends, _ in decided.first.values()),
            "suppression_count": sum(suppressions for _, suppressions in decided.first.values()),
        }
        update_all(connection, update(BatchShard).where(own).values(done))
    return decided.first


_BATCH = (
    Batch.id,
    Batch.run_id,
    Batch.as_of,
    Batch.oldest_event_at,
    Batch.latest_event_at,
    Batch.ruleset_id,
    Batch.event_count,
    Batch.held_count,
    Batch.ahead_count,
    Batch.shard_count,
    Batch.decided_at,
)


def _recorded(connection: Connection, batch_id: int, number: int) -> tuple[DecidedBatch, Pending]:
    """Return what one shard of a batch decides by, and what waits in it; held events go into a temporary table."""
    row = connection.execute(select(*_BATCH).where(Batch.id == batch_id)).one()
    shard = Shard(number, row.shard_count)
    return _by_what(connection, row, shard), _what_waits(connection, row, shard)


def _by_what(connection: Connection, row: Any, shard: Shard) -> DecidedBatch:
    whole = recorded_file(connection, row.ruleset_id)
    if whole is None or row.decided_at is None:
        raise DatabaseError(
            f"The rules with which a batch was begun (rulesets.id {row.ruleset_id}) cannot be used, so it cannot be "
            "finished; the self-check says why. Put back a backup."
        )
    as_of = row.as_of or row.decided_at
    enabled = (rule for rule in whole.rules if rule.enabled)
    return DecidedBatch(
        whole,
        dict(enumerate(enabled)),
        outcomes.Batch(row.ruleset_id, row.decided_at, row.run_id),
        row.id,
        as_of,
        due_until_of(connection, whole, as_of),
        row.oldest_event_at,
        shard=shard,
    )


def _what_waits(connection: Connection, row: Any, shard: Shard) -> Pending:
    batch_held.create(connection, checkfirst=False)
    waiting_ones = (
        select(HeldEvent.event_id)
        .join(Event, Event.id == HeldEvent.event_id)
        .where(HeldEvent.batch_id == row.id, HeldEvent.run_id.is_(None), shard.holds(Event.user_id))
    )
    connection.execute(insert(batch_held).from_select(["event_id"], waiting_ones))
    loads = _frozen_loads(row.id)
    limited = select(Run.id).where(Run.oldest_event_at.is_not(None))
    load_count, first_event_id, limited_count = connection.execute(
        select(
            func.count(),
            func.min(Load.first_event_id),
            func.coalesce(func.sum(case((Load.run_id.in_(limited), 1), else_=0)), 0),
        ).where(loads)
    ).one()
    return Pending(
        loads=loads,
        load_count=load_count,
        loaded_count=row.event_count - row.held_count,
        first_event_id=first_event_id,
        held_count=row.held_count,
        ahead_count=row.ahead_count,
        latest_event_at=row.latest_event_at if row.ahead_count else None,
        may_expire=bool(limited_count or (row.held_count and row.oldest_event_at is not None)),
        shard=shard,
    )


def _frozen_loads(batch_id: int) -> ColumnElement[bool]:
    return and_(Load.state == LoadState.LOADED, Load.batch_id == batch_id)


def _end(engine: Engine, batch_id: int) -> float:
    """Mark the loads and held events of a batch whose shards are all decided; return the time the slowest took."""
    with write_transaction(engine) as connection:
        row = connection.execute(
            select(Batch.run_id, Batch.ruleset_id, Batch.decided_at, Batch.event_count, Batch.held_count)
            .where(Batch.id == batch_id, ~Batch.is_complete)
            .with_for_update()
        ).one()
        loads = _frozen_loads(batch_id)
        load_count = connection.execute(select(func.count()).select_from(Load).where(loads)).scalar_one()
        pending = Pending(loads, load_count, 0, None, row.held_count, 0, None, may_expire=False)
        mark_loads(connection, pending, row.ruleset_id, batch_id, row.decided_at)
        if row.held_count:
            held = update(HeldEvent).where(HeldEvent.batch_id == batch_id, HeldEvent.run_id.is_(None))
            update_all(connection, held.values(run_id=row.run_id), row.held_count)
            mark_held_loads(connection, row.decided_at)
        longest = select(func.max(BatchShard.decide_seconds)).where(BatchShard.batch_id == batch_id)
        seconds = connection.execute(longest).scalar_one() or 0.0
        ended = update(Batch).where(Batch.id == batch_id).values(is_complete=True, decide_seconds=seconds)
        update_all(connection, ended)
        note_decision(connection, row.run_id, row.ruleset_id, row.event_count, seconds)
    return seconds
