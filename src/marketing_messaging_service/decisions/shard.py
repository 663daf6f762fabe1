"""A part of the users, told by the hash of each, which is the same in every version of the server."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


@dataclass(frozen=True, slots=True)
class Shard:
    """One of so many parts, numbered from 1."""

    number: int
    count: int

    def holds(self, user_id: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        """Return whether a user is one of the part."""
        return _Hash(user_id) % self.count == self.number - 1


class _Hash(FunctionElement[int]):
    """The first 32 bits of the MD5 of a text, as a number."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Hash, "postgresql")
def _hash_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    digest = compiler.process(func.substr(func.md5(*element.clauses), 1, 8), **options)
    return f"CAST(CAST('x' || {digest} AS bit(32)) AS bigint)"
