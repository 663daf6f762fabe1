"""Lines in a producer's own words: brought into ours one by one, and looked at closely.

What comes of them goes the same way as the lines of every other file.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from src.marketing_messaging_service.staging.columnar import SortedLines
from src.marketing_messaging_service.staging.content import bare
from src.marketing_messaging_service.staging.line_parser import (
    DuplicateKeys,
    LeftOut,
    LineParser,
    ParsedLine,
    json_object,
    refuse_twice,
)
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.nearly_plain import encode
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.sources.mapping import DroppedEventError, SourceMapping
from src.marketing_messaging_service.staging.sources.source import Cells
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS, PAYLOAD, DataType, Field, Payload
from src.marketing_messaging_service.vocabulary.values import RefusedValueError, WrittenNumber

_Tree = Mapping[str, "_Tree"]
"""Keys, each with those that are looked at in the object under it."""


class MappedLines:
    """Looks closely at lines that are written as one mapping says."""

    def __init__(
        self,
        mapping: SourceMapping,
        payload: Payload = PAYLOAD,
        delivery_keys: Collection[str] = DELIVERY_KEYS,
        *,
        cells: Cells | None = None,
    ) -> None:
        """Take lines of that mapping; the given keys at their top are no content.

        Where every value stands there as text, in cells, one is read for what its field holds.
        """
        self._payload = payload
        self._cells = cells
        self._mapping = mapping
        self._parser = LineParser(payload, delivery_keys)
        self._used = _tree(mapping.used_keys)
        self._optional_fields = mapping.optional_fields

    def sort_lines(self, chunk: Chunk) -> SortedLines:
        """Look at each line of a chunk, and tell those that hold an event from the others."""
        sorting = SortedLines()
        for number, line in chunk.numbered():
            if not bare(line):
                sorting.blank_count += 1
                continue
            try:
                parsed = self.parse(line)
            except DroppedEventError:
                sorting.dropped_count += 1
            except RefusedValueError as error:
                rejection = Rejection(error.reason_code, error.field_name, error.explanation)
                sorting.rejected.append((number, line, rejection))
            else:
                sorting.plain.add(number, encode(parsed.event))
                if parsed.unknown_keys:
                    sorting.unknown_keys[number] = parsed.unknown_keys
                if parsed.former_ids:
                    sorting.former_ids[number] = parsed.former_ids
                if parsed.left_out:
                    sorting.left_out[number] = parsed.left_out
        sorting.rejected += chunk.refused_lines()
        return sorting

    def parse(self, line: bytes) -> ParsedLine:
        """Return the event on a raw line.

        Raises RefusedValueError with the first thing that is wrong, which names the producer's key, and
        DroppedEventError for an event of a type that is left out.
        """
        raw = json_object(line)
        if twice := next(_keys_twice(raw, self._used), None):
            refuse_twice(".".join(twice))
        try:
            mapped = self._mapping.map(raw)
            document = self._with_values(mapped.document, self._cells) if self._cells else mapped.document
            parsed = self._parser.look_at(document, self._mapping.content(raw), self._optional_fields)
        except RefusedValueError as error:
            explanation = self._in_their_words(error.field_name, error.explanation)
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


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def _value_of_text(text: str, field: Field, cells: Cells) -> Any:
    """Return what a text says for a field, or the text itself, of which the close look says what is wrong."""
    if field.kind.view_data_type is DataType.BOOLEAN:
        return cells.truths.get(text.lower(), text)
    if field.kind.view_data_type in {DataType.INTEGER, DataType.NUMBER}:
        if cells.decimal == ".":
            return WrittenNumber(text) if _NUMBER.fullmatch(text) else text
        number = text.translate({ord("."): cells.decimal, ord(cells.decimal): "."})
        # Never as it stands: "1.234" is a thousand and more where decimals begin with a comma.
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
    """Yield the keys that lead to each one that stands more than once where it is looked at."""
    if isinstance(level, DuplicateKeys):
        yield from ((key,) for key in sorted(level.duplicated & used.keys()))
    for key, below in used.items():
        inner = level.get(key) if below else None
        if isinstance(inner, dict):
            yield from ((key, *keys) for keys in _keys_twice(inner, below))
