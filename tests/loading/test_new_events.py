"""A large load rebuilds the indexes of events, with the same result as a small one."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.infrastructure.database import preview_engine
from src.marketing_messaging_service.loading import first_deliveries, new_events
from tests.loading.raw_files import everything, raw, rows

LINES = [
    raw("m2", properties={"amount": 2}),
    raw("m1", user_id="v", user_traits={"email": "a@b.c"}),
    raw("m2", properties={"amount": 2}, event_timestamp="2026-03-01T12:00:01Z"),
    raw("m3", properties={"amount": 3}, user_traits={"country": "BR"}),
    raw("m2", properties={"amount": 2}),
    raw("m4"),
]
INDEXES = [
    "ix_events_event_timestamp_event_type",
    "ix_events_user_id_event_type_event_timestamp",
    "uq_events_message_id",
]


@pytest.fixture
def rebuilding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make loads of any size rebuild the indexes, unless they are small compared with what is stored."""
    return lambda: monkeypatch.setattr(new_events, "SMALLEST_REBUILD", 1)


def indexes(engine: Engine) -> list[str]:
    """The names of the indexes of events."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql IS NOT NULL ORDER BY 1"
    return [name for (name,) in rows(engine, sql)]


def schema_version(engine: Engine) -> int:
    """A number that each change of the schema raises."""
    return int(rows(engine, "PRAGMA schema_version")[0][0])


def without_clocks(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the tables that a load fills from its file."""
    names = ("events", "event_properties", "user_traits", "conflicts", "rejected_rows", "unknown_keys")
    created_at = 4
    return {
        name: [row[:created_at] + row[created_at + 1 :] if name == "events" else row for row in tables[name]]
        for name in names
    }


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_rows_and_ids_are_the_same_as_with_the_indexes_kept(engine, load, rebuilding, tmp_path, chunk_rows):
    load("a.jsonl", raw("m1"))
    kept = load("b.jsonl", *LINES, chunk_rows=chunk_rows)
    before = without_clocks(everything(engine))
    with engine.begin() as connection:
        for table in ("events", "rejected_rows", "conflicts", "unknown_keys", "loads", "source_files"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    assert rows(engine, "SELECT * FROM user_traits") == []

    rebuilding()
    load("a.jsonl", raw("m1"))
    rebuilt = load("b.jsonl", *LINES, chunk_rows=chunk_rows)

    for result in (rebuilt, kept):
        assert (result.inserted_count, result.duplicate_count, result.conflict_count) == (3, 2, 1)
        assert result.collision_count == 1
    assert without_clocks(everything(engine)) == before


def test_every_index_stands_again_afterwards_and_the_unique_one_is_one(engine, load, rebuilding):
    before = rows(engine, "SELECT name, sql FROM sqlite_master ORDER BY name")
    rebuilding()
    version = schema_version(engine)
    load("a.jsonl", *LINES)
    assert schema_version(engine) > version
    assert indexes(engine) == INDEXES
    assert rows(engine, "SELECT name, sql FROM sqlite_master ORDER BY name") == before
    assert rows(engine, "PRAGMA integrity_check") == [("ok",)]


def test_a_load_that_is_small_against_what_stands_keeps_the_indexes(engine, load, rebuilding):
    load("a.jsonl", *LINES)
    rebuilding()
    version = schema_version(engine)
    load("b.jsonl", raw("m5"))
    assert schema_version(engine) == version


def test_a_small_load_keeps_the_indexes_of_an_empty_table(engine, load):
    version = schema_version(engine)
    load("a.jsonl", *LINES)
    assert schema_version(engine) == version


def test_a_file_of_nothing_but_repeated_events_keeps_the_indexes(engine, load, rebuilding, monkeypatch):
    monkeypatch.setattr(first_deliveries, "MOST_REPEATED", 0)
    rebuilding()
    version = schema_version(engine)
    result = load("a.jsonl", *LINES)
    assert (result.inserted_count, result.duplicate_count) == (4, 2)
    assert schema_version(engine) == version


def test_a_load_that_fails_leaves_the_indexes_as_they_were(engine, load, rebuilding):
    rebuilding()

    def stop(_count: int) -> None:
        assert indexes(engine) == INDEXES  # for everybody else
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("a.jsonl", *LINES, on_progress=stop)
    assert indexes(engine) == INDEXES
    assert rows(engine, "SELECT * FROM events") == []
    assert load("a.jsonl", *LINES).inserted_count == 4


def test_a_preview_leaves_the_indexes_as_they_were(engine, database_url, load, rebuilding):
    rebuilding()
    with preview_engine(database_url) as scratch:
        before = rows(scratch, "PRAGMA cache_size")
        assert load("a.jsonl", *LINES, engine=scratch).inserted_count == 4
        assert rows(scratch, "PRAGMA cache_size") == before
        assert indexes(scratch) == INDEXES
    assert indexes(engine) == INDEXES
    assert rows(engine, "SELECT * FROM events") == []


def test_an_index_that_somebody_dropped_stands_again(engine, load, rebuilding):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_events_event_timestamp_event_type")
    rebuilding()
    load("a.jsonl", *LINES)
    assert indexes(engine) == INDEXES
