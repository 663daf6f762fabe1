"""A file taken in parts: the events of a window by a backfill, the rest by a later run."""

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.loading import known_files, load, load_file
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded, Unreadable
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.loading.conftest import AS_OF
from tests.loading.raw_files import everything, raw, rows, stage

pytestmark = pytest.mark.slow

NOON = Window(datetime.fromisoformat("2026-03-01T12:00Z"), datetime.fromisoformat("2026-03-01T13:00Z"))
AFTERNOON = Window(NOON.end, datetime.fromisoformat("2026-03-02T00:00Z"))

DAY = (
    raw("morning", event_timestamp="2026-03-01T11:59:59.999999Z"),
    raw("start", event_timestamp="2026-03-01T12:00:00Z"),
    raw("last", event_timestamp="2026-03-01T12:59:59.999999Z", properties={"coupon": "X"}),
    "{",
    "",
    raw("end", event_timestamp="2026-03-01T14:00:00+01:00"),
    raw("start", event_timestamp="2026-03-01T12:00:01Z"),
)


@pytest.fixture
def take(engine: Engine, landing: Path) -> Any:
    """Load a file of DAY, or of other lines, as a run does; keywords go to load_file."""

    def take(*lines: Any, name: str = "a.jsonl", **options: Any) -> LoadResult | NotLoaded | Unreadable:
        with closing(stage(landing, name, *(lines or DAY))) as staged:
            return load_file(engine, staged, as_of=AS_OF, **options)

    return take


def test_an_event_at_the_start_is_in_the_window_and_one_at_the_end_is_not(engine, take):
    result = take(window=NOON)
    assert (result.read_count, result.inserted_count, result.outside_count) == (7, 2, 2)
    assert (result.duplicate_count, result.rejected_count, result.blank_count) == (1, 1, 1)
    assert rows(engine, "SELECT message_id FROM events ORDER BY id") == [("start",), ("last",)]
    assert rows(engine, "SELECT state, outside_count FROM loads") == [("loaded", 2)]


def test_a_file_taken_in_part_is_not_known_and_one_taken_to_the_end_is(engine, take):
    take(window=NOON)
    assert not known_files(engine).files
    take()
    [known] = known_files(engine).files
    assert known.refused_code is None


def test_the_rest_of_a_file_comes_with_a_load_of_its_own_that_says_nothing_again(engine, take):
    take(window=NOON)
    result = take()
    assert (result.inserted_count, result.outside_count, result.rejected_count, result.conflict_count) == (2, 0, 0, 0)
    # Two events, the one delivered again, and the line that was rejected before.
    assert result.duplicate_count == 4
    assert result.unknown_keys == {}
    assert rows(engine, "SELECT count(*) FROM source_files") == [(1,)]
    for table in ("rejected_rows", "conflicts", "unknown_keys"):
        assert rows(engine, f"SELECT load_id FROM {table}") == [(1,)]


def test_taking_a_window_again_changes_nothing(engine, take):
    take(window=NOON)
    before = everything(engine)
    assert take(window=NOON) is NotLoaded.NOTHING_NEW
    assert everything(engine) == before


def test_a_file_without_an_event_in_the_window_is_left_alone(engine, take):
    before = everything(engine)
    assert take(raw("m1"), "{", window=AFTERNOON) is NotLoaded.OUTSIDE
    assert everything(engine) == before


def test_a_file_without_any_event_has_nothing_to_leave_for_others(engine, take):
    result = take("{", "", window=AFTERNOON)
    assert (result.rejected_count, result.blank_count, result.outside_count) == (1, 1, 0)
    [known] = known_files(engine).files
    assert known.refused_code is ReasonCode.INVALID_JSON


def test_the_load_that_takes_a_file_to_the_end_makes_it_known_where_it_lies(engine, landing, take):
    take(window=NOON)
    (landing / "a.jsonl").unlink()
    take(name="moved.jsonl")
    assert rows(engine, "SELECT path FROM source_files") == [("moved.jsonl",)]
    assert [known.path for known in known_files(engine).files] == ["moved.jsonl"]


def test_events_that_are_held_are_entered_one_by_one(engine, take):
    take(window=NOON, is_held=True)
    assert rows(engine, "SELECT event_id, run_id FROM held_events") == [(1, None), (2, None)]
    assert rows(engine, "SELECT state FROM loads") == [("held",)]


def test_a_load_that_is_held_without_events_has_nothing_to_wait_for(engine, take):
    take("{", window=NOON, is_held=True)
    assert rows(engine, "SELECT state, ruleset_id FROM loads") == [("decided", None)]


def test_a_conflict_in_a_later_window_is_recorded_though_no_event_is_new(engine, take):
    lines = (
        raw("one", event_timestamp="2026-03-01T12:00:00Z"),
        raw("one", event_timestamp="2026-03-01T14:00:00Z"),
        raw("later", event_timestamp="2026-03-02T12:00:00Z"),
    )
    take(*lines, window=NOON)
    result = take(*lines, window=AFTERNOON)
    assert (result.inserted_count, result.conflict_count, result.outside_count) == (0, 1, 2)
    assert rows(engine, "SELECT line_number, differing_fields FROM conflicts") == [(2, "event_timestamp")]
    assert take(*lines, window=AFTERNOON) is NotLoaded.NOTHING_NEW


def test_the_lines_rejected_before_are_read_by_the_chunk_and_not_all_for_each(engine, take, monkeypatch):
    read: list[int] = []

    def reading(*arguments: Any) -> dict[int, str]:
        read.append(len(lines := lines_rejected_before(*arguments)))
        return lines

    lines_rejected_before = load._lines_rejected_before
    monkeypatch.setattr(load, "_lines_rejected_before", reading)
    lines = (raw("start"), raw("end", event_timestamp="2026-03-03T12:00:00Z"), *(['{"a": 1}'] * 120_000))
    take(*lines, window=Window(NOON.start.replace(month=1), AFTERNOON.end))
    assert take(*lines).duplicate_count == 120_001
    assert len(read) > 1
    assert sum(read) == 120_000
