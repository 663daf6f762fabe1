"""Files without a readable line: they are not taken, and are read again when that may help."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded, Unreadable
from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.staging import discover, stage_file
from src.marketing_messaging_service.staging.results import Discovery
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.loading.conftest import AS_OF
from tests.loading.raw_files import everything, raw, rows

Outcome = LoadResult | NotLoaded | Unreadable

WIDE = json.dumps(raw()).encode("utf-16")
GOOD = json.dumps(raw()).encode()


@pytest.fixture
def look(engine: Engine, landing: Path) -> Callable[[], Discovery]:
    landing.mkdir()
    return lambda: discover(landing, known_files(engine))


@pytest.fixture
def take(engine: Engine, look: Callable[[], Discovery]) -> Callable[..., list[Outcome]]:
    """Take what is in landing and not known, as a run does."""

    def take(**options: Any) -> list[Outcome]:
        outcomes = []
        for file in look().new_files:
            with closing(stage_file(file)) as staged:
                outcomes.append(load_file(engine, staged, as_of=AS_OF, **options))
        return outcomes

    return take


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    assert isinstance(outcome, LoadResult)
    return outcome.read_count, outcome.inserted_count, outcome.duplicate_count, outcome.rejected_count


JSON_LINES = SHIPPED_SOURCES.sources[0]


def as_if_by_an_older_reader(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE source_files SET reader_number = 0, read_at = NULL")


def test_its_lines_are_kept_and_it_is_known_as_refused(engine, landing, take, look):
    (landing / "a.jsonl").write_bytes(WIDE)

    [outcome] = take()

    assert counts(outcome) == (1, 0, 0, 1)
    assert rows(engine, "SELECT path, refused_code, reader_number FROM source_files") == [
        ("a.jsonl", "utf_16", JSON_LINES.reader_number)
    ]
    discovery = look()
    assert (discovery.new_files, discovery.known_count) == ((), 0)
    assert [(each.kind, each.subject) for each in discovery.remarks] == [(RemarkKind.UNREADABLE, "a.jsonl")]


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl"])
def test_delivered_again_it_is_read_once_more_and_leaves_no_second_set_of_rejected_rows(
    engine, landing, take, look, name
):
    (landing / "a.jsonl").write_bytes(WIDE)
    take()
    before = everything(engine)
    (landing / "a.jsonl").unlink()
    (landing / name).write_bytes(WIDE)

    [outcome] = take()

    assert isinstance(outcome, Unreadable)
    assert (outcome.reason_code, outcome.is_delivered_again) == (ReasonCode.UTF_16, True)
    after = everything(engine)
    assert {table for table in after if after[table] != before[table]} == {"source_files"}
    assert rows(engine, "SELECT path FROM source_files") == [(name,)]
    assert not look().new_files


def test_a_copy_beside_it_is_not_read_again_with_every_run(landing, take, look):
    (landing / "a.jsonl").write_bytes(WIDE)
    (landing / "b.jsonl").write_bytes(WIDE)
    take()

    assert not look().new_files


REFUSED_BEFORE = """
INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at, refused_code)
VALUES (1, '{content_hash}', 'a.jsonl', 1, '{time}', 's', '{time}', 'corrupt_gzip');
INSERT INTO loads (id, source_file_id, as_of, state, read_count, inserted_count, duplicate_count, conflict_count,
    rejected_count, blank_count, loaded_at) VALUES (1, 1, '{time}', 'decided', 1, 0, 0, 0, 1, 0, '{time}');
INSERT INTO rejected_rows (load_id, line_number, raw_line, reason_code, explanation)
VALUES (1, {line_number}, '{raw_line}', 'corrupt_gzip', 'The file is named .gz but does not begin like one.')
"""
"""What an older reader recorded for a file in which it could read no line."""


def refuse_before(engine: Engine, landing: Path, line_number: int, raw_line: str) -> None:
    [file] = discover(landing, KnownFiles()).new_files
    values = {"content_hash": file.content_hash, "time": "2026-03-01 10:00:00.000000"}
    with engine.begin() as connection:
        for statement in REFUSED_BEFORE.format(line_number=line_number, raw_line=raw_line, **values).split(";"):
            connection.exec_driver_sql(statement)


def test_a_newer_reader_that_can_read_it_loads_it_as_if_it_were_new(engine, landing, take, look):
    (landing / "a.jsonl").write_bytes(GOOD + b"\n{\n")
    refuse_before(engine, landing, 1, "")

    [outcome] = take()

    assert counts(outcome) == (2, 1, 0, 1)
    assert rows(engine, "SELECT refused_code FROM source_files") == [(None,)]
    assert rows(engine, "SELECT source_file_id, inserted_count FROM loads ORDER BY id") == [(1, 0), (1, 1)]
    assert rows(engine, "SELECT load_id, line_number FROM rejected_rows ORDER BY id") == [(1, 1), (2, 2)]
    assert take() == []
    assert look().known_count == 1


def test_a_line_that_an_older_reader_has_rejected_and_a_newer_one_too_stands_there_once(engine, landing, take):
    (landing / "a.jsonl").write_bytes(GOOD + b"\n{\n")
    refuse_before(engine, landing, 2, "{")

    [outcome] = take()

    assert counts(outcome) == (2, 1, 1, 0)
    assert rows(engine, "SELECT load_id, line_number FROM rejected_rows") == [(1, 2)]


def test_an_older_reader_s_failure_that_is_still_one_is_remarked_and_no_problem(engine, landing, take, look):
    (landing / "a.jsonl").write_bytes(WIDE)
    take()
    as_if_by_an_older_reader(engine)

    [outcome] = take()

    assert isinstance(outcome, Unreadable)
    assert not outcome.is_delivered_again
    assert rows(engine, "SELECT reader_number FROM source_files") == [(JSON_LINES.reader_number,)]
    assert take() == []
    assert [each.kind for each in look().remarks] == [RemarkKind.UNREADABLE]


def test_blank_lines_alone_are_nothing_that_could_not_be_read(engine, landing, take, look):
    (landing / "a.jsonl").write_bytes(b"\n\n")
    (landing / "b.jsonl").write_bytes(b"")
    take()

    assert rows(engine, "SELECT refused_code FROM source_files") == [(None,), (None,)]
    assert look().known_count == 2


def test_a_file_of_duplicates_and_bad_lines_is_taken(engine, landing, take, look):
    (landing / "a.jsonl").write_bytes(GOOD + b"\n")
    take()
    (landing / "b.jsonl").write_bytes(GOOD + b"\n{\n")
    take()

    assert rows(engine, "SELECT refused_code FROM source_files") == [(None,), (None,)]
    assert look().known_count == 2


class TestAFileThatGrows:
    def test_leaves_each_bad_line_once(self, engine, landing, take):
        lines = [json.dumps(raw(f"m{number}")).encode() for number in range(4)]
        path = landing / "a.jsonl"
        path.write_bytes(lines[0] + b"\nbad\n" + lines[1][:40])
        [first] = take()
        path.write_bytes(lines[0] + b"\nbad\n" + lines[1] + b"\n" + lines[2] + b"\nworse\n")
        [second] = take()
        path.write_bytes(path.read_bytes() + lines[3] + b"\n")
        [third] = take()

        assert counts(first) == (3, 1, 0, 2)
        assert counts(second) == (5, 2, 2, 1)
        assert counts(third) == (6, 1, 5, 0)
        assert rows(engine, "SELECT load_id, line_number, raw_line FROM rejected_rows ORDER BY id") == [
            (1, 2, "bad"),
            (1, 3, lines[1][:40].decode()),
            (2, 5, "worse"),
        ]

    def test_is_refused_as_a_whole_while_no_line_of_it_can_be_read(self, engine, landing, take):
        path = landing / "a.jsonl"
        path.write_bytes(b"bad\n")
        take()
        path.write_bytes(b"bad\nworse\n")
        [outcome] = take()

        assert counts(outcome) == (2, 0, 0, 2)
        assert rows(engine, "SELECT refused_code FROM source_files") == [("invalid_json",)] * 2

    def test_under_another_name_brings_its_tail_and_no_line_twice(self, engine, landing, take, look):
        lines = [json.dumps(raw(f"m{number}")).encode() + b"\n" for number in range(4)]
        (landing / "events.jsonl").write_bytes(lines[0] + b"bad\n" + lines[1])
        take()
        with (landing / "events.jsonl").open("ab") as stream:
            stream.write(lines[2])
        (landing / "events.jsonl").rename(landing / "events.jsonl.1")
        (landing / "events.jsonl").write_bytes(lines[3])

        outcomes = take()

        assert sorted(counts(outcome) for outcome in outcomes) == [(1, 1, 0, 0), (4, 1, 3, 0)]
        assert rows(engine, "SELECT message_id FROM events ORDER BY 1") == [("m0",), ("m1",), ("m2",), ("m3",)]
        assert look() == Discovery((), 2)

    def test_under_another_name_that_sources_take_keeps_no_rejected_line_twice(self, engine, landing, take, look):
        lines = [json.dumps(raw(f"m{number}")).encode() + b"\n" for number in range(2)]
        (landing / "growing.jsonl").write_bytes(lines[0] + b"bad\n")
        take()
        with (landing / "growing.jsonl").open("ab") as stream:
            stream.write(b"worse\n" + lines[1])
        (landing / "growing.jsonl").rename(landing / "hour-09.jsonl")

        [outcome] = take()

        assert counts(outcome) == (4, 1, 2, 1)
        assert rows(engine, "SELECT raw_line FROM rejected_rows ORDER BY 1") == [("bad",), ("worse",)]
        assert look() == Discovery((), 1)
