"""Words and columns as one text, in SQL."""

from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, String, cast, func, literal


def told(*parts: str | SQLColumnExpression[Any]) -> ColumnElement[str]:
    """Return words and the values of columns as one text; a missing value is told as NULL."""
    return reduce(add, (literal(part) if isinstance(part, str) else _value(part) for part in parts))


def _value(column: SQLColumnExpression[Any]) -> ColumnElement[str]:
    return func.coalesce(cast(column, String), literal("NULL"))
