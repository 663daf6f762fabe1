"""Lets rules decide events that were decided before without them, or when they had expired.

A rule that a run names in `decide_again` decides an event of the run's window that was decided before

- if it has no decision on it; if it is in an exclusive group, no rule of the group may have decided the event, and it
  must be the group's first rule that matches now;
- or if it has an expired suppression on it that would no longer expire, and no other rule of its group has decided.

No other decision is touched. What is waiting is left to the run that decides it.
"""

import difflib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    Insert,
    MetaData,
    Select,
    Table,
    and_,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.matching import Asked, beginning_waits, every_match, together
from src.marketing_messaging_service.decisions.not_by_index import NotByIndex
from src.marketing_messaging_service.decisions.outcomes import decision
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.sql_time import SecondsAfter
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.models import (
    EndedWait,
    Event,
    FormerSuppression,
    HeldEvent,
    Load,
    LoadState,
    RulesetRule,
    SendRequest,
    Suppression,
    WaitingMatch,
)
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.vocabulary import SuppressionReason
from src.marketing_messaging_service.yaml_file import word

MOST_NAMES = 10
"""How many rules an error lists."""

event_again = Table(
    "batch_events_again",
    MetaData(),
    Column("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
"""The events of the window that were decided before and that a named rule looks at."""


def named_rules(rules_file: RulesFile, names: Sequence[str]) -> Mapping[int, Rule]:
    """Return the rules that are to decide again, by their position among the enabled rules.

    Raises ParameterError, suggesting the nearest name, for one that the file does not have or has switched off.
    """
    positions = {rule.name: position for position, rule in enumerate(rules_file.enabled_rules)}
    for name in names:
        if name not in positions:
            shown = word(name) or repr(name)
            is_off = any(rule.name == name for rule in rules_file.rules)
            why = _is_off() if is_off else f"the rules file does not have{_nearest(name, list(positions))}"
            raise ParameterError(f"decide_again names the rule {shown}, which {why} Nothing was decided.")
    return {position: rules_file.enabled_rules[position] for position in sorted(positions[name] for name in names)}


def _is_off() -> str:
    return "is off in the rules file; switch it on there, or leave it out."


def _nearest(name: str, enabled: Sequence[str]) -> str:
    if nearest := difflib.get_close_matches(name, enabled, n=1):
        return f"; did you mean {word(nearest[0])}?"
    if not enabled:
        return "; no rule is on."
    beyond = len(enabled) - MOST_NAMES
    more = f" and {beyond} more" if beyond > 0 else ""
    return f"; the rules that are on: {', '.join(word(each) for each in enabled[:MOST_NAMES])}{more}."


def insert_events_again(named: Mapping[int, Rule], window: Window, latest_event_at: datetime | None) -> Insert:
    """Return the statement that fills `batch_events_again`.

    Events from before loads were recorded are left out: nobody knows what was decided about them.
    """
    types = sorted({rule.trigger.event_type for rule in named.values()})
    waits = exists().where(HeldEvent.event_id == Event.id, HeldEvent.run_id.is_(None))
    is_decided = exists().where(Load.id == Event.load_id, Load.state != LoadState.LOADED)
    events = select(Event.id).where(
        Event.event_timestamp >= window.start,
        Event.event_timestamp < window.end,
        true() if latest_event_at is None else Event.event_timestamp <= latest_event_at,
        NotByIndex(Event.event_type).in_(types),
        is_decided,
        not_(waits),
    )
    return insert(event_again).from_select(["event_id"], events)


def is_again(event_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return whether an event was decided before."""
    return exists().where(event_again.c.event_id == event_id)


def matches_again(
    rules: Mapping[int, Rule],
    named: Mapping[int, Rule],
    ruleset_id: int,
    oldest_event_at: datetime | None,
    asked: Asked,
) -> Select[Any]:
    """Return the matches that the named rules decide again, in the columns of `matching.matches`.

    `rules` are all enabled rules, `ruleset_id` is their version, whose rules are already recorded; events before
    `oldest_event_at` expire.
    """
    groups = {rule.exclusive_group for rule in named.values()} - {None}
    of_groups = {
        position: rule for position, rule in rules.items() if position in named or rule.exclusive_group in groups
    }
    decided_before = Event.id.in_(select(event_again.c.event_id))
    match = together(every_match(of_groups, decided_before, asked)).subquery("match_again")
    place = func.row_number().over(
        partition_by=(match.c.event_id, func.coalesce(match.c.exclusive_group, literal(":") + match.c.rule_name)),
        order_by=match.c.rule_position,
    )
    ranked = select(match, place.label("place_in_group")).subquery("ranked_again").c
    own_decision = _decision_of(ranked)
    has_own_expired = exists().where(
        Suppression.event_id == ranked.event_id,
        Suppression.rule_name == ranked.rule_name,
        SuppressionReason.EXPIRED.holds(Suppression.suppression_reason),
    )
    expires_no_more: ColumnElement[bool] = not_(ranked.is_expired)
    if oldest_event_at is not None:
        expires_no_more = and_(expires_no_more, ranked.event_timestamp >= oldest_event_at)
    return select(*(ranked[column.name] for column in match.c)).where(
        ranked.rule_position.in_(list(named)),
        not_(_is_decided_by_another_of_its_group(ranked, ruleset_id)),
        or_(
            and_(has_own_expired, expires_no_more),
            # A rule without a group has its own place.
            and_(not_(own_decision), ranked.place_in_group == 1),
        ),
    )


def waits_again(
    rule: Rule, as_of: datetime, oldest_event_at: datetime | None, *, until_data: datetime | None
) -> Select[Any]:
    """Return the events that begin to wait again for a named rule, in the columns of `matching.beginning_waits`.

    These are events on which it has no decision and that do not wait for it; and those with an expired suppression
    whose wait is over, so that its place is free when they are decided.
    """
    decide_at = SecondsAfter(Event.event_timestamp, seconds_of(rule.wait_hours))
    last = as_of if until_data is None else min(as_of, until_data)
    is_in_time: ColumnElement[bool] = true()
    if rule.expires_after_hours is not None:
        is_in_time = SecondsAfter(decide_at, seconds_of(rule.expires_after_hours)) >= as_of
    is_too_old = false() if oldest_event_at is None else Event.event_timestamp < oldest_event_at
    has_expired = exists().where(
        Suppression.event_id == Event.id,
        Suppression.rule_name == rule.name,
        SuppressionReason.EXPIRED.holds(Suppression.suppression_reason),
    )
    has_decision = or_(
        *(
            exists().where(table.event_id == Event.id, table.rule_name == rule.name)
            for table in (SendRequest, Suppression)
        )
    )
    waits = exists().where(WaitingMatch.event_id == Event.id, WaitingMatch.rule_name == rule.name)
    decided_before = Event.id.in_(select(event_again.c.event_id))
    return beginning_waits(rule, decided_before, is_too_old).where(
        not_(waits), or_(not_(has_decision), and_(has_expired, not_(is_too_old), is_in_time, decide_at < last))
    )


def forget_ended_waits(rule: Rule) -> Delete:
    """Return the statement that deletes the former endings of waits that have just begun again."""
    waits = exists().where(WaitingMatch.event_id == EndedWait.event_id, WaitingMatch.rule_name == EndedWait.rule_name)
    return delete(EndedWait).where(EndedWait.rule_name == rule.name, waits)


def _decision_of(match: Any) -> ColumnElement[bool]:
    """Whether the rule of a match has a decision on its event."""
    return or_(
        *(
            exists().where(table.event_id == match.event_id, table.rule_name == match.rule_name)
            for table in (SendRequest, Suppression)
        )
    )


def _is_decided_by_another_of_its_group(match: Any, ruleset_id: int) -> ColumnElement[bool]:
    """Whether the event was decided by another rule that is in the match's group now, or was when it decided."""
    ways = []
    for table in (SendRequest, Suppression):
        other = aliased(RulesetRule, name=f"group_of_{table.__tablename__}")
        ways.append(
            exists().where(
                table.event_id == match.event_id,
                table.rule_name != match.rule_name,
                other.rule_name == table.rule_name,
                or_(other.ruleset_id == ruleset_id, other.ruleset_id == table.ruleset_id),
                other.exclusive_group == match.exclusive_group,
            )
        )
    return or_(*ways)


_MOVED = tuple(column.name for column in FormerSuppression.__table__.columns if column.name != "batch_id")
"""The columns that a former suppression keeps unchanged."""


def keep_former_suppressions(batch_id: int) -> Insert:
    """Return the statement that keeps the expired suppressions that the batch replaces."""
    replaced = (
        select(*(Suppression.__table__.c[name] for name in _MOVED), literal(batch_id))
        .join(
            decision, and_(decision.c.event_id == Suppression.event_id, decision.c.rule_name == Suppression.rule_name)
        )
        .order_by(Suppression.id)
    )
    return insert(FormerSuppression).from_select([*_MOVED, "batch_id"], replaced)


def delete_former_suppressions(batch_id: int) -> Delete:
    """Return the statement that deletes from `suppressions` what `keep_former_suppressions` has kept."""
    kept = select(FormerSuppression.id).where(FormerSuppression.batch_id == batch_id)
    return delete(Suppression).where(Suppression.id.in_(kept))
