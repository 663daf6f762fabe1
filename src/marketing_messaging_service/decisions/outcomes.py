"""What becomes of a match: a send, an alert or a suppression, as SQL over all matches at once.

One match at a time, in the order (event_timestamp, event id, position of the rule), a message with the mode
`once_ever` goes out if the user has had none of its template before, one with `once_per_calendar_day` if none on
that UTC day, and one with `none` always; alerts take no part. Seen over a whole batch that comes to this:

- A `once_ever` goes out if nothing of that user and template went out before the batch, and it is the first match
  of them in the batch; for the first match always goes out, whatever its mode.
- A `once_per_calendar_day` goes out if nothing went out on that day before the batch, and it is the first on that
  day of the matches that can go out at all, which leaves out the `once_ever` that do not.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CTE,
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    MetaData,
    ScalarSelect,
    Select,
    String,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    not_,
    select,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.rules import SuppressionMode
from src.marketing_messaging_service.decisions.sql_time import EndOfUtcDay, StartOfUtcDay, UtcDay
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import ALERT_CHANNEL, SendRequest, Suppression

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

decision = Table(
    "batch_decisions",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("event_id", Integer),
    Column("user_id", String),
    Column("event_timestamp", UtcDateTime),
    Column("rule_position", Integer),
    Column("rule_name", String),
    Column("template_name", String),
    Column("channel", String),
    Column("suppression_mode", String),
    Column("is_alert", Boolean),
    Column("is_send", Boolean),
    prefixes=["TEMPORARY"],
)
"""The decisions of one batch, in the order in which they are made one at a time.

`id` counts on from the last send request, so that a send request made from a row takes the row's id, and a send
with a smaller id than another decision's had gone out when that one was made.
"""


def decide(matches: CTE, last_send_id: int) -> Insert:
    """Return the statement that fills `batch_decisions` from the matches of a batch."""
    standing = _with_standing(matches).cte("standing")
    contending = _with_contention(standing).cte("contending")
    ordinal = func.row_number().over(order_by=_order(contending))
    rows = select(
        (literal(last_send_id) + ordinal).label("id"),
        *(contending.c[name] for name in _MATCH_COLUMNS),
        _goes_out(contending).label("is_send"),
    )
    return insert(decision).from_select(["id", *_MATCH_COLUMNS, "is_send"], rows)


def insert_send_requests(ruleset_id: int, decided_at: datetime) -> Insert:
    """Return the statement that makes send requests of the batch's sends and alerts."""
    columns: dict[Any, ColumnElement[Any]] = {
        SendRequest.id: decision.c.id,
        SendRequest.user_id: decision.c.user_id,
        SendRequest.event_id: decision.c.event_id,
        SendRequest.template_name: decision.c.template_name,
        SendRequest.channel: decision.c.channel,
        SendRequest.reason: literal("rule:") + decision.c.rule_name,
        SendRequest.decided_at: literal(decided_at, UtcDateTime),
        SendRequest.rule_name: decision.c.rule_name,
        SendRequest.ruleset_id: literal(ruleset_id),
        SendRequest.event_timestamp: decision.c.event_timestamp,
        SendRequest.dedupe_key: _dedupe_key(),
    }
    rows = select(*columns.values()).where(decision.c.is_send).order_by(decision.c.id)
    return insert(SendRequest).from_select(list(columns), rows)


def insert_suppressions(ruleset_id: int, decided_at: datetime) -> Insert:
    """Return the statement that makes suppressions of the rest, each with the send that blocked it."""
    columns: dict[Any, ColumnElement[Any] | ScalarSelect[Any]] = {
        Suppression.user_id: decision.c.user_id,
        Suppression.event_id: decision.c.event_id,
        Suppression.template_name: decision.c.template_name,
        Suppression.suppression_reason: decision.c.suppression_mode,
        Suppression.decided_at: literal(decided_at, UtcDateTime),
        Suppression.rule_name: decision.c.rule_name,
        Suppression.ruleset_id: literal(ruleset_id),
        Suppression.event_timestamp: decision.c.event_timestamp,
        Suppression.blocked_by_send_request_id: _blocking_send(),
    }
    rows = select(*columns.values()).where(not_(decision.c.is_send)).order_by(decision.c.id)
    return insert(Suppression).from_select(list(columns), rows)


def _order(matched: FromClause) -> tuple[ColumnElement[Any], ...]:
    return matched.c.event_timestamp, matched.c.event_id, matched.c.rule_position


def _has_mode(matched: FromClause, mode: SuppressionMode) -> ColumnElement[bool]:
    return matched.c.suppression_mode == mode.value


def _with_standing(matches: CTE) -> Select[Any]:
    """Add to each match whether it is the first of its user and template that ever goes out."""
    place = func.row_number().over(
        partition_by=(matches.c.user_id, matches.c.template_name, matches.c.is_alert), order_by=_order(matches)
    )
    return select(
        matches,
        case(
            (_has_mode(matches, SuppressionMode.ONCE_EVER), and_(place == 1, not_(_sent_before(matches)))),
            else_=literal(value=True),
        ).label("can_go_out"),
    )


def _with_contention(standing: CTE) -> Select[Any]:
    """Add to each match its place among those of its user, template and UTC day that can go out."""
    place = func.row_number().over(
        partition_by=(
            standing.c.user_id,
            standing.c.template_name,
            standing.c.is_alert,
            UtcDay(standing.c.event_timestamp),
            standing.c.can_go_out,
        ),
        order_by=_order(standing),
    )
    return select(standing, place.label("place_on_day"))


def _goes_out(contending: CTE) -> ColumnElement[bool]:
    on_day_before = _sent_before(
        contending, StartOfUtcDay(contending.c.event_timestamp), EndOfUtcDay(contending.c.event_timestamp)
    )
    return case(
        (
            _has_mode(contending, SuppressionMode.ONCE_PER_CALENDAR_DAY),
            and_(contending.c.place_on_day == 1, not_(on_day_before)),
        ),
        else_=contending.c.can_go_out,
    )


def _sent_before(
    matched: FromClause,
    earliest: ColumnElement[datetime] | None = None,
    latest: ColumnElement[datetime] | None = None,
) -> ColumnElement[bool]:
    """Whether an earlier batch sent the match's template to its user, ever or within a range of event time."""
    sent = exists().where(
        SendRequest.user_id == matched.c.user_id,
        SendRequest.template_name == matched.c.template_name,
        SendRequest.channel != ALERT_CHANNEL,
    )
    if earliest is not None and latest is not None:
        sent = sent.where(SendRequest.event_timestamp.between(earliest, latest))
    return sent


def _blocking_send() -> ScalarSelect[int]:
    """Return the earliest send, in event time, that had used up the "once" when the decision was made."""
    send = aliased(SendRequest, name="blocking")
    once_ever = _has_mode(decision, SuppressionMode.ONCE_EVER)
    earliest = case(
        (once_ever, literal(datetime.min.replace(tzinfo=UTC), UtcDateTime)),
        else_=StartOfUtcDay(decision.c.event_timestamp),
    )
    latest = case(
        (once_ever, literal(datetime.max.replace(tzinfo=UTC), UtcDateTime)),
        else_=EndOfUtcDay(decision.c.event_timestamp),
    )
    return (
        select(send.id)
        .where(
            send.user_id == decision.c.user_id,
            send.template_name == decision.c.template_name,
            send.channel != ALERT_CHANNEL,
            send.event_timestamp.between(earliest, latest),
            send.id < decision.c.id,
        )
        .order_by(send.event_timestamp, send.id)
        .limit(1)
        .scalar_subquery()
    )


def _dedupe_key() -> ColumnElement[str]:
    """Return what a send may happen once for: ever, a UTC day, or (mode none) this event and rule."""
    return case(
        (_has_mode(decision, SuppressionMode.ONCE_EVER), literal("ever")),
        (
            _has_mode(decision, SuppressionMode.ONCE_PER_CALENDAR_DAY),
            literal("day:") + UtcDay(decision.c.event_timestamp),
        ),
        else_=literal("event:") + cast(decision.c.event_id, String) + literal(":") + decision.c.rule_name,
    )
