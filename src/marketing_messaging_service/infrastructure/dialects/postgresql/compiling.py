"""Our own SQL for PostgreSQL, so that a statement means the same there as on SQLite."""

from typing import Any

from sqlalchemy import Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.functions import sum as sum_


@compiles(sum_, "postgresql")
def whole_sum(element: Any, compiler: Any, **options: Any) -> str:
    """A sum of whole numbers is a whole number, not a decimal."""
    text: str = compiler.visit_function(element, **options)
    return f"CAST({text} AS BIGINT)" if isinstance(element.type, Integer) else text


@compiles(CreateIndex, "postgresql")
def partial_index(element: Any, compiler: Any, **options: Any) -> str:
    """A partial index covers the same rows as on SQLite; a unique index over all rows would refuse some."""
    of_index = element.element.dialect_options
    of_index["postgresql"]["where"] = of_index["sqlite"]["where"]
    text: str = compiler.visit_create_index(element, **options)
    return text
