"""Rows of a table as lines: a column is a key, and a dotted name a key within an object."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, overload

import pyarrow as pa

from src.marketing_messaging_service.staging.line_parser import other_name
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.sources.mapping import SourceMapping
from src.marketing_messaging_service.staging.sources.source import Cells
from src.marketing_messaging_service.vocabulary import ReasonCode

AROUND_A_ROW = 700
"""About how many bytes of memory a row takes on its way into columns, besides its values."""


NOT_SHOWN = "(a value that no text says)"


@dataclass(frozen=True)
class TableLines(Sequence[bytes]):
    """Consecutive rows of a table, each as the JSON line that says the same, which is made when it is asked for."""

    names: tuple[str, ...]
    columns: Sequence[pa.Array]
    """The values of each column; null is absent."""
    row_count: int
    size_bytes: int
    """About how long the lines are together."""
    cells: Cells | None = None
    """How values are written where every one is text; None where they have types."""
    others: Mapping[int, bytes] = field(default_factory=dict)
    """What is in the place of something that is not a row, such as a header, by place."""

    def __len__(self) -> int:
        return self.row_count

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not 0 <= place < self.row_count:
            raise IndexError(place)
        return self.others[place] if place in self.others else self._encoded(self.document(place))

    def document(self, place: int) -> dict[str, Any]:
        """Return what a row says, with the values that JSON has."""
        return self._keys.document(_value(_plain(column[place])) for column in self.columns)

    @cached_property
    def _keys(self) -> "Columns":
        return Columns(self.names)

    @staticmethod
    def _encoded(document: Mapping[str, Any]) -> bytes:
        return json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


class Columns:
    """The columns of a table, by which each row becomes a document."""

    def __init__(self, names: Sequence[str]) -> None:
        self._keys = [tuple(name.split(".")) for name in names]

    def document(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return a row as objects; a value that is None is absent."""
        document: dict[str, Any] = {}
        for keys, value in zip(self._keys, values, strict=True):
            if value is None:
                continue
            level = document
            for key in keys[:-1]:
                level = level.setdefault(key, {})
            last = keys[-1]
            level[last] = {**level[last], **value} if isinstance(level.get(last), dict) else value
        return document


def _plain(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except UnicodeDecodeError:
        return scalar.cast(pa.binary()).as_py() if pa.types.is_string(scalar.type) else NOT_SHOWN
    except (ValueError, KeyError, OverflowError, pa.ArrowException):
        # Such as an instant in the year 12000, or a map with a duplicate key.
        return NOT_SHOWN


def _value(value: Any) -> Any:
    """Return a value as JSON has it, exactly; None where it says nothing."""
    match value:
        case Mapping():
            return {str(key): found for key, inner in value.items() if (found := _value(inner)) is not None}
        case list():
            return [_value(each) for each in value]
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case Decimal():
            # Exact as text, which every number is also taken as; a JSON number would go through a float.
            return str(value)
    return value


def wrong_columns(names: Sequence[str], objects: Mapping[str, Iterable[str]]) -> Rejection | None:
    """Return why columns cannot be distinguished; None where they can.

    `objects` has the columns that hold objects, with the keys of each, in which dotted names may add others.
    """
    seen: set[tuple[str, ...]] = set()
    every = [*names, *(f"{name}.{key}" for name, keys in objects.items() for key in keys)]
    for name in every:
        keys = tuple(name.split("."))
        if not all(keys):
            return _rejection("A column has no name, or a name with an empty part before or after a dot")
        if keys in seen:
            return _rejection(f"There are two columns {name}")
        seen.add(keys)
    for name in every:
        keys = tuple(name.split("."))
        for length in range(1, len(keys)):
            above = ".".join(keys[:length])
            if keys[:length] in seen and above not in objects:
                return _rejection(f"There are a column {above} and a column {name}, which would be part of it")
    return None


def without_event(names: Sequence[str], mapping: SourceMapping, otherwise: str) -> Rejection | None:
    """Return that no column is one that every event needs: the names are in other words, or missing.

    None where any is. `otherwise` is what to do where no name is probably meant by one.
    """
    required = {name: places for name, places in mapping.required().items() if places}
    tops = {name.partition(".")[0] for name in names}
    if any(place.keys[0] in tops for places in required.values() for place in places):
        return None
    wanted = [str(places[0]) for places in required.values()]
    meant: dict[str, str] = {}
    if wanted == list(required):
        columns = dict.fromkeys(names, "")
        meant = {ours: theirs for ours in required if (theirs := other_name(columns, ours))}
    # Cells that are not names may be anybody's data, and are not repeated.
    todo = f"write {_listed(meant)} for {_listed(meant.values())}" if meant else otherwise
    return Rejection(
        ReasonCode.INVALID_HEADER,
        None,
        f"No column is called {_listed(wanted, 'or')}: {todo}, or say in a mapping in sources.yaml which column is "
        "what (docs/sources.md), and deliver the file again. Nothing of it was taken.",
    )


def _listed(names: Iterable[str], link: str = "and") -> str:
    *others, last = names
    return f"{', '.join(others)} {link} {last}" if others else last


def _rejection(what: str) -> Rejection:
    return Rejection(
        ReasonCode.INVALID_HEADER,
        None,
        f"{what}; nothing of the file was taken. Correct the names, and deliver it again.",
    )
