"""How a rule's condition compares: the operators, each with all that is known of it."""

import operator
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any, Self

from sqlalchemy import ColumnElement

Comparison = Callable[[Any, Any], ColumnElement[bool]]


class Operand(Enum):
    """What stands beside an operator."""

    VALUE = "a value"
    LIST = "a list of values"
    NOTHING = "no value"


class Operator(StrEnum):
    """How a condition compares. A comparison with a missing value is false, whatever the operator."""

    words: str
    """Read between the field and the value, in a report."""
    operand: Operand
    needs_order: bool
    """Whether only values that have an order can be compared by it."""
    compare: Comparison
    """The comparison of a column with a value. One with NULL is not true, which is what a missing value means."""

    def __new__(cls, name: str, words: str, operand: Operand, needs_order: bool, compare: Comparison) -> Self:
        """Return the operator, as the text that it is in rules.yaml, with what it does."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.words = words
        member.operand = operand
        member.needs_order = needs_order
        member.compare = compare
        return member

    EQUALS = "equals", "is", Operand.VALUE, False, operator.eq
    NOT_EQUALS = "not_equals", "is not", Operand.VALUE, False, operator.ne
    GT = "gt", "is more than", Operand.VALUE, True, operator.gt
    GTE = "gte", "is at least", Operand.VALUE, True, operator.ge
    LT = "lt", "is less than", Operand.VALUE, True, operator.lt
    LTE = "lte", "is at most", Operand.VALUE, True, operator.le
    IN = "in", "is one of", Operand.LIST, False, lambda column, values: column.in_(values)
    EXISTS = "exists", "is there", Operand.NOTHING, False, lambda column, _: column.is_not(None)
    NOT_EXISTS = "not_exists", "is missing", Operand.NOTHING, False, lambda column, _: column.is_(None)
