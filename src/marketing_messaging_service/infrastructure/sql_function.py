"""Functions that kinds of database spell differently; each spells them all in its `spelling.py`."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement

_T = TypeVar("_T")


class SqlFunction(FunctionElement[_T]):
    """A function of SQL. The spellings of a kind of database have its text under the name of its class."""

    inherit_cache = True


class SameValue(SqlFunction[Any]):
    """A column as it is, spelled so that the planner of some kind of database does not find rows by it."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> None:
        super().__init__(column)
        self.type = column.type
