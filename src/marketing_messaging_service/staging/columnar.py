"""A chunk of raw lines as a frame of typed events, fast: plain lines by compiled code, the others one by one."""

import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from src.marketing_messaging_service.results import REJECTED_SCHEMA, event_schema
from src.marketing_messaging_service.staging.content import bare
from src.marketing_messaging_service.staging.line_parser import MAX_LENGTHS, MOST_LEVELS, LineParser
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.vocabulary import PAYLOAD, Part, Payload
from src.marketing_messaging_service.vocabulary.kinds import staged_instants
from src.marketing_messaging_service.vocabulary.values import RefusedValueError

SMALLEST_HALF = 64
"""Lines below which a group that the columnar reader refuses is looked at line by line instead of halved."""


def _decoder(payload: Payload, *, unknown_keys: bool) -> msgspec.json.Decoder[object]:
    """Return a decoder that accepts plain events alone: each key of its own type, as the staged columns want it."""
    struct = partial(msgspec.defstruct, forbid_unknown_fields=not unknown_keys, gc=False)

    def part_type(part: Part) -> Any:
        # A key in a raw event may be a word that is no name in Python.
        keys = {f"field_{place}": each for place, each in enumerate(part.fields)}
        types = [(name, each.kind.plain_type(each) | None, None) for name, each in keys.items()]
        return struct(part.key, types, rename={name: each.name for name, each in keys.items()})

    event = struct(
        "Event",
        [
            *(
                (name, Annotated[str, msgspec.Meta(min_length=1, max_length=most)])
                for name, most in MAX_LENGTHS.items()
            ),
            ("event_timestamp", Annotated[datetime, msgspec.Meta(tz=True)]),
            *((part.key, part_type(part) | None, None) for part in payload.parts),
        ],
    )
    return msgspec.json.Decoder(event)


_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_encode = msgspec.json.Encoder().encode

# RecursionError: JSON nested too deeply. UnicodeDecodeError: bytes that are not UTF-8.
_NOT_PLAIN = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class StagedChunk:
    """A chunk of lines as typed rows: every line is in one of the frames or is counted as blank."""

    events: pd.DataFrame
    rejected: pd.DataFrame
    blank_count: int
    unknown_keys: Counter[str]
    """How often each key that is not known stood in the events."""


@dataclass(slots=True)
class SortedLines:
    """A chunk's lines on their way into frames."""

    unknown_keys: dict[int, Sequence[str]] = field(default_factory=dict)
    """Paths of the keys that are not known, by line number."""
    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    """The lines that hold an event, each in a form that the columnar reader takes."""
    rejected: list[tuple[int, bytes, Rejection]] = field(default_factory=list)
    blank_count: int = 0


class Stager:
    """Makes frames of lines that hold events of one payload.

    What is an event and what is not is for `line_parser` to say; here it is only reached faster, in two halves:
    `sort_lines`, which is Python, and `into_frames`, which is nearly all compiled and can run beside it.
    """

    def __init__(self, payload: Payload) -> None:
        self.schema = event_schema(payload)
        self._parts = payload.parts
        self._decode_known = _decoder(payload, unknown_keys=False).decode
        self._decode_any = _decoder(payload, unknown_keys=True).decode
        self._parser = LineParser(payload)
        read_schema = pa.schema(
            [
                *((name, pa.string()) for name in (*MAX_LENGTHS, "event_timestamp")),
                *(
                    (part.key, pa.struct([(each.name, each.kind.read_type(each)) for each in part.fields]))
                    for part in payload.parts
                ),
            ]
        )
        self._parse_options = pj.ParseOptions(explicit_schema=read_schema, unexpected_field_behavior="ignore")

    def stage(self, chunk: Chunk) -> StagedChunk:
        """Return a chunk's events as a frame of the staged columns and its rejected lines as one of REJECTED_SCHEMA."""
        return self.into_frames(self.sort_lines(chunk))

    def sort_lines(self, chunk: Chunk) -> SortedLines:
        """Look at each line of a chunk, and tell those that hold an event from blank and rejected ones."""
        sorting = SortedLines()
        for number, line in enumerate(chunk.lines, chunk.first_line_number):
            # Looked at first, because a small packed file can hold a thousand million of them.
            if not line or line.isspace():
                sorting.blank_count += 1
                continue
            plain: bytes | None = line
            try:
                self._decode_known(line)
            except _NOT_PLAIN:
                plain = self._plain_form(number, line, sorting)
            if plain is not None:
                sorting.numbers.append(number)
                sorting.lines.append(plain)
        if chunk.fault is not None:
            sorting.rejected.append((chunk.first_line_number + len(chunk.lines), chunk.fault_bytes, chunk.fault))
        return sorting

    def into_frames(self, sorting: SortedLines) -> StagedChunk:
        """Return sorted lines as frames; a line that only the columnar reader finds no event in is rejected yet."""
        tables = self._parse(sorting.numbers, sorting.lines, sorting)
        for number, _, _ in sorting.rejected:
            sorting.unknown_keys.pop(number, None)
        # In one piece, because each piece would be loaded by statements of its own.
        events = pa.concat_tables([self.schema.empty_table(), *tables]).combine_chunks()
        return StagedChunk(
            events=events.to_pandas(types_mapper=pd.ArrowDtype),
            rejected=_rejected_frame(sorting.rejected),
            blank_count=sorting.blank_count,
            unknown_keys=Counter(itertools.chain.from_iterable(sorting.unknown_keys.values())),
        )

    def _plain_form(self, number: int, line: bytes, sorting: SortedLines) -> bytes | None:
        """Return a line that the columnar reader takes for the event that the line holds, or None if it holds none."""
        try:
            self._decode_any(line)
            _refuse_unseen(line)
            sorting.unknown_keys[number] = self._unknown_keys(line)
            return line
        except _NOT_PLAIN:
            return self._closely(number, line, sorting)

    def _closely(self, number: int, line: bytes, sorting: SortedLines) -> bytes | None:
        try:
            parsed = self._parser.parse(line)
        except RefusedValueError as error:
            if not bare(line):
                sorting.blank_count += 1
                return None
            rejection = Rejection(error.reason_code, error.field_name, error.explanation)
            sorting.rejected.append((number, line, rejection))
            return None
        # A line that is already in its plain form has lost the keys that were counted when it was brought into it.
        sorting.unknown_keys.setdefault(number, parsed.unknown_keys)
        return _encode(parsed.event)

    def _unknown_keys(self, line: bytes) -> list[str]:
        """Return the paths of the keys that are not known in a line that the decoder has accepted."""
        top = _decode_keys(line) or {}
        paths = [key for key in top if key not in self._parser.top_keys]
        for name, known in self._parser.keys.items():
            level = (_decode_keys(top[name]) if name in top else None) or {}
            paths.extend(f"{name}.{key}" for key in level if key not in known)
        return paths

    def _parse(self, numbers: Sequence[int], lines: Sequence[bytes], sorting: SortedLines) -> list[pa.Table]:
        """Return tables of the staged columns that hold the given lines in order.

        The columnar reader refuses a group as a whole, above all for a key that stands twice, which the decoder
        lets pass. A refused group is halved until it is small, then each of its lines is looked at closely.
        """
        if not lines:
            return []
        try:
            return [self._read_columns(numbers, lines)]
        except pa.ArrowException:
            pass
        if len(lines) > SMALLEST_HALF:
            half = len(lines) // 2
            return [
                *self._parse(numbers[:half], lines[:half], sorting),
                *self._parse(numbers[half:], lines[half:], sorting),
            ]
        plain = {number: self._closely(number, line, sorting) for number, line in zip(numbers, lines, strict=True)}
        kept = {number: line for number, line in plain.items() if line is not None}
        return [self._read_columns(list(kept), list(kept.values()))] if kept else []

    def _read_columns(self, numbers: Sequence[int], lines: Sequence[bytes]) -> pa.Table:
        """Return lines as a table of the staged columns. Raises pa.ArrowException when any of them is not plain."""
        text = b"\n".join(lines)
        # One block holds all of it: a block border inside a line longer than a block would be refused.
        table = pj.read_json(
            io.BytesIO(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=self._parse_options,
        )
        if table.num_rows != len(lines):
            raise pa.ArrowInvalid("a line is not one row")
        columns = {name: table[name] for name in MAX_LENGTHS}
        columns["event_timestamp"] = staged_instants(table["event_timestamp"], "event_timestamp")
        columns["line_number"] = pa.array(numbers, pa.int64())
        for part in self._parts:
            for each in part.fields:
                columns[each.staged_name] = each.kind.staged(pc.struct_field(table[part.key], each.name), each)
        return pa.table({name: columns[name] for name in self.schema.names}, schema=self.schema)


STAGER = Stager(PAYLOAD)
"""Makes frames of lines that hold events of the payload that the models declare."""


def _refuse_unseen(line: bytes) -> None:
    """Raise one of _NOT_PLAIN for what the decoder does not look at in the values of keys that it skips."""
    if not line.isascii():
        line.decode("utf-8")
    if line.count(b"{") + line.count(b"[") > MOST_LEVELS:
        raise RecursionError


def _rejected_frame(rejected: list[tuple[int, bytes, Rejection]]) -> pd.DataFrame:
    rejected.sort(key=lambda row: row[0])
    rows = [
        (number, *as_text(line), rejection.reason_code.value, rejection.field_name, rejection.explanation)
        for number, line, rejection in rejected
    ]
    columns = zip(*rows, strict=True) if rows else itertools.repeat((), len(REJECTED_SCHEMA))
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, REJECTED_SCHEMA.types, strict=True)]
    frame: pd.DataFrame = pa.Table.from_arrays(arrays, schema=REJECTED_SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def as_text(line: bytes) -> tuple[str, bytes | None]:
    """Return a line as readable text, and its exact bytes where the text is not exact."""
    text = line.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
    return text, None if text.encode("utf-8") == line else line
