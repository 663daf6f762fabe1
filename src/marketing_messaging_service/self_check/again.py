"""What must be true of decisions that rules made again, on events that earlier batches had decided."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    and_,
    case,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    Batch,
    BatchRule,
    EndedWait,
    Event,
    FormerSuppression,
    HeldEvent,
    Load,
    RulesetRule,
    Run,
    SendRequest,
    Suppression,
)
from src.marketing_messaging_service.vocabulary import Invariant, SuppressionReason

EverDecisionTable = type[SendRequest] | type[Suppression] | type[FormerSuppression]

EVER_DECIDED: tuple[EverDecisionTable, ...] = (SendRequest, Suppression, FormerSuppression)
"""The tables of all decisions that were ever made."""

EVENT_BATCH_ID: ColumnElement[int] = case((HeldEvent.event_id.is_(None), Load.batch_id), else_=HeldEvent.batch_id)
"""The first batch that decided an event that is joined to its load and its held row."""

_again_batch = aliased(Batch, name="again_batch")
_again_rule = aliased(BatchRule, name="again_rule")


def is_decided_again(table: EverDecisionTable) -> ColumnElement[bool]:
    """Return whether a decision, joined to its event's load and held row, is one that its rule made again."""
    return exists().where(
        _again_batch.run_id == table.run_id,
        _again_rule.batch_id == _again_batch.id,
        _again_rule.rule_name == table.rule_name,
        _again_batch.id.is_distinct_from(EVENT_BATCH_ID),
    )


def _place(table: EverDecisionTable) -> ColumnElement[str]:
    return told(f"{table.__tablename__}.id ", table.id, " on events.id ", table.event_id)


def _with_batches(table: EverDecisionTable, *columns: SQLColumnExpression[Any]) -> Select[Any]:
    """Decisions with the batch that made them and, where it was to decide them again, its rule."""
    return (
        select(*columns)
        .select_from(table)
        .join(Event, Event.id == table.event_id)
        .join(Load, Load.id == Event.load_id)
        .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
        .join(Batch, Batch.run_id == table.run_id)
        .outerjoin(BatchRule, and_(BatchRule.batch_id == Batch.id, BatchRule.rule_name == table.rule_name))
    )


def _decided_by_other_batches(_connection: Connection) -> Iterator[Select[Any]]:
    first = aliased(Batch, name="first")
    for table in EVER_DECIDED:
        was_to = and_(
            BatchRule.batch_id.is_not(None),
            Batch.id > EVENT_BATCH_ID,
            Event.event_timestamp >= Run.window_start_at,
            Event.event_timestamp < Run.window_end_at,
            or_(Batch.latest_event_at.is_(None), Event.event_timestamp <= Batch.latest_event_at),
        )
        facts = (": batches.id ", Batch.id, " and not ", EVENT_BATCH_ID)
        yield (
            _with_batches(table, _place(table) + told(*facts))
            .join(Run, Run.id == Batch.run_id)
            # The run of a batch from before runs were recorded may be unknown.
            .join(first, and_(first.id == EVENT_BATCH_ID, first.run_id.is_not(None)))
            .where(Batch.id != first.id, not_(func.coalesce(was_to, false())), not_(_has_waited(table)))
        )


def _has_waited(table: EverDecisionTable) -> ColumnElement[bool]:
    """Whether a decision was made when its rule's wait was over, by a later batch than its event's."""
    return exists().where(EndedWait.event_id == table.event_id, EndedWait.rule_name == table.rule_name)


def _wrongly_named(_connection: Connection) -> Iterator[Select[Any]]:
    enabled = exists().where(
        RulesetRule.ruleset_id == Batch.ruleset_id, RulesetRule.rule_name == BatchRule.rule_name, RulesetRule.is_enabled
    )
    yield (
        select(told("batch_rules of batches.id ", BatchRule.batch_id, ": ", BatchRule.rule_name))
        .select_from(BatchRule)
        .join(Batch, Batch.id == BatchRule.batch_id)
        .outerjoin(Run, Run.id == Batch.run_id)
        .where(or_(Run.window_start_at.is_(None), not_(enabled)))
    )


def _miscounted(_connection: Connection) -> Iterator[Select[Any]]:
    batches = select(BatchRule.batch_id).union(select(Batch.id).where(Batch.again_count != 0))
    again = union_all(
        *(
            _with_batches(table, Batch.id.label("batch_id")).where(
                Batch.id.in_(batches), BatchRule.batch_id.is_not(None), Batch.id != EVENT_BATCH_ID
            )
            for table in EVER_DECIDED
        )
    ).subquery("again")
    counted = select(again.c.batch_id, func.count().label("row_count")).group_by(again.c.batch_id).subquery("counted")
    row_count = func.coalesce(counted.c.row_count, 0)
    yield (
        select(told("batches.id ", Batch.id, ": again_count ", Batch.again_count, ", decisions ", row_count))
        .outerjoin(counted, counted.c.batch_id == Batch.id)
        .where(Batch.again_count != row_count)
    )


def _former_without_successor(_connection: Connection) -> Iterator[Select[Any]]:
    former = FormerSuppression
    facts = (", ", former.suppression_reason, ", batches.id ", former.batch_id)
    first = aliased(Batch, name="first")
    successors = (
        exists().where(
            table.event_id == former.event_id, table.rule_name == former.rule_name, table.run_id == Batch.run_id
        )
        for table in (SendRequest, Suppression)
    )
    yield (
        select(_place(former) + told(*facts))
        .outerjoin(Batch, Batch.id == former.batch_id)
        .outerjoin(first, first.run_id == former.run_id)
        .outerjoin(BatchRule, and_(BatchRule.batch_id == Batch.id, BatchRule.rule_name == former.rule_name))
        .where(
            or_(
                ~SuppressionReason.EXPIRED.holds(former.suppression_reason),
                BatchRule.batch_id.is_(None),
                func.coalesce(first.id >= Batch.id, false()),
                and_(former.event_id.is_not(None), not_(or_(*successors))),
            )
        )
    )
    yield select(told("suppressions.id ", Suppression.id, ": the id of a former one")).join(
        former, former.id == Suppression.id
    )


def _decided_beside_their_group(_connection: Connection) -> Iterator[Select[Any]]:
    own, others = aliased(RulesetRule, name="own"), aliased(RulesetRule, name="others")
    for table in (SendRequest, Suppression):
        for other in (aliased(SendRequest, name="other"), aliased(Suppression, name="other")):
            in_group = exists().where(
                others.rule_name == other.rule_name,
                or_(others.ruleset_id == own.ruleset_id, others.ruleset_id == other.ruleset_id),
                others.exclusive_group == own.exclusive_group,
            )
            yield (
                select(_place(table) + told(": beside ", other.rule_name, " of the group ", own.exclusive_group))
                .select_from(BatchRule)
                .join(Batch, Batch.id == BatchRule.batch_id)
                .join(table, and_(table.run_id == Batch.run_id, table.rule_name == BatchRule.rule_name))
                .join(own, and_(own.ruleset_id == table.ruleset_id, own.rule_name == table.rule_name))
                .join(other, and_(other.event_id == table.event_id, other.rule_name != table.rule_name))
                .join(Event, Event.id == table.event_id)
                .join(Load, Load.id == Event.load_id)
                .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
                .where(own.exclusive_group.is_not(None), in_group, Batch.id != EVENT_BATCH_ID)
            )


AGAIN_INVARIANTS = (
    Invariant(
        "decided_again",
        "Every decision was made by the batch of its event, or by a later batch that decided it again by its rule",
        _decided_by_other_batches,
    ),
    Invariant(
        "again_rules",
        "Every rule that a batch decided again was enabled in its ruleset, and its run had a window",
        _wrongly_named,
    ),
    Invariant(
        "again_count",
        "Every batch has as many decisions on events of earlier batches as it counted",
        _miscounted,
    ),
    Invariant(
        "former_suppressions",
        "Every former suppression had expired, no other row has its id, and its batch decided in its place",
        _former_without_successor,
    ),
    Invariant(
        "group_stays",
        "No rule decided again on an event that another rule of its exclusive group had decided",
        _decided_beside_their_group,
    ),
)
