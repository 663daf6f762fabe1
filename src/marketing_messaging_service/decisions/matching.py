"""Which events a rule matches, as SQL."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.not_by_index import NotByIndex
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.sql_time import SecondsAfter
from src.marketing_messaging_service.decisions.truth import Looks, MatchRow, holds, may_hold
from src.marketing_messaging_service.decisions.waiting import due_match
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import Event, EventProperties, UserTraits


@dataclass(frozen=True, slots=True)
class Asked:
    """What matching needs besides the events."""

    looks: Looks
    """How conditions look things up."""
    as_of: datetime
    one_by_one: Collection[int] = ()
    """The positions of the rules whose messages are decided one by one."""


PAYLOAD_TABLES = (EventProperties.__table__, UserTraits.__table__)

OWN_ROW = MatchRow(
    Event.id, Event.user_id, Event.event_timestamp, Event.event_timestamp, (Event.__table__, *PAYLOAD_TABLES)
)
"""An event that is decided at once, joined to its payload."""

_DUE_ROW = MatchRow(
    Event.id,
    Event.user_id,
    Event.event_timestamp,
    due_match.c.decision_time,
    (Event.__table__, due_match, *PAYLOAD_TABLES),
)
"""An event whose wait is over, joined to its payload."""


def matches(found: CompoundSelect[Any], rules: Mapping[int, Rule]) -> Select[Any]:
    """Return the matches of `every_match` that count: in an exclusive group, the first rule that matches an event."""
    if any(rule.exclusive_group is not None for rule in rules.values()):
        return _first_of_each_group(found)
    return select(found.subquery("every_match"))


def every_match(
    rules: Mapping[int, Rule], pending: ColumnElement[bool], asked: Asked, *, read_once: bool = False
) -> Sequence[Select[Any]]:
    """Return the matches of pending events with the rules that decide at once: a query per rule, by its position.

    With `read_once`, all the queries together look through the events once, and not each by itself; that pays where
    telling a pending event takes longer than keeping it. Columns: event_id, user_id, event_timestamp, waited_until
    (null), is_expired, and the rule's position, rule_name, template_name, channel, suppression_mode (null where it is
    decided one by one), is_alert, exclusive_group.
    """
    at_once = {position: rule for position, rule in rules.items() if rule.wait is None}
    row, is_asked = _read_once(at_once, pending) if read_once else (OWN_ROW, lambda rule: pending & has_trigger(rule))
    return [
        with_payload(_match(position, rule, row, asked).select_from(row.sources[0]), row.event_id).where(
            is_asked(rule), holds(rule.conditions, row, asked.looks)
        )
        for position, rule in at_once.items()
    ]


def _read_once(
    rules: Mapping[int, Rule], pending: ColumnElement[bool]
) -> tuple[MatchRow, Callable[[Rule], ColumnElement[bool]]]:
    """Return the pending events of the rules' types, and which of them a rule looks at."""
    types = sorted({rule.trigger.event_type for rule in rules.values()})
    own = (
        select(Event.id, Event.user_id, Event.event_type, Event.event_timestamp)
        .where(pending, NotByIndex(Event.event_type).in_(types))
        .cte("pending_events")
    )
    row = MatchRow(own.c.id, own.c.user_id, own.c.event_timestamp, own.c.event_timestamp, (own, *PAYLOAD_TABLES))
    # As a CASE, because the planner assumes that half of the rows satisfy it; for a comparison, one in two hundred.
    return row, lambda rule: case((own.c.event_type == rule.trigger.event_type, true()), else_=false())


def due_matches(rules: Mapping[int, Rule], asked: Asked) -> Sequence[Select[Any]]:
    """Return the matches whose wait is over and whose conditions hold, in the columns of `every_match`."""
    return [
        with_payload(
            _match(position, rule, _DUE_ROW, asked).select_from(due_match).join(Event, Event.id == due_match.c.event_id)
        ).where(due_match.c.rule_position == position, holds(rule.conditions, _DUE_ROW, asked.looks))
        for position, rule in rules.items()
        if rule.wait is not None
    ]


def beginning_waits(rule: Rule, pending: ColumnElement[bool], is_too_old: ColumnElement[bool]) -> Select[Any]:
    """Return the pending events that begin to wait for a rule: event_id, rule_name, decide_at and is_too_old.

    These are the events of its type for which its conditions are not already false whatever comes.
    """
    decide_at = SecondsAfter(Event.event_timestamp, seconds_of(rule.wait_hours))
    events: Select[*tuple[Any, ...]] = select(
        Event.id.label("event_id"),
        literal(rule.name).label("rule_name"),
        decide_at.label("decide_at"),
        is_too_old.label("is_too_old"),
    ).select_from(Event)
    return with_payload(events).where(pending, has_trigger(rule), may_hold(rule.conditions, OWN_ROW))


def _match(position: int, rule: Rule, row: MatchRow, asked: Asked) -> Select[*tuple[Any, ...]]:
    has_waited = row is _DUE_ROW
    expires: list[ColumnElement[bool]] = [due_match.c.is_too_old.is_(true())] if has_waited else []
    if rule.expires_after_hours is not None:
        expires.append(SecondsAfter(row.decision_time, seconds_of(rule.expires_after_hours)) < asked.as_of)
    group = null() if rule.exclusive_group is None else literal(rule.exclusive_group)
    mode = null() if position in asked.one_by_one else literal(rule.suppression.mode.value)
    return select(
        row.event_id.label("event_id"),
        row.user_id,
        row.event_timestamp,
        (row.decision_time if has_waited else cast(null(), UtcDateTime)).label("waited_until"),
        (or_(*expires) if expires and not rule.action.is_alert else cast(false(), Boolean)).label("is_expired"),
        literal(position).label("rule_position"),
        literal(rule.name).label("rule_name"),
        literal(rule.action.template_name).label("template_name"),
        literal(rule.action.delivery_method).label("channel"),
        cast(mode, String).label("suppression_mode"),
        literal(rule.action.is_alert).label("is_alert"),
        cast(group, String).label("exclusive_group"),
    )


def has_trigger(rule: Rule) -> ColumnElement[bool]:
    """Return the condition that an event has the type that a rule looks at; it is not used to find such events."""
    return NotByIndex(Event.event_type) == rule.trigger.event_type


def _first_of_each_group(found: CompoundSelect[Any]) -> Select[Any]:
    match = found.subquery("every_match")
    place = func.row_number().over(
        partition_by=(match.c.event_id, match.c.exclusive_group), order_by=match.c.rule_position
    )
    ranked = select(match, place.label("place_in_group")).subquery("ranked")
    return select(*(ranked.c[column.name] for column in match.c)).where(
        or_(ranked.c.exclusive_group.is_(None), ranked.c.place_in_group == 1)
    )


def together(queries: Sequence[Select[Any]]) -> CompoundSelect[Any]:
    """Return the rows of all the queries."""
    return union_all(*queries)
