"""Files that are staged and loaded together leave the same rows as one after the other."""

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.errors import LoadError
from src.marketing_messaging_service.loading import known_files, load_file, load_files, new_events
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded, Unreadable
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.staging import discover, next_files, stage_file, stage_files
from src.marketing_messaging_service.staging.results import LandingFile, StagedFiles
from src.marketing_messaging_service.staging.small_files import MOST_BYTES, MOST_FILES, SMALL_FILE_BYTES
from tests import strategies
from tests.effort import examples
from tests.loading.conftest import AS_OF
from tests.loading.raw_files import everything, raw, rows
from tests.pipeline import Pipeline
from tests.test_pipeline_equals_reference import fresh_pipeline

pytestmark = pytest.mark.slow

Outcomes = list[LoadResult | NotLoaded | Unreadable]

BROKEN = (b"{", b"", b'{"user_id": 7}', b'{"message_id": "m1", "coupon": 1}')


def one_after_the_other(pipeline: Pipeline, **options: Any) -> Outcomes:
    outcomes: Outcomes = []
    for file in discover(pipeline.landing, known_files(pipeline.engine)).new_files:
        with closing(stage_file(file)) as staged:
            outcomes.append(load_file(pipeline.engine, staged, as_of=AS_OF, **options))
    return outcomes


def together(pipeline: Pipeline, cuts: Sequence[int], chunk_bytes: int, **options: Any) -> Outcomes:
    """Stage all files at once, and load them in one go or, cut at some places, in several."""
    files = discover(pipeline.landing, known_files(pipeline.engine)).new_files
    outcomes: Outcomes = []
    done = 0
    while done < len(files):
        staged = stage_files(files[done:], chunk_bytes=chunk_bytes)
        done += staged.file_count
        borders = sorted({0, len(staged.files), *(cut for cut in cuts if cut < len(staged.files))})
        with closing(staged.rows):
            for start, end in pairwise(borders):
                outcomes += load_files(pipeline.engine, staged.files[start:end], as_of=AS_OF, **options)
    return outcomes


LEFT_OUT = {
    "file_signature",
    "taken_at",
    "read_at",
    "loaded_at",
    "first_loaded_at",
    "load_seconds",
    "decided_at",
    "created_at",
}
"""Columns whose values come from a clock or the file system."""


def stored(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, ids too."""
    with engine.connect() as connection:
        columns = {
            name: [row.name for row in connection.exec_driver_sql(f"PRAGMA table_info({name})")]
            for name in everything(engine)
        }
    return {
        name: [
            tuple(value for column, value in zip(columns[name], row, strict=True) if column not in LEFT_OUT)
            for row in rows
        ]
        for name, rows in everything(engine).items()
    }


def counts(outcomes: Outcomes) -> list[object]:
    return [replace(each, seconds=0) if isinstance(each, LoadResult) else each for each in outcomes]


@st.composite
def landed(draw: st.DrawFn) -> list[bytes]:
    """Files of events, with good and bad lines mixed; some files are empty."""
    files = []
    for file in draw(strategies.event_batches(max_files=6, max_events=6)):
        lines = [json.dumps(event).encode() for event in file]
        for broken in draw(st.lists(st.sampled_from(BROKEN), max_size=3)):
            lines.insert(draw(st.integers(0, len(lines))), broken)
        files.append(b"\n".join(lines))
    return files


windows = st.lists(strategies.run_orders(), max_size=3).map(
    lambda orders: [(each.window and Window(*each.window), each.mode == "load only") for each in orders]
)


@pytest.mark.parametrize("smallest_rebuild", [1, 50_000], ids=["indexes rebuilt", "indexes kept"])
@examples(60)
@given(
    files=landed(),
    orders=windows,
    cuts=st.lists(st.integers(1, 5), max_size=2),
    chunk_bytes=st.sampled_from((200, 8000)),
)
def test_they_leave_the_rows_that_they_leave_one_after_the_other(
    migrated_template: Path,
    monkeypatch: pytest.MonkeyPatch,
    smallest_rebuild: int,
    files: list[bytes],
    orders: list[tuple[Window | None, bool]],
    cuts: list[int],
    chunk_bytes: int,
) -> None:
    monkeypatch.setattr(new_events, "SMALLEST_REBUILD", smallest_rebuild)
    with fresh_pipeline(migrated_template) as one, fresh_pipeline(migrated_template) as other:
        for content in files:
            one.land_bytes(content)
            other.land_bytes(content)
        for window, is_held in [*orders, (None, False)]:
            options = {"window": window, "is_held": is_held}
            apart = one_after_the_other(one, **options)
            at_once = together(other, cuts, chunk_bytes, **options)
            assert counts(at_once) == counts(apart)
            assert stored(other.engine) == stored(one.engine)


def staged_together(folder: Path, contents: Mapping[str, bytes]) -> StagedFiles:
    folder.mkdir()
    for place, (name, content) in enumerate(contents.items()):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (place, place))
    return stage_files(discover(folder, KnownFiles()).new_files)


GOOD = {name: f"{json.dumps(raw(name))}\n".encode() for name in ("a", "b", "c")}


def test_a_file_that_changed_since_it_was_found_costs_the_others_nothing(tmp_path: Path) -> None:
    names = {f"{name}.jsonl": content for name, content in GOOD.items()}
    with closing(staged_together(tmp_path / "before", names).rows):
        files = discover(tmp_path / "before", KnownFiles()).new_files
    (tmp_path / "before" / "b.jsonl").write_bytes(b"something else\n")
    (tmp_path / "before" / "c.jsonl").unlink()
    staged = stage_files(files)
    with closing(staged.rows):
        assert [each.file.display_path for each in staged.files] == ["a.jsonl"]
        assert [(each.file.display_path, str(each.error)) for each in staged.failures] == [
            ("b.jsonl", "b.jsonl changed while it was read; nothing of it was taken, the next run takes it."),
            ("c.jsonl", "c.jsonl cannot be read: No such file or directory."),
        ]


def test_a_file_that_fails_leaves_nothing_of_the_others_until_they_are_loaded_without_it(
    engine: Engine, tmp_path: Path
) -> None:
    staged = staged_together(tmp_path / "landing", {f"{name}.jsonl": content for name, content in GOOD.items()})
    first, second, third = staged.files
    lying = replace(second, blank_count=1)
    before = everything(engine)
    with closing(staged.rows):
        with pytest.raises(LoadError, match=r"^b\.jsonl: 1 lines were read but 2 are accounted for"):
            load_files(engine, [first, lying, third], as_of=AS_OF)
        assert everything(engine) == before
        for each in (first, third):
            load_file(engine, each, as_of=AS_OF)
    assert rows(engine, "SELECT message_id FROM events ORDER BY id") == [("a",), ("c",)]


def test_each_load_gets_its_share_of_the_time(engine: Engine, tmp_path: Path) -> None:
    names = {"a.jsonl": b"", "b.jsonl": b"\n" * 98}
    staged = staged_together(tmp_path / "landing", names)
    with closing(staged.rows):
        results = load_files(engine, staged.files, as_of=AS_OF)
    seconds = [each.seconds for each in results if isinstance(each, LoadResult)]
    assert rows(engine, "SELECT load_seconds FROM loads ORDER BY id") == [(each,) for each in seconds]
    assert seconds[0] <= seconds[1] / 50


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([1, 2, 3], 3),
        ([SMALL_FILE_BYTES + 1, 1, 1], 1),
        ([1, 1, SMALL_FILE_BYTES + 1, 1], 2),
        ([SMALL_FILE_BYTES] * 9, MOST_BYTES // SMALL_FILE_BYTES),
        ([0] * (MOST_FILES + 1), MOST_FILES),
    ],
)
def test_small_files_that_follow_each_other_go_together_and_a_large_one_alone(sizes: list[int], count: int) -> None:
    files = [LandingFile(None, "x", "", size, AS_OF, "") for size in sizes]
    assert next_files(files) == files[:count]


def test_a_small_packed_file_that_holds_much_is_staged_alone(tmp_path: Path) -> None:
    much = gzip.compress(b"\n" * 60_000)
    names = {"a.jsonl": b"\n", "b.jsonl.gz": much, "c.jsonl": b"\n\n"}
    with closing(staged_together(tmp_path / "landing", names).rows):
        files = discover(tmp_path / "landing", KnownFiles()).new_files
    taken = []
    while files:
        staged = stage_files(files)
        staged.rows.close()
        taken.append([each.read_count for each in staged.files])
        files = files[staged.file_count :]
    assert taken == [[1], [60_000], [2]]
