"""Checks that every limit held: what it refused found it full, and nothing went out beyond it. Reads only.

Each user's sends and refusals are read once, batch by batch, in the order in which they were decided; each limit is
taken as it was then.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, and_, false, func, literal, null, select, union_all

from src.marketing_messaging_service.decisions.calendar import moved, period_of
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.recorded_rules import usable_files
from src.marketing_messaging_service.decisions.rules import Exemption, Limit, Rule, Rules
from src.marketing_messaging_service.models import ALERT_CHANNEL, Batch, RulesetRule, SendRequest, Suppression
from src.marketing_messaging_service.vocabulary import SuppressionReason

MOST_TOLD = 100
"""How many breaches are looked for; beyond this many, the exact number matters little."""

ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class _Decision:
    """A send, or a refusal by a limit."""

    id: int
    user_id: str
    ruleset_id: int
    rule_name: str
    template_name: str
    channel: str
    decision_time: datetime
    event_id: int
    is_exempt: bool
    reason: str | None
    blocked_by_id: int | None
    is_placed: bool

    @property
    def place(self) -> str:
        """Where it is, in words."""
        table = SendRequest if self.reason is None else Suppression
        return f"{table.__tablename__}.id {self.id}: {self.rule_name} on events.id {self.event_id}"


def wrong_limits(connection: Connection) -> Iterator[Select[Any]]:
    """Yield a row for each refusal by a limit that was not full, and each send beyond one."""
    files = {ruleset_id: _File(whole) for ruleset_id, whole in usable_files(connection)}
    limited = sorted(ruleset_id for ruleset_id, file in files.items() if file.whole.limits)
    if not limited:
        return
    rows = connection.execute(
        _decisions(limited), execution_options={"stream_results": True, "max_row_buffer": ROWS_AT_ONCE}
    )
    decisions = (_Decision(*row) for row in rows)
    by_user = (of_user for _, of_user in groupby(decisions, key=lambda decision: decision.user_id))
    try:
        found = list(islice((said for of_user in by_user for said in _breaches(of_user, files)), MOST_TOLD))
    except (TypeError, ValueError):
        # Another invariant reports text that is not a time.
        return
    for said in found:
        yield select(literal(said))


class _File:
    """What a version of the rules says about limits."""

    def __init__(self, whole: Rules) -> None:
        self.whole = whole
        self._rules = {rule.name: rule for rule in whole.rules}
        self._limits: dict[str, tuple[Limit, ...]] = {}

    def limits_of(self, rule_name: str) -> tuple[Limit, ...]:
        """The limits that a rule is held to."""
        if rule_name not in self._limits:
            rule = self._rules.get(rule_name)
            self._limits[rule_name] = () if rule is None else tuple(_held_to(self.whole, rule))
        return self._limits[rule_name]


def _held_to(whole: Rules, rule: Rule) -> Iterator[Limit]:
    if not rule.action.is_alert and Exemption.LIMITS not in rule.exempt_from:
        yield from (limit for limit in whole.limits if limit.covers(rule.action))


def _decisions(limited: Sequence[int]) -> Select[Any]:
    """The sends, and the refusals by limits, of users whom a limit concerned; by user, in order of decision."""
    of_limit = SuppressionReason.LIMIT.holds(Suppression.suppression_reason)
    queries = []
    for table, conditions, columns in (
        (
            SendRequest,
            (SendRequest.channel != ALERT_CHANNEL,),
            (SendRequest.channel, SendRequest.is_exempt_from_limits, null(), null()),
        ),
        (
            Suppression,
            (of_limit,),
            (RulesetRule.channel, false(), Suppression.suppression_reason, Suppression.blocked_by_send_request_id),
        ),
    ):
        channel, is_exempt, reason, blocked_by = columns
        queries.append(
            select(
                table.id,
                table.user_id,
                table.ruleset_id,
                table.rule_name,
                table.template_name,
                channel.label("channel"),
                func.coalesce(table.decision_time, table.event_timestamp).label("decision_time"),
                func.coalesce(table.event_id, 0).label("event_id"),
                is_exempt.label("is_exempt"),
                reason.label("reason"),
                blocked_by.label("blocked_by_id"),
                Batch.id.is_not(None).label("is_placed"),
                func.coalesce(Batch.id, 0).label("batch_id"),
                func.coalesce(RulesetRule.rule_position, 0).label("rule_position"),
            )
            .select_from(table)
            .outerjoin(Batch, Batch.run_id == table.run_id)
            .outerjoin(
                RulesetRule,
                and_(RulesetRule.ruleset_id == table.ruleset_id, RulesetRule.rule_name == table.rule_name),
            )
            .where(*conditions)
        )
    every = union_all(*queries).subquery("every_decision").c
    users = union_all(
        *(select(table.user_id).where(table.ruleset_id.in_(limited)) for table in (SendRequest, Suppression))
    )
    shown = [column for column in every if column.name not in ("batch_id", "rule_position")]
    order = (every.user_id, every.batch_id, every.decision_time, every.event_id, every.rule_position)
    return select(*shown).where(every.user_id.in_(users)).order_by(*order)


class _Sent:
    """The sends so far that a selection of channels and templates counts, in order of time."""

    def __init__(self) -> None:
        self.sends: list[tuple[datetime, int, int]] = []
        self.periods: dict[Hashable, list[tuple[datetime, int, int]]] = defaultdict(list)

    def add(self, decision: _Decision, calendars: Iterable[tuple[Any, ZoneInfo]]) -> None:
        """Take in a send."""
        own = (decision.decision_time, decision.event_id, decision.id)
        insort(self.sends, own)
        for calendar, zone in calendars:
            insort(self.periods[calendar, zone.key, period_of(calendar, own[0], zone)], own)

    def blocker(self, limit: Limit, zone: ZoneInfo, at: datetime) -> int | None:
        """Return the earliest send that fills a limit for a message at an instant, None if there is room."""
        if limit.calendar is not None:
            held = self.periods.get((limit.calendar, zone.key, period_of(limit.calendar, at, zone)), [])
            return held[0][2] if len(held) >= limit.at_most else None
        length = timedelta(seconds=seconds_of(limit.hours)) if limit.hours is not None else timedelta(0)
        first = bisect_right(self.sends, moved(at, -length), key=_time)
        # The full window ends at the message, or at a send less than its length later.
        place = bisect_right(self.sends, at, key=_time)
        ends = place
        while True:
            end = at if ends == place else self.sends[ends - 1][0]
            if ends > place and end >= moved(at, length):
                return None
            if ends - bisect_right(self.sends, moved(end, -length), key=_time) >= limit.at_most:
                return self.sends[first][2]
            if ends == len(self.sends):
                return None
            ends += 1


def _time(send: tuple[datetime, int, int]) -> datetime:
    return send[0]


Selection = tuple[tuple[str, ...] | None, tuple[str, ...] | None]


def _breaches(decisions: Iterable[_Decision], files: Mapping[int, _File]) -> Iterator[str]:
    """Yield what is wrong with the sends and refusals of one user."""
    own = list(decisions)
    if not all(each.is_placed for each in own):
        # For decisions from before runs were recorded, nobody knows what came first.
        return
    limits = {
        (limit.channels, limit.templates, limit.calendar, file.whole.timezone.key): (limit, file.whole.timezone)
        for ruleset_id in {each.ruleset_id for each in own}
        if (file := files.get(ruleset_id))
        for limit in file.whole.limits
    }
    counted: dict[Selection, _Sent] = defaultdict(_Sent)
    calendars: dict[Selection, list[tuple[Any, ZoneInfo]]] = defaultdict(list)
    for limit, zone in limits.values():
        calendars[limit.channels, limit.templates] += [(limit.calendar, zone)] if limit.calendar else []
    by_selection = {(limit.channels, limit.templates): limit for limit, _ in limits.values()}
    for each in own:
        file = files.get(each.ruleset_id)
        for limit in file.limits_of(each.rule_name) if file else ():
            sent = counted[limit.channels, limit.templates]
            full_by = sent.blocker(limit, file.whole.timezone, each.decision_time) if file else None
            is_named = each.reason == f"{SuppressionReason.LIMIT}{limit.name}"
            if each.reason is None and full_by is not None:
                yield f"{each.place}: beyond the limit {limit.name}, with send_requests.id {full_by}"
            elif is_named and full_by is None:
                yield f"{each.place}: the limit {limit.name} was not full"
            elif is_named and full_by != each.blocked_by_id:
                yield f"{each.place}: {limit.name} was filled by send_requests.id {full_by}, not {each.blocked_by_id}"
            elif each.reason is not None and full_by is not None and not is_named:
                yield f"{each.place}: {each.reason}, and the limit {limit.name} before it was full"
            if each.reason is not None and (is_named or full_by is not None):
                break
        if each.reason is None and not each.is_exempt:
            for selection, limit in by_selection.items():
                if limit.counts(each.channel, each.template_name):
                    counted[selection].add(each, calendars[selection])
