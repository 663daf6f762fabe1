"""Explains what became of many users' events under one rule: a funnel of conditions and reasons.

One statement per version of the rule finds for every event the step at which it dropped out, as the batch that decided
saw it, and whether today's data would say otherwise; its rows are then counted, with examples of users.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    inspect,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.conditions import AllOf, Condition, FieldCondition, happenings
from src.marketing_messaging_service.decisions.conditions import latest_traits as latest_traits_of
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.matching import PAYLOAD_TABLES
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.recorded_rules import recorded_file
from src.marketing_messaging_service.decisions.rules import Rule, Rules
from src.marketing_messaging_service.decisions.sql_time import SecondsAfter
from src.marketing_messaging_service.decisions.truth import MatchRow, holds
from src.marketing_messaging_service.decisions.wording import comparison_text, worded
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.explaining.one_user import (
    ALERT,
    HELD,
    LAPSED,
    NOT_MATCHED,
    SEND,
    SUPPRESSED,
    UNDECIDED,
    WAITING,
)
from src.marketing_messaging_service.explaining.seen import looks_at, seen_by
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    Batch,
    EndedWait,
    Event,
    HeldEvent,
    Load,
    Ruleset,
    RulesetRule,
    SendRequest,
    Suppression,
    WaitingMatch,
    WaitOutcome,
)
from src.marketing_messaging_service.vocabulary import SuppressionReason

MOST_EXAMPLES = 3
"""How many users are named for each step."""
MOST_READ = 20
"""How many versions of rules.yaml are read to see whether they say the same about the rule."""

_EVENT_ROW = (Event.__table__, *PAYLOAD_TABLES)

_deciding = aliased(Batch, name="deciding")
_asking = (inspect(_deciding).selectable, EndedWait.__table__)
"""The tables that say what was seen, and when."""


@dataclass(frozen=True, slots=True)
class Example:
    """An example: a user and one of their events."""

    user_id: str
    message_id: str


@dataclass(slots=True)
class Found:
    """A number of events, and a few users as examples."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, user_id: str, message_id: str) -> None:
        """Count an event; the first ones of different users become examples."""
        self.count += 1
        if len(self.examples) < MOST_EXAMPLES and all(each.user_id != user_id for each in self.examples):
            self.examples.append(Example(user_id, message_id))


@dataclass(frozen=True, slots=True)
class Step:
    """A test of the remaining events: how many pass, and how many do not."""

    kind: str
    """decided, enabled, wait, condition, group or reason."""
    words: str
    """What is true of those that pass."""
    left: int
    failed: Found


@dataclass(frozen=True, slots=True)
class Funnel:
    """What became of the events that one version of a rule looked at."""

    rule: Rule
    ruleset_hashes: tuple[str, ...]
    """The versions of rules.yaml with this text; none for undecided events, which the rules in force explain."""
    events: Found
    steps: tuple[Step, ...]
    """Those at which any event dropped out, and all of its conditions."""
    outcomes: dict[str, int]
    """How many events had each outcome."""
    went_out: Found
    """The messages decided to be sent, or alerts."""
    otherwise: Found
    """Those that today's data would explain differently, because of what came later."""


@dataclass(frozen=True, slots=True)
class SetAsked:
    """Which events are asked about."""

    rule_name: str
    since: datetime | None = None
    until: datetime | None = None
    where: tuple[FieldCondition, ...] = ()
    """What must be true of an event to be among them."""

    def __str__(self) -> str:
        ends = (f"{name} {at:%Y-%m-%d %H:%M}" for name, at in (("from", self.since), ("to", self.until)) if at)
        where = " and ".join(map(comparison_text, self.where))
        return " ".join([*ends, f"with {where}" if where else ""]).strip()


def explain_set(connection: Connection, asked: SetAsked, in_force: Rules | None) -> list[Funnel]:
    """Return what became of a set of events under a rule: a funnel per version of it; none if there is no event.

    `in_force` explains events that no run has decided yet. Raises ParameterError for a rule that never existed.
    """
    current = next((rule for rule in (in_force.rules if in_force else ()) if rule.name == asked.rule_name), None)
    triggers = select(RulesetRule.trigger_event_type).where(RulesetRule.rule_name == asked.rule_name).distinct()
    types = {*connection.execute(triggers).scalars(), *([current.trigger.event_type] if current else [])}
    if not types:
        refuse_unknown_rule(connection, asked.rule_name, in_force)
    funnels = []
    for rule, ruleset_ids in _versions(connection, asked, types, current):
        hashes = select(Ruleset.content_hash).where(Ruleset.id.in_(ruleset_ids)).order_by(Ruleset.id)
        rows = connection.execute(_left_at(asked, rule, ruleset_ids, is_current=rule == current))
        funnel = _funnel(rule, tuple(connection.execute(hashes).scalars()), rows)
        funnels += [funnel] if funnel.events.count else []
    return funnels


def refuse_unknown_rule(connection: Connection, name: str, in_force: Rules | None) -> None:
    """Raise ParameterError for a rule that is neither in force nor in any rules that decided."""
    known = {*connection.execute(select(RulesetRule.rule_name).distinct()).scalars()}
    known |= {rule.name for rule in in_force.rules} if in_force else set()
    if name in known:
        return
    near = get_close_matches(name, known, n=1)
    hint = f" did you mean {near[0]}?" if near else f" the rules are {', '.join(sorted(known)[:10]) or 'none'}."
    raise ParameterError(f"There is no rule {name}, and there never was;{hint}")


def _versions(
    connection: Connection, asked: SetAsked, types: set[str], current: Rule | None
) -> list[tuple[Rule, list[int]]]:
    """Return the rule's texts when it decided events of the set, with their rulesets; the one in force comes last."""
    every = select(Batch.ruleset_id).join(RulesetRule, RulesetRule.ruleset_id == Batch.ruleset_id)
    ruleset_ids = connection.execute(every.where(RulesetRule.rule_name == asked.rule_name).distinct()).scalars().all()
    said = _said(connection, asked.rule_name, ruleset_ids) if len(ruleset_ids) <= MOST_READ else {}
    # Looking up which versions decided takes as long as finding out what became of the events.
    if len(said) != 1:
        used = _events(asked, types).with_only_columns(_deciding.ruleset_id).distinct()
        said = _said(connection, asked.rule_name, list(filter(None, connection.execute(used).scalars())))
    if current is not None:
        said.setdefault(_key(current), (current, []))
    return [(current if current and _key(current) == key else rule, ids) for key, (rule, ids) in said.items()]


def _said(connection: Connection, name: str, ruleset_ids: Sequence[int]) -> dict[str, tuple[Rule, list[int]]]:
    """Return a rule's texts in some rulesets, each with the rulesets that have it."""
    said: dict[str, tuple[Rule, list[int]]] = {}
    for ruleset_id in sorted(ruleset_ids):
        file = recorded_file(connection, ruleset_id)
        for rule in file.rules if file else ():
            if rule.name == name:
                said.setdefault(_key(rule), (rule, []))[1].append(ruleset_id)
    return said


def _key(rule: Rule) -> str:
    return rule.model_dump_json(exclude={"description"})


def _events(asked: SetAsked, types: Iterable[str]) -> Select[Any]:
    """Return the events of a set, joined to everything that says what became of them."""
    name = asked.rule_name
    of_run = aliased(Batch, name="of_run")
    run_id = func.coalesce(SendRequest.run_id, Suppression.run_id)
    of_event = case((HeldEvent.event_id.is_not(None), HeldEvent.batch_id), else_=Load.batch_id)
    # What has lapsed was decided by no rule: it is listed under the rule that began to wait.
    of_wait = case((EndedWait.outcome == WaitOutcome.LAPSED, EndedWait.batch_id), else_=EndedWait.ended_batch_id)
    batch_id = func.coalesce(of_run.id, of_wait, WaitingMatch.batch_id, of_event)
    events: Select[Any] = with_payload(select(Event.id).select_from(Event))
    events = events.outerjoin(Load, Load.id == Event.load_id).outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
    for table in (SendRequest, Suppression, WaitingMatch, EndedWait):
        events = events.outerjoin(table, and_(table.event_id == Event.id, table.rule_name == name))
    events = events.outerjoin(of_run, of_run.run_id == run_id).outerjoin(_deciding, _deciding.id == batch_id)
    events = events.where(Event.event_type.in_(sorted(types)))
    if asked.since is not None:
        events = events.where(Event.event_timestamp >= asked.since)
    if asked.until is not None:
        events = events.where(Event.event_timestamp < asked.until)
    row = MatchRow(Event.id, Event.user_id, Event.event_timestamp, Event.event_timestamp, _EVENT_ROW)
    return events.where(*(holds(each, row, looks_at(None)) for each in asked.where))


def _left_at(asked: SetAsked, rule: Rule, ruleset_ids: Sequence[int], *, is_current: bool) -> Select[Any]:
    """Return each event's user_id, message_id and outcome, its reason, which condition failed, and more.

    `failed` is the number of the first condition that did not hold, from 1; `today` whether all hold today, null if
    that cannot have changed.
    """
    is_message = SendRequest.channel != ALERT_CHANNEL
    is_held = and_(HeldEvent.event_id.is_not(None), HeldEvent.batch_id.is_(None))
    outcome = case(
        (WaitingMatch.event_id.is_not(None), WAITING),
        (EndedWait.outcome == WaitOutcome.LAPSED, LAPSED),
        (SendRequest.id.is_not(None), case((is_message, SEND), else_=ALERT)),
        (Suppression.id.is_not(None), SUPPRESSED),
        (_deciding.id.is_not(None), NOT_MATCHED),
        (is_held, HELD),
        else_=UNDECIDED,
    )
    at: Any = Event.event_timestamp
    if rule.wait is not None:
        at = func.coalesce(EndedWait.decide_at, SecondsAfter(Event.event_timestamp, seconds_of(rule.wait_hours)))
    row = MatchRow(Event.id, Event.user_id, Event.event_timestamp, at, _EVENT_ROW)
    then = looks_at(seen_by(_deciding), *_asking)
    fails = (not_true(holds(each, row, then)) for each in conditions_of(rule))
    failed = [(each, literal(number)) for number, each in enumerate(fails, start=1)]
    is_unmatched = outcome == NOT_MATCHED
    today: ColumnElement[Any] = cast(literal(None), Integer)
    if any(happenings(rule.conditions)) or any(latest_traits_of(rule.conditions)):
        is_known = and_(_deciding.id.is_not(None), outcome.in_([NOT_MATCHED, SEND, SUPPRESSED, ALERT]))
        now = holds(rule.conditions, row, looks_at(None, *_asking))
        today = case((is_known, case((not_true(now), 0), else_=1)))
    undecided = [_deciding.id.is_(None)] if is_current else []
    return (
        _events(asked, [rule.trigger.event_type])
        .with_only_columns(
            Event.user_id,
            Event.message_id,
            outcome.label("outcome"),
            Suppression.suppression_reason.label("reason"),
            (case((is_unmatched, case(*failed, else_=0))) if failed else literal(0)).label("failed"),
            today.label("today"),
        )
        .where(or_(_deciding.ruleset_id.in_(ruleset_ids), *undecided))
        .order_by(Event.event_timestamp, Event.id)
    )


def not_true(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return whether a condition does not hold, or is NULL."""
    return ~func.coalesce(condition, false())


def conditions_of(rule: Rule) -> tuple[Condition, ...]:
    """Return the conditions that must hold together, in the order of the file."""

    def parts(condition: Condition) -> Iterator[Condition]:
        if isinstance(condition, AllOf):
            for part in condition.all:
                yield from parts(part)
        else:
            yield condition

    return tuple(parts(rule.conditions))


def _funnel(rule: Rule, ruleset_hashes: tuple[str, ...], rows: Iterable[Any]) -> Funnel:
    every, went_out, otherwise = Found(), Found(), Found()
    left: dict[tuple[int, str, str], Found] = defaultdict(Found)
    outcomes: Counter[str] = Counter()
    for row in rows:
        found = (row.user_id, row.message_id)
        every.add(*found)
        outcomes[row.outcome] += 1
        step = _step(rule, row)
        if step is None:
            went_out.add(*found)
        else:
            left[step].add(*found)
        has_matched = row.outcome != NOT_MATCHED or row.failed == 0
        if row.today is not None and bool(row.today) != has_matched:
            otherwise.add(*found)
    for number, condition in enumerate(conditions_of(rule), start=1):
        left[_CONDITION, f"{number:03}", worded(condition)]
    return Funnel(rule, ruleset_hashes, every, tuple(_steps(every.count, left)), dict(outcomes), went_out, otherwise)


_DECIDED, _ENABLED, _WAIT, _CONDITION, _GROUP, _REASON = range(6)
_KINDS = ("decided", "enabled", "wait", "condition", "group", "reason")


def _steps(count: int, left: dict[tuple[int, str, str], Found]) -> Iterator[Step]:
    """Yield the steps in order, with the number of events that pass."""
    for place, order, words in sorted(left):
        failed = left[place, order, words]
        count -= failed.count
        yield Step(_KINDS[place], words, count, failed)


def _step(rule: Rule, row: Any) -> tuple[int, str, str] | None:
    """Return the step at which an event dropped out (its place, and what is true of those that pass), or None."""
    if row.outcome == SUPPRESSED:
        return _REASON, *_reason(rule, row.reason)
    if row.outcome != NOT_MATCHED:
        return {
            UNDECIDED: (_DECIDED, "1", "decided by a run"),
            HELD: (_DECIDED, "2", "not held back until their time or for a backfill"),
            WAITING: (_WAIT, "1", f"their wait of {rule.wait_hours:g} h is over"),
            LAPSED: (_WAIT, "2", "the rule was still there when their wait was over"),
        }.get(row.outcome)
    if not rule.enabled:
        return _ENABLED, "", "the rule was on"
    if row.failed:
        return _CONDITION, f"{row.failed:03}", worded(conditions_of(rule)[row.failed - 1])
    return _GROUP, "", f"no rule before it in the group {rule.exclusive_group} had matched"


def _reason(rule: Rule, reason: str) -> tuple[str, str]:
    """Return a reason's place among others, and what is true of events to which it did not apply."""
    found = SuppressionReason.of(reason) or SuppressionReason.ONCE
    hours = rule.suppression.hours
    passed = found.passed.format(
        name=reason.removeprefix(found),
        reason=reason,
        once=rule.suppression.mode.words if hours is None else f"once within {hours.normalize():f} h",
        template_name=rule.action.template_name,
    )
    return f"{found.step}{reason}", passed
