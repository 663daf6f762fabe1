"""A field of the payload as derived from its column in the models, with its kind."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.models.taken import Taken
from src.marketing_messaging_service.vocabulary.data_types import DataType


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Kind:
    """One kind of value: a column of `column_type` holds it, and the rest follows."""

    column_type: type[TypeEngine[Any]]
    holds: str
    """What a field of the kind holds, in the words of the pages about rules."""
    is_ordered: bool
    """Whether one value can be more than another."""
    is_text: bool
    """Whether a value is made of characters that can be looked at."""

    raw_form: Callable[["Field"], str]
    """What a raw event contains, in the words of the page about raw events."""
    read: Callable[[Any, "Field"], Any]
    """Reads a raw value that is neither absent nor null, in any accepted form; raises RefusedValueError."""
    plain_type: Callable[["Field"], Any]
    """The raw values that need no closer look, as msgspec's decoder checks them."""
    doubtful: re.Pattern[bytes] | None = None
    """Text that makes a raw line need a close look, whatever its decoders make of it; None for nothing."""
    kept_type: Callable[["Field"], Any]
    """The raw values that are plain except for the way they are written, as a type that is written back unchanged. One
    that is not a `decoded_type` is still to be read."""
    decoded_type: type | None
    """The type of a value that needs no reading, None if there is none."""
    read_type: Callable[["Field"], pa.DataType]
    """The type as which the columnar reader reads plain values."""
    staged: Callable[[pa.ChunkedArray, "Field"], pa.ChunkedArray]
    """Turns what the columnar reader read into `staged_type`; raises pa.ArrowException when a value is not plain."""
    staged_text: Callable[[pa.ChunkedArray, "Field"], pa.ChunkedArray] | None
    """Turns texts into values of `staged_type`, for kinds whose fields may have `from_text`; raises pa.ArrowException
    when one is doubtful."""
    staged_type: Callable[["Field"], pa.DataType]
    """The type of the field's column in a frame of staged events."""
    stored: Callable[[pa.Array, "Field"], pa.Array]
    """Turns staged values into what SQLite stores."""

    data_type: DataType
    """What the column holds in its table, in the dictionary's words."""
    note: Callable[["Field"], str]
    """What the dictionary adds to the column's sentence."""
    view_data_type: DataType
    """What the column holds in a view."""
    shown: Callable[[str, "Field"], str]
    """The SQL expression by which a view shows the column that an expression names."""
    from_text: Callable[[str], str] | None
    """The SQL expression that turns a column's text back into its value, for a view that sorts values behind keys; None
    if the text is not exact."""

    expected: Callable[["Field"], str]
    """What a rule must compare with, for an error."""
    comparable: Callable[[Any, "Field"], Any]
    """Turns a value from rules.yaml into one to compare the column with; raises UnfitValueError."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One property or trait."""

    path: str
    """The key with its object, such as properties.amount; its name in rules."""
    part: str
    """The key of that object."""
    name: str
    """The key in a raw event, and the name of the column."""
    staged_name: str
    """The column in a frame of staged events, and its word in a conflict: the name, if no other field has it."""
    column: Column[Any]
    kind: Kind
    taken: Taken
    length: int
    """How many characters a text may have; 0 if it is not a text."""

    @property
    def sentence(self) -> str:
        """Its sentence in the dictionary."""
        return " ".join(filter(None, (self.column.comment, self.kind.note(self))))

    def __str__(self) -> str:
        return self.path
