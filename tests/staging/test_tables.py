"""Rows of tables: brought into plain lines many at once, they come out as they do one by one, whatever the mapping."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.staging.columnar import Stager
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.mapped import MappedLines
from src.marketing_messaging_service.staging.sources.mapping import SourceMapping
from src.marketing_messaging_service.staging.sources.source import Cells
from src.marketing_messaging_service.staging.table_mapping import PlainRows, TableMapping, UnforeseenError
from src.marketing_messaging_service.staging.tables import TableLines, wrong_columns
from src.marketing_messaging_service.vocabulary import Payload
from tests.effort import examples
from tests.staging.helpers import Staged, stage
from tests.staging.mappings import OTHER_KEYS, OWN_KEYS, mappings
from tests.staging.odd_values import NUMBERS, TEXTS, TIMESTAMPS
from tests.vocabulary.payloads import EVERY_KIND, payloads


def become(table: TableLines, mapping: SourceMapping, payload: Payload) -> object:
    """What becomes of the rows of a table."""
    found = Stager(payload)
    lines = MappedLines(mapping, payload).sort_lines(Chunk(1, table))
    dropped_count = lines.dropped_count
    chunk = found.into_tables(lines)
    return chunk.events.to_pylist(), chunk.rejected.to_pylist(), chunk.unknown_keys, chunk.blank_count, dropped_count


@contextmanager
def row_by_row() -> Iterator[None]:
    """Let every row of a table be looked at closely."""

    def unforeseen(*_: object) -> PlainRows:
        raise UnforeseenError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TableMapping, "plain_rows", unforeseen)
        yield


def assert_alike(table: TableLines, mapping: SourceMapping, payload: Payload) -> None:
    with row_by_row():
        closely = become(table, mapping, payload)

    assert become(table, mapping, payload) == closely


# --- any table ---


def names_for(payload: Payload) -> st.SearchStrategy[list[str]]:
    """Names of columns, mostly of an event, that can be distinguished."""
    ours = [f"{field.part}.{field.name}" for field in payload.fields]
    others = ("properties", "user_traits", "properties.plan", "user_traits.x", "properties.x.y", "context.traits.x")
    more = st.lists(st.sampled_from((*ours, *ours, *others, *OTHER_KEYS)), max_size=5, unique=True)
    own = st.sampled_from((OWN_KEYS, OWN_KEYS, OWN_KEYS[1:], ()))
    named = st.tuples(own, more).map(lambda both: [*both[0], *both[1]])
    return named.filter(lambda names: not wrong_columns(names, {}))


_texts = st.one_of(
    st.sampled_from(("", "m1", "ana", "signup", "page", "2026-11-03T10:00:00Z", "12.50", "true", "1795392000")),
    st.sampled_from((*TIMESTAMPS, *NUMBERS, *(text.encode().decode("unicode_escape") for text in ("a\\n\\x00b", "é")))),
    st.sampled_from((*TEXTS, "TRUE", "Ja", "nein", "12,5", "1.234,5", "-0,0", "03.11.2026 11:00", "2026-11-03")),
    st.text(max_size=5).filter(lambda text: text.isprintable()),
    st.floats().map(str),
    st.integers(-(2**65), 2**65).map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
)
_cells = st.sampled_from(
    (Cells(), Cells(decimal=","), Cells(truths={"ja": True, "nein": False, "ΟΔΟς": True, "1": True}))
)


@st.composite
def tables_of_text(draw: st.DrawFn, payload: Payload) -> TableLines:
    names = draw(names_for(payload))
    count = draw(st.integers(1, 6))
    usual = {"message_id": "m", "user_id": "ana", "event_type": "signup", "event_timestamp": "2026-11-03T10:00:00Z"}
    columns = [
        [usual[name] if name in usual and draw(st.integers(0, 3)) else draw(_texts) for _ in range(count)]
        for name in names
    ]
    arrays = [pa.array([value or None for value in column], pa.string()) for column in columns]
    return TableLines(tuple(names), arrays, count, 0, draw(_cells))


_INSTANTS = st.datetimes(datetime(1600, 1, 1), datetime(2250, 1, 1))  # noqa: DTZ001  of any zone
_typed: Sequence[tuple[pa.DataType, st.SearchStrategy[Any]]] = (
    (pa.string(), _texts),
    (pa.large_string(), _texts),
    (pa.dictionary(pa.int32(), pa.string()), _texts),
    (pa.binary(), _texts.map(str.encode)),
    (pa.binary(), st.binary(max_size=4)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.sampled_from((0, 3, 1795392000, 1795392000123))),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.float64(), st.floats() | st.sampled_from((3.0, -0.0, 1e22, 2.5))),
    (pa.float32(), st.floats(width=32) | st.sampled_from((0.5, 3.0))),
    (pa.bool_(), st.booleans()),
    (pa.decimal128(20, 2), st.decimals(-100, 100, places=2)),
    (pa.timestamp("us", "UTC"), _INSTANTS),
    (pa.timestamp("ms", "Europe/Paris"), _INSTANTS.map(lambda moment: moment.replace(microsecond=7000))),
    (pa.timestamp("s"), _INSTANTS.map(lambda moment: moment.replace(microsecond=0))),
    (pa.timestamp("ns", "UTC"), st.integers(-(2**62), 2**62)),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.duration("s"), st.integers(0, 9).map(lambda count: timedelta(seconds=count))),
    (pa.list_(pa.string()), st.lists(st.sampled_from(("a", "b")), max_size=2)),
    (pa.map_(pa.string(), pa.int64()), st.just([("a", 1), ("b", 2)])),
    (pa.null(), st.none()),
)


@st.composite
def arrays(draw: st.DrawFn, count: int, fields: Sequence[str]) -> pa.Array:
    """Values of one type, or objects with some of the given keys."""
    if draw(st.integers(0, 3)) == 0 and fields:
        chosen = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3, unique=True))
        inner = {name: draw(arrays(count, ())) for name in chosen}
        mask = pa.array([draw(st.booleans()) for _ in range(count)], pa.bool_())
        return pa.StructArray.from_arrays(list(inner.values()), list(inner), mask=mask)
    kind, values = draw(st.sampled_from(_typed))
    return pa.array([draw(st.none() | values) for _ in range(count)], kind)


@st.composite
def typed_tables(draw: st.DrawFn, payload: Payload) -> TableLines:
    names = draw(names_for(payload))
    count = draw(st.integers(1, 5))
    columns = []
    for name in names:
        usual = {
            "message_id": pa.array([f"m{n}" for n in range(count)]),
            "user_id": pa.array(["ana"] * count),
            "event_type": pa.array(["signup"] * count),
            "event_timestamp": pa.array([datetime(2026, 11, 3, 10, tzinfo=UTC)] * count, pa.timestamp("us", "UTC")),
        }
        known = [field.name for field in payload.fields if field.part == name]
        if name in usual and draw(st.integers(0, 4)):
            columns.append(usual[name])
        else:
            columns.append(draw(arrays(count, [*known, "x", "plan"])))
    objects = {
        name: [inner.name for inner in column.type]
        for name, column in zip(names, columns, strict=True)
        if pa.types.is_struct(column.type)
    }
    if wrong_columns(names, objects):
        return draw(typed_tables(payload))
    return TableLines(tuple(names), columns, count, 0)


@st.composite
def payloads_mappings_and_tables(draw: st.DrawFn, is_typed: bool) -> tuple[Payload, SourceMapping, TableLines]:
    payload = draw(st.one_of(payloads, st.just(EVERY_KIND)))
    table = draw(typed_tables(payload) if is_typed else tables_of_text(payload))
    return payload, draw(mappings(payload)), table


@examples(400)
@given(payloads_mappings_and_tables(is_typed=False))
def test_any_cells_of_any_payload_and_mapping_come_out_together_as_one_by_one(
    drawn: tuple[Payload, SourceMapping, TableLines],
) -> None:
    payload, mapping, table = drawn

    assert_alike(table, mapping, payload)


@examples(400)
@given(payloads_mappings_and_tables(is_typed=True))
def test_any_typed_columns_of_any_payload_and_mapping_come_out_together_as_one_by_one(
    drawn: tuple[Payload, SourceMapping, TableLines],
) -> None:
    payload, mapping, table = drawn

    assert_alike(table, mapping, payload)


# --- the same events in every format ---

_events = st.fixed_dictionaries(
    {"message_id": st.uuids().map(str)},
    optional={
        "user_id": st.sampled_from(("ana", "001", "x" * 65, "a,b;c", 'say "hi"\nü', "null", " ")),
        "event_type": st.sampled_from(("signup", "payment_failed", "x" * 65, "\\n")),
        "event_timestamp": st.sampled_from(
            (
                "2026-11-03T10:00:00Z",
                "2026-11-03T10:00:00.5+02:00",
                "2026-11-03T10:00:00",
                "yesterday",
                "2026-02-30T00:00:00Z",
            )
        ),
        "properties.amount": st.floats(-1e9, 1e9),
        "properties.attempt_number": st.integers(-1, 2**63 - 1),
        "properties.failure_reason": st.sampled_from(("INSUFFICIENT_FUNDS", "001", "true", "x" * 65)),
        "properties.plan": st.sampled_from(("pro", "free")),
        "user_traits.country": st.sampled_from(("FR", "Deutschland")),
        "user_traits.marketing_opt_in": st.booleans(),
        "shop": st.sampled_from(("Paris", "Lyon")),
    },
)
_COLUMNS = {
    "message_id": pa.string(),
    "user_id": pa.string(),
    "event_type": pa.string(),
    "event_timestamp": pa.string(),
    "properties.amount": pa.float64(),
    "properties.attempt_number": pa.int64(),
    "properties.failure_reason": pa.string(),
    "properties.plan": pa.string(),
    "user_traits.country": pa.string(),
    "user_traits.marketing_opt_in": pa.bool_(),
    "shop": pa.string(),
}


def as_json_lines(events: Sequence[Mapping[str, Any]]) -> bytes:
    lines = []
    for event in events:
        document: dict[str, Any] = {}
        for path, value in event.items():
            parent, _, key = path.rpartition(".")
            (document.setdefault(parent, {}) if parent else document)[key] = value
        lines.append(json.dumps(document))
    return "\n".join(lines).encode()


def as_csv(events: Sequence[Mapping[str, Any]], delimiter: str, line_end: str) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=line_end)
    # json.dumps writes true, and each number so that it is the same again.
    values = [
        [value if isinstance(value := event.get(name, ""), str) else json.dumps(value) for name in _COLUMNS]
        for event in events
    ]
    writer.writerows([_COLUMNS, *values])
    return buffer.getvalue().encode()


def as_parquet(events: Sequence[Mapping[str, Any]], row_group_size: int) -> bytes:
    columns = {name: pa.array([event.get(name) for event in events], kind) for name, kind in _COLUMNS.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=row_group_size)
    return buffer.getvalue()


def told(found: Staged, *, rows_before: int = 0) -> object:
    """What became of a file, except the text of its rejected lines; lines are counted after the first `rows_before`."""
    events = [{**row, "line_number": row["line_number"] - rows_before} for row in found.events]
    reasons = [(row["line_number"] - rows_before, row["reason_code"], row["field_name"]) for row in found.rejected]
    return events, reasons, found.unknown_keys, found.read_count - rows_before, found.blank_count - rows_before


@examples(60)
@given(
    events=st.lists(_events, min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(("\n", "\r\n")),
    size=st.integers(1, 9),
)
def test_the_same_events_are_the_same_in_every_format(
    tmp_path: Path, events: list[dict[str, Any]], delimiter: str, line_end: str, size: int
) -> None:
    expected = told(stage(tmp_path, as_json_lines(events), "events.jsonl"))
    (tmp_path / "events.jsonl").unlink()
    assert told(stage(tmp_path, as_csv(events, delimiter, line_end), "events.csv"), rows_before=1) == expected
    (tmp_path / "events.csv").unlink()
    assert told(stage(tmp_path, as_parquet(events, size), "events.parquet")) == expected
    (tmp_path / "events.parquet").unlink()
