"""Text functions in SQL."""

import json
import re
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    SQLColumnExpression,
    String,
    Table,
    TableValuedAlias,
    cast,
    func,
    literal,
    literal_column,
)

from src.marketing_messaging_service.infrastructure.sql_function import SqlFunction


def told(*parts: str | SQLColumnExpression[Any]) -> ColumnElement[str]:
    """Return words and the values of columns as one text; a missing value is shown as NULL."""
    return reduce(add, (literal(part) if isinstance(part, str) else _value(part) for part in parts))


def _value(column: SQLColumnExpression[Any]) -> ColumnElement[str]:
    return func.coalesce(cast(column, String), literal("NULL"))


def row_told(table: Table) -> ColumnElement[str]:
    """Return text that identifies a row of a table by its key."""
    first, *others = table.primary_key.columns
    parts = [part for column in others for part in (", ", column)]
    return told(f"{table.name}.{first.name} ", first, *parts)


def day_told(instant: SQLColumnExpression[Any]) -> ColumnElement[str]:
    """Return the UTC date of an instant, as text of the form 2026-11-23."""
    return func.substr(cast(instant, String), 1, 10)


class EpochSeconds(SqlFunction[int]):
    """The whole seconds from 1970-01-01 UTC to an instant."""

    inherit_cache = True
    type = BigInteger()


class SecondPart(SqlFunction[str]):
    """The part of a text between its first and second colon."""

    inherit_cache = True
    type = String()


class Fits(SqlFunction[bool]):
    """Whether a text fits a pattern in which * matches any characters, and [] one of those in it."""

    inherit_cache = True
    type = Boolean()

    def __init__(self, text: SQLColumnExpression[Any], pattern: str) -> None:
        expression = "".join(
            part if part.startswith("[") else re.escape(part).replace(r"\*", ".*")
            for part in re.split(r"(\[[^]]*\])", pattern)
        )
        super().__init__(text, literal_column(f"'{pattern}'"), literal_column(f"'^{expression}$'"))


class NumbersAsRows(SqlFunction[Any]):
    """The numbers of a list in JSON, one per row."""

    inherit_cache = True


def numbers_as_rows(numbers: Sequence[int]) -> TableValuedAlias:
    """Return any number of numbers as rows with a column `value`, in one parameter."""
    return NumbersAsRows(literal(json.dumps(list(numbers)))).table_valued("value", name="number")
