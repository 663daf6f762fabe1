"""Compares a rule's value with one value through SQL itself, so that an operator's meaning is defined once."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, literal, select

from src.marketing_messaging_service.decisions.conditions import FieldCondition


class Comparer:
    """Compares values, and makes each comparison only once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str, str, str], bool] = {}

    def holds(self, condition: FieldCondition, value: Any, type_: Any = None) -> bool:
        """Return whether a comparison holds for a value, of the field's own type unless another is given."""
        key = str(condition.field), condition.operator.value, repr(condition.value), repr(value)
        if key not in self._known:
            compared = condition.compared(literal(value, type_ or condition.field.field.column.type))
            self._known[key] = bool(self._connection.scalar(select(compared)))
        return self._known[key]


@contextmanager
def comparer() -> Iterator[Comparer]:
    """Yield the comparer, with its own database in memory."""
    with closing(create_engine("sqlite://").connect()) as connection:
        yield Comparer(connection)
