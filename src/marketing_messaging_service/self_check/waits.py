"""What must be true of matches that wait, and of those whose wait is over."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, not_, or_, select

from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    Batch,
    EndedWait,
    Event,
    HeldEvent,
    Load,
    Ruleset,
    SendRequest,
    Suppression,
    WaitingMatch,
    WaitOutcome,
)
from src.marketing_messaging_service.self_check.again import EVENT_BATCH_ID
from src.marketing_messaging_service.vocabulary import Invariant

WaitTable = type[WaitingMatch] | type[EndedWait]

WAIT_TABLES: tuple[WaitTable, ...] = (WaitingMatch, EndedWait)


def _place(table: WaitTable) -> ColumnElement[str]:
    return told(f"{table.__tablename__} of events.id ", table.event_id, ", ", table.rule_name)


def _wrongly_begun(_connection: Connection) -> Iterator[Select[Any]]:
    for table in WAIT_TABLES:
        yield (
            select(_place(table) + told(", batches.id ", table.batch_id, ": until ", table.decide_at))
            .select_from(table)
            .join(Event, Event.id == table.event_id)
            .outerjoin(Load, Load.id == Event.load_id)
            .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
            .where(
                or_(
                    EVENT_BATCH_ID.is_(None),
                    # A later batch let the rule decide again.
                    table.batch_id < EVENT_BATCH_ID,
                    table.decide_at < Event.event_timestamp,
                )
            )
        )


def _wrongly_ended(_connection: Connection) -> Iterator[Select[Any]]:
    is_waiting = exists().where(
        WaitingMatch.event_id == EndedWait.event_id, WaitingMatch.rule_name == EndedWait.rule_name
    )
    has_decision = or_(
        *(
            exists().where(
                table.event_id == EndedWait.event_id,
                table.rule_name == EndedWait.rule_name,
                table.decision_time == EndedWait.decide_at,
            )
            for table in (SendRequest, Suppression)
        )
    )
    is_decided = EndedWait.outcome == WaitOutcome.DECIDED
    yield (
        select(_place(EndedWait) + told(": ", EndedWait.outcome, " in batches.id ", EndedWait.ended_batch_id))
        .outerjoin(Batch, Batch.id == EndedWait.ended_batch_id)
        .where(
            or_(
                is_waiting,
                and_(is_decided, not_(has_decision)),
                and_(not_(is_decided), has_decision),
                Batch.as_of <= EndedWait.decide_at,
            )
        )
    )
    for table in (SendRequest, Suppression):
        has_waited = exists().where(
            EndedWait.event_id == table.event_id,
            EndedWait.rule_name == table.rule_name,
            EndedWait.decide_at == table.decision_time,
        )
        yield select(
            told(f"{table.__tablename__}.id ", table.id, ": decided by ", table.decision_time, ", and had not waited")
        ).where(table.decision_time.is_not(None), table.event_id.is_not(None), not_(has_waited))


def _passed_over(_connection: Connection) -> Iterator[Select[Any]]:
    """The matches that still wait although a later batch came after their time and did not wait for the data."""
    asks_for_data = exists().where(Ruleset.id == Batch.ruleset_id, Ruleset.yaml_text.contains("wait_for_data"))
    was_due = exists().where(
        Batch.id > WaitingMatch.batch_id, Batch.as_of > WaitingMatch.decide_at, Batch.is_complete, not_(asks_for_data)
    )
    yield select(_place(WaitingMatch) + told(": until ", WaitingMatch.decide_at)).where(was_due)


WAIT_INVARIANTS = (
    Invariant(
        "begun_waits",
        "Every match that waits, or has waited, belongs to a decided event and waits for a time not before it",
        _wrongly_begun,
    ),
    Invariant(
        "ended_waits",
        "Every wait that is over ended once, after its time, and has a decision of that time exactly when it says so",
        _wrongly_ended,
    ),
    Invariant("due_waits", "No match still waits for a time that a later batch has passed", _passed_over),
)
"""What must be true of waiting_matches and ended_waits."""
