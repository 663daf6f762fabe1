"""Parquet: each row is an event, or a rejected row under its number."""

import gzip
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.marketing_messaging_service.staging.sources.file import parse_sources
from tests.staging.helpers import line, stage

INSTANT = datetime(2026, 11, 3, 10, tzinfo=UTC)


def parquet(columns: dict[str, Any] | pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), buffer, **options)
    return buffer.getvalue()


def rows_of(count: int, **columns: Any) -> dict[str, Any]:
    return {
        "message_id": [f"m{n}" for n in range(count)],
        "user_id": ["ana"] * count,
        "event_type": ["signup"] * count,
        "event_timestamp": pa.array([INSTANT] * count, pa.timestamp("us", "UTC")),
        **columns,
    }


def test_typed_columns_dotted_ones_and_structs_are_keys_alike(tmp_path: Path) -> None:
    content = parquet(
        rows_of(
            2,
            properties=[{"amount": 12.5, "currency": "EUR"}, None],
            **{"user_traits.marketing_opt_in": [True, None], "properties.attempt_number": [3, None]},
        )
    )

    first, second = stage(tmp_path, content, "events.parquet").events

    assert (first["line_number"], second["line_number"]) == (1, 2)
    assert (first["amount"], first["currency"], first["attempt_number"]) == (12.5, "EUR", 3)
    assert first["marketing_opt_in"] is True
    assert first["event_timestamp"] == INSTANT
    assert (second["amount"], second["attempt_number"], second["marketing_opt_in"]) == (None, None, None)


def test_a_rejected_row_is_kept_as_the_json_line_that_says_the_same(tmp_path: Path) -> None:
    [row] = stage(tmp_path, parquet(rows_of(1, user_id=[7], properties=[{"amount": 1.5}])), "events.parquet").rejected

    assert (row["line_number"], row["reason_code"]) == (1, "wrong_type")
    assert json.loads(row["raw_line"]) == {
        "message_id": "m0",
        "user_id": 7,
        "event_type": "signup",
        "event_timestamp": "2026-11-03T10:00:00+00:00",
        "properties": {"amount": 1.5},
    }


def test_a_map_is_an_object_also_when_it_is_empty(tmp_path: Path) -> None:
    maps = pa.array([[("amount", 12.5), ("weight", 3.0)], [], None], pa.map_(pa.string(), pa.float64()))

    found = stage(tmp_path, parquet(rows_of(3, properties=maps)), "events.parquet")

    assert [event["amount"] for event in found.events] == [12.5, None, None]
    assert found.unknown_keys == {"properties.weight": 1}


def test_a_value_that_nobody_can_say_costs_its_row_alone(tmp_path: Path) -> None:
    far = pa.array([0, 10**18], pa.timestamp("us", "UTC"))

    found = stage(tmp_path, parquet(rows_of(2, event_timestamp=far)), "events.parquet")

    assert ([event["message_id"] for event in found.events], found.reasons) == (["m0"], [(2, "invalid_timestamp")])


def test_a_decimal_is_the_number_that_it_is(tmp_path: Path) -> None:
    content = parquet(rows_of(1, **{"properties.amount": pa.array([Decimal("12.50")], pa.decimal128(10, 2))}))

    [event] = stage(tmp_path, content, "events.parquet").events

    assert event["amount"] == 12.5


def test_a_time_without_a_zone_needs_one_from_the_mapping(tmp_path: Path) -> None:
    naive = datetime(2026, 11, 3, 11)  # noqa: DTZ001  this is what is tested
    content = parquet(rows_of(1, event_timestamp=pa.array([naive], pa.timestamp("ms"))))
    in_paris = parse_sources(
        "sources:\n  - {files: '*.parquet', format: parquet, mapping: shop}\n"
        "mappings:\n  shop: {timestamp_form: {timezone: Europe/Paris}}\n",
        "sources.yaml",
    )

    assert stage(tmp_path, content, "events.parquet").reasons == [(1, "naive_timestamp")]
    [event] = stage(tmp_path, content, "events.parquet", sources=in_paris).events
    assert event["event_timestamp"] == INSTANT


@pytest.mark.parametrize("codec", ["snappy", "zstd", "none"])
def test_it_may_be_compressed_within_and_packed_without(tmp_path: Path, codec: str) -> None:
    content = parquet(rows_of(3), compression=codec)

    assert len(stage(tmp_path, content, "events.parquet").events) == 3
    assert len(stage(tmp_path, gzip.compress(content), "events.parquet").events) == 3


def test_many_rows_come_in_many_chunks(tmp_path: Path) -> None:
    content = parquet(rows_of(5_000), row_group_size=1_700)

    found = stage(tmp_path, content, "events.parquet", chunk_bytes=10_000)

    assert [row["message_id"] for row in found.events] == [f"m{n}" for n in range(5_000)]


@pytest.mark.parametrize("length", [4, 100, -8, -1])
def test_a_file_that_breaks_off_is_a_fault_until_it_is_delivered_whole(tmp_path: Path, length: int) -> None:
    content = parquet(rows_of(3))

    found = stage(tmp_path, content[:length], "events.parquet")

    assert (found.events, found.reasons) == ([], [(1, "corrupt_parquet")])
    assert len(stage(tmp_path, content, "events.parquet").events) == 3


def test_columns_that_cannot_be_distinguished_refuse_the_file(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["user_id", "user_id"])

    assert stage(tmp_path, parquet(twice), "events.parquet").reasons == [(1, "invalid_header")]


def test_what_is_named_so_and_is_json_is_read_for_what_it_is(tmp_path: Path) -> None:
    assert stage(tmp_path, line() + b"\n", "events.parquet").user_ids == ["u-1"]


def test_an_empty_file_and_an_empty_table_have_no_rows(tmp_path: Path) -> None:
    assert stage(tmp_path, b"", "events.parquet").read_count == 0
    assert stage(tmp_path, parquet(rows_of(0)), "events.parquet").read_count == 0


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(4, 1_500), junk=st.binary(min_size=1, max_size=8))
def test_no_damage_is_too_odd_for_the_counts_to_add_up(tmp_path: Path, place: int, junk: bytes) -> None:
    content = parquet(rows_of(3, properties=[{"amount": 1.0}, None, {"amount": 2.0}]))

    stage(tmp_path, content[:place] + junk + content[place + len(junk) :], "events.parquet")
