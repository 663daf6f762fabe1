"""One file's way into the tables: its rows, its ledger entry, all of it or nothing."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import StatementError

from src.marketing_messaging_service.errors import LoadError
from src.marketing_messaging_service.loading import load_file
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded
from src.marketing_messaging_service.staging.results import StagedFile
from tests.loading.conftest import AS_OF
from tests.loading.raw_files import Line, everything, raw, rows, stage

REPOSITORY = Path(__file__).resolve().parents[2]

MIXED_LINES: tuple[Line, ...] = (
    raw("m1", properties={"amount": 1.5}, user_traits={"country": "BR"}),
    raw("m2"),
    "",
    raw("m1", properties={"amount": 2.5}),
    "{not json",
    raw("m3", user_traits={"marketing_opt_in": False}, coupon="X"),
    raw("m2", event_timestamp="2026-03-01T12:00:01Z"),
    raw("m4", user_id=""),
    raw("m5", properties={"attempt_number": 3}),
)
"""A collision, a duplicate that is a conflict, two rejected lines, a blank one and an unknown key."""


def test_a_whole_file_lands_in_the_three_tables(engine, load):
    load(
        "a.jsonl",
        raw(
            "m1",
            user_id="001",
            event_type="signup_completed",
            user_traits={"email": "a@b.c", "country": "BR", "marketing_opt_in": True, "risk_segment": "low"},
        ),
        raw("m2", properties={"amount": 9.5, "attempt_number": 3, "failure_reason": "INSUFFICIENT_FUNDS"}),
        raw("m3", user_id="zoë 🙂", properties={"amount": -1}, user_traits={"country": "NO"}),
        raw("m4", event_timestamp="2026-03-01T14:00:00.5+05:30"),
    )
    assert rows(engine, "SELECT id, message_id, user_id, event_type, event_timestamp, load_id FROM events") == [
        (1, "m1", "001", "signup_completed", "2026-03-01 12:00:00.000000", 1),
        (2, "m2", "u", "payment_failed", "2026-03-01 12:00:00.000000", 1),
        (3, "m3", "zoë 🙂", "payment_failed", "2026-03-01 12:00:00.000000", 1),
        (4, "m4", "u", "payment_failed", "2026-03-01 08:30:00.500000", 1),
    ]
    assert rows(engine, "SELECT event_id, amount, attempt_number, failure_reason FROM event_properties") == [
        (2, 9.5, 3, "INSUFFICIENT_FUNDS"),
        (3, -1.0, None, None),
    ]
    assert rows(engine, "SELECT event_id, email, country, marketing_opt_in, risk_segment FROM user_traits") == [
        (1, "a@b.c", "BR", 1, "low"),
        (3, None, "NO", None, None),
    ]


@pytest.mark.parametrize("part", [None, {}, {"coupon": "X"}, "all null"])
def test_an_event_that_says_nothing_we_know_has_no_row_beside_it(engine, load, part):
    properties, traits = part, part
    if part == "all null":
        properties = dict.fromkeys(("amount", "attempt_number", "failure_reason"))
        traits = dict.fromkeys(("email", "country", "marketing_opt_in", "risk_segment"))
    load("a.jsonl", raw("m1", properties=properties, user_traits=traits), raw("m2"))
    assert rows(engine, "SELECT count(*) FROM events") == [(2,)]
    assert rows(engine, "SELECT * FROM event_properties") == []
    assert rows(engine, "SELECT * FROM user_traits") == []


@pytest.mark.parametrize(
    ("part", "column", "value", "stored"),
    [
        ("properties", "amount", 0, 0.0),
        ("properties", "attempt_number", 0, 0),
        ("properties", "failure_reason", "", ""),
        ("user_traits", "email", "", ""),
        ("user_traits", "country", "NO", "NO"),
        ("user_traits", "marketing_opt_in", False, 0),
        ("user_traits", "risk_segment", "low", "low"),
    ],
)
def test_one_value_is_enough_for_a_row_however_false_it_looks(engine, load, *, part, column, value, stored):
    load("a.jsonl", raw("m1"), raw("m2", **{part: {column: value}}))
    table = {"properties": "event_properties", "user_traits": "user_traits"}[part]
    assert rows(engine, f"SELECT event_id, {column} FROM {table}") == [(2, stored)]


def test_values_have_the_type_that_their_column_means(engine, load):
    load(
        "a.jsonl",
        raw(
            "007",
            user_id="001",
            properties={"amount": 12, "attempt_number": 3, "failure_reason": "051"},
            user_traits={"email": "1", "country": "1", "marketing_opt_in": True, "risk_segment": "1e3"},
        ),
        raw("m2", properties={"amount": "12.50", "attempt_number": "3"}),
    )
    assert rows(
        engine,
        "SELECT typeof(id), typeof(message_id), typeof(user_id), typeof(event_timestamp), typeof(created_at), "
        "typeof(load_id), message_id, user_id FROM events WHERE id = 1",
    ) == [("integer", "text", "text", "text", "text", "integer", "007", "001")]
    assert rows(
        engine, "SELECT typeof(amount), amount, typeof(attempt_number), attempt_number FROM event_properties"
    ) == [("real", 12.0, "integer", 3), ("real", 12.5, "integer", 3)]
    assert rows(engine, "SELECT typeof(failure_reason), failure_reason FROM event_properties WHERE id = 1") == [
        ("text", "051")
    ]
    assert rows(
        engine,
        "SELECT typeof(email), typeof(country), country, typeof(marketing_opt_in), typeof(risk_segment), risk_segment "
        "FROM user_traits",
    ) == [("text", "text", "1", "integer", "text", "1e3")]


def test_whole_numbers_of_nineteen_digits_are_kept_to_the_last_digit(engine, load):
    numbers = (2**53 + 1, 1234567890123456789, 2**63 - 1)
    load("a.jsonl", *(raw(f"m{number}", properties={"attempt_number": number}) for number in numbers))
    assert rows(engine, "SELECT attempt_number, typeof(attempt_number) FROM event_properties") == [
        (number, "integer") for number in numbers
    ]


def test_numbers_stay_exact_beside_events_that_have_none(engine, load):
    load("a.jsonl", raw("m1"), raw("m2", properties={"attempt_number": 2**53 + 1}), raw("m3", properties={"amount": 1}))
    assert rows(engine, "SELECT event_id, amount, attempt_number FROM event_properties") == [
        (2, None, 2**53 + 1),
        (3, 1.0, None),
    ]


def test_instants_are_stored_as_utc_text_of_one_format_that_sorts_as_time(engine, load):
    texts = {
        "0001-01-01T00:00:00Z": "0001-01-01 00:00:00.000000",
        "2026-02-28T23:59:59.999999Z": "2026-02-28 23:59:59.999999",
        "2026-03-01T05:30:00+05:30": "2026-03-01 00:00:00.000000",
        "2026-02-28T16:00:00.000001-08:00": "2026-03-01 00:00:00.000001",
        "9999-12-31T23:59:59.999999Z": "9999-12-31 23:59:59.999999",
    }
    load("a.jsonl", *(raw(text, event_timestamp=text) for text in reversed(texts)))
    assert rows(engine, "SELECT message_id, event_timestamp FROM events ORDER BY event_timestamp") == list(
        texts.items()
    )


def test_rows_tell_their_load_and_when_it_was(engine, load):
    before = datetime.now(UTC)
    load("a.jsonl", raw("m1"))
    [(load_id, created_at, loaded_at, taken_at)] = rows(
        engine,
        "SELECT load_id, created_at, loaded_at, taken_at FROM events "
        "JOIN loads ON loads.id = load_id JOIN source_files ON source_files.id = source_file_id",
    )
    assert load_id == 1
    assert created_at == loaded_at == taken_at
    assert before <= datetime.fromisoformat(created_at).replace(tzinfo=UTC) <= datetime.now(UTC)


def test_the_ledger_says_what_became_of_every_line(engine, load):
    result = load("a.jsonl", *MIXED_LINES, flow_run_id="run-1")
    assert (result.read_count, result.inserted_count, result.duplicate_count) == (9, 4, 1)
    assert (result.conflict_count, result.collision_count) == (1, 1)
    assert (result.rejected_count, result.blank_count) == (2, 1)
    assert result.display_path == "a.jsonl"
    assert rows(
        engine,
        "SELECT as_of, flow_run_id, state, read_count, inserted_count, duplicate_count, conflict_count, "
        "collision_count, rejected_count, blank_count, decided_at, ruleset_id FROM loads",
    ) == [("2026-03-01 13:00:00.000000", "run-1", "loaded", 9, 4, 1, 1, 1, 2, 1, None, None)]


def test_the_counts_of_the_ledger_can_be_checked_by_counting_rows(engine, load):
    load("a.jsonl", *MIXED_LINES)
    load("b.jsonl", raw("m9"), *MIXED_LINES)
    counted = rows(
        engine,
        "SELECT (SELECT count(*) FROM events WHERE load_id = loads.id), "
        "(SELECT count(*) FROM rejected_rows WHERE load_id = loads.id AND event_id IS NULL), "
        "(SELECT count(*) FROM rejected_rows WHERE load_id = loads.id AND event_id IS NOT NULL), "
        "(SELECT count(*) FROM conflicts WHERE load_id = loads.id) FROM loads ORDER BY id",
    )
    assert counted == rows(
        engine, "SELECT inserted_count, rejected_count, collision_count, conflict_count FROM loads ORDER BY id"
    )
    assert counted == [(4, 2, 1, 1), (1, 2, 0, 1)]


def test_the_file_is_recorded_under_its_name_with_what_identifies_it(engine, landing, load):
    load("a.jsonl", raw("m1"))
    status = (landing / "a.jsonl").stat()
    [(path, size_bytes, modified_at, content_hash, file_signature)] = rows(
        engine, "SELECT path, size_bytes, modified_at, content_hash, file_signature FROM source_files"
    )
    assert (path, size_bytes) == ("a.jsonl", status.st_size)
    modified = datetime.fromisoformat(modified_at).replace(tzinfo=UTC)
    assert abs(modified - datetime.fromtimestamp(status.st_mtime, UTC)) < timedelta(milliseconds=1)
    assert len(content_hash) == 64
    assert file_signature


def test_an_empty_file_leaves_a_ledger_row_and_nothing_else(engine, load):
    result = load("empty.jsonl")
    assert result.read_count == 0
    assert {name for name, found in everything(engine).items() if found} == {"source_files", "loads"}
    assert rows(engine, "SELECT read_count, first_event_id, last_event_id FROM loads") == [(0, None, None)]


def test_a_file_of_blank_lines_is_counted_and_leaves_no_rows(engine, load):
    result = load("blank.jsonl", "", "   ", "")
    assert (result.read_count, result.blank_count) == (3, 3)
    assert rows(engine, "SELECT * FROM events") == rows(engine, "SELECT * FROM rejected_rows") == []


def test_the_events_of_a_load_lie_between_its_first_and_last_event_id(engine, load):
    load("a.jsonl", raw("m1"), raw("m2"), raw("m1"))
    load("b.jsonl", raw("m1"), raw("m3"), raw("m2"), raw("m4"), raw("m4"))
    load("c.jsonl", raw("m1"), raw("m2"))
    load("d.jsonl", raw("m5"))
    assert rows(engine, "SELECT first_event_id, last_event_id FROM loads ORDER BY id") == rows(
        engine,
        "SELECT min(events.id), max(events.id) FROM loads LEFT JOIN events ON load_id = loads.id "
        "GROUP BY loads.id ORDER BY loads.id",
    )
    assert rows(engine, "SELECT message_id FROM events ORDER BY id") == [("m1",), ("m2",), ("m3",), ("m4",), ("m5",)]


@pytest.mark.parametrize("chunk_rows", [1, 2, 4])
def test_the_size_of_the_chunks_changes_nothing(engine, load, chunk_rows):
    load("a.jsonl", *MIXED_LINES)
    for_all_at_once = _content(engine)
    for table in ("conflicts", "unknown_keys", "rejected_rows", "events", "loads", "source_files"):
        _execute(engine, f"DELETE FROM {table}")
    load("a.jsonl", *MIXED_LINES, chunk_rows=chunk_rows)
    assert _content(engine) == for_all_at_once


def _content(engine: Engine) -> list[list[tuple[Any, ...]]]:
    """Everything that a load writes, except its time and the file's own identity."""
    return [
        rows(engine, sql)
        for sql in (
            "SELECT id, message_id, user_id, event_type, event_timestamp, load_id FROM events ORDER BY id",
            "SELECT * FROM event_properties ORDER BY id",
            "SELECT * FROM user_traits ORDER BY id",
            "SELECT * FROM rejected_rows ORDER BY id",
            "SELECT * FROM conflicts ORDER BY load_id, line_number",
            "SELECT * FROM unknown_keys ORDER BY key_path",
            "SELECT read_count, inserted_count, duplicate_count, conflict_count, collision_count, rejected_count, "
            "blank_count, first_event_id, last_event_id FROM loads",
        )
    ]


def _execute(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


def test_progress_is_reported_in_events_chunk_by_chunk(load):
    told: list[int] = []
    load("a.jsonl", raw("m1"), raw("m2"), "{", raw("m1"), chunk_rows=2, on_progress=told.append)
    assert told == [2, 1]


def test_the_same_content_is_not_taken_again_under_another_name(engine, tmp_path, load):
    load("a.jsonl", *MIXED_LINES)
    before = everything(engine)
    with closing(stage(tmp_path / "elsewhere", "b.jsonl", *MIXED_LINES)) as staged:
        assert load_file(engine, staged, as_of=AS_OF) is NotLoaded.TAKEN
    assert everything(engine) == before


def test_an_empty_file_is_not_taken_twice_either(engine, tmp_path, load):
    load("a.jsonl")
    with closing(stage(tmp_path / "elsewhere", "b.jsonl")) as staged:
        assert load_file(engine, staged, as_of=AS_OF) is NotLoaded.TAKEN
    assert rows(engine, "SELECT path FROM source_files") == [("a.jsonl",)]


class TestALoadThatFails:
    @pytest.fixture(autouse=True)
    def _something_loaded_before(self, load) -> None:
        """Load a file that the failing ones must leave alone."""
        load("before.jsonl", raw("m1", properties={"amount": 1}), "{")

    @pytest.fixture
    def staged(self, landing) -> Iterator[StagedFile]:
        """A file of everything, staged in many chunks."""
        with closing(stage(landing, "a.jsonl", *MIXED_LINES, chunk_rows=1)) as staged:
            yield staged

    def test_half_way_leaves_no_trace_and_can_be_done_again(self, engine, staged):
        before = everything(engine)
        told: list[int] = []

        def fail_at_the_third_chunk(count: int) -> None:
            told.append(count)
            if len(told) == 3:
                raise KeyError

        with pytest.raises(KeyError):
            load_file(engine, staged, as_of=AS_OF, on_progress=fail_at_the_third_chunk)
        assert everything(engine) == before
        result = load_file(engine, staged, as_of=AS_OF)
        assert isinstance(result, LoadResult)
        assert (result.inserted_count, result.duplicate_count, result.collision_count) == (3, 1, 2)

    def test_because_its_counts_do_not_add_up_says_so_and_leaves_no_trace(self, engine, staged):
        before = everything(engine)
        lying = replace(staged, read_count=staged.read_count + 1)
        with pytest.raises(LoadError) as caught:
            load_file(engine, lying, as_of=AS_OF)
        assert str(caught.value) == (
            "a.jsonl: 10 lines were read but 9 are accounted for (3 inserted, 1 duplicate, 2 collision, 2 rejected, "
            "1 blank, 0 dropped, 0 outside). Nothing of the file was kept; this is a defect, please report it."
        )
        assert everything(engine) == before

    def test_because_its_time_has_no_offset_leaves_no_trace(self, engine, staged):
        before = everything(engine)
        with pytest.raises(StatementError, match="a naive datetime cannot be stored"):
            load_file(engine, staged, as_of=AS_OF.replace(tzinfo=None))
        assert everything(engine) == before

    def test_because_its_process_was_killed_leaves_no_trace(self, engine, landing, staged):
        before = everything(engine)
        killed = subprocess.run(
            [sys.executable, "-c", LOAD_UNTIL_KILLED, str(engine.url), str(landing)], cwd=REPOSITORY, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        assert everything(engine) == before
        result = load_file(engine, staged, as_of=AS_OF)
        assert isinstance(result, LoadResult)
        assert result.inserted_count == 3


LOAD_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.staging import discover, stage_file
engine = create_database_engine(sys.argv[1])
[file] = discover(Path(sys.argv[2]), known_files(engine)).new_files
kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)
load_file(engine, stage_file(file), as_of=utc_now(), on_progress=kill)
"""
