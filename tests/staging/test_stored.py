"""Rows that one process stages and another one loads are those that one process would have."""

import gzip
import io
import os
import pickle
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.errors import DaskError, LandingError, SpoolError
from src.marketing_messaging_service.staging import (
    SourcesFile,
    StagingOrder,
    Stored,
    discover,
    open_stored,
    stage_files,
    store,
    stored,
    sweep,
)
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES
from src.marketing_messaging_service.staging.results import EVENT_SCHEMA, REJECTED_SCHEMA, LandingFile, StagedFiles
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES, parse_sources
from src.marketing_messaging_service.staging.sources.shipped import NATIVE
from tests.staging.helpers import line, path_of, rows

EVENT = line() + b"\n"

SEGMENT_YAML = """
sources:
  - files: ["*.jsonl"]
    format: ndjson
    mapping: shop
mappings:
  shop:
    extends: segment
    timestamp_form: {format: "%Y-%m-%d", timezone: UTC}
    event_types: {drop: [page]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of stored files."""
    path = tmp_path / "staged"
    path.mkdir()
    return path


def discovered(tmp_path: Path, contents: Sequence[bytes]) -> Sequence[LandingFile]:
    """Raw files of these contents, in their order."""
    landing = tmp_path / "landing"
    landing.mkdir(exist_ok=True)
    for number, content in enumerate(contents):
        path = landing / f"{number:03}.jsonl"
        path.write_bytes(content)
        os.utime(path, (1_700_000_000 + number,) * 2)
    return discover(landing, KnownFiles()).new_files


def as_sent(value: Any) -> Any:
    """What another process is given."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301  our own


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def there_and_back(order: StagingOrder, files: Sequence[LandingFile]) -> list[StagedFiles]:
    """What a run gets from an order that another process has carried out."""
    sent = as_sent(order)
    parts: list[StagedFiles] = []
    for each in as_sent(store(sent)):
        parts.append(open_stored(each, files, order))
        files = files[each.file_count :]
    return parts


def told(staged: StagedFiles) -> list[Any]:
    """All that a load takes from staged files, in plain values."""
    found: list[Any] = [staged.rows.has_former_ids]
    for each in staged.files:
        events = [row for frame in each.event_chunks() for row in rows(frame, EVENT_SCHEMA)]
        rejected = [row for frame in each.rejected_chunks() for row in rows(frame, REJECTED_SCHEMA)]
        numbers = [row["line_number"] for row in events]
        counts = [getattr(each, name) for name in (*stored._COUNTS, "lines_before", "last_line")]
        found.append((each.file, counts, each.unknown_keys, events, rejected, list(each.raw_lines(numbers))))
    found.append([(failure.file, str(failure.error), failure.error.may_pass) for failure in staged.failures])
    return found


lines_of_files = st.sampled_from(
    (
        line(),
        line(', "new_key": 1'),
        line(message_id=None),
        line(user_id="7"),
        line(', "properties": {"amount": "ten", "coupon": 3}'),
        b"no json",
        b"caf\xe9",
        b"",
    )
)


@given(contents=st.lists(st.lists(lines_of_files, max_size=5).map(b"\n".join), min_size=1, max_size=5))
def test_what_comes_back_equals_what_is_staged_in_one_process(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    tmp_path = tmp_path_factory.mktemp("stored")
    files = discovered(tmp_path, contents)
    order = StagingOrder(files, SHIPPED_SOURCES, (), tmp_path)
    here = stage_files(files)
    [there] = there_and_back(order, files)
    with closing(here.rows), closing(there.rows):
        assert told(there) == told(here)


def test_a_file_of_many_chunks_comes_back_whole(tmp_path, folder):
    content = b"".join(line(message_id=f'"{number}"') + b"\n" for number in range(80_000)) + b"no json\n"
    assert len(content) > CHUNK_BYTES
    files = discovered(tmp_path, [content])
    here = stage_files(files)
    [there] = there_and_back(StagingOrder(files, SHIPPED_SOURCES, (), folder), files)
    with closing(here.rows), closing(there.rows):
        assert told(there) == told(here)
        assert there.files[0].valid_count == 80_000


def test_files_of_which_one_is_large_when_unpacked_are_stored_one_after_the_other(tmp_path, folder):
    landing = tmp_path / "landing"
    landing.mkdir()
    large = gzip.compress(b"".join(line(message_id=f'"{number}"') + b"\n" for number in range(80_000)))
    for number, (name, content) in enumerate({"1.jsonl": EVENT, "2.jsonl.gz": large, "3.jsonl": EVENT + EVENT}.items()):
        (landing / name).write_bytes(content)
        os.utime(landing / name, (1_700_000_000 + number,) * 2)
    files = discover(landing, KnownFiles()).new_files
    parts = there_and_back(StagingOrder(files, SHIPPED_SOURCES, (), folder), files)
    assert [[each.valid_count for each in part.files] for part in parts] == [[1], [80_000], [2]]
    for part in parts:
        part.rows.close()
    assert names_in(folder) == []


def test_one_file_that_cannot_be_read_costs_the_others_nothing(tmp_path, folder):
    files = discovered(tmp_path, [EVENT, EVENT + EVENT, EVENT * 3])
    path_of(files[1]).unlink()
    [there] = there_and_back(StagingOrder(files, SHIPPED_SOURCES, (), folder), files)
    with closing(there.rows):
        assert [each.valid_count for each in there.files] == [1, 3]
        [failure] = there.failures
        assert failure.file == files[1]
        assert isinstance(failure.error, LandingError)
        assert str(failure.error) == "001.jsonl cannot be read: No such file or directory."


def test_a_large_file_that_changes_while_it_is_read_is_a_failure_and_no_rows(tmp_path, folder):
    content = b"".join(line(message_id=f'"{number}"') + b"\n" for number in range(80_000))
    files = discovered(tmp_path, [content])
    path_of(files[0]).write_bytes(content + EVENT)
    [there] = there_and_back(StagingOrder(files, SHIPPED_SOURCES, (), folder), files)
    with closing(there.rows):
        assert there.files == ()
        assert "changed while it was read" in str(there.failures[0].error)


def test_closing_the_rows_removes_their_file(tmp_path, folder):
    files = discovered(tmp_path, [EVENT])
    [there] = there_and_back(StagingOrder(files, SHIPPED_SOURCES, (), folder), files)
    assert names_in(folder) == [f"{files[0].content_hash}.arrow"]
    there.rows.close()
    assert names_in(folder) == []


def test_a_stored_file_begins_as_an_arrow_stream_of_the_events(tmp_path, folder):
    files = discovered(tmp_path, [EVENT * 2])
    [made] = store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
    with pa.ipc.open_stream(folder / made.name) as reader:
        assert reader.read_all()["user_id"].to_pylist() == ["u-1", "u-1"]


class TestReuse:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Sequence[LandingFile]:
        return discovered(tmp_path, [EVENT, EVENT * 2])

    @pytest.fixture
    def made(self, files: Sequence[LandingFile], folder: Path) -> Stored:
        [made] = store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
        return made

    def test_what_a_killed_run_left_is_taken_as_it_is(self, files, made, folder):
        inode = (folder / made.name).stat().st_ino
        [again] = store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
        assert (again.name, again.file_count, again.seconds) == (made.name, 2, 0)
        assert (folder / made.name).stat().st_ino == inode

    def test_it_is_kept_from_being_swept_then(self, files, made, folder):
        os.utime(folder / made.name, (0, 0))
        store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
        assert sweep(folder, time.time()) == 0

    @pytest.mark.parametrize(
        "change",
        [
            lambda order: setattr(order, "delivery_keys", frozenset({"batch"})),
            lambda order: setattr(order, "sources", parse_sources(SEGMENT_YAML, "sources.yaml")),
        ],
        ids=["delivery keys", "sources"],
    )
    def test_what_was_made_in_another_way_is_made_again(self, files, made, folder, change):
        order = StagingOrder(files, SHIPPED_SOURCES, (), folder)
        change(order)
        assert store(order)[0].seconds > 0

    def test_what_another_version_of_the_program_made_is_made_again(self, files, made, folder, monkeypatch):
        monkeypatch.setattr(stored, "code_version", lambda: "another")
        assert store(StagingOrder(files, SHIPPED_SOURCES, (), folder))[0].seconds > 0

    @pytest.mark.parametrize("cut", [0, 1, 10, 40, 1_000])
    def test_what_is_not_whole_is_made_again(self, files, made, folder, cut):
        path = folder / made.name
        path.write_bytes(path.read_bytes()[:cut])
        [again] = store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
        with closing(open_stored(again, files, StagingOrder(files, SHIPPED_SOURCES, (), folder)).rows):
            assert again.seconds > 0

    def test_what_holds_a_failure_is_made_again(self, tmp_path, folder):
        files = discovered(tmp_path, [EVENT, EVENT * 2])
        content = path_of(files[1]).read_bytes()
        path_of(files[1]).unlink()
        order = StagingOrder(files, SHIPPED_SOURCES, (), folder)
        store(order)
        path_of(files[1]).write_bytes(content)
        [there] = there_and_back(order, files)
        with closing(there.rows):
            assert there.failures == ()


class TestHalfWritten:
    @pytest.mark.parametrize("step", ["write_table", "finish", "sync"])
    def test_a_file_is_there_whole_or_not_at_all(self, tmp_path, folder, monkeypatch, step):
        def fail(*_: Any) -> None:
            assert not [name for name in names_in(folder) if name.endswith(".arrow")]
            raise KeyboardInterrupt

        if step == "write_table":
            monkeypatch.setattr("src.marketing_messaging_service.staging.spool.SpoolWriter.write", fail)
        elif step == "finish":
            monkeypatch.setattr(stored, "_finish", fail)
        else:
            monkeypatch.setattr(os, "fsync", fail)
        files = discovered(tmp_path, [EVENT])
        with pytest.raises(KeyboardInterrupt):
            store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
        assert names_in(folder) == []

    def test_a_full_disk_is_reported_with_the_setting_that_names_the_folder(self, tmp_path, folder, monkeypatch):
        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        files = discovered(tmp_path, [EVENT])
        with pytest.raises(SpoolError) as caught:
            store(StagingOrder(files, SHIPPED_SOURCES, (), folder))
        assert str(caught.value) == (
            f"The staged rows cannot be kept in {folder}: No space left on device. Free some space there, or let "
            "STAGED_PATH name another folder, then run again."
        )
        assert names_in(folder) == []


class TestSentences:
    def test_a_worker_of_another_version_says_what_to_do(self, tmp_path, folder, monkeypatch):
        order = StagingOrder(discovered(tmp_path, [EVENT]), SHIPPED_SOURCES, (), folder)
        monkeypatch.setattr(stored, "code_version", lambda: "another")
        with pytest.raises(
            DaskError, match=r"runs a different version of the program from this run: .* restart it, then"
        ):
            store(order)

    def test_a_worker_that_does_not_reach_the_folder_says_what_to_do(self, tmp_path, folder):
        order = StagingOrder(discovered(tmp_path, [EVENT]), SHIPPED_SOURCES, (), folder / "none")
        with pytest.raises(
            DaskError, match=r"cannot write into .*none, which STAGED_PATH names \(No such file"
        ) as caught:
            store(order)
        assert str(as_sent(caught.value)) == str(caught.value)

    def test_a_run_that_does_not_reach_the_workers_folder_says_what_to_do(self, tmp_path, folder):
        files = discovered(tmp_path, [EVENT])
        order = StagingOrder(files, SHIPPED_SOURCES, (), folder)
        [made] = store(order)
        with pytest.raises(
            DaskError, match=r"which this run cannot read \(No such file .*\)\. Let STAGED_PATH"
        ) as caught:
            open_stored(made, files, StagingOrder(files, SHIPPED_SOURCES, (), tmp_path))
        assert caught.value.may_pass


class TestSweep:
    def test_what_is_a_day_old_is_removed_whole_or_not_and_nothing_else(self, tmp_path, folder):
        [made] = store(StagingOrder(discovered(tmp_path, [EVENT]), SHIPPED_SOURCES, (), folder))
        partial = f".{made.name.removesuffix('.arrow')}.{'0' * 32}.partial"
        (folder / partial).touch()
        for name in ("theirs.arrow", "notes.txt", ".x.partial"):
            (folder / name).touch()
        for name in names_in(folder):
            os.utime(folder / name, (1_000_000,) * 2)
        assert sweep(folder, 1_000_000 + 24 * 3_600) == 0
        assert sweep(folder, 1_000_001 + 24 * 3_600) == 2
        assert names_in(folder) == [".x.partial", "notes.txt", "theirs.arrow"]

    def test_a_folder_that_is_not_there_holds_nothing(self, tmp_path):
        assert sweep(tmp_path / "none", time.time()) == 0


class TestSourcesThatAreSent:
    def test_they_are_read_again_from_their_text(self):
        sources = parse_sources(SEGMENT_YAML, "mine.yaml")
        again: SourcesFile = as_sent(sources)
        assert again.origin == "mine.yaml"
        assert again.sources[0].reader_number == sources.sources[0].reader_number
        assert again.sources[0].mapping.dropped_types == frozenset({"page"})

    def test_the_shipped_ones_are_the_same_ones(self):
        assert as_sent(SHIPPED_SOURCES) is SHIPPED_SOURCES
        assert SHIPPED_SOURCES.sources[0].mapping is NATIVE

    def test_nothing_but_the_named_settings_is_sent(self, tmp_path, folder, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://me:secret@host/db")
        order = StagingOrder(discovered(tmp_path, [EVENT]), SHIPPED_SOURCES, ("batch",), folder)
        assert b"secret" not in pickle.dumps(order)


def test_a_section_of_a_file_is_read_as_if_it_were_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before" + b"0123456789")
    with io.BufferedReader(stored._Section(path, 6)) as section:
        assert section.read(3) == b"012"
        assert section.tell() == 3
        assert section.seek(5) == 5
        assert section.read(2) == b"56"
        assert section.seek(-1, os.SEEK_END) == 9
        assert section.seek(0) == 0
        assert section.read() == b"0123456789"
