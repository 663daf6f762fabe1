"""Turns each match into a send, an alert or a suppression, in SQL over all matches of a batch at once.

Taken one match at a time, in the order (event_timestamp, event id, position of the rule): a message with the mode
`once_ever` goes out if the user has had none of its template before, one with `once_per_calendar_day` if none on that
UTC day, and one with `none` always. Alerts do not count. For a whole batch, that means:

- A `once_ever` goes out if nothing went out to that user with that template before the batch, and it is their first
  match in the batch; for the first match always goes out, whatever its mode.
- A `once_per_calendar_day` goes out if nothing went out on that day before the batch, and it is that day's first match
  that can go out at all (so a `once_ever` that does not go out is not counted).
- A match on an expired event does not go out, so it uses up nothing, as if it were not there.

Grouping the batch twice like this costs a third of what window functions over the same rows cost.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Insert,
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
    false,
    func,
    insert,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.blocks_and_holdout import blocked_user, held_out_user
from src.marketing_messaging_service.decisions.rules import Block, Exemption, Rule
from src.marketing_messaging_service.decisions.shard import BesideKey
from src.marketing_messaging_service.decisions.sql_time import EndOfUtcDay, StartOfUtcDay, UtcDay
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    DAY_KEY,
    EVER_KEY,
    HAS_OTHER_KEY,
    Event,
    HeldEvent,
    Load,
    Run,
    SendRequest,
    Suppression,
)
from src.marketing_messaging_service.vocabulary import SuppressionMode, SuppressionReason

AFTER_DAY_KEYS = DAY_KEY[:-1] + chr(ord(DAY_KEY[-1]) + 1)
"""Sorts after every dedupe key of a day."""

decision = Table(
    "batch_decisions",
    MetaData(),
    Column("sequence_number", WHOLE_NUMBER, primary_key=True),
    Column("event_id", WHOLE_NUMBER),
    Column("user_id", String),
    Column("event_timestamp", UtcDateTime),
    Column("waited_until", UtcDateTime),
    Column("rule_position", WHOLE_NUMBER),
    Column("rule_name", String),
    Column("template_name", String),
    Column("channel", String),
    Column("suppression_mode", String),
    Column("is_alert", Boolean),
    Column("is_send", Boolean),
    Column("is_expired", Boolean),
    prefixes=["TEMPORARY"],
)
"""The decisions of one batch, numbered from 1 in the order in which they would be made one at a time.

`waited_until` is the decision time where it differs from the event's own time; `suppression_mode` is null where the
message is decided one by one.
"""

refusal = Table(
    "batch_refusals",
    MetaData(),
    Column("sequence_number", WHOLE_NUMBER, primary_key=True),
    Column("reason", String),
    Column("event_id", WHOLE_NUMBER),
    prefixes=["TEMPORARY"],
)
"""What forbids a message whatever was sent before: a block, with its event, or the holdout."""

verdict = Table(
    "batch_verdicts",
    MetaData(),
    Column("sequence_number", WHOLE_NUMBER, primary_key=True),
    Column("dedupe_key", String),
    Column("reason", String),
    Column("blocked_by_id", WHOLE_NUMBER),
    prefixes=["TEMPORARY"],
)
"""What was decided one by one: for a send its dedupe key, if that names more than event and rule; for a refusal its
reason, and the send in the way. A match that is not here was clear beforehand.
"""


daily_send = Table(
    "batch_daily_sends",
    MetaData(),
    Column("user_id", String, primary_key=True),
    Column("template_name", String, primary_key=True),
    Column("event_timestamp", UtcDateTime, primary_key=True),
    Column("send_request_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    Column("event_id", WHOLE_NUMBER),
    prefixes=["TEMPORARY"],
)
"""Earlier daily sends, for the templates and users that this batch checks for once_ever.

In `send_requests`, one user's can only be found day by day, so all of a template are read once (0.5 s per million).
Only a template that two rules share, or whose mode was changed, has any.
"""

TABLES = (decision, daily_send, refusal, verdict)
"""The temporary tables of a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is recorded with every decision of a batch; no decision depends on it."""

    ruleset_id: int
    decided_at: datetime
    run_id: int | None


_MATCH_COLUMNS = (
    "event_id",
    "user_id",
    "event_timestamp",
    "waited_until",
    "rule_position",
    "rule_name",
    "template_name",
    "channel",
    "suppression_mode",
    "is_alert",
    "is_expired",
)


def decision_time(row: Any) -> ColumnElement[datetime]:
    """Return when a decision of `batch_decisions`, or a match of its form, is to be decided."""
    return func.coalesce(row.waited_until, row.event_timestamp)


def insert_matches(matches: Sequence[Select[Any]], *, have_waited: bool = False) -> Insert:
    """Return the statement that fills `batch_decisions`: a match is a send until something forbids it, unless expired.

    If none has waited, they are ordered by the time of their events, which is quicker.
    """
    match = (union_all(*matches) if len(matches) > 1 else matches[0]).subquery("match").c
    ordered = select(*(match[name] for name in _MATCH_COLUMNS), not_(match.is_expired)).order_by(
        decision_time(match) if have_waited else match.event_timestamp, match.event_id, match.rule_position
    )
    return insert(decision).from_select([*_MATCH_COLUMNS, "is_send"], ordered)


def is_too_old(
    event_id: SQLColumnExpression[int],
    event_timestamp: SQLColumnExpression[datetime],
    oldest_event_at: datetime | None,
    *is_decided_again: ColumnElement[bool],
) -> ColumnElement[bool]:
    """Return whether an event is too old: by this run's limit if held or decided again, else by that of its load."""
    event = aliased(Event, name="of_load")
    limit_of_load = (
        select(Run.oldest_event_at)
        .join(Load, Load.run_id == Run.id)
        .join(event, event.load_id == Load.id)
        .where(event.id == event_id)
        .scalar_subquery()
    )
    is_held = exists().where(HeldEvent.event_id == event_id)
    limit = case((or_(is_held, *is_decided_again), literal(oldest_event_at, UtcDateTime)), else_=limit_of_load)
    return event_timestamp < limit


def expire(oldest_event_at: datetime | None, *is_decided_again: ColumnElement[bool]) -> Update:
    """Return the statement that takes back the sends on events that are too old; it runs before all other refusals.

    An event that was held, or is decided again, is too old if it happened before `oldest_event_at`; any other, by the
    age limit of the run that loaded it. Alerts are never suppressed.
    """
    too_old = is_too_old(decision.c.event_id, decision.c.event_timestamp, oldest_event_at, *is_decided_again)
    return (
        update(decision)
        .where(not_(decision.c.is_alert), decision.c.waited_until.is_(None), too_old)
        .values(is_send=False, is_expired=True)
    )


def insert_refusals(blocks: Sequence[Block], rules: Mapping[int, Rule], *, has_holdout: bool) -> Iterator[Insert]:
    """Yield the statements that fill `batch_refusals`: the first block that holds a message back, or the holdout."""
    of_blocks: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, rule in rules.items():
        places = tuple(place for place, block in enumerate(blocks) if block.covers(rule.action))
        if places and not rule.action.is_alert and Exemption.BLOCKS not in rule.exempt_from:
            of_blocks[places].append(position)
    for places, positions in of_blocks.items():
        yield _insert_blocked(blocks, places, positions)
    held_back = [
        position
        for position, rule in rules.items()
        if has_holdout and not rule.action.is_alert and Exemption.HOLDOUT not in rule.exempt_from
    ]
    if held_back:
        rows = select(
            decision.c.sequence_number, literal(SuppressionReason.HOLDOUT.value), literal(None, WHOLE_NUMBER)
        ).where(
            decision.c.rule_position.in_(held_back),
            decision.c.user_id.in_(select(held_out_user.c.user_id)),
            ~exists().where(refusal.c.sequence_number == decision.c.sequence_number),
        )
        yield insert(refusal).from_select(list(refusal.c), rows)


def _insert_blocked(blocks: Sequence[Block], places: Sequence[int], positions: Sequence[int]) -> Insert:
    earlier = blocked_user.alias("earlier")
    first = select(func.min(earlier.c.block_position)).where(
        earlier.c.user_id == decision.c.user_id, earlier.c.block_position.in_(places)
    )
    reason = case(
        *(
            (blocked_user.c.block_position == place, literal(f"{SuppressionReason.BLOCKED}{blocks[place].name}"))
            for place in places
        )
    )
    rows = (
        select(decision.c.sequence_number, reason, blocked_user.c.event_id)
        .join(blocked_user, blocked_user.c.user_id == decision.c.user_id)
        .where(decision.c.rule_position.in_(positions), blocked_user.c.block_position == first.scalar_subquery())
    )
    return insert(refusal).from_select(list(refusal.c), rows)


def take_back_refused() -> Update:
    """Return the statement that takes back the sends that a block or the holdout forbids."""
    refused = select(refusal.c.sequence_number)
    return update(decision).where(decision.c.sequence_number.in_(refused)).values(is_send=False)


def take_back_judged() -> Update:
    """Return the statement that takes back the sends that were refused one by one."""
    refused = select(verdict.c.sequence_number).where(verdict.c.reason.is_not(None))
    return update(decision).where(decision.c.sequence_number.in_(refused)).values(is_send=False)


def suppress(rules: Sequence[Rule], *, has_other_keys: bool = True) -> list[Insert | Update]:
    """Return the statements that take back the sends that must not go out, in the order in which they have to run.

    Without `has_other_keys`, no earlier send may have a key that names neither "ever" nor a UTC day.
    """
    ways = slice(None if has_other_keys else -1)
    statements: list[Insert | Update] = []
    if once_ever := _templates(rules, SuppressionMode.ONCE_EVER):
        firsts = _firsts(decision.c.user_id, decision.c.template_name)
        statements.append(_insert_daily_sends_of_history(once_ever))
        statements.append(_take_back(SuppressionMode.ONCE_EVER, firsts, _sent_before_ever(ways)))
    if _templates(rules, SuppressionMode.ONCE_PER_CALENDAR_DAY):
        day = UtcDay(decision.c.event_timestamp)
        firsts = _firsts(decision.c.user_id, decision.c.template_name, day)
        statements.append(_take_back(SuppressionMode.ONCE_PER_CALENDAR_DAY, firsts, _sent_before_on_day(ways)))
    return statements


def insert_send_requests(last_send_id: int, batch: Batch, rules: Mapping[int, Rule], *, has_verdicts: bool) -> Insert:
    """Return the statement that inserts the batch's sends and alerts into `send_requests`.

    Their ids continue from the last one, by sequence number, so a smaller id means an earlier decision.
    """
    exempt = [position for position, rule in rules.items() if Exemption.LIMITS in rule.exempt_from]
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
        SendRequest.decision_time: decision.c.waited_until,
        SendRequest.is_exempt_from_limits: decision.c.rule_position.in_(exempt) if exempt else false(),
    }
    if has_verdicts:
        columns[SendRequest.dedupe_key] = func.coalesce(verdict.c.dedupe_key, columns[SendRequest.dedupe_key])
    rows = select(*columns.values()).where(decision.c.is_send).order_by(decision.c.sequence_number)
    if has_verdicts:
        rows = rows.outerjoin_from(decision, verdict, verdict.c.sequence_number == decision.c.sequence_number)
    return insert(SendRequest).from_select(list(columns), rows)


def insert_daily_sends_of_batch(rules: Sequence[Rule], last_send_id: int) -> Insert:
    """Return the statement that adds the batch's own sends to `batch_daily_sends`."""
    shared = _templates(rules, SuppressionMode.ONCE_EVER) & _templates(rules, SuppressionMode.ONCE_PER_CALENDAR_DAY)
    sends = select(
        decision.c.user_id,
        decision.c.template_name,
        decision.c.event_timestamp,
        literal(last_send_id) + decision.c.sequence_number,
        decision.c.event_id,
    ).where(
        decision.c.is_send,
        _has_mode(SuppressionMode.ONCE_PER_CALENDAR_DAY),
        decision.c.template_name.in_(sorted(shared)),
    )
    return insert(daily_send).from_select(list(daily_send.c), sends)


def insert_suppressions(
    last_send_id: int, last_suppression_id: int, batch: Batch, *, has_refusals: bool, has_verdicts: bool
) -> Insert:
    """Return the statement that inserts the rest into `suppressions`, each with the send or the event that blocked it.

    What would have gone out if its event had not been too old is blocked by none and has expired. The ids continue from
    the highest one ever given: the database itself would reuse the id of a former suppression. Empty tables are left
    out, because the joins cost a tenth of deciding.
    """
    rows = select(decision, _blocking_send(last_send_id).label("blocking_send")).select_from(decision)
    if has_refusals:
        rows = rows.add_columns(
            refusal.c.reason.label("refusal_reason"), refusal.c.event_id.label("refusing_event_id")
        ).outerjoin(refusal, refusal.c.sequence_number == decision.c.sequence_number)
    if has_verdicts:
        rows = rows.add_columns(
            verdict.c.reason.label("verdict_reason"), verdict.c.blocked_by_id.label("judged_send")
        ).outerjoin(verdict, verdict.c.sequence_number == decision.c.sequence_number)
    refused = rows.where(not_(decision.c.is_send)).order_by(decision.c.sequence_number).subquery("refused").c
    reasons: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = [
        (refused.blocking_send.is_not(None), refused.suppression_mode)
    ]
    blocked_by: ColumnElement[Any] = refused.blocking_send
    blocked_by_event: ColumnElement[Any] = null()
    if has_verdicts:
        reasons.insert(0, (refused.verdict_reason.is_not(None), refused.verdict_reason))
        blocked_by = func.coalesce(refused.judged_send, refused.blocking_send)
    if has_refusals:
        reasons.append((refused.refusal_reason.is_not(None), refused.refusal_reason))
        blocked_by_event = case((case(*reasons) == refused.refusal_reason, refused.refusing_event_id))
    columns: dict[Any, ColumnElement[Any]] = {
        Suppression.id: literal(last_suppression_id) + func.row_number().over(order_by=refused.sequence_number),
        Suppression.user_id: refused.user_id,
        Suppression.event_id: refused.event_id,
        Suppression.template_name: refused.template_name,
        Suppression.suppression_reason: case(*reasons, else_=literal(SuppressionReason.EXPIRED.value)),
        Suppression.decided_at: literal(batch.decided_at, UtcDateTime),
        Suppression.rule_name: refused.rule_name,
        Suppression.ruleset_id: literal(batch.ruleset_id),
        Suppression.run_id: literal(batch.run_id, WHOLE_NUMBER),
        Suppression.event_timestamp: refused.event_timestamp,
        Suppression.blocked_by_send_request_id: blocked_by,
        Suppression.blocked_by_event_id: blocked_by_event,
        Suppression.decision_time: refused.waited_until,
    }
    return insert(Suppression).from_select(list(columns), select(*columns.values()))


def first_with_other_key() -> Select[int]:
    """Return the query of a send whose key names neither "ever" nor a UTC day; by the order of the index of these."""
    send = SendRequest
    in_order = send.user_id, send.template_name, send.event_timestamp
    return select(send.id).where(HAS_OTHER_KEY).order_by(*in_order).limit(1)


def _templates(rules: Sequence[Rule], mode: SuppressionMode) -> frozenset[str]:
    return frozenset(rule.action.template_name for rule in rules if rule.suppression.mode is mode)


def _insert_daily_sends_of_history(template_names: frozenset[str]) -> Insert:
    """The sends of earlier batches, read from the index on keys, where a template usually has none."""
    users = select(decision.c.user_id).where(_has_mode(SuppressionMode.ONCE_EVER))
    send = SendRequest
    sends = select(send.user_id, send.template_name, send.event_timestamp, send.id, send.event_id).where(
        SendRequest.template_name.in_(sorted(template_names)),
        SendRequest.dedupe_key >= DAY_KEY,
        SendRequest.dedupe_key < AFTER_DAY_KEYS,
        SendRequest.user_id.in_(users),
    )
    return insert(daily_send).from_select(list(daily_send.c), sends)


def _has_mode(mode: SuppressionMode) -> ColumnElement[bool]:
    return decision.c.suppression_mode == mode.value


def _firsts(*group: ColumnElement[Any]) -> Select[int]:
    """The earliest match of each group that can still go out, alerts aside, by sequence number."""
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
    """Whether a send request has the decision's template and user, and is not an alert."""
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


def _sent_before_ever(which: slice) -> ColumnElement[bool]:
    """Whether an earlier batch sent the template to the user at any time, by some of the ways to tell."""
    ways = _ways_to_name_no_day(SendRequest)[which]
    sent = (exists().where(_is_send_of_message(SendRequest), way) for way in ways)
    return or_(*sent, exists().where(_is_daily_send_of_message()))


def _sent_before_on_day(which: slice) -> ColumnElement[bool]:
    """Whether an earlier batch sent the template to the user on the decision's UTC day, by some of the ways to tell."""
    ways = _ways_to_be_on_day(SendRequest)[which]
    return or_(*(exists().where(_is_send_of_message(SendRequest), way) for way in ways))


def _ways_to_be_on_day(send: type[SendRequest]) -> Sequence[ColumnElement[bool]]:
    """Conditions on a send of the message; one of them holds if it went out on the decision's UTC day.

    Either its key names the day, or it has another kind of key and is looked up by its time. Each condition leads the
    planner to an index in which none of the user's other days has to be read.
    """
    day = UtcDay(decision.c.event_timestamp)
    ends = StartOfUtcDay(decision.c.event_timestamp), EndOfUtcDay(decision.c.event_timestamp)
    ever, other = _ways_to_name_no_day(send)
    return (
        send.dedupe_key == literal(DAY_KEY) + day,
        # By its key, which is unique: other shards may have written any number of sends of the day.
        and_(ever, BesideKey(send.event_timestamp).between(*ends)),
        and_(other, send.event_timestamp.between(*ends)),
    )


def _ways_to_name_no_day(send: type[SendRequest]) -> Sequence[ColumnElement[bool]]:
    """Conditions on a send; one holds if its key names no day, the last one if it does not name "ever" either."""
    return send.dedupe_key == EVER_KEY, HAS_OTHER_KEY


def _blocking_send(last_send_id: int) -> ColumnElement[int | None]:
    """The earliest send, by time and event, that had used up the "once" when the decision was made.

    A suppression with the mode `none` can only have expired, and no send is in its way.
    """
    send = aliased(SendRequest, name="blocking")
    before = literal(last_send_id) + decision.c.sequence_number
    sends = (
        select(send.id, send.event_timestamp, send.event_id)
        .where(_is_send_of_message(send), send.id < before)
        .order_by(send.event_timestamp, send.event_id, send.id)
    )
    daily_sends = (
        select(daily_send.c.send_request_id.label("id"), daily_send.c.event_timestamp, daily_send.c.event_id)
        .where(_is_daily_send_of_message(), daily_send.c.send_request_id < before)
        # No two daily sends of a message have the same time.
        .order_by(daily_send.c.event_timestamp)
    )
    ever = [*(sends.where(way) for way in _ways_to_name_no_day(send)), daily_sends]
    on_day = [sends.where(way) for way in _ways_to_be_on_day(send)]
    return case(
        (_has_mode(SuppressionMode.ONCE_EVER), _earliest(ever)),
        (_has_mode(SuppressionMode.ONCE_PER_CALENDAR_DAY), _earliest(on_day)),
    )


def _earliest(ways: Sequence[Select[int, datetime, int | None]]) -> ScalarSelect[int]:
    """The earliest among the first send of each kind, so that only these are read."""
    firsts = [way.correlate(decision).limit(1).subquery(f"first_{number}") for number, way in enumerate(ways, 1)]
    send = union_all(*(select(first) for first in firsts)).subquery("send")
    in_order = send.c.event_timestamp, send.c.event_id, send.c.id
    return select(send.c.id).order_by(*in_order).limit(1).scalar_subquery()


def dedupe_key(
    mode: ColumnElement[str],
    rule_name: ColumnElement[str],
    event_id: SQLColumnExpression[int],
    event_timestamp: SQLColumnExpression[datetime],
) -> ColumnElement[str]:
    """Return the dedupe key of a match's send: once ever, per UTC day, or (mode `none`) per event and rule."""
    return case(
        (mode == SuppressionMode.ONCE_EVER.value, literal(EVER_KEY)),
        (mode == SuppressionMode.ONCE_PER_CALENDAR_DAY.value, literal(DAY_KEY) + UtcDay(event_timestamp)),
        else_=literal("event:") + cast(event_id, String) + literal(":") + rule_name,
    )
