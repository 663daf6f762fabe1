"""What a mapping leaves out: invalid values, and events of types that nobody wants."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.loading.results import LoadResult
from src.marketing_messaging_service.staging.landing import discover
from src.marketing_messaging_service.staging.sources.file import parse_sources
from src.marketing_messaging_service.staging.stage import stage_file
from tests.loading.raw_files import rows
from tests.pipeline import AS_OF

SOURCES = parse_sources(
    "sources:\n  - {files: '*.jsonl', mapping: shop}\n"
    "mappings:\n  shop: {fields: {user_traits.country: {on_invalid: null}}, event_types: {drop: beat}}\n",
    "sources.yaml",
)


def event(message_id: str, country: object = "NO", **values: Any) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "user_id": "u",
        "event_type": "signup",
        "event_timestamp": "2026-11-23T09:00:00Z",
        "user_traits": {"country": country},
        **values,
    }


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def take(engine: Engine, landing: Path, name: str, *events: dict[str, Any]) -> LoadResult:
    (landing / name).write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
    [file] = discover(landing, known_files(engine), sources=SOURCES).new_files
    staged = stage_file(file, sources=SOURCES)
    result = load_file(engine, staged, as_of=AS_OF)
    staged.close()
    assert isinstance(result, LoadResult)
    return result


def test_a_value_that_was_left_out_is_kept_as_a_remark_on_its_event(engine: Engine, landing: Path) -> None:
    result = take(engine, landing, "a.jsonl", event("m1"), event("m2", "Deutschland"), event("m3", 7))

    assert (result.inserted_count, result.left_out_count) == (3, 2)
    found = rows(engine, "SELECT load_id, line_number, field_path, event_id FROM left_out_values ORDER BY line_number")
    assert found == [(1, 2, "user_traits.country", 2), (1, 3, "user_traits.country", 3)]
    [(explanation,)] = rows(engine, "SELECT explanation FROM left_out_values WHERE line_number = 3")
    assert "7" in explanation


def test_of_an_event_that_is_known_already_nothing_is_left_out(engine: Engine, landing: Path) -> None:
    take(engine, landing, "a.jsonl", event("m1", None))
    result = take(engine, landing, "b.jsonl", event("m1", "Deutschland"))

    assert (result.duplicate_count, result.conflict_count, result.left_out_count) == (1, 0, 0)
    assert rows(engine, "SELECT count(*) FROM left_out_values") == [(0,)]


def test_dropped_events_have_a_count_of_their_own(engine: Engine, landing: Path) -> None:
    result = take(engine, landing, "a.jsonl", event("m1"), event("m2", event_type="beat"))

    assert (result.read_count, result.inserted_count, result.dropped_count) == (2, 1, 1)
    assert rows(engine, "SELECT read_count, inserted_count, dropped_count FROM loads") == [(2, 1, 1)]


def test_a_file_of_dropped_and_rejected_lines_was_read_and_is_not_taken_again(engine: Engine, landing: Path) -> None:
    take(engine, landing, "a.jsonl", event("m1", event_type="beat"), event("m2", user_id=""))

    assert discover(landing, known_files(engine), sources=SOURCES).known_count == 1
    assert rows(engine, "SELECT refused_code FROM source_files") == [(None,)]
