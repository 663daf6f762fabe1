"""Reads many lines at once into columns in compiled code, which refuses all of them if one is not plain."""

import io
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from src.marketing_messaging_service.staging.line_parser import MAX_LENGTHS
from src.marketing_messaging_service.staging.results import FORMER_IDS, LEFT_OUT, event_schema
from src.marketing_messaging_service.vocabulary import Field, Payload
from src.marketing_messaging_service.vocabulary.kinds import staged_instants

_ESCAPED_NUL = b"\\u0000"


class ColumnReader:
    """Reads lines with events of one payload, with numbers as numbers, or as text in some fields."""

    def __init__(self, payload: Payload, text_paths: Collection[str] = ()) -> None:
        """Take the numbers of the fields at these paths as text, and no others."""
        self.schema = event_schema(payload)
        self._parts = payload.parts
        self._text_paths = text_paths
        texts = [(name, pa.string()) for name in (*MAX_LENGTHS, "event_timestamp")]
        parts = [
            (part.key, pa.struct([(field.name, self._read_type(field)) for field in part.fields]))
            for part in payload.parts
        ]
        self._parse_options = pj.ParseOptions(
            explicit_schema=pa.schema([*texts, *parts]), unexpected_field_behavior="ignore"
        )

    def read(self, numbers: Sequence[int], lines: Sequence[bytes], *, may_hold_nul: bool) -> pa.Table:
        """Return lines, one or more, as a table of the staged columns; a message_id may be missing.

        Raises pa.ArrowException when any line is not plain, or may hold a NUL unless that was checked before.
        """
        text = b"\n".join(lines)
        # Only where there is a backslash at all; this check takes a tenth of the time.
        if may_hold_nul and b"\\" in text and _ESCAPED_NUL in text:
            raise pa.ArrowInvalid("a text may hold a NUL")
        # One block holds all of it: a block border inside a line longer than a block would be refused.
        table = pj.read_json(
            io.BytesIO(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=self._parse_options,
        )
        if table.num_rows != len(numbers):
            raise pa.ArrowInvalid("a line is not one row")
        columns = {name: table[name] for name in MAX_LENGTHS}
        columns["event_timestamp"] = staged_instants(table["event_timestamp"], "event_timestamp")
        columns["line_number"] = pa.array(numbers, pa.int64())
        for part in self._parts:
            for field in part.fields:
                columns[field.staged_name] = self._staged(pc.struct_field(table[part.key], field.name), field)
        for name in (FORMER_IDS, LEFT_OUT):
            columns[name] = pa.nulls(len(numbers), self.schema.field(name).type)
        return pa.table({name: columns[name] for name in self.schema.names}, schema=self.schema)

    def _read_type(self, field: Field) -> Any:
        return pa.string() if field.path in self._text_paths else field.kind.read_type(field)

    def _staged(self, values: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
        if field.path in self._text_paths and field.kind.staged_text:
            return field.kind.staged_text(values, field)
        return field.kind.staged(values, field)


def takes_text(field: Field) -> bool:
    """Return whether a field takes the text of a number."""
    return field.taken.from_text and field.kind.staged_text is not None


def may_hold_nul(line: bytes) -> bool:
    """Return whether a text on a line may hold a NUL."""
    return _ESCAPED_NUL in line
