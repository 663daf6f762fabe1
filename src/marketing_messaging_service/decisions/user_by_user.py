"""Takes the matches that SQL cannot decide to `once_and_limits`, user by user, and brings back its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    String,
    Table,
    func,
    insert,
    not_,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.compiler import SQLCompiler

from src.marketing_messaging_service.decisions.calendar import moved
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.not_by_index import NotByIndex
from src.marketing_messaging_service.decisions.once_and_limits import Candidate, OneByOne, Send, Verdict
from src.marketing_messaging_service.decisions.outcomes import decision, decision_time, refusal, verdict
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import UTC, Exemption, Rule, Rules
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    Event,
    EventProperties,
    RulesetRule,
    SendRequest,
    UserTraits,
)
from src.marketing_messaging_service.vocabulary import Field, Period, SuppressionMode

VERDICTS_AT_ONCE = 10_000
ROWS_AT_ONCE = 2_000

_judged_user = Table(
    "batch_judged_users",
    MetaData(),
    Column("user_id", String, primary_key=True),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""The users with matches that are decided one by one."""


def one_by_one(connection: Connection, whole: Rules, rules: Mapping[int, Rule]) -> frozenset[int]:
    """Return the positions of the rules whose messages SQL cannot decide as a set: all rules of a template, or none.

    SQL cannot decide a template if one of its rules waits, is held to a limit, or has a "once" other than ever or the
    UTC day: per hours, week, month, day of another zone, or value of a field. Nor if one of its rules ever waited.
    """
    templates = {rule.action.template_name for rule in rules.values() if _needs_order(whole, rule)}
    waited = select(RulesetRule.template_name).where(RulesetRule.wait_hours.is_not(None)).distinct()
    templates |= set(connection.execute(waited).scalars())
    return frozenset(
        position
        for position, rule in rules.items()
        if not rule.action.is_alert and rule.action.template_name in templates
    )


def _needs_order(whole: Rules, rule: Rule) -> bool:
    mode, period = rule.suppression.mode, rule.suppression.mode.period
    if rule.action.is_alert:
        return False
    return (
        rule.wait is not None
        or mode.needs_hours
        or (period is not None and (period is not Period.DAY or whole.timezone.key != UTC))
        or bool(rule.suppression.per)
        or (Exemption.LIMITS not in rule.exempt_from and any(limit.covers(rule.action) for limit in whole.limits))
    )


def judge(
    connection: Connection, whole: Rules, rules: Mapping[int, Rule], positions: Iterable[int], last_send_id: int
) -> None:
    """Fill `batch_verdicts` with the outcomes, given the earlier sends, of the matches that are decided one by one."""
    judged = {position: rules[position] for position in positions}
    fields = _per_fields(judged.values())
    engine = OneByOne(whole, judged, [field.path for field in fields])
    matches = _by_user(connection, _candidates(judged, fields), _candidate)
    # If nothing was ever sent, nobody's earlier sends are looked up.
    earlier: Iterator[Any] = iter(())
    if last_send_id:
        _judged_user.create(connection, checkfirst=False)
        users = select(decision.c.user_id).where(*_is_judged(), _depends_on_sends(judged)).distinct()
        connection.execute(insert(_judged_user).from_select(["user_id"], users))
        earlier = _by_user(connection, _earlier_sends(connection, whole, judged, fields), _send)
    found = _verdicts(engine, matches, earlier, last_send_id)
    while some := list(islice(found, VERDICTS_AT_ONCE)):
        _insert_verdicts(connection, some)
    if last_send_id:
        _judged_user.drop(connection, checkfirst=False)


def _insert_verdicts(connection: Connection, verdicts: Sequence[Verdict]) -> None:
    # In the driver's own form, because converting each value again takes as long as inserting it.
    compiled = insert(verdict).compile(dialect=connection.dialect)
    names = (compiled.positiontup if isinstance(compiled, SQLCompiler) else None) or []
    rows = map(attrgetter(*names), verdicts) if names else (each._asdict() for each in verdicts)
    connection.exec_driver_sql(str(compiled), list(rows))


def _is_judged() -> tuple[ColumnElement[bool], ...]:
    return decision.c.suppression_mode.is_(None), not_(decision.c.is_alert)


def _depends_on_sends(rules: Mapping[int, Rule]) -> ColumnElement[bool]:
    """Return whether a match's outcome depends on sends; that of a refused one does if its rule has a once mode."""
    with_once = [position for position, rule in rules.items() if rule.suppression.mode is not SuppressionMode.NONE]
    is_refused = decision.c.sequence_number.in_(select(refusal.c.sequence_number))
    return or_(decision.c.rule_position.in_(with_once), not_(is_refused))


def _per_fields(rules: Iterable[Rule]) -> tuple[Field, ...]:
    paths = {str(path): path.field for rule in rules for path in rule.suppression.per or ()}
    return tuple(paths.values())


def _verdicts(
    engine: OneByOne,
    matches: Iterator[tuple[str, Iterable[Candidate]]],
    earlier: Iterator[tuple[str, Iterable[Send]]],
    last_send_id: int,
) -> Iterator[Verdict]:
    """Yield every user's verdicts; both inputs are in the same order, and nobody has earlier sends without a match."""
    of_user = next(earlier, None)
    for user_id, candidates in matches:
        sends: Iterable[Send] = ()
        if of_user is not None and of_user[0] == user_id:
            sends = list(of_user[1])
        yield from engine.verdicts(candidates, sends, last_send_id)
        if of_user is not None and of_user[0] == user_id:
            of_user = next(earlier, None)


def _by_user(
    connection: Connection, query: Select[Any], made: Callable[[Sequence[Any]], Any]
) -> Iterator[tuple[str, Iterator[Any]]]:
    """Yield each user of a query with what its rows make."""
    result = connection.execute(query, execution_options={"stream_results": True, "max_row_buffer": ROWS_AT_ONCE})
    # In lots, because fetching rows one at a time takes twice as long.
    every_row = chain.from_iterable(result.partitions(ROWS_AT_ONCE))
    for user_id, rows in groupby(every_row, key=itemgetter(0)):
        yield user_id, map(made, rows)


def _candidate(row: Sequence[Any]) -> Candidate:
    # By position, because naming the columns of each row takes longer than deciding on it.
    _, sequence_number, event_id, at, position, reason, is_expired, *values = row
    return Candidate(sequence_number, event_id, at, position, reason, is_expired, tuple(values))


def _send(row: Sequence[Any]) -> Send:
    _, send_id, event_id, at, template_name, channel, is_exempt, *values = row
    return Send(send_id, event_id or 0, at, template_name, channel, is_exempt, tuple(values))


def _candidates(rules: Mapping[int, Rule], fields: Sequence[Field]) -> Select[Any]:
    rows = (
        select(
            decision.c.user_id,
            decision.c.sequence_number,
            decision.c.event_id,
            decision_time(decision.c).label("at"),
            decision.c.rule_position,
            refusal.c.reason,
            decision.c.is_expired,
            *(field.column for field in fields),
        )
        .select_from(decision)
        .outerjoin(refusal, refusal.c.sequence_number == decision.c.sequence_number)
    )
    if fields:
        rows = rows.outerjoin(EventProperties, EventProperties.event_id == decision.c.event_id).outerjoin(
            UserTraits, UserTraits.event_id == decision.c.event_id
        )
    judged = rows.where(*_is_judged(), _depends_on_sends(rules))
    return judged.order_by(decision.c.user_id, decision.c.sequence_number)


def _earlier_sends(
    connection: Connection, whole: Rules, rules: Mapping[int, Rule], fields: Sequence[Field]
) -> Select[Any]:
    """Return the sends of earlier batches that can be in the way, ordered by user.

    They are found through the user's events (those of types that trigger messages), because only the sends of rules
    that wait have an index that begins with the user.
    """
    # The query starts from the users: SQLite might otherwise read every send of rules that wait, to look up its user.
    user_id = NotByIndex(_judged_user.c.user_id)
    at = func.coalesce(SendRequest.decision_time, SendRequest.event_timestamp)
    columns = [
        _judged_user.c.user_id,
        SendRequest.id,
        SendRequest.event_id,
        at.label("at"),
        SendRequest.template_name,
        SendRequest.channel,
        SendRequest.is_exempt_from_limits,
    ]
    is_message = SendRequest.channel != ALERT_CHANNEL
    near_event, near_wait = _near(connection, whole, rules)
    by_event = (
        select(*columns, *(field.column for field in fields))
        .select_from(_judged_user)
        .join(Event, Event.user_id == user_id)
        .join(SendRequest, SendRequest.event_id == Event.id)
        .where(
            is_message,
            SendRequest.decision_time.is_(None),
            Event.event_type.in_(_trigger_types(connection, whole, rules)),
            *near_event,
        )
    )
    by_wait = (
        select(*columns, *(field.column for field in fields))
        .select_from(_judged_user)
        .join(SendRequest, SendRequest.user_id == user_id)
        .outerjoin(Event, Event.id == SendRequest.event_id)
        .where(is_message, SendRequest.decision_time.is_not(None), *near_wait)
    )
    without_event = (
        select(*columns, *(null() for _ in fields))
        .select_from(_judged_user)
        .join(SendRequest, SendRequest.user_id == user_id)
        .where(is_message, SendRequest.event_id.is_(None), SendRequest.decision_time.is_(None))
    )
    queries = [with_payload(by_event), with_payload(by_wait)] if fields else [by_event, by_wait]
    every = union_all(*queries, without_event).subquery("earlier")
    return select(every).order_by(every.c.user_id)


def _trigger_types(connection: Connection, whole: Rules, rules: Mapping[int, Rule]) -> Sequence[str]:
    """Return the types of events that ever led to a message that can be in the way."""
    types = select(RulesetRule.trigger_event_type).distinct()
    if not whole.limits or all(limit.templates is not None for limit in whole.limits):
        templates = {rule.action.template_name for rule in rules.values()}
        templates |= {name for limit in whole.limits for name in limit.templates or ()}
        types = types.where(RulesetRule.template_name.in_(sorted(templates)))
    return connection.execute(types).scalars().all()


def _near(
    connection: Connection, whole: Rules, rules: Mapping[int, Rule]
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """Return the conditions on sends that are near enough, by their event's time and by a waited decision time."""
    reach = reach_of(whole, rules)
    first, last = connection.execute(
        select(func.min(decision_time(decision.c)), func.max(decision_time(decision.c))).where(*_is_judged())
    ).one()
    if reach is None or first is None:
        return [], []
    start, end = moved(first, -reach), moved(last, reach)
    return [Event.event_timestamp.between(start, end)], [SendRequest.decision_time.between(start, end)]


def reach_of(whole: Rules, rules: Mapping[int, Rule]) -> timedelta | None:
    """Return how far apart a send and a match can be for one to be in the other's way; None without bounds."""
    lengths = [timedelta(0)]
    for mode, hours in {(rule.suppression.mode, rule.suppression.hours) for rule in rules.values()}:
        if mode is SuppressionMode.ONCE_EVER:
            return None
        lengths += [mode.period.longest] if mode.period else []
        lengths += [timedelta(seconds=seconds_of(hours))] if hours is not None else []
    for limit in whole.limits:
        lengths += [limit.calendar.longest] if limit.calendar else []
        # A window that contains the match may begin before it and end after it, so sends on either side count.
        lengths += [2 * timedelta(seconds=seconds_of(limit.hours))] if limit.hours is not None else []
    return max(lengths)
