"""Which events a rule matches, as SQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.decisions.rules import (
    Condition,
    FieldCondition,
    PriorEvent,
    Rule,
)
from src.marketing_messaging_service.decisions.sql_time import SecondsBefore
from src.marketing_messaging_service.models import Event, EventProperties, UserTraits


class NotByIndex(FunctionElement[Any]):
    """A column whose comparisons choose among rows already found, and are no way to find rows.

    The new events are found by the range of their ids. With the statistics of ANALYZE, where there are few users
    and many types of event, SQLite's planner would rather read every event of the type in all of history, user by
    user; its unary plus tells it not to. It changes no value.
    """

    inherit_cache = True

    def __init__(self, column: InstrumentedAttribute[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(NotByIndex)
def _not_by_index(element: NotByIndex, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(NotByIndex, "sqlite")
def _not_by_index_sqlite(element: NotByIndex, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


def matches(rules: Sequence[Rule], pending: ColumnElement[bool]) -> Select[Any]:
    """Return the matches of pending events with rules, one row a match.

    Columns: event_id, user_id, event_timestamp, and of the rule its position in the given sequence (from 0),
    rule_name, template_name, channel, suppression_mode, is_alert, exclusive_group. Of the rules of one exclusive
    group only the first that matches an event stands.
    """
    found = every_match(dict(enumerate(rules)), pending)
    if any(rule.exclusive_group is not None for rule in rules):
        return _first_of_each_group(found)
    return select(found.subquery("every_match"))


def every_match(rules: Mapping[int, Rule], pending: ColumnElement[bool]) -> CompoundSelect[Any]:
    """Return the matches of pending events with rules by position, in the columns of `matches`, groups or not."""
    return union_all(*(_matches_of_rule(position, rule, pending) for position, rule in rules.items()))


def _matches_of_rule(position: int, rule: Rule, pending: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Event.id.label("event_id"),
            Event.user_id,
            Event.event_timestamp,
            literal(position).label("rule_position"),
            literal(rule.name).label("rule_name"),
            literal(rule.action.template_name).label("template_name"),
            literal(rule.action.delivery_method).label("channel"),
            literal(rule.suppression.mode.value).label("suppression_mode"),
            literal(rule.action.is_alert).label("is_alert"),
            (null() if rule.exclusive_group is None else literal(rule.exclusive_group))
            .cast(String)
            .label("exclusive_group"),
        )
        .select_from(Event)
        .outerjoin(EventProperties, EventProperties.event_id == Event.id)
        .outerjoin(UserTraits, UserTraits.event_id == Event.id)
        .where(pending, has_trigger(rule))
        .where(*(holds(condition) for condition in rule.conditions.all))
    )


def with_children(events: Select[Any]) -> Select[Any]:
    """Return events joined to their properties and traits, as `holds` asks for."""
    return events.outerjoin(EventProperties, EventProperties.event_id == Event.id).outerjoin(
        UserTraits, UserTraits.event_id == Event.id
    )


def has_trigger(rule: Rule) -> ColumnElement[bool]:
    """Return the condition that an event is of the type that a rule looks at; it is no way to find such events."""
    return NotByIndex(Event.event_type) == rule.trigger.event_type


def holds(condition: Condition) -> ColumnElement[bool]:
    """Return a condition of a rule as one on an event that is joined to its properties and traits."""
    if isinstance(condition, FieldCondition):
        column = condition.field.column
        return condition.operator.compare(column, _bound(condition.operand, column.type))
    return _came_before(condition.prior_event)


def _bound(operand: Any, type_: TypeEngine[Any]) -> Any:
    """Return a value of a rule, or a list of them, bound with the type of the column that it is compared with.

    Left to its own type, a whole number would be none of 64 bits, nor a number like those of a column with decimals.
    """
    if operand is None:
        return None
    if isinstance(operand, list | tuple | set | frozenset):
        return [literal(each, type_) for each in operand]
    return literal(operand, type_)


def _came_before(prior_event: PriorEvent) -> ColumnElement[bool]:
    prior = aliased(Event, name="prior")
    return exists().where(
        prior.user_id == Event.user_id,
        prior.event_type == prior_event.event_type,
        prior.event_timestamp.between(SecondsBefore(Event.event_timestamp, prior_event.seconds), Event.event_timestamp),
        prior.id != Event.id,
    )


def _first_of_each_group(found: CompoundSelect[Any]) -> Select[Any]:
    match = found.subquery("every_match")
    place = func.row_number().over(
        partition_by=(match.c.event_id, match.c.exclusive_group), order_by=match.c.rule_position
    )
    ranked = select(match, place.label("place_in_group")).subquery("ranked")
    return select(*(ranked.c[column.name] for column in match.c)).where(
        or_(ranked.c.exclusive_group.is_(None), ranked.c.place_in_group == 1)
    )
