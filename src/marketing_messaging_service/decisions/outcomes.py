"""What becomes of a match: a send, an alert or a suppression, as SQL over all matches of a batch at once.

One match at a time, in the order (event_timestamp, event id, position of the rule), a message with the mode
`once_ever` goes out if the user has had none of its template before, one with `once_per_calendar_day` if none on
that UTC day, and one with `none` always; alerts take no part. Seen over a whole batch that comes to this:

- A `once_ever` goes out if nothing of that user and template went out before the batch, and it is the first match
  of them in the batch; for the first match always goes out, whatever its mode.
- A `once_per_calendar_day` goes out if nothing went out on that day before the batch, and it is the first on that
  day of the matches that can go out at all, which leaves out the `once_ever` that do not.
- A match on an event that has expired does not go out, so it uses up nothing: it is as if it were not there.

Grouping the batch twice like this costs a third of what window functions over the same rows do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Insert,
    Integer,
    MetaData,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    String,
    Table,
    Update,
    and_,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.rules import Rule, SuppressionMode
from src.marketing_messaging_service.decisions.sql_time import EndOfUtcDay, StartOfUtcDay, UtcDay
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    DAY_KEY,
    EVER_KEY,
    EXPIRED_REASON,
    HAS_OTHER_KEY,
    Event,
    HeldEvent,
    Load,
    Run,
    SendRequest,
    Suppression,
)

AFTER_DAY_KEYS = DAY_KEY[:-1] + chr(ord(DAY_KEY[-1]) + 1)
"""What sorts behind every dedupe key of a day."""

decision = Table(
    "batch_decisions",
    MetaData(),
    Column("sequence_number", WHOLE_NUMBER, primary_key=True),
    Column("event_id", WHOLE_NUMBER),
    Column("user_id", String),
    Column("event_timestamp", UtcDateTime),
    Column("rule_position", Integer),
    Column("rule_name", String),
    Column("template_name", String),
    Column("channel", String),
    Column("suppression_mode", String),
    Column("is_alert", Boolean),
    Column("is_send", Boolean),
    Column("is_expired", Boolean),
    prefixes=["TEMPORARY"],
)
"""The decisions of one batch, numbered from 1 in the order in which they would be made one at a time."""

daily_send = Table(
    "batch_daily_sends",
    MetaData(),
    Column("user_id", String, primary_key=True),
    Column("template_name", String, primary_key=True),
    Column("event_timestamp", UtcDateTime, primary_key=True),
    Column("send_request_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
"""Earlier daily sends, for the templates and users that this batch checks for once_ever.

In `send_requests` those of one user are found only day by day, so all of a template are read once, 0.5 s a million.
There are none but of a template that two rules share, or whose mode was changed.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written beside every decision of a batch; none of them depends on it."""

    ruleset_id: int
    decided_at: datetime
    run_id: int | None


_MATCH_COLUMNS = (
    "event_id",
    "user_id",
    "event_timestamp",
    "rule_position",
    "rule_name",
    "template_name",
    "channel",
    "suppression_mode",
    "is_alert",
)


def insert_matches(*matches: Select[Any]) -> Insert:
    """Return the statement that fills `batch_decisions`, every match a send until something stands against it."""
    match = (union_all(*matches) if len(matches) > 1 else matches[0]).subquery("match")
    ordered = select(*(match.c[name] for name in _MATCH_COLUMNS), literal(value=True), literal(value=False)).order_by(
        match.c.event_timestamp, match.c.event_id, match.c.rule_position
    )
    return insert(decision).from_select([*_MATCH_COLUMNS, "is_send", "is_expired"], ordered)


def expire(oldest_event_at: datetime | None, *is_decided_again: ColumnElement[bool]) -> Update:
    """Return the statement that takes back the sends on events that are too old, before any other is taken back.

    An event that was held, or that is decided again, is too old if it happened before `oldest_event_at`, any other one
    by what the run that loaded it was told. Alerts are never suppressed.
    """
    told = (
        select(Run.oldest_event_at)
        .join(Load, Load.run_id == Run.id)
        .join(Event, Event.load_id == Load.id)
        .where(Event.id == decision.c.event_id)
        .scalar_subquery()
    )
    is_held = exists().where(HeldEvent.event_id == decision.c.event_id)
    limit = case((or_(is_held, *is_decided_again), literal(oldest_event_at, UtcDateTime)), else_=told)
    return (
        update(decision)
        .where(not_(decision.c.is_alert), decision.c.event_timestamp < limit)
        .values(is_send=False, is_expired=True)
    )


def suppress(rules: Sequence[Rule]) -> list[Insert | Update]:
    """Return the statements that take back the sends that must not be, in the order in which they have to run."""
    statements: list[Insert | Update] = []
    if once_ever := _templates(rules, SuppressionMode.ONCE_EVER):
        firsts = _firsts(decision.c.user_id, decision.c.template_name)
        statements.append(_insert_daily_sends_of_history(once_ever))
        statements.append(_take_back(SuppressionMode.ONCE_EVER, firsts, _sent_before_ever()))
    if _templates(rules, SuppressionMode.ONCE_PER_CALENDAR_DAY):
        day = UtcDay(decision.c.event_timestamp)
        firsts = _firsts(decision.c.user_id, decision.c.template_name, day)
        statements.append(_take_back(SuppressionMode.ONCE_PER_CALENDAR_DAY, firsts, _sent_before_on_day()))
    return statements


def insert_send_requests(last_send_id: int, batch: Batch) -> Insert:
    """Return the statement that makes send requests of the batch's sends and alerts.

    Their ids count on from the last one by sequence number, so that a smaller id means an earlier decision.
    """
    columns: dict[Any, ColumnElement[Any]] = {
        SendRequest.id: literal(last_send_id) + decision.c.sequence_number,
        SendRequest.user_id: decision.c.user_id,
        SendRequest.event_id: decision.c.event_id,
        SendRequest.template_name: decision.c.template_name,
        SendRequest.channel: decision.c.channel,
        SendRequest.reason: literal("rule:") + decision.c.rule_name,
        SendRequest.decided_at: literal(batch.decided_at, UtcDateTime),
        SendRequest.rule_name: decision.c.rule_name,
        SendRequest.ruleset_id: literal(batch.ruleset_id),
        SendRequest.run_id: literal(batch.run_id, WHOLE_NUMBER),
        SendRequest.event_timestamp: decision.c.event_timestamp,
        SendRequest.dedupe_key: dedupe_key(
            decision.c.suppression_mode, decision.c.rule_name, decision.c.event_id, decision.c.event_timestamp
        ),
    }
    rows = select(*columns.values()).where(decision.c.is_send).order_by(decision.c.sequence_number)
    return insert(SendRequest).from_select(list(columns), rows)


def insert_daily_sends_of_batch(rules: Sequence[Rule], last_send_id: int) -> Insert:
    """Return the statement that adds the batch's own sends to `batch_daily_sends`."""
    shared = _templates(rules, SuppressionMode.ONCE_EVER) & _templates(rules, SuppressionMode.ONCE_PER_CALENDAR_DAY)
    sends = select(
        decision.c.user_id,
        decision.c.template_name,
        decision.c.event_timestamp,
        literal(last_send_id) + decision.c.sequence_number,
    ).where(
        decision.c.is_send,
        _has_mode(SuppressionMode.ONCE_PER_CALENDAR_DAY),
        decision.c.template_name.in_(sorted(shared)),
    )
    return insert(daily_send).from_select(list(daily_send.c), sends)


def insert_suppressions(last_send_id: int, last_suppression_id: int, batch: Batch) -> Insert:
    """Return the statement that makes suppressions of the rest, each with the send that blocked it.

    What would have gone out, had its event not been too old, is blocked by none and has expired. Their ids count on
    from the last one that there ever was: the database itself would give a former one's id again.
    """
    refused = (
        select(decision, _blocking_send(last_send_id).label("blocked_by"))
        .where(not_(decision.c.is_send))
        .order_by(decision.c.sequence_number)
        .subquery("refused")
    )
    has_expired = and_(refused.c.is_expired, refused.c.blocked_by.is_(None))
    columns: dict[Any, ColumnElement[Any]] = {
        Suppression.id: literal(last_suppression_id) + func.row_number().over(order_by=refused.c.sequence_number),
        Suppression.user_id: refused.c.user_id,
        Suppression.event_id: refused.c.event_id,
        Suppression.template_name: refused.c.template_name,
        Suppression.suppression_reason: case((has_expired, literal(EXPIRED_REASON)), else_=refused.c.suppression_mode),
        Suppression.decided_at: literal(batch.decided_at, UtcDateTime),
        Suppression.rule_name: refused.c.rule_name,
        Suppression.ruleset_id: literal(batch.ruleset_id),
        Suppression.run_id: literal(batch.run_id, WHOLE_NUMBER),
        Suppression.event_timestamp: refused.c.event_timestamp,
        Suppression.blocked_by_send_request_id: refused.c.blocked_by,
    }
    return insert(Suppression).from_select(list(columns), select(*columns.values()))


def _templates(rules: Sequence[Rule], mode: SuppressionMode) -> frozenset[str]:
    return frozenset(rule.action.template_name for rule in rules if rule.suppression.mode is mode)


def _insert_daily_sends_of_history(template_names: frozenset[str]) -> Insert:
    """The sends of earlier batches, read off the index of the keys, in which a template has none as a rule."""
    users = select(decision.c.user_id).where(_has_mode(SuppressionMode.ONCE_EVER))
    sends = select(SendRequest.user_id, SendRequest.template_name, SendRequest.event_timestamp, SendRequest.id).where(
        SendRequest.template_name.in_(sorted(template_names)),
        SendRequest.dedupe_key >= DAY_KEY,
        SendRequest.dedupe_key < AFTER_DAY_KEYS,
        SendRequest.user_id.in_(users),
    )
    return insert(daily_send).from_select(list(daily_send.c), sends)


def _has_mode(mode: SuppressionMode) -> ColumnElement[bool]:
    return decision.c.suppression_mode == mode.value


def _firsts(*group: ColumnElement[Any]) -> Select[int]:
    """The earliest match of each group that can go out still, alerts aside, by sequence number."""
    return (
        select(func.min(decision.c.sequence_number))
        .where(not_(decision.c.is_alert), decision.c.is_send)
        .group_by(*group)
    )


def _take_back(mode: SuppressionMode, firsts: Select[int], sent_before: ColumnElement[bool]) -> Update:
    return (
        update(decision)
        .where(_has_mode(mode), or_(decision.c.sequence_number.not_in(firsts), sent_before))
        .values(is_send=False)
    )


def _is_send_of_message(send: type[SendRequest]) -> ColumnElement[bool]:
    """Whether a send request is one of the decision's template to its user, and no alert."""
    return and_(
        send.user_id == decision.c.user_id,
        send.template_name == decision.c.template_name,
        send.channel != ALERT_CHANNEL,
    )


def _is_daily_send_of_message() -> ColumnElement[bool]:
    return and_(
        daily_send.c.user_id == decision.c.user_id,
        daily_send.c.template_name == decision.c.template_name,
    )


def _sent_before_ever() -> ColumnElement[bool]:
    """Whether an earlier batch sent the template to the user at any time."""
    ways = (exists().where(_is_send_of_message(SendRequest), way) for way in _ways_to_name_no_day(SendRequest))
    return or_(*ways, exists().where(_is_daily_send_of_message()))


def _sent_before_on_day() -> ColumnElement[bool]:
    """Whether an earlier batch sent the template to the user on the decision's UTC day."""
    ways = _ways_to_be_on_day(SendRequest)
    return or_(*(exists().where(_is_send_of_message(SendRequest), way) for way in ways))


def _ways_to_be_on_day(send: type[SendRequest]) -> Sequence[ColumnElement[bool]]:
    """The conditions on a send of the message of which one holds if it went out on the decision's UTC day.

    A key that names the day says it; a send under any other key is looked up by its time. Each leads the planner to
    an index in which none of the user's other days has to be read.
    """
    day = UtcDay(decision.c.event_timestamp)
    is_on_day = send.event_timestamp.between(
        StartOfUtcDay(decision.c.event_timestamp), EndOfUtcDay(decision.c.event_timestamp)
    )
    return (
        send.dedupe_key == literal(DAY_KEY) + day,
        *(and_(way, is_on_day) for way in _ways_to_name_no_day(send)),
    )


def _ways_to_name_no_day(send: type[SendRequest]) -> Sequence[ColumnElement[bool]]:
    """The conditions on a send of which one holds if its key names no day."""
    return send.dedupe_key == EVER_KEY, HAS_OTHER_KEY


def _blocking_send(last_send_id: int) -> ColumnElement[int | None]:
    """The earliest send, in event time, that had used up the "once" when the decision was made.

    Only what has expired can have the mode none here, and nothing blocks that.
    """
    send = aliased(SendRequest, name="blocking")
    before = literal(last_send_id) + decision.c.sequence_number
    sends = (
        select(send.id, send.event_timestamp)
        .where(_is_send_of_message(send), send.id < before)
        .order_by(send.event_timestamp, send.id)
    )
    daily_sends = (
        select(daily_send.c.send_request_id.label("id"), daily_send.c.event_timestamp)
        .where(_is_daily_send_of_message(), daily_send.c.send_request_id < before)
        .order_by(daily_send.c.event_timestamp, daily_send.c.send_request_id)
    )
    ever = [*(sends.where(way) for way in _ways_to_name_no_day(send)), daily_sends]
    on_day = [sends.where(way) for way in _ways_to_be_on_day(send)]
    return case(
        (_has_mode(SuppressionMode.ONCE_EVER), _earliest(ever)),
        (_has_mode(SuppressionMode.ONCE_PER_CALENDAR_DAY), _earliest(on_day)),
    )


def _earliest(ways: Sequence[Select[int, datetime]]) -> ScalarSelect[int]:
    """The earliest of the sends that come first in each way, so that none but these is read."""
    firsts = [way.correlate(decision).limit(1).subquery(f"first_{number}") for number, way in enumerate(ways, 1)]
    send = union_all(*(select(first) for first in firsts)).subquery("send")
    return select(send.c.id).order_by(send.c.event_timestamp, send.c.id).limit(1).scalar_subquery()


def dedupe_key(
    mode: ColumnElement[str],
    rule_name: ColumnElement[str],
    event_id: SQLColumnExpression[int],
    event_timestamp: SQLColumnExpression[datetime],
) -> ColumnElement[str]:
    """Return what a send of a match may happen once for: ever, a UTC day, or (mode none) this event and rule."""
    return case(
        (mode == SuppressionMode.ONCE_EVER.value, literal(EVER_KEY)),
        (mode == SuppressionMode.ONCE_PER_CALENDAR_DAY.value, literal(DAY_KEY) + UtcDay(event_timestamp)),
        else_=literal("event:") + cast(event_id, String) + literal(":") + rule_name,
    )
