"""A part of the users, chosen by a hash of the user_id that is the same in every version of the server."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, case, false, func, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts, numbered from 1."""

    number: int
    count: int

    def holds(self, user_id: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        """Return whether a user is in this part.

        As a CASE, because the planner assumes that half of the rows satisfy it. For a comparison it assumes one in two
        hundred, and reads the rest of a batch row by row: 60,000 matches in four shards took ten times as long.
        """
        return case((shard_number(user_id, self.count) == self.number, true()), else_=false())


def shard_number(user_id: SQLColumnExpression[Any], count: int | SQLColumnExpression[int]) -> ColumnElement[int]:
    """Return which of `count` parts a user is in; only on a server, which alone has shards."""
    return _Hash(user_id) % count + 1


class _Hash(FunctionElement[int]):
    """The first 32 bits of the MD5 of a text, as a number."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Hash, "postgresql")
def _hash_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    digest = compiler.process(func.substr(func.md5(*element.clauses), 1, 8), **options)
    return f"CAST(CAST('x' || {digest} AS bit(32)) AS bigint)"


class BesideKey(FunctionElement[Any]):
    """A column that a server compares only in rows found by their key, never to find rows. It changes no value.

    Where shards write side by side, a table that the planner takes for empty may hold any number of rows.
    """

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(BesideKey)
def _column(element: Any, compiler: Any, **options: Any) -> str:
    text: str = compiler.process(element.clauses, **options)
    return text


@compiles(BesideKey, "postgresql")
def _column_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"coalesce({text}, {text})"
