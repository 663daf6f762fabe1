"""What is measured, and against what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks import events
from tests.benchmarks.workbench import RawFile, Workbench

SERVICE_EVENTS = 2_000
WHOLE_RUN, STAGE_AND_LOAD = "ours:stage_load_and_decide", "ours:stage_and_load"
SLOW = 1
"""Repetitions of what takes long or, as memory does, hardly varies."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A job on a raw file and a copy of a database."""

    what: str
    job: str
    raw_file: Path
    lines: int
    """How many lines it handles; times are compared per line."""
    start: Path | None
    most_repetitions: int = 100
    shows_steps: bool = False
    events: int | None = None
    """How many events the database must hold in the end, where that is known."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table: its measurements are compared with the first of them."""

    title: str
    measurements: tuple[Measurement, ...]
    absent: tuple[str, ...] = ()
    """What would be measured if it were installed."""


def ours(bench: Workbench) -> Section:
    """One file into an empty database, plain and compressed."""
    plain = _whole_run(bench)
    compressed = bench.compressed("plain-gz", bench.raw_file("plain", bench.event_count))
    gzipped = Measurement(
        "ours, the same compressed", plain.job, compressed.path, compressed.lines, plain.start, shows_steps=True
    )
    return Section("Ours: stage, load and decide one file, into an empty database", (plain, gzipped))


def _whole_run(bench: Workbench) -> Measurement:
    file = bench.raw_file("plain", bench.event_count)
    return Measurement(
        "ours: stage, load, decide",
        WHOLE_RUN,
        file.path,
        file.lines,
        bench.empty_database(),
        shows_steps=True,
    )


def usual(bench: Workbench) -> Section:
    """The usual ways to load the same clean lines, most of them without validation or decisions."""
    file = bench.raw_file("clean", bench.event_count, events.clean)
    quarter = bench.raw_file("clean-quarter", max(bench.event_count // 4, 1), events.clean)
    few = bench.raw_file("few", min(SERVICE_EVENTS, bench.event_count), events.clean)
    empty = bench.empty_database()
    found = [
        _loading("pandas read_json, normalize, to_sql", "pandas_way:read_and_append", file, empty),
        _loading("ORM add_all, one commit", "orm_way:add_all", quarter, empty, SLOW),
        _loading("ORM service, decides, a commit an event", "orm_way:commit_each", few, empty, SLOW),
    ]
    absent = []
    for module, peers in {
        "sqlite_utils": {"sqlite-utils insert --flatten, one table": "sqlite_utils_way:insert"},
        "dlt": {"dlt append, one table": "dlt_way:append", "dlt merge on message_id, one table": "dlt_way:merge"},
    }.items():
        if find_spec(module):
            found += [_loading(what, job, file, None, SLOW) for what, job in peers.items()]
        else:
            absent += list(peers)
    title = "The usual ways: only loading that file's clean lines, the ORM a quarter of them (its service decides too)"
    return Section(title, (_whole_run(bench), *found), tuple(absent))


def _loading(what: str, job: str, file: RawFile, start: Path | None, most_repetitions: int = 100) -> Measurement:
    return Measurement(what, job, file.path, file.lines, start, most_repetitions, events=file.lines)


def history(bench: Workbench) -> Section:
    """Deciding one batch on histories of different length, of the same users."""
    batch = bench.raw_file("batch", bench.batch_count, events.clean, first_day=5)
    past, past_lines, measurements = bench.empty_database(), 0, []
    for file in (None, bench.raw_file("plain", bench.event_count), _four_days(bench)):
        if file is not None:
            past_lines += file.lines
            past = bench.database(f"past-{past_lines}", past, WHOLE_RUN, file)
        undecided = bench.database(f"undecided-{past_lines}", past, STAGE_AND_LOAD, batch)
        what = f"decide {batch.lines:,} on {past_lines:,}"
        measurements.append(Measurement(what, "ours:decide", batch.path, batch.lines, undecided))
    return Section("History: deciding must follow the batch", tuple(measurements))


def _four_days(bench: Workbench) -> RawFile:
    return bench.raw_file("four-days", 4 * bench.event_count, first_day=1, days=4)


def memory(bench: Workbench) -> Section:
    """Peak memory for files of different length."""
    plain = bench.raw_file("plain", bench.event_count)
    files = {
        "a file": plain,
        "that file, compressed": bench.compressed("plain-gz", plain),
        "a file four times as long": _four_days(bench),
    }
    measurements = [
        Measurement(f"stage and load {what}", STAGE_AND_LOAD, file.path, file.lines, bench.empty_database(), SLOW)
        for what, file in files.items()
    ]
    imports = Measurement("nothing but the imports", "ours:nothing", plain.path, 0, None, SLOW)
    return Section("Memory: the peak must hardly follow the file", (*measurements, imports))


def hostile(bench: Workbench) -> Section:
    """Files that are meant to hurt, each beside a plain one of the same length."""
    count = max(bench.event_count // 4, 1)
    shapes: Mapping[str, events.Shape] = {
        "a plain file": events.plain,
        "an unknown key on every line": events.unknown_key,
        "no message_id on any line": events.without_message_id,
        "every amount a string": events.amount_as_text,
        "nanoseconds in every time": events.nanoseconds,
        "a key twice, one line in 100": events.key_twice_now_and_then,
        "every line bad": events.bad,
    }
    empty, measurements = bench.empty_database(), []
    for number, (what, shape) in enumerate(shapes.items()):
        file = bench.raw_file(f"hostile-{number}", count, shape)
        measurements.append(Measurement(what, STAGE_AND_LOAD, file.path, file.lines, empty, shows_steps=True))
    # Another blank line makes it another file.
    again = bench.raw_file("again", count, extra="\n")
    taken = bench.database("taken", empty, STAGE_AND_LOAD, bench.raw_file("hostile-0", count))
    measurements.append(
        Measurement("the plain file delivered again", STAGE_AND_LOAD, again.path, again.lines, taken, shows_steps=True)
    )
    return Section("Hostile shapes: staging and loading", tuple(measurements))


SECTIONS: Mapping[str, Callable[[Workbench], Section]] = {
    "ours": ours,
    "usual": usual,
    "history": history,
    "memory": memory,
    "hostile": hostile,
}
