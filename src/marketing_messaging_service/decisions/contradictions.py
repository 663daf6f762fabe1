"""Finds out whether anything can meet a rule's conditions at all."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

from sqlalchemy import String

from src.marketing_messaging_service.decisions.comparing import Comparer, comparer
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
from src.marketing_messaging_service.infrastructure.column_types import units_of
from src.marketing_messaging_service.vocabulary import Operand, Operator
from src.marketing_messaging_service.vocabulary.values import LARGEST_INTEGER

MOST_WAYS = 256
"""How many ways in which a condition can hold are looked at; with more, one is taken to be possible."""

_FINITE = frozenset({Operator.EQUALS, Operator.IN})
"""The operators that leave a field only the values given with them."""


@dataclass(frozen=True, slots=True)
class _Demand:
    """A comparison or a count that must hold, or must not."""

    leaf: FieldCondition | Happened
    holds: bool


def can_match(condition: Condition) -> bool:
    """Return whether something can meet a condition; False only where nothing ever can.

    Fields and counts do not depend on each other: if each can be met, all can. For texts that are compared letter by
    letter, one is taken to be possible.
    """
    ways = _ways(condition, holds=True)
    if ways is None:
        return True
    if not any(_meet(way) for way in ways):
        return bool(ways)
    with comparer() as comparing:
        return any(_is_possible(comparing, way) for way in ways)


def _ways(condition: Condition, *, holds: bool) -> list[tuple[_Demand, ...]] | None:
    """Return the ways in which a condition can hold, or not hold; None if there are too many to look at."""
    match condition:
        case Negation():
            return _ways(condition.not_, holds=not holds)
        case FieldCondition():
            return [(_Demand(condition, holds),)]
        case HappenedCondition() | PriorEventCondition():
            return [(_Demand(condition.happened, holds),)]
        case AllOf():
            return _of_parts(condition.all, holds=holds, is_joined=holds)
        case AnyOf():
            return _of_parts(condition.any, holds=holds, is_joined=not holds)


def _of_parts(parts: Sequence[Condition], *, holds: bool, is_joined: bool) -> list[tuple[_Demand, ...]] | None:
    """Return the ways in which all of the conditions hold (or do not) if `is_joined`, else in which one does."""
    each = [_ways(part, holds=holds) for part in parts]
    known = [ways for ways in each if ways is not None]
    count = math.prod(map(len, known)) if is_joined else sum(map(len, known))
    if len(known) < len(each) or count > MOST_WAYS:
        return None
    if not is_joined:
        return [way for ways in known for way in ways]
    return [tuple(demand for way in chosen for demand in way) for chosen in product(*known)]


def _meet(way: Sequence[_Demand]) -> bool:
    """Return whether two of the demands are on the same field or count; otherwise none conflicts with another."""
    subjects = [_subject(demand.leaf) for demand in way]
    return len(set(subjects)) < len(subjects)


def _subject(leaf: FieldCondition | Happened) -> Any:
    if isinstance(leaf, FieldCondition):
        return str(leaf.field)
    # Two looks at the same events differ only in their counts.
    return repr(leaf.model_copy(update={"at_least": None, "at_most": None}))


def _is_possible(comparing: Comparer, way: Sequence[_Demand]) -> bool:
    comparisons: dict[Any, list[tuple[FieldCondition, bool]]] = defaultdict(list)
    counts: dict[Any, list[tuple[Happened, bool]]] = defaultdict(list)
    for demand in way:
        if isinstance(demand.leaf, FieldCondition):
            comparisons[_subject(demand.leaf)].append((demand.leaf, demand.holds))
        else:
            counts[_subject(demand.leaf)].append((demand.leaf, demand.holds))
    return all(map(_has_count, counts.values())) and all(_has_value(comparing, each) for each in comparisons.values())


def _has_count(demands: Sequence[tuple[Happened, bool]]) -> bool:
    tried = {0} | {
        count
        for happened, _ in demands
        for edge in (happened.least, happened.at_most)
        if edge is not None
        for count in (edge - 1, edge, edge + 1)
        if count >= 0
    }
    return any(all(_is_within(happened, count) == holds for happened, holds in demands) for count in tried)


def _is_within(happened: Happened, count: int) -> bool:
    return happened.least <= count and (happened.at_most is None or count <= happened.at_most)


def _has_value(comparing: Comparer, demands: Sequence[tuple[FieldCondition, bool]]) -> bool:
    first, _ = demands[0]
    kind, type_ = first.field.field.kind, first.field.field.column.type
    operands = list(dict.fromkeys(operand for condition, _ in demands for operand in _operands(condition)))

    def fits(value: Any, some: Iterable[tuple[FieldCondition, bool]] = demands, of: Any = None) -> bool:
        return all(comparing.holds(condition, value, of) == holds for condition, holds in some)

    if fits(None):
        return True
    on_presence = [each for each in demands if each[0].operator.operand is Operand.NOTHING]
    if not fits("anything", on_presence, String()):
        return False
    is_finite = any(holds and condition.operator in _FINITE for condition, holds in demands)
    if kind.is_text and not is_finite:
        return True
    tried = operands if is_finite else [value for operand in operands for value in _around(operand, type_)]
    return not operands or any(fits(value) for value in dict.fromkeys(tried))


def _operands(condition: FieldCondition) -> list[Any]:
    match condition.operator.operand:
        case Operand.NOTHING:
            return []
        case Operand.LIST:
            return list(condition.operand)
        case Operand.VALUE:
            return [condition.operand]


def _around(operand: Any, type_: Any) -> Iterator[Any]:
    """Yield each value compared with and its neighbours; all values between two of these behave alike."""
    yield operand
    match operand:
        case bool():
            yield not operand
        case float():
            yield from (math.nextafter(operand, -math.inf), math.nextafter(operand, math.inf))
        case int() if abs(operand) < LARGEST_INTEGER:
            yield from (operand - 1, operand + 1)
        case Decimal():
            unit = Decimal(1).scaleb(-type_.scale)
            yield from (each for each in (operand - unit, operand + unit) if units_of(each, type_.scale) is not None)
        case date():
            step = timedelta(microseconds=1) if isinstance(operand, datetime) else timedelta(days=1)
            for beside in (-step, step):
                with suppress(OverflowError):
                    yield operand + beside
