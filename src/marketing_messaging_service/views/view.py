"""What a view is declared as: its name, its SELECT, and a sentence for it and each of its columns."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.infrastructure.database import UtcDateTime


class DataType(StrEnum):
    """What a column holds, in the dictionary's words."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    BYTES = "bytes"


_DATA_TYPES: tuple[tuple[type[TypeEngine[Any]], DataType], ...] = (
    (UtcDateTime, DataType.TIMESTAMP),
    (Boolean, DataType.BOOLEAN),
    (Float, DataType.NUMBER),
    (Integer, DataType.INTEGER),
    (LargeBinary, DataType.BYTES),
)


def data_type_of(column: Column[Any]) -> DataType:
    """Return what a column of a table holds."""
    return next((word for kind, word in _DATA_TYPES if isinstance(column.type, kind)), DataType.TEXT)


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of a view and what it means."""

    name: str
    data_type: DataType
    sentence: str


@dataclass(frozen=True, slots=True)
class View:
    """A view, and what it and each of its columns mean.

    The file of an analyst gets it by a migration, from the text frozen in alembic/views: see docs/naming.md.
    """

    name: str
    sentence: str
    columns: tuple[ViewColumn, ...]
    select: str
    reads: tuple[str, ...]
    """The tables and views that it reads, in order of weight."""


def passed_on(attribute: InstrumentedAttribute[Any], name: str | None = None) -> ViewColumn:
    """Return the column of a view that passes on a column of a table, with the meaning that it has there."""
    column = attribute.property.columns[0]
    return ViewColumn(name or column.name, data_type_of(column), column.comment or "")
