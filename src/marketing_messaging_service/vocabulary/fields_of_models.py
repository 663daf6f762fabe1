"""The payload of an event: its fields, derived only from the models that declare them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from sqlalchemy import Column, Table

from src.marketing_messaging_service.models import Event, EventProperties, UserTraits
from src.marketing_messaging_service.models.taken import taken_by
from src.marketing_messaging_service.vocabulary.derived_field import Field
from src.marketing_messaging_service.vocabulary.kinds import kind_of

STAGED_BESIDE = frozenset(
    {"line_number", "message_id", "user_id", "event_type", "event_timestamp", "former_ids", "left_out"}
)
"""The columns of a frame of staged events that are not fields of the payload."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One of the objects of a payload, which is one table."""

    key: str
    """The object's key in a raw event."""
    table: Table
    fields: tuple[Field, ...]


@dataclass(frozen=True, eq=False)
class Payload:
    """Everything that an event says besides who, what and when."""

    parts: tuple[Part, ...]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Every field, in the order of declaration."""
        return tuple(field for part in self.parts for field in part.fields)

    @cached_property
    def by_path(self) -> Mapping[str, Field]:
        """Every field by its name in rules."""
        return {field.path: field for field in self.fields}

    @cached_property
    def traits(self) -> tuple[Field, ...]:
        """The fields of which a user has a latest value."""
        return tuple(field for field in self.fields if field.part == Event.user_traits.key)

    @cached_property
    def staged_columns(self) -> tuple[tuple[str, pa.DataType], ...]:
        """The columns that the payload has in a frame of staged events."""
        return tuple((field.staged_name, field.kind.staged_type(field)) for field in self.fields)


def payload_of(tables: Mapping[str, Table]) -> Payload:
    """Return the payload that tables declare, given by the key of the object that each holds.

    Every column except the table's keys is a field. Raises TypeError for a column of a type that no field can have.
    """
    columns = {key: [column for column in table.columns if _is_field(column)] for key, table in tables.items()}
    counts = Counter(column.name for each in columns.values() for column in each)
    counts.update(STAGED_BESIDE)
    return Payload(
        tuple(
            Part(key, table, tuple(_field(key, column, counts[column.name] == 1) for column in columns[key]))
            for key, table in tables.items()
        )
    )


def _is_field(column: Column[Any]) -> bool:
    return not column.primary_key and not column.foreign_keys


def _field(key: str, column: Column[Any], has_own_name: bool) -> Field:
    # SQLAlchemy's names are not plain str, which the decoder requires.
    name = str(column.name)
    path = f"{key}.{name}"
    return Field(
        path=path,
        part=key,
        name=name,
        staged_name=name if has_own_name else path,
        column=column,
        kind=kind_of(column.type),
        taken=taken_by(column.info),
        length=getattr(column.type, "length", None) or 0,
    )


PAYLOAD = payload_of(
    {
        Event.properties.key: EventProperties.metadata.tables[EventProperties.__tablename__],
        Event.user_traits.key: UserTraits.metadata.tables[UserTraits.__tablename__],
    }
)
"""The payload as the models declare it."""

PROPERTIES, TRAITS = PAYLOAD.parts
