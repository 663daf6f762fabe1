"""A chunk of raw lines as a frame of typed events, fast: plain lines by compiled code, the others one by one."""

import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from src.marketing_messaging_service.results import (
    EVENT_SCHEMA,
    PROPERTY_COLUMNS,
    REJECTED_SCHEMA,
    TRAIT_COLUMNS,
)
from src.marketing_messaging_service.staging.line_parser import (
    LARGEST_INTEGER,
    MAX_LENGTHS,
    MOST_LEVELS,
    PROPERTY_KEYS,
    TOP_KEYS,
    TRAIT_KEYS,
    RejectedLineError,
    parse_line,
    parse_timestamp,
)
from src.marketing_messaging_service.staging.lines import Chunk, Rejection

SMALLEST_HALF = 64
"""Lines below which a group that the columnar reader refuses is looked at line by line instead of halved."""


def _text(name: str, min_length: int = 0) -> Any:
    return Annotated[str, msgspec.Meta(min_length=min_length, max_length=MAX_LENGTHS[name])]


def _decoder(*, unknown_keys: bool) -> msgspec.json.Decoder[object]:
    """Return a decoder that accepts plain events alone: each key of its own type, as EVENT_SCHEMA wants it."""
    attempt_number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INTEGER)]
    struct = partial(msgspec.defstruct, forbid_unknown_fields=not unknown_keys, gc=False)
    properties = struct(
        "Properties",
        [
            ("amount", float | None, None),
            ("attempt_number", attempt_number | None, None),
            ("failure_reason", _text("properties.failure_reason") | None, None),
        ],
    )
    traits = struct(
        "Traits",
        [
            ("email", _text("user_traits.email") | None, None),
            ("country", _text("user_traits.country") | None, None),
            ("marketing_opt_in", bool | None, None),
            ("risk_segment", _text("user_traits.risk_segment") | None, None),
        ],
    )
    event = struct(
        "Event",
        [
            ("message_id", _text("message_id", 1)),
            ("user_id", _text("user_id", 1)),
            ("event_type", _text("event_type", 1)),
            ("event_timestamp", Annotated[datetime, msgspec.Meta(tz=True)]),
            ("properties", properties | None, None),
            ("user_traits", traits | None, None),
        ],
    )
    return msgspec.json.Decoder(event)


_decode_known = _decoder(unknown_keys=False).decode
_decode_any = _decoder(unknown_keys=True).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_encode = msgspec.json.Encoder().encode

# RecursionError: JSON nested too deeply. UnicodeDecodeError: bytes that are not UTF-8.
_NOT_PLAIN = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

_JSON_SCHEMA = pa.schema(
    [
        ("message_id", pa.string()),
        ("user_id", pa.string()),
        ("event_type", pa.string()),
        ("event_timestamp", pa.string()),
        ("properties", pa.struct([EVENT_SCHEMA.field(name) for name in PROPERTY_COLUMNS])),
        ("user_traits", pa.struct([EVENT_SCHEMA.field(name) for name in TRAIT_COLUMNS])),
    ]
)
_PARSE_OPTIONS = pj.ParseOptions(explicit_schema=_JSON_SCHEMA, unexpected_field_behavior="ignore")
_EARLIEST = pa.scalar(datetime.min.replace(tzinfo=UTC), pa.timestamp("us", "UTC"))
_LATEST = pa.scalar(datetime.max.replace(tzinfo=UTC), pa.timestamp("us", "UTC"))


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


def stage_chunk(chunk: Chunk) -> StagedChunk:
    """Return a chunk's events as a frame of EVENT_SCHEMA and its rejected lines as one of REJECTED_SCHEMA.

    What is an event and what is not is for `line_parser` to say; here it is only reached faster, in two halves:
    `sort_lines`, which is Python, and `into_frames`, which is nearly all compiled and can run beside it.
    """
    return into_frames(sort_lines(chunk))


def sort_lines(chunk: Chunk) -> SortedLines:
    """Look at each line of a chunk, and tell those that hold an event from blank and rejected ones."""
    sorting = SortedLines()
    for number, line in enumerate(chunk.lines, chunk.first_line_number):
        # Looked at first, because a small packed file can hold a thousand million of them.
        if not line or line.isspace():
            sorting.blank_count += 1
            continue
        plain: bytes | None = line
        try:
            _decode_known(line)
        except _NOT_PLAIN:
            plain = _plain_form(number, line, sorting)
        if plain is not None:
            sorting.numbers.append(number)
            sorting.lines.append(plain)
    if chunk.fault is not None:
        sorting.rejected.append((chunk.first_line_number + len(chunk.lines), chunk.fault_bytes, chunk.fault))
    return sorting


def into_frames(sorting: SortedLines) -> StagedChunk:
    """Return sorted lines as frames; a line that only the columnar reader finds no event in is rejected yet."""
    tables = _parse(sorting.numbers, sorting.lines, sorting)
    for number, _, _ in sorting.rejected:
        sorting.unknown_keys.pop(number, None)
    # In one piece, because each piece would be loaded by statements of its own.
    events = pa.concat_tables([EVENT_SCHEMA.empty_table(), *tables]).combine_chunks()
    return StagedChunk(
        events=events.to_pandas(types_mapper=pd.ArrowDtype),
        rejected=_rejected_frame(sorting.rejected),
        blank_count=sorting.blank_count,
        unknown_keys=Counter(itertools.chain.from_iterable(sorting.unknown_keys.values())),
    )


def _plain_form(number: int, line: bytes, sorting: SortedLines) -> bytes | None:
    """Return a line that the columnar reader takes for the event that the line holds, or None if it holds none."""
    try:
        _decode_any(line)
        _refuse_unseen(line)
        sorting.unknown_keys[number] = _unknown_keys(line)
        return line
    except _NOT_PLAIN:
        return _closely(number, line, sorting)


def _refuse_unseen(line: bytes) -> None:
    """Raise one of _NOT_PLAIN for what the decoder does not look at in the values of keys that it skips."""
    if not line.isascii():
        line.decode("utf-8")
    if line.count(b"{") + line.count(b"[") > MOST_LEVELS:
        raise RecursionError


def _closely(number: int, line: bytes, sorting: SortedLines) -> bytes | None:
    try:
        parsed = parse_line(line)
    except RejectedLineError as error:
        sorting.rejected.append((number, line, error.rejection))
        return None
    # A line that is already in its plain form has lost the keys that were counted when it was brought into it.
    sorting.unknown_keys.setdefault(number, parsed.unknown_keys)
    return _encode(parsed.event)


def _unknown_keys(line: bytes) -> list[str]:
    """Return the paths of the keys that are not known in a line that the decoder has accepted."""
    top = _decode_keys(line) or {}
    paths = [key for key in top if key not in TOP_KEYS]
    for name, known in (("properties", PROPERTY_KEYS), ("user_traits", TRAIT_KEYS)):
        level = (_decode_keys(top[name]) if name in top else None) or {}
        paths.extend(f"{name}.{key}" for key in level if key not in known)
    return paths


def _parse(numbers: Sequence[int], lines: Sequence[bytes], sorting: SortedLines) -> list[pa.Table]:
    """Return tables of EVENT_SCHEMA that hold the given lines in order.

    The columnar reader refuses a group as a whole, above all for a key that stands twice, which the decoder
    lets pass. A refused group is halved until it is small, then each of its lines is looked at closely.
    """
    if not lines:
        return []
    try:
        return [_read_columns(numbers, lines)]
    except pa.ArrowException:
        pass
    if len(lines) > SMALLEST_HALF:
        half = len(lines) // 2
        return [
            *_parse(numbers[:half], lines[:half], sorting),
            *_parse(numbers[half:], lines[half:], sorting),
        ]
    plain = {number: _closely(number, line, sorting) for number, line in zip(numbers, lines, strict=True)}
    kept = {number: line for number, line in plain.items() if line is not None}
    return [_read_columns(list(kept), list(kept.values()))] if kept else []


def _read_columns(numbers: Sequence[int], lines: Sequence[bytes]) -> pa.Table:
    """Return lines as a table of EVENT_SCHEMA. Raises pa.ArrowException when any of them is not plain."""
    text = b"\n".join(lines)
    # One block holds all of it: a block border inside a line longer than a block would be refused.
    table = pj.read_json(
        io.BytesIO(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=_PARSE_OPTIONS,
    )
    if table.num_rows != len(lines):
        raise pa.ArrowInvalid("a line is not one row")
    timestamps = _instants(table["event_timestamp"])
    if pc.any(pc.or_(pc.less(timestamps, _EARLIEST), pc.greater(timestamps, _LATEST))).as_py():
        raise pa.ArrowInvalid("an instant is outside the years 0001 to 9999")
    columns = {name: table[name] for name in ("message_id", "user_id", "event_type")}
    columns["event_timestamp"] = timestamps
    columns["line_number"] = pa.array(numbers, pa.int64())
    for parent, names in (("properties", PROPERTY_COLUMNS), ("user_traits", TRAIT_COLUMNS)):
        columns |= {name: pc.struct_field(table[parent], name) for name in names}
    return pa.table({name: columns[name] for name in EVENT_SCHEMA.names}, schema=EVENT_SCHEMA)


def _instants(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ISO 8601 texts as instants in UTC, those of producers that write nanoseconds or a small z too."""
    try:
        return pc.cast(texts, EVENT_SCHEMA.field("event_timestamp").type)
    except pa.ArrowInvalid:
        pass
    try:
        return pa.chunked_array(
            [[parse_timestamp(text) for text in texts.to_pylist()]], EVENT_SCHEMA.field("event_timestamp").type
        )
    except RejectedLineError as error:
        raise pa.ArrowInvalid(str(error)) from None


def _rejected_frame(rejected: list[tuple[int, bytes, Rejection]]) -> pd.DataFrame:
    rejected.sort(key=lambda row: row[0])
    rows = [
        (number, *_as_text(line), rejection.reason_code.value, rejection.field_name, rejection.explanation)
        for number, line, rejection in rejected
    ]
    columns = zip(*rows, strict=True) if rows else itertools.repeat((), len(REJECTED_SCHEMA))
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, REJECTED_SCHEMA.types, strict=True)]
    frame: pd.DataFrame = pa.Table.from_arrays(arrays, schema=REJECTED_SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _as_text(line: bytes) -> tuple[str, bytes | None]:
    """Return a line as readable text, and its exact bytes where the text is not exact."""
    text = line.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
    return text, None if text.encode("utf-8") == line else line
