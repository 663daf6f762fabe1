"""Writes whether a condition holds for a match as SQL.

A comparison with NULL is not true, which within `all` and `any` is the same as false. A `not` would turn it round, so
there, and only there, NULL is made false first: truth has two values.

Conditions on other events read tables that were filled beforehand where they must (`looks`); everything else is read
from the match's own row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, assert_never

from sqlalchemy import ColumnElement, FromClause, SQLColumnExpression, and_, false, func, not_, or_, true

from src.marketing_messaging_service.decisions.conditions import (
    AllOf,
    AnyOf,
    Condition,
    FieldCondition,
    Happened,
    HappenedCondition,
    Negation,
    PriorEventCondition,
)
from src.marketing_messaging_service.vocabulary import Field


def _own_column(field: Field) -> ColumnElement[Any]:
    return field.column


@dataclass(frozen=True, slots=True)
class MatchRow:
    """The columns of what a condition is applied to: an event at a decision time."""

    event_id: SQLColumnExpression[int]
    user_id: SQLColumnExpression[str]
    event_timestamp: SQLColumnExpression[datetime]
    decision_time: SQLColumnExpression[datetime]
    sources: tuple[FromClause, ...]
    """The tables that these are columns of."""
    value: Callable[[Field], ColumnElement[Any]] = _own_column
    """The column of a property or trait of the event."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How to look up what a condition cannot read from the match's own row."""

    happened: Callable[[Happened, MatchRow], ColumnElement[bool]]
    latest: Callable[[Field, MatchRow], ColumnElement[Any]]


def holds(condition: Condition, row: MatchRow, looks: Looks) -> ColumnElement[bool]:
    """Return whether a condition holds; if not, the result is false or NULL."""
    match condition:
        case AllOf():
            return and_(true(), *(holds(part, row, looks) for part in condition.all))
        case AnyOf():
            return or_(*(holds(part, row, looks) for part in condition.any))
        case Negation():
            return not_(func.coalesce(holds(condition.not_, row, looks), false()))
        case HappenedCondition() | PriorEventCondition():
            return looks.happened(condition.happened, row)
        case FieldCondition(field=path):
            column = looks.latest(path.field, row) if path.is_latest else row.value(path.field)
            return condition.compared(column)
        case _:
            assert_never(condition)


class Bounds(Protocol):
    """What looks at other events came to, where that is uncertain: as much as can be true, or as must be."""

    def happened(self, look: Happened, /, *, open_as: bool) -> ColumnElement[bool]:
        """Return whether other events happened that often; `open_as` if that is not known."""

    def latest(self, condition: FieldCondition, /, *, open_as: bool) -> ColumnElement[bool]:
        """Return whether a comparison with a latest trait held; `open_as` if that is not known."""


class _Open:
    """Nothing is known about other events."""

    def happened(self, _look: Happened, /, *, open_as: bool) -> ColumnElement[bool]:
        return true() if open_as else false()

    def latest(self, _condition: FieldCondition, /, *, open_as: bool) -> ColumnElement[bool]:
        return true() if open_as else false()


def may_hold(condition: Condition, row: MatchRow) -> ColumnElement[bool]:
    """Return whether the event's own fields do not already make a condition false; what looks elsewhere stays open."""
    return _bound(condition, row, _Open(), open_as=True)


def at_most_true(condition: Condition, row: MatchRow, bounds: Bounds) -> ColumnElement[bool]:
    """Return whether a condition can have held then, as far as that is known."""
    return _bound(condition, row, bounds, open_as=True)


def at_least_true(condition: Condition, row: MatchRow, bounds: Bounds) -> ColumnElement[bool]:
    """Return whether a condition must have held then, as far as that is known."""
    return _bound(condition, row, bounds, open_as=False)


def _bound(condition: Condition, row: MatchRow, bounds: Bounds, *, open_as: bool) -> ColumnElement[bool]:
    """Return the greatest or least truth that a condition can have, whatever its open parts come to."""
    match condition:
        case AllOf():
            return and_(true(), *(_bound(part, row, bounds, open_as=open_as) for part in condition.all))
        case AnyOf():
            return or_(*(_bound(part, row, bounds, open_as=open_as) for part in condition.any))
        case Negation():
            return not_(func.coalesce(_bound(condition.not_, row, bounds, open_as=not open_as), false()))
        case FieldCondition(field=path) if not path.is_latest:
            return condition.compared(row.value(path.field))
        case HappenedCondition() | PriorEventCondition():
            return bounds.happened(condition.happened, open_as=open_as)
        case FieldCondition():
            return bounds.latest(condition, open_as=open_as)
        case _:
            assert_never(condition)
