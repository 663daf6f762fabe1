"""Maps lines in a producer's own words to ours, one by one, and looks at them closely.

The results go the same way as the lines of every other file.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from src.marketing_messaging_service.staging.column_reader import may_hold_nul
from src.marketing_messaging_service.staging.columnar import Look, SortedLines
from src.marketing_messaging_service.staging.content_id import ContentIds, content_ids
from src.marketing_messaging_service.staging.line_mapping import DROPPED, LineMapping
from src.marketing_messaging_service.staging.line_parser import (
    DuplicateKeys,
    LeftOut,
    LineParser,
    ParsedLine,
    json_object,
    other_name_hint,
    refuse_twice,
)
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.nearly_plain import NOT_PLAIN, InDoubtError, encode, plain_decoder
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.sources.mapping import DroppedEventError, SourceMapping
from src.marketing_messaging_service.staging.sources.shipped import NATIVE
from src.marketing_messaging_service.staging.sources.source import Cells
from src.marketing_messaging_service.staging.table_mapping import TableMapping, UnforeseenError
from src.marketing_messaging_service.staging.tables import TableLines
from src.marketing_messaging_service.staging.text_form import bare
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS, PAYLOAD, DataType, Field, Payload, ReasonCode
from src.marketing_messaging_service.vocabulary.values import RefusedValueError, WrittenNumber

_Tree = Mapping[str, "_Tree"]
"""Keys, each with those that are looked at in the object under it."""


class MappedLines:
    """Looks closely at lines that are written in the way of one mapping."""

    def __init__(
        self,
        mapping: SourceMapping,
        payload: Payload = PAYLOAD,
        delivery_keys: Collection[str] = DELIVERY_KEYS,
    ) -> None:
        """Take lines of that mapping; the given top-level keys are not content."""
        self._payload = payload
        self._mapping = mapping
        self._delivery_keys = delivery_keys
        self._decode = plain_decoder(payload, strict=True)
        self._lines = LineMapping(mapping, payload)
        self._tables = TableMapping(mapping, payload)
        self._parser = LineParser(payload, delivery_keys)
        self._used = _tree(mapping.used_keys)
        self._optional_fields = mapping.optional_fields

    def sort_lines(self, chunk: Chunk) -> SortedLines:
        """Look at each line of a chunk, and separate those that hold an event from the others."""
        sorting = SortedLines()
        if isinstance(chunk.lines, TableLines):
            self._sort_table(chunk, chunk.lines, sorting)
        elif chunk.cells is None:
            self._sort_lines(chunk, sorting)
        else:
            for number, line in chunk.numbered():
                if bare(line):
                    _add(number, self._closely(number, line, chunk.cells, sorting), sorting)
                else:
                    sorting.blank_count += 1
        sorting.rejected += chunk.refused_lines()
        return sorting

    def _sort_lines(self, chunk: Chunk, sorting: SortedLines) -> None:
        """Sort lines of JSON, one by one; those that are in doubt are looked at closely."""
        plain, decode, group = self._lines.plain, self._decode, sorting.plain
        first = chunk.first_line_number

        def closely(number: int, sorting: SortedLines) -> bytes | None:
            sorting.unknown_keys.pop(number, None)
            return self._closely(number, chunk.lines[number - first], chunk.cells, sorting)

        sorting.looks.append(Look(range(first, first + len(chunk.lines)), closely))
        for number, line in chunk.numbered():
            try:
                if chunk.cells is not None:
                    raise InDoubtError
                mapped = plain(line)
                if mapped is DROPPED:
                    sorting.dropped_count += 1
                    continue
                decode(mapped.text)
                is_certain = not (b"\\" in mapped.text and may_hold_nul(mapped.text))
            except (*NOT_PLAIN, InDoubtError):
                is_certain = False
            if is_certain:
                group.add(number, mapped.text)
                if mapped.unknown_keys:
                    sorting.unknown_keys[number] = mapped.unknown_keys
            elif bare(line):
                _add(number, closely(number, sorting), sorting)
            else:
                sorting.blank_count += 1

    def _sort_table(self, chunk: Chunk, table: TableLines, sorting: SortedLines) -> None:
        """Sort the rows of a table; those that are plain by their columns, the others one by one."""
        first = chunk.first_line_number
        lines, unknown_keys = self._plain_rows(table, first, sorting)

        def closely(number: int, sorting: SortedLines) -> bytes | None:
            for found in (sorting.unknown_keys, sorting.former_ids):
                found.pop(number, None)
            return self._closely(number, table[number - first], table.cells, sorting)

        sorting.looks.append(Look(range(first, first + len(table)), closely))
        decode, group, others = self._decode, sorting.plain, table.others
        for place, line in enumerate(lines):
            if line and place not in others:
                try:
                    decode(line)
                except NOT_PLAIN:
                    pass
                else:
                    if not (b"\\" in line and may_hold_nul(line)):
                        group.numbers.append(first + place)
                        group.lines.append(line)
                        if unknown_keys and unknown_keys[place]:
                            sorting.unknown_keys[first + place] = unknown_keys[place]
                        continue
            if place in others:
                sorting.blank_count += place not in chunk.refused
            elif line == b"":
                sorting.dropped_count += 1
            else:
                _add(first + place, closely(first + place, sorting), sorting)

    def _plain_rows(
        self, table: TableLines, first: int, sorting: SortedLines
    ) -> tuple[Sequence[bytes | None], Sequence[tuple[str, ...]] | None]:
        """Return the plain lines of rows, None for one that is in doubt and nothing for one that is dropped."""

        def made_ids(places: Sequence[int]) -> list[str]:
            found = [self._ids_of(table, place) for place in places]
            sorting.former_ids |= {
                first + place: ids.former_ids for place, ids in zip(places, found, strict=True) if ids.former_ids
            }
            return [ids.message_id for ids in found]

        try:
            rows = self._tables.plain_rows(table, made_ids)
        except (UnforeseenError, UnicodeDecodeError, pa.ArrowException):
            return [None] * len(table), None
        if not (rows.is_odd.any() or rows.is_dropped.any()):
            return rows.lines, rows.unknown_keys
        kinds = zip(rows.lines, rows.is_odd.tolist(), rows.is_dropped.tolist(), strict=True)
        return [
            None if is_odd else b"" if is_dropped else line for line, is_odd, is_dropped in kinds
        ], rows.unknown_keys

    def _ids_of(self, table: TableLines, place: int) -> ContentIds:
        raw = table.document(place) if table.cells else json_object(table[place])
        return content_ids(self._mapping.content(raw), self._delivery_keys)

    def _closely(self, number: int, line: bytes, cells: Cells | None, sorting: SortedLines) -> bytes | None:
        """Return the event on a raw line in plain form, or None after recording why there is none."""
        try:
            parsed = self.parse(line, cells)
        except DroppedEventError:
            sorting.dropped_count += 1
        except RefusedValueError as error:
            rejection = Rejection(error.reason_code, error.field_name, error.explanation)
            sorting.rejected.append((number, line, rejection))
        else:
            if parsed.unknown_keys:
                sorting.unknown_keys[number] = parsed.unknown_keys
            if parsed.former_ids:
                sorting.former_ids[number] = parsed.former_ids
            if parsed.left_out:
                sorting.left_out[number] = parsed.left_out
            return encode(parsed.event)
        return None

    def parse(self, line: bytes, cells: Cells | None = None) -> ParsedLine:
        """Return the event on a raw line; if every value is text, in `cells`, it is read as they say.

        Raises RefusedValueError with the first thing that is wrong, which names the producer's key, and
        DroppedEventError for an event that is left out.
        """
        if self._mapping is NATIVE and cells is None:
            return self._parser.parse(line)
        raw = json_object(line)
        if twice := next(_keys_twice(raw, self._used), None):
            refuse_twice(".".join(twice))
        try:
            mapped = self._mapping.map(raw)
            document = self._with_values(mapped.document, cells) if cells else mapped.document
            parsed = self._parser.look_at(document, self._mapping.content(raw), self._optional_fields)
        except RefusedValueError as error:
            explanation = self._in_their_words(error.field_name, error.explanation)
            if error.reason_code is ReasonCode.MISSING_FIELD and self._mapping is NATIVE and error.field_name:
                explanation = f"{explanation.removesuffix('.')}{other_name_hint(raw, error.field_name)}."
            raise RefusedValueError(error.reason_code, error.field_name, explanation) from None
        return replace(
            parsed,
            unknown_keys=(*mapped.unknown_keys, *parsed.unknown_keys),
            left_out=tuple(
                LeftOut(each.field_path, self._in_their_words(each.field_path, each.explanation))
                for each in parsed.left_out
            ),
        )

    def _with_values(self, document: Mapping[str, Any], cells: Cells) -> Mapping[str, Any]:
        """Return a document whose texts are the values that their fields hold, as far as they are that."""
        found = dict(document)
        for part in self._payload.parts:
            level = document.get(part.key)
            if isinstance(level, dict):
                found[part.key] = level | {
                    field.name: _value_of_text(level[field.name], field, cells)
                    for field in part.fields
                    if isinstance(level.get(field.name), str)
                }
        return found

    def _in_their_words(self, name: str | None, explanation: str) -> str:
        """Return an explanation that also says what the producer calls the key that it is about."""
        theirs = self._mapping.key_of(name) if name else ""
        return (
            f"{explanation.removesuffix('.')} ({theirs} in this mapping)."
            if theirs and theirs not in explanation
            else explanation
        )


def _add(number: int, line: bytes | None, sorting: SortedLines) -> None:
    if line is not None:
        sorting.plain.add(number, line)


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def _value_of_text(text: str, field: Field, cells: Cells) -> Any:
    """Return the value that a text has for a field, or the text itself if it has none; the close look then says why."""
    if field.kind.view_data_type is DataType.BOOLEAN:
        return cells.truths.get(text.lower(), text)
    if field.kind.view_data_type in {DataType.INTEGER, DataType.NUMBER}:
        if cells.decimal == ".":
            return WrittenNumber(text) if _NUMBER.fullmatch(text) else text
        number = text.translate({ord("."): cells.decimal, ord(cells.decimal): "."})
        # Never as it is: "1.234" is more than a thousand where decimals begin with a comma.
        return WrittenNumber(number) if _NUMBER.fullmatch(number) else f"{text} (decimals begin with {cells.decimal})"
    return text


def _tree(paths: Collection[Sequence[str]]) -> _Tree:
    tree: dict[str, Any] = {}
    for path in paths:
        level = tree
        for key in path:
            level = level.setdefault(key, {})
    return tree


def _keys_twice(level: Mapping[str, Any], used: _Tree) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to each duplicate key in the objects that matter."""
    if isinstance(level, DuplicateKeys):
        yield from ((key,) for key in sorted(level.duplicated & used.keys()))
    for key, below in used.items():
        inner = level.get(key) if below else None
        if isinstance(inner, dict):
            yield from ((key, *keys) for keys in _keys_twice(inner, below))
