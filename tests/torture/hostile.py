"""Hostile input, staged and loaded in a process of its own: lines by the million, bombs, and rules that are traps."""

import gzip
import json
import resource
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from src.marketing_messaging_service import loading, staging
from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.loading.results import LoadResult
from src.marketing_messaging_service.staging.results import StagedFile
from src.marketing_messaging_service.staging.zstd_library import zstd
from tests.torture.files import DECOY, odd_file
from tests.torture.lines import hostile_lines
from tests.torture.scene import AS_OF
from tests.torture.tables import odd_table

LINES_A_FILE = 20_000

ODD_FILES = 100
"""Files of other forms than lines that are staged for every file of hostile lines."""

ODD_TABLES = 20
"""The same of CSV and Parquet, which are larger."""

LOADED_ONE_IN = 5
"""Of the files of hostile lines one in so many is loaded as well; staging is what is fuzzed."""

MOST_GROWN_BYTES = 300 << 20
"""By how much hostile input may let the memory of a process grow."""

RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class UnaccountedError(Exception):
    """A line is not where it has to be: among the events, the rejected rows or the blank lines."""


def stage_hostile_lines(folder: Path, database_url: str, seed: int, count: int) -> dict[str, Any]:
    """Stage so many hostile lines in files, see to it that each is accounted for, and return what became of them."""
    before = _peak_bytes()
    totals: Counter[str] = Counter()
    upgrade_to_head(database_url)
    for number in range(-(-count // LINES_A_FILE)):
        landing = folder / f"fuzz-{seed}"
        landing.mkdir(exist_ok=True)
        path = landing / f"{seed}-{number}.jsonl"
        chance = Random(f"{seed} {number}")
        # The first one shows that it is a file of lines.
        lines = [_event_with()[:-1], *hostile_lines(LINES_A_FILE - 1, chance)]
        path.write_bytes(b"\n".join(lines) + b"\n")
        (file,) = staging.discover(landing, KnownFiles()).new_files
        with closing(staging.stage_file(file)) as staged:
            totals.update(_account(staged, lines))
            if number % LOADED_ONE_IN == 0:
                loaded = loading.load_file(create_database_engine(database_url), staged, as_of=AS_OF)
                totals["loaded"] += loaded.read_count if isinstance(loaded, LoadResult) else 0
        path.unlink()
        totals["odd files"] += _stage_odd_files(path, chance)
        totals["odd tables"] += _stage_odd_tables(path, chance)
    return {"counts": dict(totals), "grown_bytes": _peak_bytes() - before}


def _account(staged: StagedFile, lines: list[bytes]) -> Iterator[str]:
    """Yield what became of each line. Raises UnaccountedError when one is missing, there twice, or was changed."""
    blank = {number for number, line in enumerate(lines, 1) if _is_blank(line)}
    events = [number for chunk in staged.event_chunks() for number in chunk["line_number"].to_list()]
    rejected = []
    for chunk in staged.rejected_chunks():
        for row in chunk.to_dict("records"):
            number = row["line_number"]
            rejected.append(number)
            exact = row["raw_bytes"] if isinstance(row["raw_bytes"], bytes) else row["raw_line"].encode()
            if exact != lines[number - 1].removesuffix(b"\r"):
                raise UnaccountedError(f"line {number} is kept as {exact!r}")
            yield row["reason_code"]
    if sorted([*events, *rejected, *blank]) != list(range(1, len(lines) + 1)):
        odd = Counter([*events, *rejected, *blank, *range(1, len(lines) + 1)])
        raise UnaccountedError(
            f"lines {[number for number, count in odd.items() if count != 2][:5]} of {staged.file.display_path}"
        )
    if (staged.read_count, staged.valid_count, staged.blank_count) != (len(lines), len(events), len(blank)):
        raise UnaccountedError(f"{staged} for {len(events)} events and {len(blank)} blank lines")
    yield from ["event"] * len(events) + ["blank"] * len(blank)


def _is_blank(line: bytes) -> bool:
    return not line.strip() or not line.replace(b"\xef\xbb\xbf", b"").strip(b" \t\r\0\x1e")


def _stage_odd_files(path: Path, chance: Random) -> int:
    """Stage files of many forms with something done to them, and return how many.

    Raises UnaccountedError when the lines of one do not add up, or when a part of an event was taken for one.
    """
    for _ in range(ODD_FILES):
        content = odd_file(chance)
        path.write_bytes(content)
        (file,) = staging.discover(path.parent, KnownFiles()).new_files
        with closing(staging.stage_file(file)) as staged:
            events = [row for chunk in staged.event_chunks() for row in chunk.to_dict("records")]
            rejected = [number for chunk in staged.rejected_chunks() for number in chunk["line_number"].to_list()]
        numbers = [*(row["line_number"] for row in events), *rejected]
        if (
            DECOY in {row["user_id"] for row in events}
            or len({*numbers}) != len(numbers)
            or staged.read_count != len(numbers) + staged.blank_count
            or not all(1 <= number <= staged.read_count for number in numbers)
        ):
            raise UnaccountedError(f"{content!r} gave {events} and the rejected lines {rejected}")
        path.unlink()
    return ODD_FILES


def _stage_odd_tables(path: Path, chance: Random) -> int:
    """Stage tables with something done to them, and return how many.

    Raises UnaccountedError when the rows of one do not add up, or when a row that stands within a cell was taken.
    """
    for _ in range(ODD_TABLES):
        table = odd_table(chance)
        table_path = path.with_suffix(table.ending)
        table_path.write_bytes(table.content)
        (file,) = staging.discover(path.parent, KnownFiles()).new_files
        with closing(staging.stage_file(file)) as staged:
            events = [row for chunk in staged.event_chunks() for row in chunk.to_dict("records")]
            rejected = [number for chunk in staged.rejected_chunks() for number in chunk["line_number"].to_list()]
        numbers = [*(row["line_number"] for row in events), *rejected]
        if (
            (table.is_whole and DECOY in {row["user_id"] for row in events})
            or len({*numbers}) != len(numbers)
            or staged.read_count != len(numbers) + staged.blank_count
            or not all(1 <= number <= staged.read_count for number in numbers)
        ):
            raise UnaccountedError(f"{table.content[:2_000]!r} gave {events} and the rejected rows {rejected}")
        table_path.unlink()
    return ODD_TABLES


def stage_bomb(path: Path) -> dict[str, Any]:
    """Stage one file, and return its counts and by how much the memory of the process has grown."""
    before = _peak_bytes()
    (file,) = staging.discover(path.parent, KnownFiles()).new_files
    with closing(staging.stage_file(file)) as staged:
        reasons = Counter(reason for chunk in staged.rejected_chunks() for reason in chunk["reason_code"].to_list())
        counts = Counter(event=staged.valid_count, blank=staged.blank_count) + reasons
        return {"counts": dict(counts), "grown_bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


@dataclass(frozen=True, slots=True)
class Bomb:
    """A small file that would be large, deep or slow if it were taken at its word."""

    name: str
    write: Callable[[Path], None]
    counts: Mapping[str, int] | None
    """What has to become of its lines, None where only no event must."""
    ending: str = ".jsonl"

    def became_other(self, counts: Mapping[str, int]) -> bool:
        """Whether the lines became something else than they have to."""
        return "event" in counts if self.counts is None else counts != self.counts


EVENT = {
    "message_id": "m",
    "user_id": "ada",
    "event_type": "signup_completed",
    "event_timestamp": "2026-11-03T10:00:00Z",
}


def _gzip_of(byte: bytes, megabytes: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        packer = zlib.compressobj(9, wbits=31)
        with path.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(packer.compress(byte * (1 << 20)))
            stream.write(packer.flush())

    return write


def _zstd_of(byte: bytes, megabytes: int, window: int = 0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window} if window else {})
        with path.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(packer.compress(byte * (1 << 20)))
            stream.write(packer.flush())

    return write


def _objects(count: int) -> bytes:
    return b",".join(_event_with(message_id=f"m-{number}")[:-1] for number in range(count))


def _content(content: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content())

    return write


def _event_with(**values: Any) -> bytes:
    return json.dumps(EVENT | values).encode() + b"\n"


def _deep_value() -> bytes:
    return json.dumps(EVENT).encode()[:-1] + b',"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}\n"


def _twice_packed(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.compress(b"a" * (200 << 20), mtime=0)))


def bombs(size: int) -> list[Bomb]:
    """Return the bombs; `size` is how many megabytes the packed ones unfold to."""
    million = 1_000 * size
    return [
        Bomb("gzip of one character", _gzip_of(b"a", size), {"line_too_long": 1}, ".jsonl.gz"),
        Bomb("gzip of open brackets", _gzip_of(b"[", size), {"line_too_long": 1}, ".jsonl.gz"),
        Bomb("gzip of NUL bytes", _gzip_of(b"\0", size), {"blank": 1}, ".jsonl.gz"),
        Bomb("gzip of blank lines", _gzip_of(b"\n", size // 20), {"blank": (size // 20) << 20}, ".jsonl.gz"),
        Bomb("gzip within gzip", _twice_packed, {"line_too_long": 1}, ".jsonl.gz"),
        Bomb("zstd of one character", _zstd_of(b"a", size * 5), {"line_too_long": 1}, ".jsonl.zst"),
        Bomb("zstd of blank lines", _zstd_of(b"\n", size // 20), {"blank": (size // 20) << 20}, ".jsonl.zst"),
        Bomb("zstd with a large window", _zstd_of(b"a", size, window=27), {"line_too_long": 1}, ".jsonl.zst"),
        Bomb("zstd with too large a window", _zstd_of(b"a", size, window=30), {"unknown_packing": 1}, ".jsonl.zst"),
        Bomb(
            "packed three times",
            _content(lambda: gzip.compress(gzip.compress(gzip.compress(bytes(10 << 20))))),
            {"packed_too_often": 1},
            ".jsonl.gz",
        ),
        Bomb("30 MB that are no text", _content(lambda: Random(1).randbytes(30 << 20)), {"not_text": 1}),
        Bomb("array on one line", _content(lambda: b"[" + _objects(million) + b"]"), {"event": million}),
        Bomb(
            "array that is never closed",
            _content(lambda: b"[" + _objects(million)),
            {"event": million - 1, "broken_off": 1},
        ),
        Bomb(
            "array with an element of 40 MB",
            _content(lambda: b"[" + _objects(2) + b',{"x":"' + b"a" * (40 << 20) + b'"},' + _objects(2) + b"]"),
            {"event": 4, "line_too_long": 1},
        ),
        Bomb(
            "string in an array that is never closed",
            _content(lambda: b"[" + _objects(2) + b',{"x":"' + b"\\\\" * (20 << 20)),
            {"event": 2, "broken_off": 1},
        ),
        Bomb("array of numbers", _content(lambda: b"[" + b"0," * (7 << 20) + b"0]\n"), {"not_an_object": 1}),
        Bomb("nested arrays", _content(lambda: b"[" * (15 << 20) + b"\n"), {"nested_too_deep": 1}),
        Bomb("nested objects", _content(lambda: b'{"a":' * (3 << 20) + b"\n"), {"nested_too_deep": 1}),
        Bomb("nested unknown value", _content(_deep_value), {"nested_too_deep": 1}),
        Bomb(
            "object of a million keys",
            _content(lambda: _event_with(**{f"k{number}": 0 for number in range(million)})),
            {"event": 1},
        ),
        Bomb(
            "a million other unknown keys",
            _content(
                lambda: b"".join(
                    _event_with(**{f"k{number}-{step}": 0 for step in range(100)}) for number in range(million // 100)
                )
            ),
            {"event": million // 100},
        ),
        Bomb("number of ten million digits", _content(lambda: b"9" * (10 << 20) + b"\n"), {"not_an_object": 1}),
        Bomb(
            "exponent of a thousand million",
            _content(lambda: _event_with(properties={"attempt_number": "1e1000000000"})),
            {"number_out_of_range": 1},
        ),
        Bomb("text of 15 MB", _content(lambda: _event_with(user_id="a" * (15 << 20))), {"text_too_long": 1}),
        Bomb(
            "one key a million times",
            _content(lambda: b"{" + b'"user_id":"a",' * million + b'"user_id":"a"}\n'),
            {"duplicate_key": 1},
        ),
        Bomb("lines of one character", _content(lambda: b"x\n" * million), {"invalid_json": million}),
    ]
