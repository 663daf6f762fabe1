"""How a view is declared: its name, its SELECT, and a sentence for it and each of its columns."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from src.marketing_messaging_service.vocabulary import DataType, Field, data_type_of


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of a view and what it means."""

    name: str
    data_type: DataType
    sentence: str


@dataclass(frozen=True, slots=True)
class View:
    """A view, and what it and each of its columns mean.

    An analyst's file gets it by a migration, from the text frozen in alembic/views: see docs/migrations.md.
    """

    name: str
    sentence: str
    columns: tuple[ViewColumn, ...]
    select: str
    reads: tuple[str, ...]
    """The tables and views that it reads, most important first."""


def passed_on(attribute: InstrumentedAttribute[Any], name: str | None = None) -> ViewColumn:
    """Return a view's column that passes on a table's column, with its meaning there."""
    column = attribute.property.columns[0]
    return ViewColumn(name or column.name, data_type_of(column.type), column.comment or "")


def field_passed_on(field: Field) -> ViewColumn:
    """Return a view's column that passes on a field of the payload."""
    return ViewColumn(field.name, field.kind.view_data_type, field.sentence)
