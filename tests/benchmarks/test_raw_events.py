"""The files that are measured are what they are said to be."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.formats import SOURCES, WRITERS
from benchmarks.raw_events import cut_into_files, write_raw_file
from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.loading import load_file
from src.marketing_messaging_service.loading.results import LoadResult
from src.marketing_messaging_service.staging import discover, stage_file
from src.marketing_messaging_service.staging.sources.file import parse_sources
from tests.loading.conftest import AS_OF
from tests.staging.helpers import path_of

LINES = 10_000


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_events(tmp_path: Path):
    files = [write_raw_file(tmp_path / f"{number}.jsonl", 200, seed=seed) for number, seed in enumerate((1, 1, 2))]
    first, again, other = (file.path.read_bytes() for file in files)
    assert first == again
    assert {json.loads(line)["message_id"] for line in first.splitlines()[:3]}.isdisjoint(other.decode().split('"'))


def test_without_malformed_lines_the_others_stay_as_they_are(tmp_path: Path):
    whole = write_raw_file(tmp_path / "whole.jsonl", LINES, seed=1)
    clean = write_raw_file(tmp_path / "clean.jsonl", LINES, seed=1, malformed=False)
    lines = clean.path.read_text().splitlines()
    assert set(lines) <= set(whole.path.read_text().splitlines())
    assert clean.event_count == whole.event_count
    assert {type(json.loads(line)) for line in lines} == {dict}


def test_small_files_have_the_lines_of_the_whole_one_in_its_order(tmp_path: Path):
    whole = write_raw_file(tmp_path / "whole.jsonl", 250, seed=1)
    cut_into_files(whole, tmp_path / "cut", 10, seed=1)
    found = [path_of(file).read_bytes() for file in discover(tmp_path / "cut", KnownFiles()).new_files]
    assert b"".join(found) == whole.path.read_bytes()
    counts = [content.count(b"\n") for content in found]
    assert len(counts) == 10
    assert all(1 <= count <= 49 for count in counts[:-1])


def test_the_pipeline_finds_in_a_file_what_was_put_there(engine, tmp_path):
    written = write_raw_file(tmp_path / "landing" / "events.jsonl", LINES, seed=1)
    [file] = discover(tmp_path / "landing", KnownFiles()).new_files
    with closing(stage_file(file)) as staged:
        result = load_file(engine, staged, as_of=AS_OF)
    assert isinstance(result, LoadResult)
    assert (result.read_count, result.inserted_count) == (LINES, written.event_count)
    assert 0.008 < result.duplicate_count / LINES < 0.012
    assert 0.05 < result.conflict_count / result.duplicate_count < 0.2
    assert 0.003 < result.rejected_count / LINES < 0.007
    assert 0.05 < result.unknown_keys["properties.coupon"] / (0.75 * LINES) < 0.07


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_events_in_another_format_are_staged_as_their_lines_are(tmp_path: Path, kind: str):
    written = write_raw_file(tmp_path / "lines" / "events.jsonl", 300, seed=1, malformed=False)
    name, write = WRITERS[kind]
    (tmp_path / kind).mkdir()
    write(written.path, tmp_path / kind / name)
    sources = parse_sources(SOURCES, "sources.yaml")

    def users(folder: Path) -> list[str]:
        [file] = discover(folder, KnownFiles(), sources=sources).new_files
        with closing(stage_file(file, sources=sources)) as staged:
            return [user for chunk in staged.event_chunks() for user in chunk["user_id"].to_list()]

    assert users(tmp_path / kind) == users(written.path.parent)
    assert len(users(written.path.parent)) == written.line_count
