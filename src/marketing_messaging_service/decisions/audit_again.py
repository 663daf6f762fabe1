"""Checks that rules that were to decide again did so: a part of the audit."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, false, func, literal, or_, select, true
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.known_then import candidate_columns, certain_matches
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.matching import OWN_ROW, has_trigger
from src.marketing_messaging_service.decisions.recorded_rules import RecordedRules, recorded_rules
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.truth import may_hold
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    Batch,
    BatchRule,
    Event,
    HeldEvent,
    Load,
    RulesetRule,
    Run,
    SendRequest,
    Suppression,
)
from src.marketing_messaging_service.vocabulary import SuppressionReason

DecisionTable = type[SendRequest] | type[Suppression]

DECISION_TABLES: tuple[DecisionTable, ...] = (SendRequest, Suppression)


@dataclass(frozen=True, slots=True)
class _AskedAgain:
    """What a batch was to decide again: rules by name, events of a window up to an instant, within an age limit."""

    batch_id: int
    run_id: int
    rule_names: frozenset[str]
    window: tuple[datetime, datetime]
    latest_event_at: datetime | None
    oldest_event_at: datetime | None


def undecided_again(connection: Connection) -> Iterator[Select[Any]]:
    """Yield queries for the events that a rule had to decide again in a batch, and did not."""
    asked = _asked_again(connection)
    for recorded in recorded_rules(connection) if asked else ():
        for ruleset_id in recorded.ruleset_ids:
            for batch in asked.get(ruleset_id, ()):
                for position, rule in enumerate(recorded.rules):
                    if rule.name in batch.rule_names and rule.wait is None:
                        yield _undecided_by(rule, recorded, position, batch)


def _asked_again(connection: Connection) -> Mapping[int, Sequence[_AskedAgain]]:
    """What batches were to decide again, by ruleset."""
    named: Select[*tuple[Any, ...]] = (
        select(
            *(Batch.ruleset_id, Batch.id, Batch.run_id, Run.window_start_at, Run.window_end_at),
            *(Batch.latest_event_at, Batch.oldest_event_at, BatchRule.rule_name),
        )
        .join(BatchRule, BatchRule.batch_id == Batch.id)
        .join(Run, Run.id == Batch.run_id)
        .where(Run.window_start_at.is_not(None), Run.window_end_at.is_not(None))
        .order_by(Batch.id)
    )
    found: dict[int, list[_AskedAgain]] = defaultdict(list)
    for _, of_batch in groupby(connection.execute(named), key=lambda row: row.id):
        rows = list(of_batch)
        one = rows[0]
        names = frozenset(row.rule_name for row in rows)
        window = (one.window_start_at, one.window_end_at)
        limits = one.latest_event_at, one.oldest_event_at
        found[one.ruleset_id].append(_AskedAgain(one.id, one.run_id, names, window, *limits))
    return found


def _undecided_by(rule: Rule, recorded: RecordedRules, position: int, batch: _AskedAgain) -> Select[Any]:
    """The events that a rule had to decide again in a batch, and did not."""
    start, end = batch.window
    decided_by = case((HeldEvent.event_id.is_(None), Load.batch_id), else_=HeldEvent.batch_id)
    events = (
        select(*candidate_columns([rule], literal(batch.run_id)))
        .select_from(Event)
        .join(Load, Load.id == Event.load_id)
        .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
        .where(Event.event_timestamp >= start, Event.event_timestamp < end, decided_by < batch.batch_id)
    )
    if batch.latest_event_at is not None:
        events = events.where(Event.event_timestamp <= batch.latest_event_at)
    before = [mate for mate in recorded.rules[:position] if mate.name not in batch.rule_names]
    # A rule of the group that was not to decide again keeps what it matches (or may have) from the rules after it.
    takes = (func.coalesce(and_(has_trigger(mate), may_hold(mate.conditions, OWN_ROW)), false()) for mate in before)
    is_free = [each == false() for each in takes]
    wanted = with_payload(events).where(
        has_trigger(rule),
        may_hold(rule.conditions, OWN_ROW),
        ~_is_decided_by_another(rule, recorded),
        or_(
            _has_expired_before(rule, batch),
            and_(*is_free, *(~exists().where(*_own(table, rule)) for table in DECISION_TABLES)),
        ),
    )
    match = certain_matches(rule, wanted.subquery("wanted"), 0).subquery("match").c
    return select(
        told("events.id ", match.event_id, f": {rule.name} did not decide again in batches.id {batch.batch_id}")
    )


def _own(table: DecisionTable, rule: Rule) -> tuple[ColumnElement[bool], ...]:
    return table.event_id == Event.id, table.rule_name == rule.name


def _has_expired_before(rule: Rule, batch: _AskedAgain) -> ColumnElement[bool]:
    """Whether there is still an expired suppression that the batch found and that its age limit would have let out."""
    first = aliased(Batch, name="first")
    goes_out: ColumnElement[bool] = true()
    if batch.oldest_event_at is not None and not rule.action.is_alert:
        goes_out = Event.event_timestamp >= batch.oldest_event_at
    return exists().where(
        *_own(Suppression, rule),
        SuppressionReason.EXPIRED.holds(Suppression.suppression_reason),
        first.run_id == Suppression.run_id,
        first.id < batch.batch_id,
        goes_out,
    )


def _is_decided_by_another(rule: Rule, recorded: RecordedRules) -> ColumnElement[bool]:
    """Whether the event was decided by another rule that was in a rule's group then, or is in this version."""
    ways: list[ColumnElement[bool]] = []
    for table in DECISION_TABLES:
        then = exists().where(
            RulesetRule.ruleset_id == table.ruleset_id,
            RulesetRule.rule_name == table.rule_name,
            RulesetRule.exclusive_group == rule.exclusive_group,
        )
        ways.append(
            exists().where(
                table.event_id == Event.id,
                table.rule_name != rule.name,
                or_(table.rule_name.in_(recorded.names), then),
            )
        )
    return or_(*ways)
