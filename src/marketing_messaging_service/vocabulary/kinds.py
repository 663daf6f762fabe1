"""The kinds of values that a field may hold, each with everything that any room needs to know of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pyarrow as pa
from sqlalchemy import Boolean, Float, Integer, LargeBinary, String
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.vocabulary.data_types import DataType
from src.marketing_messaging_service.vocabulary.values import (
    LARGEST_INTEGER,
    read_number,
    read_text,
    read_true_or_false,
    read_whole_number,
)

if TYPE_CHECKING:
    from src.marketing_messaging_service.vocabulary.fields import Field


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of value: a column of `column_type` holds it, and the rest follows."""

    column_type: type[TypeEngine[Any]]
    data_type: DataType
    holds: str
    """What a field of the kind holds, in the words of the pages about rules."""
    is_ordered: bool
    """Whether one value can be more than another."""
    raw_form: Callable[["Field"], str]
    """What stands in a raw event, in the words of the page about raw events."""
    read: Callable[[Any, "Field"], Any]
    """Reads a raw value that is neither absent nor null, in any form that is taken; raises RefusedValueError."""
    plain_type: Callable[["Field"], Any]
    """The raw values that need no closer look, as msgspec's decoder checks them."""
    staged_type: Callable[["Field"], pa.DataType]
    """The type of the field's column in a frame of staged events."""
    expected: str
    """What a rule must compare with, for an error."""
    is_comparable: Callable[[Any], bool]
    """Whether a value out of rules.yaml can be compared with the field."""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _or_text(field: "Field") -> str:
    return ", or one as text" if field.taken.from_text else ""


KINDS = (
    Kind(
        column_type=String,
        data_type=DataType.TEXT,
        holds="text",
        is_ordered=False,
        raw_form=lambda field: f"text, up to {field.length}",
        read=lambda value, field: read_text(value, field.path, most=field.length, may_be_empty=True),
        plain_type=lambda field: Annotated[str, msgspec.Meta(max_length=field.length)],
        staged_type=lambda _: pa.string(),
        expected="text",
        is_comparable=lambda value: isinstance(value, str),
    ),
    Kind(
        column_type=Boolean,
        data_type=DataType.BOOLEAN,
        holds="true or false",
        is_ordered=False,
        raw_form=lambda _: "true or false",
        read=lambda value, field: read_true_or_false(value, field.path),
        plain_type=lambda _: bool,
        staged_type=lambda _: pa.bool_(),
        expected="true or false",
        is_comparable=lambda value: isinstance(value, bool),
    ),
    Kind(
        column_type=Float,
        data_type=DataType.NUMBER,
        holds="a number",
        is_ordered=True,
        raw_form=lambda field: f"a finite number{_or_text(field)}",
        read=lambda value, field: read_number(value, field.path, from_text=field.taken.from_text),
        plain_type=lambda _: float,
        staged_type=lambda _: pa.float64(),
        expected="a finite number of at most 64 bits",
        is_comparable=_is_number,
    ),
    Kind(
        column_type=Integer,
        data_type=DataType.INTEGER,
        holds="a whole number",
        is_ordered=True,
        raw_form=lambda field: f"a whole number from {field.taken.least}{_or_text(field)}",
        read=lambda value, field: read_whole_number(
            value, field.path, least=field.taken.least, from_text=field.taken.from_text
        ),
        plain_type=lambda field: Annotated[int, msgspec.Meta(ge=field.taken.least, le=LARGEST_INTEGER)],
        staged_type=lambda _: pa.int64(),
        expected="a whole number of at most 64 bits",
        is_comparable=_is_integer,
    ),
)
"""Every kind; a column is of the first whose `column_type` it has."""


def kind_of(type_: TypeEngine[Any]) -> Kind:
    """Return the kind of a column type. Raises TypeError for a type that no field can have."""
    for kind in KINDS:
        if isinstance(type_, kind.column_type):
            return kind
    known = ", ".join(kind.column_type.__name__ for kind in KINDS)
    raise TypeError(f"a column of type {type_!r} can hold no field; the types that can are {known}")


def data_type_of(type_: TypeEngine[Any]) -> DataType:
    """Return what a column of that type holds, whether it is a field's or not."""
    if isinstance(type_, LargeBinary):
        return DataType.BYTES
    if isinstance(type_, UtcDateTime):
        return DataType.TIMESTAMP
    return kind_of(type_).data_type
