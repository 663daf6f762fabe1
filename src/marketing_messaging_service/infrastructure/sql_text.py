"""Text functions in SQL, written for each database."""

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
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


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


class EpochSeconds(FunctionElement[int]):
    """The whole seconds from 1970-01-01 UTC to an instant."""

    inherit_cache = True
    type = BigInteger()


@compiles(EpochSeconds)
def _epoch_seconds(element: EpochSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(strftime('%s', substr({_argument(element, compiler, **options)}, 1, 19)) AS INTEGER)"


@compiles(EpochSeconds, "postgresql")
def _epoch_seconds_postgresql(element: EpochSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(floor(EXTRACT(EPOCH FROM {_argument(element, compiler, **options)})) AS bigint)"


class SecondPart(FunctionElement[str]):
    """The part of a text between its first and second colon."""

    inherit_cache = True
    type = String()


@compiles(SecondPart)
def _second_part(element: SecondPart, compiler: SQLCompiler, **options: Any) -> str:
    text = _argument(element, compiler, **options)
    behind = f"substr({text}, instr({text}, ':') + 1)"
    return f"substr({behind}, 1, instr({behind}, ':') - 1)"


@compiles(SecondPart, "postgresql")
def _second_part_postgresql(element: SecondPart, compiler: SQLCompiler, **options: Any) -> str:
    return f"split_part({_argument(element, compiler, **options)}, ':', 2)"


class Fits(FunctionElement[bool]):
    """Whether a text fits a pattern in which * matches any characters, and [] one of those in it."""

    inherit_cache = False
    type = Boolean()

    def __init__(self, text: SQLColumnExpression[Any], pattern: str) -> None:
        super().__init__(text)
        self.pattern = pattern


@compiles(Fits)
def _fits(element: Fits, compiler: SQLCompiler, **options: Any) -> str:
    return f"({_argument(element, compiler, **options)} GLOB '{element.pattern}')"


@compiles(Fits, "postgresql")
def _fits_postgresql(element: Fits, compiler: SQLCompiler, **options: Any) -> str:
    expression = "".join(
        part if part.startswith("[") else re.escape(part).replace(r"\*", ".*")
        for part in re.split(r"(\[[^]]*\])", element.pattern)
    )
    return f"({_argument(element, compiler, **options)} ~ '^{expression}$')"


class _Numbers(FunctionElement[Any]):
    inherit_cache = True


@compiles(_Numbers)
def _numbers(element: _Numbers, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({_argument(element, compiler, **options)})"


@compiles(_Numbers, "postgresql")
def _numbers_postgresql(element: _Numbers, compiler: SQLCompiler, **options: Any) -> str:
    text = _argument(element, compiler, **options)
    return f"(SELECT unnest(CAST(translate({text}, '[]', '{{}}') AS bigint[])) AS value)"


def numbers_as_rows(numbers: Sequence[int]) -> TableValuedAlias:
    """Return any number of numbers as rows with a column `value`, in one parameter."""
    return _Numbers(literal(json.dumps(list(numbers)))).table_valued("value", name="number")


def _argument(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    (clause,) = element.clauses
    text: str = compiler.process(clause, **options)
    return text
