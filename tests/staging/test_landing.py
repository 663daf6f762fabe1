import errno
import gzip
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.earlier_runs import KnownFile, KnownFiles
from src.marketing_messaging_service.errors import LandingError
from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.staging import discover, stage_file
from src.marketing_messaging_service.staging.landing_folder import LEADS_NOWHERE, LEADS_OUTSIDE, FolderFile
from src.marketing_messaging_service.staging.results import Discovery, FileProblem, LandingFile, Remark
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES, parse_sources
from src.marketing_messaging_service.staging.zstd_library import zstd
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.staging.helpers import line, path_of

NOTHING_KNOWN = KnownFiles()


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, content: str | None = None, *, age: int = 0) -> Path:
    """A file with unique content by default, written `age` seconds before a fixed instant."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name if content is None else content, encoding="utf-8")
    os.utime(path, (1_700_000_000 - age,) * 2)
    return path


def hash_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def known_as(content_hash: str, *, path: str = "x.jsonl", size: int = 1, signature: str = "1:2:3:4") -> KnownFile:
    """A file that was taken."""
    return KnownFile(path, content_hash, size, signature)


JSON_LINES = SHIPPED_SOURCES.sources[0]


def as_known(file: LandingFile) -> KnownFile:
    """A file as it is known once it has been taken."""
    return known_as(file.content_hash, path=file.display_path, size=file.size_bytes, signature=file.file_signature)


def names(discovery: Discovery) -> list[str]:
    return [file.display_path for file in discovery.new_files]


def problems(discovery: Discovery) -> list[str]:
    return [problem.display_path for problem in discovery.problems]


def failing_for(name: str, method: Callable[..., Any], error: OSError) -> Callable[..., Any]:
    """A function or method of paths, except that it fails for paths of one name."""

    def fake(path: Path, *args: Any, **options: Any) -> Any:
        if Path(path).name == name:
            raise error
        return method(path, *args, **options)

    return fake


def test_an_empty_landing_folder_is_an_empty_discovery(landing: Path) -> None:
    assert discover(landing, NOTHING_KNOWN) == Discovery((), 0)


def test_a_file_is_reported_with_its_path_hash_size_and_time(landing: Path) -> None:
    path = put(landing, "2026/11/events.jsonl", "content")

    [file] = discover(landing, NOTHING_KNOWN).new_files

    assert file == LandingFile(
        place=FolderFile(path),
        display_path="2026/11/events.jsonl",
        content_hash=hashlib.sha256(b"content").hexdigest(),
        size_bytes=7,
        modified_at=datetime.fromtimestamp(1_700_000_000, UTC),
        file_signature=file.file_signature,
        reader_number=JSON_LINES.reader_number,
    )


def test_files_come_oldest_first_and_by_name_where_they_are_of_one_age(landing: Path) -> None:
    put(landing, "z.jsonl", age=30)
    put(landing, "b/a.jsonl", age=10)
    put(landing, "c.jsonl", age=20)
    put(landing, "a.jsonl", age=10)
    put(landing, "a/z.jsonl", age=10)

    assert names(discover(landing, NOTHING_KNOWN)) == ["z.jsonl", "c.jsonl", "a.jsonl", "a/z.jsonl", "b/a.jsonl"]


@pytest.mark.parametrize(
    "name",
    [
        "e.jsonl",
        "e.ndjson",
        "e.json",
        "e.jsonl.gz",
        "e.ndjson.gz",
        "e.json.gz",
        "E.JSONL.GZ",
        "e.json.zst",
        "E.Jsonl.Zst",
    ],
)
def test_endings_of_raw_events_are_taken_in_any_case(landing: Path, name: str) -> None:
    put(landing, name)

    assert names(discover(landing, NOTHING_KNOWN)) == [name]


def test_hidden_files_and_what_other_programs_are_about_to_write_are_passed_over_and_named(landing: Path) -> None:
    put(landing, ".hidden.jsonl")
    put(landing, ".jsonl")
    put(landing, ".folder/events.jsonl")
    put(landing, "day=2026-11-23/_temporary/0/attempt_1/part-00000.json")
    put(landing, "day=2026-11-23/_SUCCESS")
    put(landing, "day=2026-11-23/part_00000.json")

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["day=2026-11-23/part_00000.json"]
    assert not discovery.problems
    assert discovery.remarks == (Remark(RemarkKind.PASSED_OVER, ".folder, .hidden.jsonl, .jsonl and 2 more", "", 5),)


def test_the_file_that_keeps_the_landing_folder_of_a_clone_is_not_worth_a_word(landing: Path) -> None:
    put(landing, ".gitkeep")
    assert discover(landing, NOTHING_KNOWN).remarks == ()

    put(landing, "older/.gitkeep")
    assert discover(landing, NOTHING_KNOWN).remarks == (Remark(RemarkKind.PASSED_OVER, "older/.gitkeep", "", 1),)


def test_a_folder_named_like_a_raw_file_is_looked_into(landing: Path) -> None:
    put(landing, "events.jsonl/part.jsonl")

    assert names(discover(landing, NOTHING_KNOWN)) == ["events.jsonl/part.jsonl"]


def test_a_name_that_is_not_utf8_is_shown_as_text(landing: Path) -> None:
    (landing / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(b"")

    assert names(discover(landing, NOTHING_KNOWN)) == ["caf\\xe9.jsonl"]


def test_the_same_content_under_two_names_is_taken_once_and_by_its_older_name(landing: Path) -> None:
    put(landing, "a.jsonl", "same", age=1)
    put(landing, "b.jsonl", "same", age=3)
    put(landing, "c.jsonl", "same", age=2)

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["b.jsonl"]
    assert discovery.known_count == 2


def test_content_that_was_taken_is_known_under_any_name(landing: Path) -> None:
    put(landing, "renamed.jsonl", "taken")
    put(landing, "new.jsonl", "new")

    discovery = discover(landing, KnownFiles((known_as(hash_of("taken")),)))

    assert names(discovery) == ["new.jsonl"]
    assert discovery.known_count == 1


def test_a_file_whose_path_and_signature_are_known_is_not_read_again(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(landing, "events.jsonl")
    [file] = discover(landing, NOTHING_KNOWN).new_files
    known = KnownFiles((as_known(file),))
    monkeypatch.setattr(os, "open", failing_for("events.jsonl", os.open, OSError("was read again")))

    assert discover(landing, known) == Discovery((), 1)


def test_a_file_written_again_is_read_again_even_with_its_size_and_time_kept(landing: Path) -> None:
    put(landing, "events.jsonl", "one")
    [before] = discover(landing, NOTHING_KNOWN).new_files
    put(landing, "events.jsonl", "two")

    known = KnownFiles((as_known(before),))

    assert names(discover(landing, known)) == ["events.jsonl"]


def test_a_known_signature_counts_for_its_own_path_only(landing: Path) -> None:
    put(landing, "a.jsonl")
    [file] = discover(landing, NOTHING_KNOWN).new_files

    discovery = discover(landing, KnownFiles((replace(as_known(file), path="b.jsonl", content_hash=""),)))

    assert names(discovery) == ["a.jsonl"]


@pytest.mark.parametrize(
    ("place", "method", "error"),
    [
        (os, "open", PermissionError(errno.EACCES, "Permission denied")),
        (os, "open", OSError(errno.EIO, "Input/output error")),
        (os, "open", FileNotFoundError(errno.ENOENT, "No such file or directory")),
        (Path, "stat", PermissionError(errno.EACCES, "Permission denied")),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_and_holds_up_no_other(
    landing: Path, monkeypatch: pytest.MonkeyPatch, place: Any, method: str, error: OSError
) -> None:
    put(landing, "bad.jsonl")
    put(landing, "good.jsonl")
    monkeypatch.setattr(place, method, failing_for("bad.jsonl", getattr(place, method), error))

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["good.jsonl"]
    [problem] = discovery.problems
    assert problem.display_path == "bad.jsonl"
    assert str(error.strerror) in problem.explanation


def test_a_file_that_vanishes_after_the_folder_is_listed_is_passed_over(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(landing, "gone.jsonl")
    put(landing, "here.jsonl")
    monkeypatch.setattr(Path, "stat", failing_for("gone.jsonl", Path.stat, FileNotFoundError(errno.ENOENT, "gone")))

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["here.jsonl"]
    assert not discovery.problems


@pytest.mark.parametrize(("timestamp", "year"), [(1e12, 9999), (-1e12, 1), (-1.0, 1969)])
def test_a_modification_time_out_of_all_years_stops_nothing(
    landing: Path, monkeypatch: pytest.MonkeyPatch, timestamp: float, year: int
) -> None:
    put(landing, "odd.jsonl")
    put(landing, "good.jsonl")
    real_stat = Path.stat

    def stat(self: Path, **options: Any) -> os.stat_result:
        status = real_stat(self, **options)
        if self.name != "odd.jsonl":
            return status
        return os.stat_result((*status[:8], timestamp, status.st_ctime), {"st_mtime": timestamp})

    monkeypatch.setattr(Path, "stat", stat)

    years = {file.display_path: file.modified_at.year for file in discover(landing, NOTHING_KNOWN).new_files}

    assert years == {"odd.jsonl": year, "good.jsonl": 2023}


def test_a_subfolder_that_cannot_be_listed_is_a_problem_and_holds_up_no_file(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(landing, "closed/events.jsonl")
    put(landing, "open/events.jsonl")
    monkeypatch.setattr(os, "scandir", closed(landing / "closed"))

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["open/events.jsonl"]
    assert problems(discovery) == ["closed"]


def test_a_landing_folder_that_cannot_be_listed_is_an_error(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "scandir", closed(landing))

    with pytest.raises(LandingError, match="cannot be listed: Permission denied"):
        discover(landing, NOTHING_KNOWN)


def closed(folder: Path) -> Callable[[Any], Any]:
    """A scandir that is not permitted to list one folder."""
    real_scandir = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_scandir(path)

    return scandir


def test_a_landing_path_longer_than_any_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="cannot be listed: File name too long"):
        discover(tmp_path / ("n" * 300), KnownFiles())


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_landing_path_that_is_not_a_folder_is_an_error_that_names_the_setting(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LandingError, match=f"LANDING_PATH names .*{name}, which is not a folder"):
        discover(tmp_path / name, NOTHING_KNOWN)


def test_landing_itself_may_be_a_link(landing: Path, tmp_path: Path) -> None:
    put(landing, "events.jsonl")
    (landing / "again.jsonl").symlink_to(landing / "events.jsonl")
    link = tmp_path / "link"
    link.symlink_to(landing)

    discovery = discover(link, NOTHING_KNOWN)

    assert len(discovery.new_files) == 1
    assert not discovery.problems


def test_links_out_of_landing_are_problems_and_are_not_followed(landing: Path, tmp_path: Path) -> None:
    put(tmp_path, "outside/events.jsonl")
    (landing / "file.jsonl").symlink_to(tmp_path / "outside" / "events.jsonl")
    (landing / "folder").symlink_to(tmp_path / "outside")
    (landing / "nothing.jsonl").symlink_to(tmp_path / "nothing.jsonl")
    put(landing, "own.jsonl")

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["own.jsonl"]
    assert problems(discovery) == ["file.jsonl", "folder", "nothing.jsonl"]
    assert {problem.explanation for problem in discovery.problems} == {LEADS_OUTSIDE}


def test_links_out_of_landing_by_the_thousand_are_one_problem_with_a_count(landing: Path, tmp_path: Path) -> None:
    for number in range(2_000):
        (landing / f"{number:04}.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (landing / "nothing.jsonl").symlink_to("nowhere.jsonl")

    discovery = discover(landing, NOTHING_KNOWN)

    assert discovery.problems == (
        FileProblem("0000.jsonl, 0001.jsonl, 0002.jsonl and 1,997 more", f"each {LEADS_OUTSIDE}", 2_000),
        FileProblem("nothing.jsonl", LEADS_NOWHERE),
    )


def test_a_folder_beside_landing_with_a_name_that_begins_alike_is_outside(landing: Path, tmp_path: Path) -> None:
    put(tmp_path, "landing-old/events.jsonl")
    (landing / "events.jsonl").symlink_to("../landing-old/events.jsonl")

    assert problems(discover(landing, NOTHING_KNOWN)) == ["events.jsonl"]


def test_a_link_within_landing_is_the_file_it_leads_to(landing: Path) -> None:
    put(landing, "a/events.jsonl")
    (landing / "link.jsonl").symlink_to("a/events.jsonl")

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["a/events.jsonl"]
    assert discovery.known_count == 1
    assert not discovery.problems


def test_a_link_to_nothing_is_a_problem(landing: Path) -> None:
    (landing / "events.jsonl").symlink_to("not-yet.jsonl")
    put(landing, "good.jsonl")

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["good.jsonl"]
    assert discovery.problems == (FileProblem("events.jsonl", LEADS_NOWHERE),)


def test_folders_that_run_in_a_circle_are_walked_once(landing: Path) -> None:
    put(landing, "a/events.jsonl")
    (landing / "a" / "circle").symlink_to("..")

    assert names(discover(landing, NOTHING_KNOWN)) == ["a/events.jsonl"]


def test_links_that_lead_to_each_other_are_problems_and_hold_up_no_other_file(landing: Path) -> None:
    (landing / "a.jsonl").symlink_to("b.jsonl")
    (landing / "b.jsonl").symlink_to("a.jsonl")
    (landing / "self.jsonl").symlink_to("self.jsonl")
    put(landing, "good.jsonl")

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["good.jsonl"]
    assert problems(discovery) == ["a.jsonl", "b.jsonl", "self.jsonl"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(os.fspath(path)), "a socket"),
        (lambda path: path.symlink_to("fifo"), "a FIFO"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_file_is_a_problem_and_is_not_opened(
    landing: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Any], kind: str
) -> None:
    monkeypatch.chdir(landing)
    os.mkfifo(".fifo")
    Path("fifo").symlink_to(".fifo")
    make(Path("events.jsonl"))
    monkeypatch.setattr(os, "open", failing_for("events.jsonl", os.open, OSError("would wait for ever")))

    discovery = discover(landing, NOTHING_KNOWN)

    assert not discovery.new_files
    assert FileProblem("events.jsonl", f"is {kind} and not a file; remove it from landing.") in discovery.problems


def test_a_fifo_put_in_a_files_place_after_the_folder_was_listed_is_a_problem_and_blocks_nothing(
    landing: Path,
) -> None:
    path = put(landing, "events.jsonl")
    os.utime(path)

    def replace_by_fifo(_: float) -> None:
        path.unlink()
        os.mkfifo(path)

    looked_at = discover(landing, NOTHING_KNOWN, settle_seconds=0.01, sleep=replace_by_fifo)
    [file] = discovered_before_it_became(path, os.mkfifo)

    assert looked_at.remarks == (Remark(RemarkKind.WAITING, "events.jsonl", ""),)
    with pytest.raises(LandingError, match=r"events\.jsonl cannot be read: it is a FIFO and not a file"):
        stage_file(file)


def discovered_before_it_became(path: Path, make: Callable[[Path], None]) -> tuple[LandingFile, ...]:
    """The file at a path, which something else replaces as soon as it has been discovered."""
    path.unlink()
    path.write_text("events")
    files = discover(path.parent, NOTHING_KNOWN).new_files
    path.unlink()
    make(path)
    return files


def test_a_fifo_put_in_a_files_place_before_it_is_hashed_is_a_problem(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(landing, "events.jsonl")
    put(landing, "good.jsonl")
    real_open = os.open

    def replacing_open(opened: Any, *args: Any) -> int:
        if Path(opened) == path:
            path.unlink()
            os.mkfifo(path)
        return real_open(opened, *args)

    monkeypatch.setattr(os, "open", replacing_open)

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["good.jsonl"]
    assert [problem.explanation for problem in discovery.problems] == [
        "cannot be read: it is a FIFO and not a file. Correct it; the next run takes the file."
    ]


@contextmanager
def nested(landing: Path, name: str, levels: int) -> Iterator[None]:
    """Work in the innermost of folders within each other, which are gone afterwards: rmtree goes down by recursion."""
    try:
        for _ in range(levels):
            Path(name).mkdir()
            os.chdir(name)
        yield
    finally:
        for _ in range(levels):
            for path in [*Path().iterdir()]:
                path.rmdir() if path.is_dir() else path.unlink()
            os.chdir("..")
        Path(name).rmdir()
        os.chdir(landing)


def test_folders_nested_a_thousand_deep_are_walked(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(landing)
    with nested(landing, "d", 1_000):
        Path("events.jsonl").write_text("content")

        assert names(discover(landing, NOTHING_KNOWN)) == [f"{'d/' * 1_000}events.jsonl"]


def test_a_folder_whose_path_is_too_long_for_the_system_is_a_problem_and_holds_up_no_file(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(landing, "events.jsonl")
    monkeypatch.chdir(landing)
    with nested(landing, "d" * 200, 25):
        discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["events.jsonl"]
    [problem] = discovery.problems
    assert "its path is longer than the system allows" in problem.explanation


def test_files_that_cannot_be_read_for_one_reason_are_one_problem_and_others_keep_theirs(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        put(landing, f"{number}/closed.jsonl")
    put(landing, "gone.jsonl")
    put(landing, "good.jsonl")
    closed = failing_for("closed.jsonl", os.open, PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(os, "open", closed)
    monkeypatch.setattr(os, "open", failing_for("gone.jsonl", os.open, OSError(errno.EIO, "Input/output error")))

    discovery = discover(landing, NOTHING_KNOWN)

    assert names(discovery) == ["good.jsonl"]
    assert problems(discovery) == ["0/closed.jsonl, 1/closed.jsonl, 2/closed.jsonl and 2 more", "gone.jsonl"]


EVENT = line().decode() + "\n"


def remarks(discovery: Discovery, kind: RemarkKind) -> list[tuple[str, str, int]]:
    return [(each.subject, each.explanation, each.file_count) for each in discovery.remarks if each.kind is kind]


class TestFilesOfOtherNames:
    @pytest.mark.parametrize(
        ("name", "content", "what"),
        [
            ("readme.txt", b"Put raw events here.\n", "text"),
            ("events.tab", b"user_id,event_type\nu,x\n", "CSV"),
            ("events.tsv", b"user_id\tevent_type\nu\tx\n", "CSV"),
            ("events.txt", EVENT.encode(), "JSON lines"),
            ("old.bak", EVENT.encode(), "JSON lines"),
            ("events.jsonl.part", EVENT.encode(), "JSON lines"),
            ("events.jsonl.gz.tmp", gzip.compress(EVENT.encode(), mtime=0), "JSON lines packed with gzip"),
            ("old.bak.gz", gzip.compress(EVENT.encode(), mtime=0), "JSON lines packed with gzip"),
            ("array.txt", f"[{EVENT}]".encode(), "a JSON array"),
            ("photo.png", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
            ("wide.txt", EVENT.encode("utf-16"), "UTF-16"),
            ("page.html", b"<!doctype html>", "XML or HTML, such as the error page of a server"),
            ("noise.bin", bytes(range(256)), "not text"),
            ("nothing", b"", "empty"),
            ("table.tsv.zst", zstd.compress(b"a,b\n1,2\n"), "CSV packed with zstd"),
            ("broken.txt.gz", gzip.compress(EVENT.encode(), mtime=0)[:10], "empty packed with gzip"),
        ],
    )
    def test_are_left_and_named_with_what_they_seem_to_be(
        self, landing: Path, name: str, content: bytes, what: str
    ) -> None:
        (landing / name).write_bytes(content)

        discovery = discover(landing, NOTHING_KNOWN)

        assert not discovery.new_files
        assert not discovery.problems
        assert remarks(discovery, RemarkKind.IGNORED) == [(name, what, 1)]

    @pytest.mark.parametrize(
        "name",
        [
            "1795395600123.0f3a9c.1.1.7d2e.gz",
            "delivery-1-2026-11-23-09-00-00-0f3a9c.zst",
            "part-00000",
            "events.jsonl.1",
            "events.jsonl-20261123",
            "events.jsonl.2026-11-23T10",
            "events.json.gz.3",
            "events.jsonl.1.gz",
        ],
    )
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_are_a_problem_where_they_hold_events_and_a_program_names_its_files_so(
        self, landing: Path, name: str, pack: Callable[[bytes], bytes]
    ) -> None:
        (landing / name).write_bytes(pack(EVENT.encode()))

        [problem] = discover(landing, NOTHING_KNOWN).problems

        assert problem.display_path == name
        assert problem.explanation.startswith("seems to be JSON lines")
        assert problem.explanation.endswith(
            "add one that does (docs/sources.md), rename it, or move it out of landing."
        )

    def test_are_no_problem_while_they_may_still_get_another_name(self, landing: Path) -> None:
        (landing / "part-00000").write_text(EVENT)

        discovery = discover(landing, NOTHING_KNOWN, settle_seconds=60, sleep=lambda _: None)

        assert not discovery.problems
        assert remarks(discovery, RemarkKind.IGNORED) == [("part-00000", "JSON lines", 1)]

    def test_of_thousands_the_first_few_and_a_count_are_named(self, landing: Path) -> None:
        for number in range(2_000):
            (landing / f"{number:04}.tsv").write_text("a,b\n1,2\n")
            (landing / f"{number:04}").write_text(EVENT)

        discovery = discover(landing, NOTHING_KNOWN)

        assert remarks(discovery, RemarkKind.IGNORED) == [("0000.tsv, 0001.tsv, 0002.tsv and 1,997 more", "CSV", 2_000)]
        [problem] = discovery.problems
        assert (problem.display_path, problem.file_count) == ("0000, 0001, 0002 and 1,997 more", 2_000)
        assert problem.explanation.startswith("seem to be JSON lines, but no pattern of sources.yaml matches them")

    def test_that_cannot_be_read_are_left_and_named(self, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(landing, "closed.txt")
        error = PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(os, "open", failing_for("closed.txt", os.open, error))

        discovery = discover(landing, NOTHING_KNOWN)

        assert remarks(discovery, RemarkKind.IGNORED) == [("closed.txt", "cannot be read: Permission denied", 1)]


def refused(file: LandingFile, **values: Any) -> KnownFile:
    """A file as it is known once it was found that no line of it can be read."""
    now = datetime.now(UTC)
    reading: dict[str, Any] = {"read_at": now, "reader_number": file.reader_number}
    return replace(as_known(file), refused_code=ReasonCode.UTF_16, **reading | values)


class TestFilesThatWereRefused:
    @pytest.fixture
    def file(self, landing: Path) -> LandingFile:
        (landing / "events.jsonl").write_bytes(EVENT.encode("utf-16"))
        [file] = discover(landing, NOTHING_KNOWN).new_files
        return file

    def test_are_not_read_again_while_they_lie_as_they_did_but_named(
        self, landing: Path, file: LandingFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = KnownFiles((refused(file),))
        monkeypatch.setattr(os, "open", failing_for("events.jsonl", os.open, OSError("was read again")))

        discovery = discover(landing, known)

        assert (discovery.new_files, discovery.known_count, discovery.problems) == ((), 0, ())
        assert remarks(discovery, RemarkKind.UNREADABLE) == [("events.jsonl", ReasonCode.UTF_16.advice, 1)]

    def test_are_read_again_by_a_newer_reader(self, landing: Path, file: LandingFile) -> None:
        known = KnownFiles((refused(file, reader_number=file.reader_number - 1),))

        assert names(discover(landing, known)) == ["events.jsonl"]

    @pytest.mark.parametrize(
        ("mapping", "is_read"),
        [
            ("native", False),
            ("segment", True),
            ("shop\nmappings: {shop: {user_id: customer}}", True),
            ("shop\nmappings: {shop: {cells: {delimiter: ;}}}", True),
        ],
    )
    def test_are_read_again_once_sources_yaml_reads_them_in_another_way(
        self, landing: Path, file: LandingFile, mapping: str, is_read: bool
    ) -> None:
        sources = parse_sources(f"sources:\n  - files: '*.jsonl'\n    mapping: {mapping}\n", "sources.yaml")

        assert names(discover(landing, KnownFiles((refused(file),)), sources=sources)) == ["events.jsonl"] * is_read

    @pytest.mark.parametrize("name", ["events.jsonl", "renamed.jsonl"])
    def test_are_read_again_when_they_are_delivered_again(self, landing: Path, file: LandingFile, name: str) -> None:
        known = KnownFiles((refused(file, read_at=datetime.now(UTC) - timedelta(hours=1)),))
        content = path_of(file).read_bytes()
        path_of(file).unlink()
        (landing / name).write_bytes(content)

        assert names(discover(landing, known)) == [name]

    def test_are_not_read_again_for_a_copy_that_lay_beside_them(self, landing: Path, file: LandingFile) -> None:
        (landing / "copy.jsonl").write_bytes(path_of(file).read_bytes())
        known = KnownFiles((refused(file),))

        discovery = discover(landing, known)

        assert not discovery.new_files
        assert remarks(discovery, RemarkKind.UNREADABLE) == [("copy.jsonl, events.jsonl", ReasonCode.UTF_16.advice, 2)]

    def test_are_read_again_when_they_are_delivered_again_after_a_clock_was_set_back(
        self, landing: Path, file: LandingFile
    ) -> None:
        known = KnownFiles((refused(file, read_at=datetime.now(UTC) + timedelta(days=365)),))
        content = path_of(file).read_bytes()
        path_of(file).unlink()
        (landing / "again.jsonl").write_bytes(content)

        assert names(discover(landing, known)) == ["again.jsonl"]


class TestFilesThatWentOnGrowing:
    @pytest.fixture
    def known(self, landing: Path) -> KnownFiles:
        """A file of one event that was taken."""
        (landing / "events.jsonl").write_text(EVENT)
        [file] = discover(landing, NOTHING_KNOWN).new_files
        return KnownFiles((as_known(file),))

    def test_under_their_name_are_new_and_tell_from_what_they_have_grown(
        self, landing: Path, known: KnownFiles
    ) -> None:
        with (landing / "events.jsonl").open("a") as stream:
            stream.write(EVENT)

        [file] = discover(landing, known).new_files

        assert file.grown_from == (hash_of(EVENT),)
        assert file.content_hash == hash_of(EVENT * 2)

    def test_are_not_said_to_have_grown_from_what_they_do_not_begin_with(
        self, landing: Path, known: KnownFiles
    ) -> None:
        (landing / "events.jsonl").write_text(EVENT.upper() * 2)

        [file] = discover(landing, known).new_files

        assert file.grown_from == ()

    def test_tell_each_of_several_states(self, landing: Path, known: KnownFiles) -> None:
        path = landing / "events.jsonl"
        path.write_text(EVENT * 2)
        [second] = discover(landing, known).new_files
        path.write_text(EVENT * 3)

        [third] = discover(landing, KnownFiles((*known.files, as_known(second)))).new_files

        assert third.grown_from == (hash_of(EVENT), second.content_hash)

    def test_are_recognised_beside_another_earlier_file_of_the_same_size(
        self, landing: Path, known: KnownFiles
    ) -> None:
        (landing / "hour-09.jsonl").write_text(EVENT.upper())
        [other] = discover(landing, known).new_files
        with (landing / "events.jsonl").open("a") as stream:
            stream.write(EVENT)
        (landing / "events.jsonl").rename(landing / "hour-09.jsonl")

        for files in ((*known.files, as_known(other)), (as_known(other), *known.files)):
            [grown] = discover(landing, KnownFiles(files)).new_files
            assert grown.grown_from == (hash_of(EVENT),)

    def test_of_two_states_of_one_size_tell_the_one_they_begin_with(self, landing: Path, known: KnownFiles) -> None:
        path = landing / "events.jsonl"
        path.write_text(EVENT.upper())
        [rewritten] = discover(landing, known).new_files
        path.write_text(EVENT * 2)

        [grown] = discover(landing, KnownFiles((*known.files, as_known(rewritten)))).new_files

        assert grown.grown_from == (hash_of(EVENT),)

    def test_under_another_name_are_taken_with_their_tail_and_a_note(self, landing: Path, known: KnownFiles) -> None:
        rotated = (landing / "events.jsonl").rename(landing / "events.jsonl.1")
        with rotated.open("a") as stream:
            stream.write(EVENT)
        (landing / "events.jsonl").write_text("{}\n")

        discovery = discover(landing, known)

        [grown] = [file for file in discovery.new_files if file.display_path == "events.jsonl.1"]
        assert grown.grown_from == (hash_of(EVENT),)
        assert not discovery.problems
        [note] = discovery.notes
        assert note.startswith("events.jsonl.1 kept growing under another name after it had been taken")
        known = KnownFiles((*known.files, *(as_known(file) for file in discovery.new_files)))
        assert discover(landing, known) == Discovery((), 2)

    def test_copied_under_another_name_are_taken_with_their_tail(self, landing: Path, known: KnownFiles) -> None:
        (landing / "events.jsonl.old").write_text(EVENT * 2)
        (landing / "events.jsonl").write_text("")

        discovery = discover(landing, known)

        assert "events.jsonl.old" in names(discovery)

    def test_renamed_or_copied_without_a_tail_are_known(self, landing: Path, known: KnownFiles) -> None:
        (landing / "events.jsonl").rename(landing / "whatever.1")
        (landing / "events.jsonl-20261123").write_text(EVENT)

        assert discover(landing, known) == Discovery((), 2)

    def test_that_only_have_the_name_of_one_are_files_of_another_name(self, landing: Path, known: KnownFiles) -> None:
        (landing / "events.jsonl.1").write_text(EVENT.upper() * 3)

        discovery = discover(landing, known)

        assert (discovery.new_files, discovery.known_count) == ((), 1)
        assert problems(discovery) == ["events.jsonl.1"]
