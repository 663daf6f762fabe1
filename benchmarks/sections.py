"""What is measured, and against what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import PEERS_PYTHON, PROJECT
from benchmarks.raw_events import RawFile
from benchmarks.rules_files import LOOKING_BACK, MANY_RULES, ONE_BUSY_USER
from benchmarks.shapes import SHAPES, of_every_rules_file, of_one_type
from benchmarks.workbench import Workbench

WHOLE_RUN, STAGE_AND_LOAD, DECIDE = "ours:stage_load_and_decide", "ours:stage_and_load", "ours:decide"
DECIDE_BY, CHECK_BY = "ours:decide_by", "self_check:decide_and_check_by"
FLOOR = "floor:insert_and_decide"

SMALL, MIDDLE, LARGE = 10_000, 100_000, 1_000_000
LONG_FILE = 4 * LARGE
HISTORY = 5 * LARGE
SERVICE = 2_000
SMALL_FILES = 10_000
HOSTILE = 50_000
MATCHES = 200_000
EXAMPLES = ("order_reminder", "consent_and_limits", "trial_that_ends")

FLOW = ("-m", "flows.hourly")
IMPORTS = ("-c", "import prefect, pandas, sqlalchemy")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing to measure: a job on a raw file and a copy of a database, or a command with these as its settings."""

    key: str
    """Its key for figures."""
    what: str
    job: str
    raw_file: Path
    line_count: int
    start: Path | None = None
    """The database that it starts from, None for none."""
    event_count: int | None = None
    """The events that the database must hold in the end, where they are known."""
    command: tuple[str, ...] = ()
    """The command to run instead of a job."""
    by_peers: bool = False
    """Whether it runs in the environment of the peers."""
    most_rounds: int = 100


@dataclass(frozen=True, slots=True)
class Section:
    """Measurements compared with the first of them, in one table."""

    key: str
    title: str
    measurements: tuple[Measurement, ...]


def whole(bench: Workbench) -> Section:
    """One file into an empty database: ours, the floor, and the flow."""
    measurements = []
    for size in (SMALL, MIDDLE, LARGE):
        count = bench.scaled(size)
        file, empty, name = bench.raw_file(count), bench.empty_database(), f"{count}-lines"
        rows = bench.ready_rows(name, empty, file)
        ours = Measurement(f"ours {size}", f"ours, {count:,}", WHOLE_RUN, file.path, count, empty, file.event_count)
        floor = Measurement(f"floor {size}", f"floor, {count:,}", FLOOR, rows, count, empty, file.event_count)
        measurements += [ours, floor]
    measurements.append(
        Measurement(
            f"flow {LARGE}",
            f"the flow, {count:,}",
            "",
            file.path,
            count,
            empty,
            file.event_count,
            command=FLOW,
            most_rounds=1,
        )
    )
    return Section("whole", "One file into an empty database", tuple(measurements))


def late(bench: Workbench) -> Section:
    """An hour's file into a database with a long history."""
    history_count, count = bench.scaled(HISTORY), bench.scaled(MIDDLE)
    file, history = bench.batch(count, history_count), bench.history(history_count)
    rows = bench.ready_rows(f"batch-{count}-{history_count}", history, file)
    what = f"{count:,} on {history_count:,}"
    return Section(
        "late",
        "One file into a database with a history of the same users",
        (
            Measurement("ours late", f"ours, {what}", WHOLE_RUN, file.path, count, history),
            Measurement("floor late", f"floor, {what}", FLOOR, rows, count, history),
        ),
    )


def deciding(bench: Workbench) -> Section:
    """The same file's events decided, on no history and on a long one."""
    history_count, count = bench.scaled(HISTORY), bench.scaled(MIDDLE)
    file = bench.batch(count, history_count)
    few = bench.raw_file(count)
    history = bench.history(history_count)
    starts = {
        "none": ("nothing", bench.loaded(f"batch-{count}-none", bench.empty_database(), file)),
        "history": (f"{history_count:,}", bench.loaded(f"batch-{count}-{history_count}", history, file)),
        "few": (f"{history_count:,}, few users", bench.loaded(f"few-{count}-{history_count}", history, few)),
    }
    measurements = (
        Measurement(f"decide {key}", f"decide {count:,} on {what}", DECIDE, file.path, count, start)
        for key, (what, start) in starts.items()
    )
    return Section("deciding", "Deciding alone, its step: all users of the history, or a fiftieth", tuple(measurements))


def examples(bench: Workbench) -> Section:
    """The same events decided by the shipped rules and by each of the example files."""
    file = bench.raw_file(
        count := bench.scaled(LARGE), shape=of_every_rules_file, name=f"examples-{bench.scaled(LARGE)}"
    )
    start = bench.loaded(f"examples-{count}", bench.empty_database(), file)
    paths = {"shipped": PROJECT / "data" / "rules.yaml"}
    paths |= {name: PROJECT / "data" / "examples" / name / "rules.yaml" for name in EXAMPLES}
    measurements = (
        Measurement(
            f"examples {name}", f"decide {count:,} by {path.relative_to(PROJECT)}", DECIDE_BY, path, count, start
        )
        for name, path in paths.items()
    )
    return Section(
        "examples", "The example files beside the shipped rules, deciding alone, its step", tuple(measurements)
    )


def one_user(bench: Workbench) -> Section:
    """One user with as many matches as a whole batch, decided by one word of the language after the other."""
    count = bench.scaled(MATCHES)
    file = bench.raw_file(count, malformed=False, shape=of_one_type, user_count=1, name=f"one-user-{count}")
    start = bench.loaded(f"one-user-{count}", bench.empty_database(), file)
    measurements = (
        Measurement(
            f"one user {name}",
            f"{count:,} under {name}",
            DECIDE_BY,
            bench.rules(name, rules),
            count,
            start,
            most_rounds=1,
        )
        for name, rules in ONE_BUSY_USER.items()
    )
    return Section("one_user", "All matches of one user, deciding alone, its step", tuple(measurements))


def many_rules(bench: Workbench) -> Section:
    """One rule and hundreds, with the self-check of what they decided."""
    count = bench.scaled(MIDDLE)
    start = bench.loaded(f"{count}-lines", bench.empty_database(), bench.raw_file(count))
    measurements = (
        Measurement(
            f"many {name}", f"{count:,} by {name}", CHECK_BY, bench.rules(name, rules), count, start, most_rounds=1
        )
        for name, rules in MANY_RULES.items()
    )
    return Section("many_rules", "Many rules, deciding and its self-check", tuple(measurements))


def looking_back(bench: Workbench) -> Section:
    """An hour on a long history, by the shipped rules and by rules that wait, look at traits and have limits."""
    history_count, count = bench.scaled(HISTORY), bench.scaled(MIDDLE)
    file, history = bench.batch(count, history_count), bench.history(history_count)
    start = bench.loaded(f"batch-{count}-{history_count}", history, file)
    paths = {"shipped": PROJECT / "data" / "rules.yaml", "looking": bench.rules("looking back", LOOKING_BACK)}
    measurements = (
        Measurement(f"back {name}", f"{count:,} on {history_count:,} by {path.stem}", DECIDE_BY, path, count, start)
        for name, path in paths.items()
    )
    return Section("looking_back", "Looking back on a long history, deciding alone, its step", tuple(measurements))


def peers(bench: Workbench) -> Section:
    """The usual ways to load clean lines; only the service also decides."""
    file = bench.raw_file(bench.scaled(MIDDLE), malformed=False)
    few = bench.raw_file(bench.scaled(SERVICE), malformed=False)
    empty = bench.empty_database()

    def peer(key: str, what: str, job: str, start: Path | None = None) -> Measurement:
        return Measurement(key, what, job, file.path, file.line_count, start, file.event_count, by_peers=True)

    return Section(
        "peers",
        "The usual ways: the same clean lines, only loaded",
        (
            Measurement(
                "ours clean", "ours, decides too", WHOLE_RUN, file.path, file.line_count, empty, file.event_count
            ),
            peer("pandas", "pandas read_json, json_normalize, to_sql", "pandas_script:read_and_append", empty),
            peer("sqlite-utils", "sqlite-utils insert --flatten, one table", "sqlite_utils_insert:insert"),
            peer("dlt", "dlt, merge on message_id, child tables", "dlt_merge:merge"),
            Measurement(
                "service",
                "ORM service, one commit per event, decides too",
                "orm_service:commit_each",
                few.path,
                few.line_count,
                empty,
                few.event_count,
                most_rounds=1,
            ),
        ),
    )


def memory(bench: Workbench) -> Section:
    """The peak memory for a file, and for one four times as long."""
    empty = bench.empty_database()
    files = {key: bench.raw_file(bench.scaled(size)) for key, size in (("long", LARGE), ("longest", LONG_FILE))}
    return Section(
        "memory",
        "A file four times as long",
        tuple(_taking(f"memory {key}", WHOLE_RUN, file, empty) for key, file in files.items()),
    )


def _taking(key: str, job: str, file: RawFile, start: Path, what: str = "") -> Measurement:
    return Measurement(
        key,
        what or f"ours, {file.line_count:,}",
        job,
        file.path,
        file.line_count,
        start,
        file.event_count,
        most_rounds=1,
    )


def idle(bench: Workbench) -> Section:
    """A run that finds nothing new, beside the imports that it needs."""
    file = bench.raw_file(bench.scaled(SMALL))
    taken = bench.loaded(f"{bench.scaled(SMALL)}-lines", bench.empty_database(), file)
    return Section(
        "idle",
        "A run with nothing new",
        (
            Measurement("imports", "import prefect, pandas, sqlalchemy", "", file.path, 0, command=IMPORTS),
            Measurement("idle", "python -m flows.hourly", "", file.path, 0, taken, command=FLOW),
        ),
    )


def many(bench: Workbench) -> Section:
    """Many small files through the flow, beside one file with the same lines."""
    folder, file = bench.small_files(bench.scaled(SMALL_FILES))
    empty = bench.empty_database()

    def taking(key: str, what: str, path: Path) -> Measurement:
        return Measurement(key, what, "", path, file.line_count, empty, file.event_count, command=FLOW)

    return Section(
        "many",
        "Small files of 1 to 50 lines, through the flow",
        (
            taking("flow one file", f"the flow, one file of {file.line_count:,} lines", file.path),
            taking(
                "flow many files", f"the flow, the same in {bench.scaled(SMALL_FILES):,} files", folder / "any.jsonl"
            ),
        ),
    )


def hostile(bench: Workbench) -> Section:
    """Difficult files, each beside a plain one of the same length."""
    count, empty = bench.scaled(HOSTILE), bench.empty_database()
    measurements = []
    for number, (what, shape) in enumerate(SHAPES.items()):
        file = bench.raw_file(count, shape=shape, name=f"hostile-{number}-{count}")
        measurements.append(
            Measurement(f"hostile {number}", what, STAGE_AND_LOAD, file.path, file.line_count, empty, most_rounds=1)
        )
    return Section("hostile", "Shapes that are meant to hurt, staged and loaded", tuple(measurements))


def checking(bench: Workbench) -> Section:
    """The self-check beside the deciding that it checks, and with twice as much where time must not be quadratic."""
    count, empty = bench.scaled(MIDDLE), bench.empty_database()
    file = bench.raw_file(count)
    loaded = bench.loaded(f"{count}-lines", empty, file)
    wanted = (
        ("shipped_rules", f"decide {count:,} by the shipped rules, check", loaded),
        ("many_rules", f"decide {count:,} by 50 rules, check", loaded),
        ("few_versions", "check 100 versions of the rules", empty),
        ("many_versions", "check 200 versions of the rules", empty),
        ("few_late", "check 5,000 events and as many late", empty),
        ("many_late", "check 10,000 events and as many late", empty),
    )
    measurements = (
        Measurement(f"check {job}", what, f"self_check:{job}", file.path, count, start) for job, what, start in wanted
    )
    return Section("checking", "The self-check, its step", tuple(measurements))


def formats(bench: Workbench) -> Section:
    """The same events as JSON lines in our own words, in other formats, and in Segment's words; staged alone."""
    file = bench.raw_file(bench.scaled(LARGE), malformed=False)
    kinds = {"lines": ("JSON lines", file.path)} | {
        kind: (what, bench.recast(file, kind))
        for kind, what in (("csv", "CSV"), ("parquet", "Parquet"), ("segment", "JSON lines as Segment has them"))
    }
    measurements = (
        Measurement(f"format {kind}", what, "ours:stage", path, file.line_count, bench.empty_database())
        for kind, (what, path) in kinds.items()
    )
    return Section("formats", "Other formats and other words, staged", tuple(measurements))


def dask(bench: Workbench) -> Section:
    """Large files and small ones, staged in one process and by two Dask workers of the same machine."""
    measurements = []
    for name, file_count, line_count in (("large", 16, 16 * MIDDLE), ("small", 5_000, 5_000 * 25)):
        folder, file = bench.files(bench.scaled(file_count), bench.scaled(line_count))
        measurements += [
            Measurement(
                f"dask {name} {where}",
                f"{bench.scaled(file_count):,} {name} files, {what}",
                f"dask_staging:{where}",
                folder / "any.jsonl",
                file.line_count,
            )
            for where, what in (("here", "in one process"), ("on_two_workers", "on two Dask workers"))
        ]
    return Section("dask", "Many files, staged and not loaded, the step", tuple(measurements))


def several(bench: Workbench) -> Section:
    """The same files loaded by one and by two runs on PostgreSQL, and decided in one transaction and in two shards."""
    folder, file = bench.files(8, bench.scaled(4 * MIDDLE))
    measurements = (
        Measurement(
            f"several {name}", what, f"several_writers:by_{name}", folder / "any.jsonl", file.line_count, most_rounds=2
        )
        for name, what in (("one", "one loader, one transaction"), ("two", "two loaders, two shards"))
    )
    return Section("several", "Several writers on PostgreSQL, the steps", tuple(measurements))


SECTIONS: Mapping[str, Callable[[Workbench], Section]] = {
    "whole": whole,
    "late": late,
    "deciding": deciding,
    "checking": checking,
    "examples": examples,
    "one_user": one_user,
    "many_rules": many_rules,
    "looking_back": looking_back,
    "peers": peers,
    "memory": memory,
    "idle": idle,
    "many": many,
    "formats": formats,
    "dask": dask,
    "several": several,
    "hostile": hostile,
}


def python_of_peers() -> Path:
    """Return the interpreter of the peers' environment. Raises FileNotFoundError when it is not installed."""
    if not PEERS_PYTHON.exists():
        raise FileNotFoundError(f"{PEERS_PYTHON} is missing; `make bench` installs it")
    return PEERS_PYTHON
