"""What must be true of send requests and suppressions, whatever the rules: nothing decided or sent twice."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.infrastructure.sql_text import day_told, told
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    DAY_KEY,
    EVER_KEY,
    Batch,
    BatchRule,
    Event,
    FormerSuppression,
    HeldEvent,
    Load,
    LoadState,
    Ruleset,
    RulesetRule,
    Run,
    SendRequest,
    Suppression,
)
from src.marketing_messaging_service.self_check.again import EVER_DECIDED, EverDecisionTable, is_decided_again
from src.marketing_messaging_service.vocabulary import Invariant, SuppressionReason

DecisionTable = type[SendRequest] | type[Suppression]

DECISION_TABLES: tuple[DecisionTable, ...] = (SendRequest, Suppression)

DAILY = "once_per_calendar_day"
"""The reason of a suppression that only a send of the same UTC day justifies."""


def _decisions_of_waiting_events(_connection: Connection) -> Iterator[Select[Any]]:
    under_way = aliased(Batch, name="under_way")
    for table in DECISION_TABLES:
        yield (
            select(told(_place(table), " of loads.id ", Load.id))
            .select_from(table)
            .join(Event, Event.id == table.event_id)
            .join(Load, Load.id == Event.load_id)
            .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
            .where(
                or_(
                    Load.state == LoadState.LOADED,
                    and_(HeldEvent.event_id.is_not(None), HeldEvent.run_id.is_(None)),
                ),
                # In a batch decided in shards, they wait until all shards are.
                ~exists().where(under_way.run_id == table.run_id, not_(under_way.is_complete)),
            )
        )


def _decisions_by_other_rulesets(_connection: Connection) -> Iterator[Select[Any]]:
    for table in DECISION_TABLES:
        # Decisions from before the ledger may name no rule, and their events have no load.
        decided_by = case((HeldEvent.event_id.is_(None), Load.ruleset_id), else_=Run.ruleset_id)
        is_of_load = and_(table.ruleset_id.is_not_distinct_from(decided_by), table.rule_name.is_not(None))
        yield (
            select(told(_place(table), ": rule ", table.rule_name, ", ruleset_id ", table.ruleset_id))
            .select_from(table)
            .join(Event, Event.id == table.event_id)
            .outerjoin(Load, Load.id == Event.load_id)
            .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
            .outerjoin(Run, Run.id == HeldEvent.run_id)
            .where(
                or_(
                    # One that its rule made when deciding again has the ruleset of its own run. So has one that waited.
                    and_(
                        decided_by.is_not(None),
                        not_(is_of_load),
                        not_(is_decided_again(table)),
                        table.decision_time.is_(None),
                    ),
                    and_(Event.load_id.is_(None), table.ruleset_id.is_not(None)),
                )
            )
        )


def _decisions_unlike_their_event(_connection: Connection) -> Iterator[Select[Any]]:
    for table in EVER_DECIDED:
        yield (
            select(told(_place(table), ": ", table.user_id, " at ", table.event_timestamp))
            .select_from(table)
            .join(Event, Event.id == table.event_id)
            .where(or_(table.user_id != Event.user_id, table.event_timestamp != Event.event_timestamp))
        )


def _repeated_decisions(_connection: Connection) -> Iterator[Select[Any]]:
    decision = union_all(*(select(table.event_id, table.rule_name) for table in DECISION_TABLES)).subquery("decision")
    yield (
        select(told("events.id ", decision.c.event_id, ": ", func.count(), " by ", decision.c.rule_name))
        .where(decision.c.event_id.is_not(None), decision.c.rule_name.is_not(None))
        .group_by(decision.c.event_id, decision.c.rule_name)
        .having(func.count() > 1)
    )


def _repeated_sends(_connection: Connection) -> Iterator[Select[Any]]:
    ids = func.aggregate_strings(cast(SendRequest.id, String), ", ")
    message = (SendRequest.user_id, ", ", SendRequest.template_name, ", ", SendRequest.dedupe_key)
    yield (
        select(told("send_requests.id ", ids, ": ", *message))
        # In the order of the index, so that nothing is sorted.
        .group_by(SendRequest.template_name, SendRequest.dedupe_key, SendRequest.user_id)
        .having(func.count() > 1)
    )


def _decision_time(table: Any) -> ColumnElement[Any]:
    """When a decision was due: at its event's time, unless its rule waited."""
    return func.coalesce(table.decision_time, table.event_timestamp)


class _Kind(StrEnum):
    """What a dedupe key says about how often a message may go out."""

    EVER = "ever"
    OWN_DAY = "own day"
    OTHER_DAY = "other day"
    OTHER = "other"


def _sends_after_another(connection: Connection) -> Iterator[Select[Any]]:
    """The once-only sends that follow another one; those that share a dedupe key are reported elsewhere."""
    kinds = _kinds_by_template(connection)
    # Most templates have keys of one kind, where only sends with the same key could follow one another.
    ever = [name for name, found in kinds.items() if _Kind.EVER in found and len(found) > 1]
    if ever:
        follow = _sends_after_one_of(ever, SendRequest.user_id, SendRequest.template_name)
        yield follow.where(SendRequest.dedupe_key == EVER_KEY)
    days = {_Kind.OWN_DAY, _Kind.OTHER_DAY}
    daily = [name for name, found in kinds.items() if days & found and found != {_Kind.OWN_DAY}]
    if daily:
        day = day_told(_decision_time(SendRequest))
        follow = _sends_after_one_of(daily, SendRequest.user_id, SendRequest.template_name, day)
        yield follow.where(SendRequest.dedupe_key.startswith(DAY_KEY))


def _kinds_by_template(connection: Connection) -> Mapping[str, set[_Kind]]:
    """The kinds of dedupe keys among each template's sends, alerts aside."""
    key = SendRequest.dedupe_key
    kind = case(
        (key == EVER_KEY, _Kind.EVER),
        (key == literal(DAY_KEY) + day_told(_decision_time(SendRequest)), _Kind.OWN_DAY),
        (key.startswith(DAY_KEY), _Kind.OTHER_DAY),
        else_=_Kind.OTHER,
    )
    kinds: dict[str, set[_Kind]] = defaultdict(set)
    found = select(SendRequest.template_name, kind).where(SendRequest.channel != ALERT_CHANNEL).distinct()
    for template_name, name in connection.execute(found):
        kinds[template_name].add(_Kind(name))
    return kinds


def _sends_after_one_of(template_names: Sequence[str], *reach: SQLColumnExpression[Any]) -> Select[Any]:
    """The sends that follow, in the order of decision, another one within their reach with a different dedupe key."""
    # Grouped beforehand, because no index leads from one send of a user to the next.
    another = (
        select(
            *(column.label(f"reach_{number}") for number, column in enumerate(reach)),
            SendRequest.dedupe_key,
            func.min(SendRequest.id).label("id"),
        )
        .where(SendRequest.channel != ALERT_CHANNEL, SendRequest.template_name.in_(template_names))
        .group_by(*reach, SendRequest.dedupe_key)
        .cte("another")
        .prefix_with("MATERIALIZED")
    )
    return (
        select(told(_place(SendRequest), " after send_requests.id ", func.min(another.c.id)))
        .select_from(SendRequest)
        # An outer join, because SQLite may not turn it around: it would look up the sends by their template alone.
        .outerjoin(
            another,
            and_(
                *(another.c[f"reach_{number}"] == column for number, column in enumerate(reach)),
                another.c.dedupe_key != SendRequest.dedupe_key,
                # Ids increase in the order in which decisions were made.
                another.c.id < SendRequest.id,
            ),
        )
        .where(SendRequest.template_name.in_(template_names))
        .group_by(SendRequest.id)
        .having(func.count(another.c.id) > 0)
    )


def _unjustified_suppressions(_connection: Connection) -> Iterator[Select[Any]]:
    send, event = aliased(SendRequest, name="send"), aliased(Event, name="blocking")
    reason, blocked_by = Suppression.suppression_reason, Suppression.blocked_by_send_request_id
    blocking = Suppression.blocked_by_event_id
    # A file that names a time zone may mean its days, which are not distinguished here. As a list; otherwise the text
    # of the rules is searched for each suppression: with 300 rules, that took twice as long as deciding.
    names_zone = Suppression.ruleset_id.in_(select(Ruleset.id).where(Ruleset.yaml_text.contains("timezone")))
    is_on_day = day_told(_decision_time(send)) == day_told(_decision_time(Suppression))
    has_reason = and_(
        send.user_id == Suppression.user_id,
        or_(SuppressionReason.LIMIT.holds(reason), send.template_name == Suppression.template_name),
        send.channel != ALERT_CHANNEL,
        or_(reason != DAILY, names_zone, is_on_day),
    )
    needs_no_send = or_(*(each.holds(reason) for each in SuppressionReason if each.blocked_by != blocked_by.key))
    needs_event = or_(*(each.holds(reason) for each in SuppressionReason if each.blocked_by == blocking.key))
    yield (
        select(told(_place(Suppression), ": ", reason, " by send_requests.id ", blocked_by))
        .select_from(Suppression)
        .outerjoin(send, send.id == blocked_by)
        # A suppression whose send is gone is reported by references_lead_somewhere.
        .where(
            Suppression.rule_name.is_not(None),
            case(
                (needs_no_send, and_(blocked_by.is_not(None), ~SuppressionReason.EXPIRED.holds(reason))),
                else_=or_(blocked_by.is_(None), not_(has_reason)),
            ),
        )
    )
    yield (
        select(told(_place(Suppression), ": ", reason, " by the event events.id ", blocking))
        .select_from(Suppression)
        .outerjoin(event, event.id == blocking)
        .where(blocking.is_not(None), or_(not_(needs_event), event.user_id != Suppression.user_id))
    )


def _may_expire() -> ColumnElement[bool]:
    """Whether a suppression's rule itself makes messages expire."""
    return exists().where(
        RulesetRule.ruleset_id == Suppression.ruleset_id,
        RulesetRule.rule_name == Suppression.rule_name,
        RulesetRule.expires_after_hours.is_not(None),
    )


def _wrongly_expired(connection: Connection) -> Iterator[Select[Any]]:
    """The sends on events that were too old, and the suppressions of ones that were not."""
    loading, deciding = aliased(Run, name="loading"), aliased(Run, name="deciding")
    # Looked up once, not for each of millions of sends.
    any_again = connection.execute(select(BatchRule.batch_id).limit(1)).first() is not None

    def is_too_old(table: EverDecisionTable) -> ColumnElement[bool]:
        by_own_limit = [HeldEvent.event_id.is_not(None), *([is_decided_again(table)] if any_again else [])]
        limit = case((or_(*by_own_limit), deciding.oldest_event_at), else_=loading.oldest_event_at)
        return func.coalesce(table.event_timestamp < limit, false())

    has_expired = SuppressionReason.EXPIRED.holds(Suppression.suppression_reason)
    is_blocked = Suppression.blocked_by_send_request_id.is_not(None)
    wrong: dict[EverDecisionTable, ColumnElement[bool]] = {
        # What waited was held to the age limit of the run that first decided on its event; its wait keeps that.
        SendRequest: and_(
            SendRequest.channel != ALERT_CHANNEL, SendRequest.decision_time.is_(None), is_too_old(SendRequest)
        ),
        Suppression: and_(
            has_expired,
            or_(
                and_(not_(is_too_old(Suppression)), Suppression.decision_time.is_(None), not_(_may_expire())),
                is_blocked,
            ),
        ),
        FormerSuppression: not_(is_too_old(FormerSuppression)),
    }
    for table, is_wrong in wrong.items():
        yield (
            select(told(_place(table), " at ", table.event_timestamp))
            .select_from(table)
            .join(Event, Event.id == table.event_id)
            .outerjoin(Load, Load.id == Event.load_id)
            .outerjoin(loading, loading.id == Load.run_id)
            .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
            .outerjoin(deciding, deciding.id == table.run_id)
            .where(is_wrong)
        )


def _decisions_of_other_runs(_connection: Connection) -> Iterator[Select[Any]]:
    for table in EVER_DECIDED:
        yield (
            select(told(_place(table), ": runs.id ", table.run_id, ", ruleset_id ", table.ruleset_id))
            .select_from(table)
            .join(Run, Run.id == table.run_id)
            .where(Run.ruleset_id.is_distinct_from(table.ruleset_id))
        )


def _place(table: EverDecisionTable) -> ColumnElement[str]:
    return told(f"{table.__tablename__}.id ", table.id, " on events.id ", table.event_id)


DECISION_INVARIANTS = (
    Invariant(
        "waiting_is_undecided",
        "No event of a load that waits to be decided has a decision",
        _decisions_of_waiting_events,
    ),
    Invariant(
        "ruleset_of_the_load",
        "Every decision names its rule, and the ruleset that decided its event's load unless its rule decided again",
        _decisions_by_other_rulesets,
    ),
    Invariant(
        "like_its_event",
        "Every decision has the user and the time of its event",
        _decisions_unlike_their_event,
    ),
    Invariant(
        "one_decision",
        "No rule decided twice on one event, as a send, a suppression or both",
        _repeated_decisions,
    ),
    Invariant(
        "one_send_a_key",
        "No two sends have the same user, template and dedupe key",
        _repeated_sends,
    ),
    Invariant(
        "once_is_once",
        "No send that may go out only once (ever, or per day) follows another of its template",
        _sends_after_another,
    ),
    Invariant(
        "blocked_by_a_send",
        "Every suppression names the send of the same user, template and scope that blocked it, unless it has expired",
        _unjustified_suppressions,
    ),
    Invariant(
        "expired_is_old",
        "No send is on an event older than its run allowed, and every expired suppression is on one",
        _wrongly_expired,
    ),
    Invariant(
        "run_of_the_decision",
        "Every decision has the ruleset of the run that made it",
        _decisions_of_other_runs,
    ),
)
