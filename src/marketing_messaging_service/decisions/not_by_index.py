"""Names a column so that the planner does not use it to find rows."""

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class NotByIndex(FunctionElement[Any]):
    """A column whose comparisons choose among rows already found, and do not find rows.

    The new events are found by the range of their ids. With the statistics of ANALYZE, and with few users and many
    types of event, SQLite's planner would rather read every event of the type in the whole history, user by user; a
    unary plus keeps it from doing so. It changes no value.
    """

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(NotByIndex)
def _not_by_index(element: NotByIndex, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(NotByIndex, "sqlite")
def _not_by_index_sqlite(element: NotByIndex, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"
