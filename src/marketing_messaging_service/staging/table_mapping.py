"""Maps the columns of a table to our words all at once: plain lines for its rows, where that is certain.

Nothing is decided here differently from the close look at a row. A doubtful row has no plain line; a table whose
columns a mapping uses in a way not foreseen here has none at all.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from src.marketing_messaging_service.staging.column_reader import takes_text
from src.marketing_messaging_service.staging.nearly_plain import encode
from src.marketing_messaging_service.staging.sources.mapping import FieldSource, Place, Places, SourceMapping
from src.marketing_messaging_service.staging.sources.shipped import NATIVE
from src.marketing_messaging_service.staging.sources.source import Cells
from src.marketing_messaging_service.staging.sources.times import ReadTime
from src.marketing_messaging_service.staging.tables import TableLines
from src.marketing_messaging_service.vocabulary import DataType, Field, Payload
from src.marketing_messaging_service.vocabulary.values import RefusedValueError, WrittenNumber

Path = tuple[str, ...]
Mask = npt.NDArray[np.bool_]

_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:%s[0-9]+)?(?:[eE][-+]?[0-9]+)?\z"
_ESCAPED = bytes(range(32)) + b'"\\'
"""What JSON text cannot contain unescaped."""


class UnforeseenError(Exception):
    """The columns of a table must be looked at row by row."""


@dataclass(frozen=True, slots=True)
class PlainRows:
    """The rows of a table as plain lines."""

    lines: Sequence[bytes]
    is_odd: Mask
    """Which rows need a close look; their lines mean nothing."""
    is_dropped: Mask
    unknown_keys: Sequence[tuple[str, ...]] | None
    """The paths of the unknown keys, by row; None if no row has any."""


class TableMapping:
    """Makes plain lines from table rows by one mapping; without a message_id if the table gives none."""

    def __init__(self, mapping: SourceMapping, payload: Payload) -> None:
        self._mapping = mapping
        self._payload = payload
        self._takes_numbers_as_ids = mapping is not NATIVE

    def plain_rows(self, table: TableLines, message_ids: Callable[[Sequence[int]], Sequence[str]]) -> PlainRows:
        """Return the rows of a table; `message_ids` makes ids for those that have none, by their places.

        Raises UnforeseenError.
        """
        leaves = _Leaves(table)
        odd = _Odd(len(table))
        is_dropped = np.zeros(len(table), np.bool_)
        user_ids = self._ids(leaves, self._mapping.user_id, odd)
        if self._mapping.anonymous_user == "take":
            user_ids = _first_of([user_ids, self._ids(leaves, self._mapping.anonymous_id, odd)])
        event_types, is_dropped = self._event_types(leaves, odd)
        times = self._times(leaves, odd)
        for values in (user_ids, event_types, times):
            odd.add(True if values is None else pc.is_null(values))
        parts = {part.key: self._part(leaves, part.key, table.cells, odd) for part in self._payload.parts}
        known = self._message_ids(leaves, odd)
        texts = {"user_id": _quoted(user_ids), "event_type": event_types, "event_timestamp": times}
        if odd.rows.all():
            lines: Sequence[bytes] = [b""] * len(table)
        else:
            texts["message_id"] = _with_made_ids(known, odd.rows | is_dropped, message_ids)
            lines = _joined(texts, parts, len(table))
        return PlainRows(lines, odd.rows & ~is_dropped, is_dropped, self._unknown_keys(leaves))

    def _ids(self, leaves: "_Leaves", places: Places, odd: "_Odd") -> pa.Array | None:
        found = []
        for values in leaves.at_places(places):
            if pa.types.is_integer(values.type) and self._takes_numbers_as_ids:
                found.append(values.cast(pa.string()))
            else:
                found.append(_texts_alone(values, odd))
        return _first_of(found)

    def _message_ids(self, leaves: "_Leaves", odd: "_Odd") -> pa.Array:
        ids = self._ids(leaves, self._mapping.message_id, odd)
        if ids is None:
            return pa.nulls(leaves.row_count, pa.string())
        prefix = self._mapping.message_id_prefix
        return pc.binary_join_element_wise(prefix, ids, "") if prefix else ids

    def _event_types(self, leaves: "_Leaves", odd: "_Odd") -> tuple[pa.Array | None, Mask]:
        """Return the types of the events in JSON, and which are dropped."""
        mapping = self._mapping
        found = _first_of([_texts_alone(values, odd) for values in leaves.at_places(mapping.event_type)])
        if mapping.default_type:
            default = pa.scalar(mapping.default_type, pa.string())
            found = pa.repeat(default, leaves.row_count) if found is None else pc.fill_null(found, default)
        if found is None:
            return None, np.zeros(leaves.row_count, np.bool_)
        renamed = _by_word(found, lambda word: encode(mapping.renamed_types.get(word, word)).decode())
        dropped = pc.is_in(found, pa.array(sorted(mapping.dropped_types), pa.string()))
        return renamed, _mask(dropped)

    def _times(self, leaves: "_Leaves", odd: "_Odd") -> pa.Array | None:
        found = []
        read_time = self._mapping.read_time
        for values in leaves.at_places(self._mapping.event_timestamp):
            if read_time is not None:
                found.append(_times_read(values, read_time, odd))
            else:
                found.append(_quoted(_iso_texts(values, odd)))
        return _first_of(found)

    def _part(self, leaves: "_Leaves", part: str, cells: Cells | None, odd: "_Odd") -> dict[str, pa.Array]:
        """Return the JSON values of a part's known fields, by name, for fields that some row has."""
        places = self._mapping.parts[part]
        sources = {each.name: each for each in self._mapping.fields if each.part == part and each.places}
        self._refuse_unforeseen_part(leaves, part, places, sources.values())
        in_json: dict[str, pa.Array] = {}
        for each in self._payload.fields:
            if each.part != part:
                continue
            said = sources[each.name].places if each.name in sources else ()
            own = tuple(Place((*place.keys, each.name)) for place in places if not place.only_types)
            found = []
            for values in leaves.at_places(said):
                if pa.types.is_string(values.type):
                    # Empty, so the next place counts.
                    odd.add(pc.equal(values, ""))
                found.append(_in_json(values, each, cells, odd))
            found += [_in_json(values, each, cells, odd) for values in leaves.at_places(own)]
            if found:
                in_json[each.name] = _first_of(found)
        return in_json

    def _refuse_unforeseen_part(
        self, leaves: "_Leaves", part: str, places: Places, sources: Collection[FieldSource]
    ) -> None:
        if any(place.only_types and leaves.have(place.keys) for place in places):
            raise UnforeseenError
        if any(place.keys in leaves.values for place in places):
            # Not an object: the close look will report it.
            raise UnforeseenError
        names = {each.name for each in self._payload.fields if each.part == part}
        for source in sources:
            for place in source.places:
                stands_in_part = any(place.keys[:-1] == each.keys for each in places)
                if place.only_types or (stands_in_part and place.keys[-1] in names):
                    raise UnforeseenError

    def _unknown_keys(self, leaves: "_Leaves") -> Sequence[tuple[str, ...]] | None:
        found = self._unknown_masks(leaves)
        if not found:
            return None
        names = list(found)
        if len(names) == 1:
            said: Sequence[tuple[str, ...]] = [(), (names[0],)]
            return [said[each] for each in found[names[0]].tolist()]
        # Rows share few patterns: a tuple of names is made once for each.
        packed = np.packbits(np.stack([found[name] for name in names], axis=1), axis=1)
        patterns, which = np.unique(packed, axis=0, return_inverse=True)
        bits = np.unpackbits(patterns, axis=1, count=len(names)).astype(np.bool_)
        tuples = [tuple(name for name, is_there in zip(names, row, strict=True) if is_there) for row in bits.tolist()]
        return [tuples[each] for each in which.reshape(-1).tolist()]

    def _unknown_masks(self, leaves: "_Leaves") -> Mapping[str, Mask]:
        """Return which rows have unknown keys, by the keys' paths."""
        found: dict[str, Mask] = {}
        top_keys = self._mapping.top_keys
        for path, is_there in leaves.presences():
            if path[0] not in top_keys:
                found[path[0]] = found.get(path[0], False) | is_there
        for part, places in self._mapping.parts.items():
            known = {each.name for each in self._payload.fields if each.part == part}
            parents = {place.keys for place in places}
            renamed = (place.keys for each in self._mapping.fields if each.part == part for place in each.places)
            taken = known.union(keys[-1] for keys in renamed if keys[:-1] in parents)
            for place in places:
                depth = len(place.keys)
                for path, is_there in leaves.presences():
                    if path[:depth] != place.keys or len(path) == depth:
                        continue
                    if path[depth] not in taken:
                        name = f"{part}.{path[depth]}"
                        found[name] = found.get(name, False) | is_there
        return {name: mask for name, mask in found.items() if mask.any()}


@dataclass(slots=True)
class _Odd:
    """Which rows are doubtful."""

    row_count: int
    rows: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.rows = np.zeros(self.row_count, np.bool_)

    def add(self, rows: pa.Array | bool) -> None:
        """Mark more rows as doubtful: all, none, or those in an array."""
        self.rows |= rows if isinstance(rows, bool) else _mask(rows)


class _Leaves:
    """The values in a table by the keys that lead to them, objects taken apart."""

    def __init__(self, table: TableLines) -> None:
        self.row_count = len(table)
        self.values: dict[Path, pa.Array] = {}
        self._objects: dict[Path, Mask] = {}
        for name, column in zip(table.names, table.columns, strict=True):
            self._take(tuple(name.split(".")), column)

    def _take(self, path: Path, column: pa.Array) -> None:
        if path in self.values or path in self._objects:
            raise UnforeseenError
        column = _usual(column)
        if not pa.types.is_struct(column.type):
            if column.null_count < len(column):
                self.values[path] = column
            return
        self._objects[path] = _mask(pc.is_valid(column))
        for place, inner in enumerate(column.type):
            self._take((*path, inner.name), pc.struct_field(column, [place]))

    def have(self, path: Path) -> bool:
        """Whether there is anything at the end of the keys, or further in."""
        return any(each[: len(path)] == path for each in (*self.values, *self._objects))

    def at_places(self, places: Places) -> Iterator[pa.Array]:
        """Yield the values at each of the places that has any. Raises UnforeseenError where there is an object."""
        for place in places:
            if place.only_types and self.have(place.keys):
                raise UnforeseenError
            if place.keys in self.values:
                yield self.values[place.keys]
            elif self.have(place.keys):
                raise UnforeseenError

    def presences(self) -> Iterator[tuple[Path, Mask]]:
        """Yield the keys that lead to each value and each object, with the rows that have it."""
        for path, values in self.values.items():
            yield path, _mask(pc.is_valid(values))
        yield from self._objects.items()


def _usual(column: pa.Array) -> pa.Array:
    """Return a column with the usual type among equivalent ones. Raises UnforeseenError for an odd type."""
    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_binary(kind):
            # Binary that is not text is refused, and then read byte by byte.
            return column.cast(pa.string())
        if pa.types.is_floating(kind):
            return column.cast(pa.float64())
    except pa.ArrowException:
        raise UnforeseenError from None
    return column


def _mask(rows: pa.Array) -> Mask:
    if isinstance(rows, pa.ChunkedArray):
        rows = rows.combine_chunks()
    mask: Mask = pc.fill_null(rows, False).to_numpy(zero_copy_only=False)
    return mask


def _first_of(found: Sequence[pa.Array | None]) -> pa.Array | None:
    there = [each for each in found if each is not None]
    return there[0] if len(there) == 1 else pc.coalesce(*there) if there else None


def _texts_alone(values: pa.Array, odd: _Odd) -> pa.Array | None:
    """Return values that are texts; rows with other values, or an empty one, become doubtful."""
    if not pa.types.is_string(values.type):
        odd.add(pc.is_valid(values))
        return None
    odd.add(pc.equal(values, ""))
    return values


def _iso_texts(values: pa.Array, odd: _Odd) -> pa.Array | None:
    """Return instants as ISO 8601 text; rows without a certain one become doubtful."""
    if not (pa.types.is_timestamp(values.type) and values.type.tz):
        return _texts_alone(values, odd)
    is_finer = values.type.unit == "ns"
    if is_finer:
        # Cut off as the close look does; before 1970 a cast would round towards it.
        odd.add(pc.less(values.cast(pa.int64()), 0))
    texts = values.cast(pa.timestamp("us", "UTC"), safe=not is_finer).cast(pa.string())
    # A year of five digits is not an instant; that is left to a decoder.
    return pc.replace_substring(texts, " ", "T")


def _times_read(values: pa.Array, read_time: ReadTime, odd: _Odd) -> pa.Array:
    """Return the instants that values mean, in JSON; rows that mean none become doubtful."""
    if not pa.types.is_string(values.type):
        is_time = pa.types.is_timestamp(values.type) and values.type.unit != "ns"
        if not (is_time or pa.types.is_integer(values.type)):
            odd.add(pc.is_valid(values))
            return pa.nulls(len(values), pa.string())
    found: list[str | None] = []
    is_wrong = np.zeros(len(values), np.bool_)
    for place, value in enumerate(_python_values(values)):
        try:
            read = None if value is None else read_time(value)
        except RefusedValueError:
            read = None
        if value is not None and not (isinstance(read, str) and read):
            is_wrong[place] = True
            read = None
        found.append(None if read is None else encode(read).decode())
    odd.rows |= is_wrong
    return pa.array(found, pa.string())


def _python_values(values: pa.Array) -> Iterator[Any]:
    """Yield values as the close look reads them."""
    if pa.types.is_integer(values.type):
        return (None if each is None else WrittenNumber(str(each)) for each in values.to_pylist())
    if pa.types.is_timestamp(values.type):
        return (None if each is None else each.isoformat() for each in values.to_pylist())
    return iter(values.to_pylist())


def _in_json(values: pa.Array, field: Field, cells: Cells | None, odd: _Odd) -> pa.Array:
    """Return a field's values in JSON, null where there is none; rows without a certain one become doubtful."""
    if cells is not None:
        return _cells_in_json(values, field, cells, odd)
    kind, data_type = values.type, field.kind.view_data_type
    is_plain = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if is_plain or (pa.types.is_decimal(kind) and takes_text(field)):
        return values.cast(pa.string())
    if pa.types.is_date(kind) and data_type is DataType.DATE:
        return _quoted(values.cast(pa.date32()).cast(pa.string()))
    if pa.types.is_timestamp(kind) and kind.tz and data_type is DataType.TIMESTAMP:
        return _quoted(_iso_texts(values, odd))
    if not pa.types.is_string(kind):
        odd.add(pc.is_valid(values))
        return pa.nulls(len(values), pa.string())
    return _quoted(values)


def _cells_in_json(texts: pa.Array, field: Field, cells: Cells, odd: _Odd) -> pa.Array:
    """Return the values of cells for a field, in JSON."""
    data_type = field.kind.view_data_type
    if data_type is DataType.BOOLEAN:
        said = _by_word(texts, lambda word: _TRUTHS.get(cells.truths.get(word.lower())))
        odd.add(pc.and_(pc.is_valid(texts), pc.is_null(said)))
        return said
    if data_type in {DataType.INTEGER, DataType.NUMBER}:
        is_number = pc.match_substring_regex(texts, _NUMBER % re.escape(cells.decimal))
        odd.add(pc.invert(is_number))
        numbers = pc.if_else(is_number, texts, pa.scalar(None, pa.string()))
        return numbers if cells.decimal == "." else pc.replace_substring(numbers, cells.decimal, ".")
    return _quoted(texts)


_TRUTHS: Mapping[bool | None, str] = {True: "true", False: "false"}


def _by_word(texts: pa.Array, said: Callable[[str], str | None]) -> pa.Array:
    """Return the result for each text; there are few different ones."""
    encoded = texts.dictionary_encode()
    words = pa.array([said(word) for word in encoded.dictionary.to_pylist()], pa.string())
    return words.take(encoded.indices)


def _quoted(texts: pa.Array | None) -> pa.Array | None:
    """Return texts in JSON."""
    if texts is None:
        return None
    if _needs_escapes(texts):
        return pa.array([None if each is None else encode(each) for each in texts.to_pylist()], pa.binary()).cast(
            pa.string()
        )
    return pc.binary_join_element_wise('"', texts, '"', "")


def _needs_escapes(texts: pa.Array) -> bool:
    said = _bytes_of(texts)
    return len(said.translate(None, _ESCAPED)) != len(said)


def _with_made_ids(ids: pa.Array, is_unwanted: Mask, make: Callable[[Sequence[int]], Sequence[str]]) -> pa.Array:
    """Return ids in JSON, made where a wanted row has none."""
    quoted = _quoted(ids)
    is_missing = _mask(pc.is_null(ids)) & ~is_unwanted
    if not is_missing.any():
        return quoted
    made = [f'"{each}"' for each in make(np.flatnonzero(is_missing).tolist())]
    return pc.replace_with_mask(quoted, pa.array(is_missing), pa.array(made, pa.string()))


def _joined(
    texts: Mapping[str, pa.Array | None], parts: Mapping[str, Mapping[str, pa.Array]], row_count: int
) -> Sequence[bytes]:
    """Return a line per row from the values in JSON."""
    pieces: list[Any] = []
    beginning = "{"
    for name, values in texts.items():
        pieces += [f'{beginning}"{name}":', values]
        beginning = ","
    for part, fields in parts.items():
        beginning = f',"{part}":{{'
        for name, values in fields.items():
            pieces += [f"{beginning}{encode(name).decode()}:", values]
            beginning = ","
        pieces.append("}" if fields else f"{beginning}}}")
    pieces.append("}\n")
    strings = [pa.scalar(each, pa.string()) if isinstance(each, str) else each for each in pieces]
    strings = [pa.nulls(row_count, pa.string()) if each is None else each for each in strings]
    lines = pc.binary_join_element_wise(*strings, "", null_handling="replace", null_replacement="null")
    return _bytes_of(lines).split(b"\n")[:-1]


def _bytes_of(texts: pa.Array) -> bytes:
    """Return the bytes of all texts, one after the other."""
    _, offsets, data = texts.buffers()
    if data is None:
        return b""
    ends = np.frombuffer(offsets, np.int32, count=len(texts) + 1, offset=4 * texts.offset)
    found: bytes = data[int(ends[0]) : int(ends[-1])].to_pybytes()
    return found
