"""How a rule's condition compares: the operators, each with all of its properties."""

import operator
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any, Self

from sqlalchemy import ColumnElement, Integer, SQLColumnExpression, func

from src.marketing_messaging_service.infrastructure.sql_function import SqlFunction
from src.marketing_messaging_service.vocabulary.derived_field import Kind

Comparison = Callable[[Any, Any], ColumnElement[bool]]


class Operand(Enum):
    """What kind of value an operator takes."""

    VALUE = "a value"
    LIST = "a list of values"
    NOTHING = "no value"


class Takes(Enum):
    """Which fields an operator compares."""

    EVERYTHING = "every field"
    ORDERED = "numbers, dates and instants"
    TEXT = "text"

    def suits(self, kind: Kind) -> bool:
        """Return whether fields of a kind can be compared."""
        return {Takes.EVERYTHING: True, Takes.ORDERED: kind.is_ordered, Takes.TEXT: kind.is_text}[self]


class Position(SqlFunction[int]):
    """The place of a text in another, counted from 1; 0 if it is not in it. Letter by letter, unlike LIKE."""

    inherit_cache = True
    type = Integer()


def _contains(column: SQLColumnExpression[str], text: str) -> ColumnElement[bool]:
    return Position(column, text) > 0


def _starts_with(column: SQLColumnExpression[str], text: str) -> ColumnElement[bool]:
    return func.substr(column, 1, len(text)) == text


def _ends_with(column: SQLColumnExpression[str], text: str) -> ColumnElement[bool]:
    return func.substr(column, func.length(column) - len(text) + 1) == text


class Operator(StrEnum):
    """How a condition compares. A comparison with a missing value is false, whatever the operator."""

    words: str
    """Read between the field and the value, in a report."""
    operand: Operand
    takes: Takes
    compare: Comparison
    """The comparison of a column with a value. With NULL it is not true, as it must be for a missing value."""

    def __new__(cls, name: str, words: str, operand: Operand, takes: Takes, compare: Comparison) -> Self:
        """Return the operator, as the text that it is in rules.yaml, with what it does."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.words = words
        member.operand = operand
        member.takes = takes
        member.compare = compare
        return member

    EQUALS = "equals", "is", Operand.VALUE, Takes.EVERYTHING, operator.eq
    NOT_EQUALS = "not_equals", "is not", Operand.VALUE, Takes.EVERYTHING, operator.ne
    GT = "gt", "is more than", Operand.VALUE, Takes.ORDERED, operator.gt
    GTE = "gte", "is at least", Operand.VALUE, Takes.ORDERED, operator.ge
    LT = "lt", "is less than", Operand.VALUE, Takes.ORDERED, operator.lt
    LTE = "lte", "is at most", Operand.VALUE, Takes.ORDERED, operator.le
    IN = "in", "is one of", Operand.LIST, Takes.EVERYTHING, lambda column, values: column.in_(values)
    NOT_IN = "not_in", "is none of", Operand.LIST, Takes.EVERYTHING, lambda column, values: column.not_in(values)
    CONTAINS = "contains", "contains", Operand.VALUE, Takes.TEXT, _contains
    STARTS_WITH = "starts_with", "starts with", Operand.VALUE, Takes.TEXT, _starts_with
    ENDS_WITH = "ends_with", "ends with", Operand.VALUE, Takes.TEXT, _ends_with
    EXISTS = "exists", "is there", Operand.NOTHING, Takes.EVERYTHING, lambda column, _: column.is_not(None)
    NOT_EXISTS = "not_exists", "is missing", Operand.NOTHING, Takes.EVERYTHING, lambda column, _: column.is_(None)
