"""Decides everything that is waiting, in one transaction."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    MetaData,
    Select,
    Table,
    and_,
    case,
    exists,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from src.marketing_messaging_service.decisions import again, outcomes, user_by_user, waiting
from src.marketing_messaging_service.decisions.blocks_and_holdout import (
    blocked_user,
    held_out_user,
    insert_blocked_users,
    insert_held_out_users,
)
from src.marketing_messaging_service.decisions.looks import LookTables
from src.marketing_messaging_service.decisions.matching import (
    Asked,
    beginning_waits,
    due_matches,
    every_match,
    matches,
    together,
)
from src.marketing_messaging_service.decisions.not_by_index import NotByIndex
from src.marketing_messaging_service.decisions.recorded_rules import rows_of_rules
from src.marketing_messaging_service.decisions.results import DecisionResult, RuleOutcome
from src.marketing_messaging_service.decisions.rule_warnings import decided_last, rules_warnings
from src.marketing_messaging_service.decisions.rules import Exemption, Rule, Rules
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.shard import Shard
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import cache_for_sorting, tell_planner
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.several_writers import (
    by_index,
    decide_transaction,
    is_beside_others,
    next_ids,
)
from src.marketing_messaging_service.infrastructure.written_rows import insert_one, refuse_lost_rows, update_all
from src.marketing_messaging_service.models import (
    Batch,
    BatchRule,
    Event,
    EventProperties,
    FormerSuppression,
    HeldEvent,
    Load,
    LoadState,
    Ruleset,
    RulesetRule,
    Run,
    SendRequest,
    Suppression,
    UserTraits,
)
from src.marketing_messaging_service.run_options import RunOptions, Window

batch_held = Table(
    "batch_held_events",
    MetaData(),
    Column("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
"""The held events that one batch decides."""

FEW_RULES = 8
"""With this few rules, all are asked without first looking up which types of event there are."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits to be decided by a run."""

    loads: ColumnElement[bool]
    """The condition on loads whose events are all decided, except those in the future."""
    load_count: int
    loaded_count: int
    """Events of these loads that are decided."""
    first_event_id: int | None
    held_count: int
    """Held events, listed in `batch_held_events`."""
    ahead_count: int
    """Events that the run would decide if they were not after `latest_event_at`."""
    latest_event_at: datetime | None
    may_expire: bool
    """Whether any of the events may be too old."""
    shard: Shard | None = None
    """The part of the users that they belong to; None for all."""

    @property
    def event_count(self) -> int:
        """All events that the run decides."""
        return self.loaded_count + self.held_count


@dataclass(frozen=True, slots=True)
class DecidedBatch:
    """The rules and limits that a batch decides by."""

    whole: Rules
    rules: Mapping[int, Rule]
    """The enabled rules, by their position among the enabled ones."""
    written: outcomes.Batch
    id: int
    as_of: datetime
    due_until: waiting.Until
    oldest_event_at: datetime | None
    """The run's age limit."""
    options: RunOptions | None = None
    named: Mapping[int, Rule] = field(default_factory=dict)
    """Those that decide again events that were decided before."""
    shard: Shard | None = None
    """The part of the users whose events are decided; None for all."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Sends (alerts included) and suppressions, by position of the rule."""

    first: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """On events that were decided for the first time."""
    again: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """On events that had been decided before."""

    @property
    def again_count(self) -> int:
        """Decisions on events that had been decided before."""
        return sum(map(sum, self.again.values()))


def decide_pending(
    engine: Engine,
    rules_file: RulesFile,
    *,
    decided_at: datetime,
    options: RunOptions | None = None,
    run_id: int | None = None,
) -> DecisionResult:
    """Decide the loaded events that no run has decided, and mark them, in one transaction.

    Which run decides what:

    - A run without a window: every waiting load, and the held events whose time has come.
    - A run with a window: its own loads, those of a backfill that was cut off, and the held events of the window whose
      time has come.

    Where other runs load at the same time, the transaction sees only the loads that were there when it began. Loads
    committed meanwhile wait for the next run.

    Events after the options' `latest_event_at` wait for their time. They are later than everything decided until then,
    so no prior_event has to ask which events are waiting.

    The rules in the options' `decide_again` also decide events of its window that were decided before (see `again`),
    together with the others in order of time.

    A rules file without an enabled rule decides nothing: the events wait, and the result counts them.

    The database does the work. Its cost follows the number of new events, not the history, except for the earlier daily
    sends of a template that also goes out once ever (`outcomes.daily_send`). No decision depends on `decided_at`, which
    is only recorded with it. Raises ParameterError for a name in `decide_again` that no enabled rule has, and
    ValueError for a window without a run_id (held events are marked with it) or for `decide_again` without a window.
    """
    if options is not None and options.window is not None and run_id is None:
        raise ValueError("held events are marked by the run that decides them; give its run_id")
    named = again.named_rules(rules_file, options.decide_again) if options else {}
    if named and (options is None or options.window is None):
        raise ValueError("rules decide again in a window; give one")
    with decide_transaction(engine) as connection:
        if not rules_file.enabled_rules:
            return _leaving_all(connection, rules_file, options, run_id)
        return _decide_all(connection, rules_file, decided_at, options=options, run_id=run_id, named=named)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch that is ready to be decided, or the finding that there is nothing to decide."""

    rules_file: RulesFile
    decided_at: datetime
    as_of: datetime
    pending: Pending
    due_until: waiting.Until
    has_work: bool
    """Whether there is any event, or any match that has waited, to decide."""
    ruleset_id: int | None = None
    batch_id: int | None = None
    """None where there was nothing, not even an event of the future."""
    warnings: tuple[str, ...] = ()


def prepare(
    connection: Connection,
    rules_file: RulesFile,
    decided_at: datetime,
    *,
    options: RunOptions | None,
    run_id: int | None,
    has_named: bool = False,
) -> Prepared:
    """Find what is waiting to be decided, put its held events into a temporary table, and record the batch.

    Raises BatchLeftError when an earlier batch is only partly decided: that one comes first.
    """
    if has_batch_left(connection):
        raise BatchLeftError
    as_of = options.as_of if options else decided_at
    pending = _pending(connection, options, run_id)
    due_until = due_until_of(connection, rules_file.whole, as_of)
    has_work = bool(pending.event_count) or has_named or waiting.is_any_due(connection, due_until)
    prepared = Prepared(rules_file, decided_at, as_of, pending, due_until, has_work)
    if not (pending.load_count or pending.held_count or pending.ahead_count or has_work):
        return prepared
    warnings = _warnings(connection, rules_file)
    ruleset_id = _ruleset_id(connection, rules_file, decided_at)
    batch_id = _record_batch(connection, pending, ruleset_id, decided_at, options=options, run_id=run_id)
    return replace(prepared, ruleset_id=ruleset_id, batch_id=batch_id, warnings=warnings)


def has_batch_left(connection: Connection) -> bool:
    """Return whether a killed run left a batch of which only some shards are decided."""
    if dialect_named(connection.dialect.name).several_writers is None:
        return False
    return connection.execute(select(Batch.id).where(not_(Batch.is_complete)).limit(1)).first() is not None


class BatchLeftError(Exception):
    """A batch is only partly decided, and comes before everything new."""


def _decide_all(
    connection: Connection,
    rules_file: RulesFile,
    decided_at: datetime,
    *,
    options: RunOptions | None,
    run_id: int | None,
    named: Mapping[int, Rule],
) -> DecisionResult:
    began = time.monotonic()
    prepared = prepare(connection, rules_file, decided_at, options=options, run_id=run_id, has_named=bool(named))
    return complete(connection, prepared, began, options=options, run_id=run_id, named=named)


def complete(
    connection: Connection,
    prepared: Prepared,
    began: float,
    *,
    options: RunOptions | None,
    run_id: int | None,
    named: Mapping[int, Rule],
) -> DecisionResult:
    """Decide a whole batch in the transaction that found it, and mark it; return what became of it."""
    rules_file, pending, decided_at = prepared.rules_file, prepared.pending, prepared.decided_at
    rules = dict(enumerate(rules_file.enabled_rules))
    decided = Decided()
    batch_id, ruleset_id = prepared.batch_id, prepared.ruleset_id
    if batch_id is not None and ruleset_id is not None:
        if prepared.has_work:
            written = outcomes.Batch(ruleset_id, decided_at, run_id)
            oldest = options.oldest_event_at if options else None
            batch = DecidedBatch(
                *(rules_file.whole, rules, written, batch_id, prepared.as_of, prepared.due_until, oldest),
                options=options,
                named=named,
            )
            decided = decide_batch(connection, batch, pending)
        mark_loads(connection, pending, ruleset_id, batch_id, decided_at)
        if pending.held_count:
            _mark_held_events(connection, pending, run_id, batch_id, decided_at)
    batch_held.drop(connection, checkfirst=False)
    seconds = round(time.monotonic() - began, 3)
    of_batch = {"again_count": decided.again_count, "decide_seconds": seconds}
    connection.execute(update(Batch).where(Batch.id == batch_id).values(of_batch))
    note_decision(connection, run_id, ruleset_id, pending.event_count, seconds)
    return result_of(prepared, decided, seconds, named)


def result_of(prepared: Prepared, decided: Decided, seconds: float, named: Mapping[int, Rule]) -> DecisionResult:
    """Return what became of a batch."""
    rules = dict(enumerate(prepared.rules_file.enabled_rules))
    return DecisionResult(
        ruleset_hash=prepared.rules_file.content_hash,
        event_count=prepared.pending.event_count,
        seconds=seconds,
        outcomes=tuple(_outcome(rule, *decided.first.get(place, (0, 0))) for place, rule in rules.items()),
        again=tuple(_outcome(rule, *decided.again.get(place, (0, 0))) for place, rule in named.items()),
        ahead_count=prepared.pending.ahead_count,
        warnings=prepared.warnings,
    )


def _warnings(connection: Connection, rules_file: RulesFile) -> tuple[str, ...]:
    """Return what is odd about the rules (once per version), and which rules can no longer decide what awaits them."""
    if decided_last(connection, rules_file.content_hash):
        return ()
    of_rules = rules_warnings(connection, rules_file.whole)
    return (*of_rules, *waiting.lapse_warnings(connection, rules_file.enabled_rules))


def _leaving_all(
    connection: Connection, rules_file: RulesFile, options: RunOptions | None, run_id: int | None
) -> DecisionResult:
    """Return that nothing was decided: a file without an enabled rule would use up every event for nothing."""
    window = options.window if options else None
    loaded = select(func.coalesce(func.sum(Load.inserted_count), 0)).where(_waiting_loads(window))
    waiting_count = connection.execute(loaded).scalar_one()
    if options is not None and run_id is not None:
        held = _held_events_to_decide(window, options.latest_event_at).subquery()
        waiting_count += connection.execute(select(func.count()).select_from(held)).scalar_one()
    return DecisionResult(rules_file.content_hash, 0, 0.0, (), waiting_count=waiting_count)


def _waiting_loads(window: Window | None) -> ColumnElement[bool]:
    """The condition on loads that a run decides; a run with a window leaves out those of the hourly runs."""
    waits: ColumnElement[bool] = Load.state == LoadState.LOADED
    if window is None:
        return waits
    return and_(waits, Load.run_id.in_(select(Run.id).where(Run.window_start_at.is_not(None))))


def _pending(connection: Connection, options: RunOptions | None, run_id: int | None) -> Pending:
    window = options.window if options else None
    latest_event_at = options.latest_event_at if options else None
    batch_held.create(connection, checkfirst=False)
    asked_too_early = held_count = 0
    if options is not None and run_id is not None:
        asked_too_early = _let_wait_for_their_time(connection, window, latest_event_at)
        asked_for = _held_events_to_decide(window, latest_event_at)
        held_count = connection.execute(insert(batch_held).from_select(["event_id"], asked_for)).rowcount
    loads = _waiting_loads(window)
    limited = select(Run.id).where(Run.oldest_event_at.is_not(None))
    load_count, loaded_count, first_event_id, limited_count = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(Load.inserted_count), 0),
            func.min(Load.first_event_id),
            func.coalesce(func.sum(case((Load.run_id.in_(limited), 1), else_=0)), 0),
        ).where(loads)
    ).one()
    loaded_too_early = 0
    if latest_event_at is not None and first_event_id is not None:
        loaded_too_early = _hold_back(connection, loads, first_event_id, latest_event_at)
    return Pending(
        loads=loads,
        load_count=load_count,
        loaded_count=loaded_count - loaded_too_early,
        first_event_id=first_event_id,
        held_count=held_count,
        ahead_count=loaded_too_early + asked_too_early,
        latest_event_at=latest_event_at if loaded_too_early else None,
        may_expire=bool(limited_count or (held_count and options and options.oldest_event_at is not None)),
    )


def _held_events_to_decide(window: Window | None, latest_event_at: datetime | None) -> Select[int]:
    """The held events whose time has come; of those held for a backfill, only the ones in its window."""
    is_due: ColumnElement[bool] = HeldEvent.due_at.is_not(None)
    if latest_event_at is not None:
        is_due = and_(is_due, HeldEvent.due_at <= latest_event_at)
    if window is None:
        return select(HeldEvent.event_id).where(HeldEvent.run_id.is_(None), is_due)
    return _held_events_in(window).where(or_(HeldEvent.due_at.is_(None), is_due))


def _held_events_in(window: Window) -> Select[int]:
    """The events of a window that are still waiting although their load is done."""
    return (
        select(HeldEvent.event_id)
        .join(Event, Event.id == HeldEvent.event_id)
        .where(HeldEvent.run_id.is_(None), Event.event_timestamp >= window.start, Event.event_timestamp < window.end)
    )


def _let_wait_for_their_time(connection: Connection, window: Window | None, latest_event_at: datetime | None) -> int:
    """Leave the events that a backfill asks for too early waiting only for their time; return how many there are."""
    if window is None or latest_event_at is None or window.end <= latest_event_at:
        return 0
    too_early = _held_events_in(window).where(HeldEvent.due_at.is_(None), Event.event_timestamp > latest_event_at)
    own_time = select(Event.event_timestamp).where(Event.id == HeldEvent.event_id).scalar_subquery()
    return connection.execute(
        update(HeldEvent).where(HeldEvent.event_id.in_(too_early)).values(due_at=own_time)
    ).rowcount


def _hold_back(
    connection: Connection, loads: ColumnElement[bool], first_event_id: int, latest_event_at: datetime
) -> int:
    """Leave the events of these loads that are after an instant waiting for their time; return how many there are."""
    # The index on time leaves hardly anything to look at; the range of ids would leave all the new events.
    too_early = and_(
        Event.event_timestamp > latest_event_at,
        NotByIndex(Event.id) >= first_event_id,
        Event.load_id.in_(select(Load.id).where(loads)),
    )
    count = connection.execute(select(func.count()).select_from(Event).where(too_early)).scalar_one()
    if count:
        events = select(Event.id, Event.event_timestamp).where(too_early)
        connection.execute(insert(HeldEvent).from_select(["event_id", "due_at"], events))
        # Counted here, not taken from the insert: a trigger may have removed the rows again.
        standing = select(func.count()).where(HeldEvent.event_id.in_(select(Event.id).where(too_early)))
        held = connection.execute(standing).scalar_one()
        refuse_lost_rows(connection, {HeldEvent.__tablename__: (count, held)})
    return count


def _record_batch(
    connection: Connection,
    pending: Pending,
    ruleset_id: int,
    decided_at: datetime,
    *,
    options: RunOptions | None,
    run_id: int | None,
) -> int:
    """Record what the pending events are decided by, and return the id of the batch."""
    values = {
        "run_id": run_id,
        "as_of": options.as_of if options else None,
        "oldest_event_at": options.oldest_event_at if options else None,
        "latest_event_at": options.latest_event_at if options else None,
        "ruleset_id": ruleset_id,
        "event_count": pending.event_count,
        "held_count": pending.held_count,
        "ahead_count": pending.ahead_count,
        "decided_at": decided_at,
    }
    if _may_see_others(connection):
        values["last_load_id"] = connection.execute(select(func.coalesce(func.max(Load.id), 0))).scalar_one()
    return insert_one(connection, insert(Batch).values(values))


def _may_see_others(connection: Connection) -> bool:
    """Whether other runs load beside this one, or ever did; then loads are not in the order of runs."""
    if dialect_named(connection.dialect.name).several_writers is None:
        return False
    had_others = select(exists().where(Run.is_beside_others))
    return is_beside_others(connection) or bool(connection.execute(had_others).scalar_one())


def mark_loads(connection: Connection, pending: Pending, ruleset_id: int, batch_id: int, decided_at: datetime) -> None:
    """Mark the loads of a batch as decided."""
    values = {"state": LoadState.DECIDED, "decided_at": decided_at, "ruleset_id": ruleset_id, "batch_id": batch_id}
    update_all(connection, update(Load).where(pending.loads).values(values), pending.load_count)


def _mark_held_events(
    connection: Connection, pending: Pending, run_id: int | None, batch_id: int, decided_at: datetime
) -> None:
    """Mark the held events of the batch as decided, and their loads."""
    marked = update(HeldEvent).where(HeldEvent.event_id.in_(select(batch_held.c.event_id)))
    update_all(connection, marked.values(run_id=run_id, batch_id=batch_id), pending.held_count)
    mark_held_loads(connection, decided_at)


def mark_held_loads(connection: Connection, decided_at: datetime) -> None:
    """Mark the loads that were only loaded, once none of their events is waiting."""
    waits = exists().where(
        HeldEvent.event_id.between(Load.first_event_id, Load.last_event_id),
        HeldEvent.run_id.is_(None),
        Event.id == HeldEvent.event_id,
        Event.load_id == Load.id,
    )
    connection.execute(
        update(Load).where(Load.state == LoadState.HELD, ~waits).values(state=LoadState.DECIDED, decided_at=decided_at)
    )


def note_decision(
    connection: Connection, run_id: int | None, ruleset_id: int | None, event_count: int, seconds: float
) -> None:
    """Record what a run has decided, and how long that took."""
    connection.execute(
        update(Run)
        .where(Run.id == run_id)
        .values(ruleset_id=ruleset_id, decided_count=event_count, decide_seconds=seconds)
    )


def _ruleset_id(connection: Connection, rules_file: RulesFile, first_used_at: datetime) -> int:
    """Return the id of this version of the rules, recording it when it is new."""
    known = connection.execute(select(Ruleset.id).where(Ruleset.content_hash == rules_file.content_hash)).scalar()
    if known is not None:
        return known
    ruleset_id = insert_one(
        connection,
        insert(Ruleset).values(
            content_hash=rules_file.content_hash, yaml_text=rules_file.yaml_text, first_used_at=first_used_at
        ),
    )
    # An empty list would insert one row of defaults.
    if rules_file.rules:
        standing = connection.execute(insert(RulesetRule), rows_of_rules(ruleset_id, rules_file.rules)).rowcount
        refuse_lost_rows(connection, {RulesetRule.__tablename__: (len(rules_file.rules), standing)})
    return ruleset_id


def tell_planner_of(connection: Connection, pending: Pending) -> None:
    """Give the planner statistics of the waiting events; once for all shards, because each would block the others."""
    if pending.first_event_id is not None:
        new = {"added": pending.event_count, "stood": pending.first_event_id}
        tell_planner(connection, (Load, Event, EventProperties, UserTraits), **new)


def decide_batch(connection: Connection, batch: DecidedBatch, pending: Pending) -> Decided:
    """Write the decisions on the pending events, on those that rules decide again, and on matches that have waited."""
    for table in (*outcomes.TABLES, waiting.due_match):
        table.create(connection, checkfirst=False)
    if batch.shard is None:
        tell_planner_of(connection, pending)
    looked_at = _looked_at(connection, batch, pending)
    if batch.named:
        _find_events_again(connection, batch)
    _let_wait(connection, batch, pending, looked_at)
    waiting.insert_due_matches(connection, batch.rules, batch.due_until, batch.shard)
    judged = user_by_user.one_by_one(connection, batch.whole, batch.rules)
    with cache_for_sorting(connection):
        _insert_matches(connection, batch, pending, looked_at, judged)
        last_send_id, last_suppression_id = _last_ids(connection, batch)
        _refuse(connection, batch)
        at_once = [rule for position, rule in batch.rules.items() if position not in judged]
        with _looking_up_sends(connection, batch):
            for statement in outcomes.suppress(at_once, has_other_keys=_may_have_other_keys(connection, batch)):
                connection.execute(statement)
            if judged:
                user_by_user.judge(connection, batch.whole, batch.rules, judged, last_send_id)
        if judged:
            connection.execute(outcomes.take_back_judged())
    if batch.named:
        _move_former_suppressions(connection, batch.id)
    sends = outcomes.insert_send_requests(last_send_id, batch.written, batch.rules, has_verdicts=bool(judged))
    tell_planner(connection, [SendRequest], added=connection.execute(sends).rowcount, stood=last_send_id)
    connection.execute(outcomes.insert_daily_sends_of_batch(at_once, last_send_id))
    has_refusals = bool(batch.whole.blocks) or batch.whole.holdout is not None
    with _looking_up_sends(connection, batch):
        connection.execute(
            outcomes.insert_suppressions(
                last_send_id,
                last_suppression_id,
                batch.written,
                has_refusals=has_refusals,
                has_verdicts=bool(judged),
            )
        )
    waiting.end_waits(connection, batch.id, _is_decided_match())
    decided = _counts(connection, batch)
    _refuse_lost_decisions(connection, batch, decided, last_send_id, last_suppression_id)
    for table in (*outcomes.TABLES, waiting.due_match, *([again.event_again] if batch.named else [])):
        table.drop(connection, checkfirst=False)
    return decided


def _looking_up_sends(connection: Connection, batch: DecidedBatch) -> AbstractContextManager[None]:
    """Look up earlier sends by indexes where other shards are writing theirs meanwhile."""
    return by_index(connection) if batch.shard is not None else nullcontext()


def _may_have_other_keys(connection: Connection, batch: DecidedBatch) -> bool:
    """Return whether earlier sends with other keys have to be looked for; a shard finds out if there are any.

    Where nothing was sent yet, all indexes look the same to the planner, and it may take one in which it has to pass by
    everything that the other shards write meanwhile: deciding then took three times as long.
    """
    return batch.shard is None or connection.execute(outcomes.first_with_other_key()).first() is not None


def _is_decided_match() -> ColumnElement[bool]:
    """Whether a match whose wait is over became a decision."""
    decision: Any = outcomes.decision.c
    decided = select(decision.event_id, decision.rule_position).where(decision.waited_until.is_not(None))
    # As a set, because no index leads to the decisions on an event: 50,000 looks at 50,000 rows took four minutes.
    return tuple_(waiting.due_match.c.event_id, waiting.due_match.c.rule_position).in_(decided)


def _looked_at(connection: Connection, batch: DecidedBatch, pending: Pending) -> Mapping[int, Rule]:
    """Return the rules that look at pending events; all of them if there are few, because finding out costs more."""
    if not pending.event_count:
        return {}
    if len(batch.rules) <= FEW_RULES:
        return batch.rules
    types = select(Event.event_type).where(_pending_events(pending)).distinct()
    found = set(connection.execute(types).scalars())
    return {position: rule for position, rule in batch.rules.items() if rule.trigger.event_type in found}


def _let_wait(connection: Connection, batch: DecidedBatch, pending: Pending, looked_at: Mapping[int, Rule]) -> None:
    """Make the pending events, and those decided again, wait for the rules that have a `wait`."""
    too_old: ColumnElement[bool] = false()
    if pending.may_expire:
        too_old = outcomes.is_too_old(Event.id, Event.event_timestamp, batch.oldest_event_at)
    for rule in looked_at.values():
        if rule.wait is not None:
            waiting.let_wait(connection, beginning_waits(rule, _pending_events(pending), too_old), batch.id)
    for rule in batch.named.values():
        if rule.wait is not None:
            matches = again.waits_again(rule, batch.as_of, batch.oldest_event_at, until_data=batch.due_until.data)
            waiting.let_wait(connection, matches, batch.id)
            connection.execute(again.forget_ended_waits(rule))


def _find_events_again(connection: Connection, batch: DecidedBatch) -> None:
    """Fill `batch_events_again`, and record which rules decide them."""
    again.event_again.create(connection, checkfirst=False)
    if batch.options and batch.options.window:
        window, latest_event_at = batch.options.window, batch.options.latest_event_at
        connection.execute(again.insert_events_again(batch.named, window, latest_event_at))
    names = [{"batch_id": batch.id, "rule_name": rule.name} for rule in batch.named.values()]
    connection.execute(insert(BatchRule), names)
    standing = select(func.count()).where(BatchRule.batch_id == batch.id)
    counts = len(names), connection.execute(standing).scalar_one()
    refuse_lost_rows(connection, {BatchRule.__tablename__: counts})


def _refuse(connection: Connection, batch: DecidedBatch) -> None:
    """Take back the sends that a block or the holdout forbids."""
    holdout, blocks = batch.whole.holdout, batch.whole.blocks
    if not blocks and holdout is None:
        return
    for table in (blocked_user, held_out_user):
        table.create(connection, checkfirst=False)
    insert_blocked_users(connection, blocks, _users_of_messages(batch, Exemption.BLOCKS), batch.as_of)
    if holdout is not None:
        insert_held_out_users(connection, holdout, _users_of_messages(batch, Exemption.HOLDOUT))
    for statement in outcomes.insert_refusals(blocks, batch.rules, has_holdout=holdout is not None):
        connection.execute(statement)
    connection.execute(outcomes.take_back_refused())
    for table in (blocked_user, held_out_user):
        table.drop(connection, checkfirst=False)


def _users_of_messages(batch: DecidedBatch, exemption: Exemption) -> Select[Any]:
    """Return the users with a match by a rule that is not exempt from something, as a query of user_id."""
    held_to_it = [
        position
        for position, rule in batch.rules.items()
        if not rule.action.is_alert and exemption not in rule.exempt_from
    ]
    decision: Any = outcomes.decision.c
    return select(decision.user_id).where(decision.rule_position.in_(held_to_it))


def _last_ids(connection: Connection, batch: DecidedBatch) -> tuple[int, int]:
    """Return the ids after which new sends and suppressions are numbered; each shard reserves its own range."""
    last_former_id = _last_id(connection, FormerSuppression)
    if batch.shard is None:
        return _last_id(connection, SendRequest), max(_last_id(connection, Suppression), last_former_id)
    count = _last_place(connection)
    if not count:
        return last_former_id, last_former_id
    first_suppression_id = next_ids(connection, Suppression, count)
    if first_suppression_id <= last_former_id and is_beside_others(connection):
        # Former suppressions already have ids from where the sequence now is.
        next_ids(connection, Suppression, last_former_id - first_suppression_id + 1)
        first_suppression_id = next_ids(connection, Suppression, count)
    first_suppression_id = max(first_suppression_id, last_former_id + 1)
    return next_ids(connection, SendRequest, count) - 1, first_suppression_id - 1


def _last_place(connection: Connection) -> int:
    """Return the sequence number of the batch's last decision."""
    last_place = select(func.coalesce(func.max(outcomes.decision.c.sequence_number), 0))
    return int(connection.execute(last_place).scalar_one())


def _last_id(connection: Connection, table: type[SendRequest | Suppression | FormerSuppression]) -> int:
    return connection.execute(select(func.coalesce(func.max(table.id), 0))).scalar_one()


def _insert_matches(
    connection: Connection,
    batch: DecidedBatch,
    pending: Pending,
    looked_at: Mapping[int, Rule],
    judged: Collection[int],
) -> None:
    """Fill `batch_decisions` with what is to be decided; decisions on events that are too old are expired."""
    due = _due_rules(connection, batch)
    decided_again = []
    if batch.named and batch.options and batch.options.window:
        decided_again.append(again.is_again(outcomes.decision.c.event_id))
    asked_for = {**looked_at, **due, **(batch.rules if batch.named else {})}
    tables = LookTables({position: rule.conditions for position, rule in asked_for.items()})
    tables.create(connection, lambda askers: _matches_of(pending, batch, {each: asked_for[each] for each in askers}))
    asked = Asked(tables.looks, batch.as_of, judged)
    queries: Sequence[Select[Any]] = ()
    if pending.event_count:
        queries = every_match(looked_at, _pending_events(pending), asked, read_once=pending.shard is not None)
    found = [matches(together(queries), looked_at)] if queries else []
    found += due_matches(due, asked)
    if any(rule.wait is None for rule in batch.named.values()):
        found.append(
            again.matches_again(batch.rules, batch.named, batch.written.ruleset_id, batch.oldest_event_at, asked)
        )
    if found:
        connection.execute(outcomes.insert_matches(found, have_waited=bool(due)))
    tables.drop(connection)
    if pending.may_expire or (batch.named and batch.oldest_event_at is not None):
        connection.execute(outcomes.expire(batch.oldest_event_at, *decided_again))


def _due_rules(connection: Connection, batch: DecidedBatch) -> Mapping[int, Rule]:
    """Return the rules that decide a match whose wait is over."""
    positions = select(waiting.due_match.c.rule_position).where(waiting.due_match.c.rule_position.is_not(None))
    found = connection.execute(positions.distinct()).scalars()
    return {position: batch.rules[position] for position in sorted(found)}


def _matches_of(pending: Pending, batch: DecidedBatch, rules: Mapping[int, Rule]) -> FromClause:
    """Return the user_id, and the decision time as `at`, of the events that some rules are asked about."""
    due = waiting.due_match.c
    # From the matches to their events, never the other way round.
    is_own = Event.id == NotByIndex(due.event_id)
    waited = select(Event.user_id, due.decision_time.label("at")).join_from(waiting.due_match, Event, is_own)
    asked = [waited.where(due.rule_position.in_(sorted(rules)))]
    own = select(Event.user_id, Event.event_timestamp.label("at"))
    types = sorted({rule.trigger.event_type for rule in rules.values() if rule.wait is None})
    if types and pending.event_count:
        asked.append(own.where(_pending_events(pending), NotByIndex(Event.event_type).in_(types)))
    if batch.named:
        asked.append(own.where(Event.id.in_(select(again.event_again.c.event_id))))
    return union_all(*asked).subquery("asked")


def _move_former_suppressions(connection: Connection, batch_id: int) -> None:
    """Move the expired suppressions that the batch replaces out of the way, and keep them."""
    kept = connection.execute(again.keep_former_suppressions(batch_id)).rowcount
    taken = connection.execute(again.delete_former_suppressions(batch_id)).rowcount
    refuse_lost_rows(connection, {FormerSuppression.__tablename__: (taken, kept)})


def _pending_events(pending: Pending) -> ColumnElement[bool]:
    held = select(batch_held.c.event_id)
    if pending.first_event_id is None:
        return Event.id.in_(held)
    # The range of ids leads the planner to the new rows; the load's state says which of them count.
    loaded = and_(Event.id >= pending.first_event_id, Event.load_id.in_(select(Load.id).where(pending.loads)))
    if pending.shard is not None:
        loaded = and_(loaded, pending.shard.holds(Event.user_id))
    if pending.latest_event_at is not None:
        loaded = and_(loaded, NotByIndex(Event.event_timestamp) <= pending.latest_event_at)
    if not pending.held_count:
        return loaded
    # As one list of ids, because a condition joined by OR would make the planner read every event.
    return Event.id.in_(held.union(select(Event.id).where(loaded)))


def _counts(connection: Connection, batch: DecidedBatch) -> Decided:
    if not batch.named:
        return Decided(_counts_where(connection))
    is_again = again.is_again(outcomes.decision.c.event_id)
    return Decided(_counts_where(connection, not_(is_again)), _counts_where(connection, is_again))


def _counts_where(connection: Connection, *conditions: ColumnElement[bool]) -> dict[int, tuple[int, int]]:
    """Return the sends and suppressions among the decisions of the batch, by position of the rule."""
    decision: Any = outcomes.decision.c
    sends = func.sum(case((decision.is_send, 1), else_=0))
    rows = connection.execute(
        select(decision.rule_position, sends, func.count() - sends).where(*conditions).group_by(decision.rule_position)
    )
    return {position: (send_count, suppression_count) for position, send_count, suppression_count in rows}


def _refuse_lost_decisions(
    connection: Connection, batch: DecidedBatch, counts: Decided, last_send_id: int, last_suppression_id: int
) -> None:
    """Count the sends and suppressions stored; raise LostRowsError when they are not those of the batch."""
    places = _last_place(connection)
    every_count = [*counts.first.values(), *counts.again.values()]
    sends = sum(send_count for send_count, _ in every_count)
    suppressions = sum(suppression_count for _, suppression_count in every_count)
    for table_id, last_id, count in (
        (SendRequest.id, last_send_id, sends),
        (Suppression.id, last_suppression_id, suppressions),
    ):
        # Other shards may write ids beyond this one's range.
        is_own = table_id > last_id if batch.shard is None else table_id.between(last_id + 1, last_id + places)
        standing = connection.execute(select(func.count()).where(is_own)).scalar_one()
        refuse_lost_rows(connection, {table_id.class_.__tablename__: (count, standing)})


def due_until_of(connection: Connection, rules: Rules, as_of: datetime) -> waiting.Until:
    """Return until when waits are over: before the logical time and, where asked for, no later than the data reach."""
    return waiting.Until(as_of, waiting.data_reach(connection) if rules.wait_for_data else None)


def _outcome(rule: Rule, send_count: int, suppression_count: int) -> RuleOutcome:
    return RuleOutcome(
        rule_name=rule.name,
        template_name=rule.action.template_name,
        channel=rule.action.delivery_method,
        send_count=send_count,
        suppression_count=suppression_count,
    )
