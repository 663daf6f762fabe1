"""A process that does what the flows do, by their own functions but without Prefect, and comes to harm on request.

`python -m tests.torture.victim` reads orders from its input, one a line, and forks a process for each, so that a run
costs no imports. What is imported here is what such a process begins with.
"""

import gc
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from flows.pipeline import dask_workers, one_run
from src.marketing_messaging_service import decisions, published_copies
from src.marketing_messaging_service.dictionary import refresh_dictionary
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure import run_lease
from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.infrastructure.dialects.sqlite import dialect, wal
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.loading import new_events
from src.marketing_messaging_service.models import FlowName, RunMode
from src.marketing_messaging_service.run_options import ReplayChoice, RunOptions, Window
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from src.marketing_messaging_service.settings import Settings, load_settings
from src.marketing_messaging_service.staging import lines, packing, small_files, spool
from tests.torture import hostile, tracing, waits
from tests.torture.orders import Order
from tests.torture.plain import do_without_prefect
from tests.torture.scene import AS_OF, EVERYTHING, SECOND_HOUR, Scene, empty_scene, land_all, sample_files

# Nobody waits for a minute here.
dask_workers.ANSWER_SECONDS = 5.0
dask_workers.NO_WORKER_SECONDS = 3.0
dask_workers.COUNT_SECONDS = 0.5

# Files are small here: those that are not small compared with what is stored are loaded like large ones.
new_events.SMALLEST_REBUILD = 1
new_events.LARGEST_STANDING = 3

RUNS: Mapping[str, tuple[RunMode, Window | None]] = {
    "hourly": (RunMode.LOAD_AND_DECIDE, None),
    "backfill": (RunMode.LOAD_AND_DECIDE, EVERYTHING),
    "load only": (RunMode.LOAD_ONLY, EVERYTHING),
    "preview": (RunMode.PREVIEW, EVERYTHING),
    "one hour": (RunMode.LOAD_AND_DECIDE, SECOND_HOUR),
    "one hour only loaded": (RunMode.LOAD_ONLY, SECOND_HOUR),
    "old ones expired": (RunMode.LOAD_AND_DECIDE, EVERYTHING),
    "decided again": (RunMode.LOAD_AND_DECIDE, EVERYTHING),
    "replayed": (RunMode.LOAD_AND_DECIDE, None),
    **{job: (RunMode.LOAD_AND_DECIDE, None) for jobs in waits.PLANS.values() for job in jobs},
}
"""The runs of the pipeline: how far each goes, and the window of those that are backfills."""

LIMITS: Mapping[str, Mapping[str, Any]] = {
    "old ones expired": {"max_event_age_hours": 24 * 20},
    "replayed": {"flow_name": FlowName.REPLAY.value, "replay": ReplayChoice()},
    "decided again": {"decide_again": ("welcome_email", "bank_link_nudge", "insufficient_funds_email")},
    **{job: waits.limits_of(job) for jobs in waits.PLANS.values() for job in jobs},
}
"""What else some of them are given."""


def _run_options(job: str, settings: Settings) -> RunOptions:
    mode, window = RUNS[job]
    order = RunOptions(
        flow_name="backfill" if window else "hourly",
        mode=mode,
        as_of=AS_OF,
        source=settings.landing_path,
        window=window,
        flow_run_name=job,
    )
    return replace(order, **LIMITS.get(job, {}))


def _run_pipeline(job: str) -> int:
    if "replay" in LIMITS.get(job, {}):
        # By which more lines are events than before.
        os.environ["SOURCES_PATH"] = str(Scene(Path.cwd()).lenient_sources)
    if (rules := waits.rules_of(job)) is not None:
        path = Path.cwd() / "rules of the job.yaml"
        path.write_text(json.dumps(rules), encoding="utf-8")
        os.environ["RULES_PATH"] = str(path)
    state = one_run.run_pipeline(partial(_run_options, job))
    return 0 if state.is_completed() else 1


@contextmanager
def _no_lock(*_: Any) -> Iterator[None]:
    yield


def _move_to(host_name: str) -> None:
    """Be on another machine from now on; the database alone must keep the promises."""
    socket.gethostname = lambda: host_name
    vars(one_run)["run_lock"] = _no_lock


def _migrate(settings: Settings) -> list[str]:
    upgrade_to_head(settings.database_url)
    refresh_dictionary(create_database_engine(settings.database_url))
    return []


def _check(settings: Settings) -> list[str]:
    report = check_database(settings.database_url, (*INVARIANTS, *decisions.AUDIT))
    return [f"{finding.invariant}: {finding.examples or finding.problem}" for finding in report.broken]


@contextmanager
def _silent(_label: str, _total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


def _publish(settings: Settings) -> list[str]:
    folder = settings.publish_path
    assert isinstance(folder, Path)
    published_copies.publish(settings.database_url, folder, _silent)
    return []


JOBS: Mapping[str, Callable[[Settings], list[str]]] = {"migrate": _migrate, "check": _check, "publish": _publish}
"""What else there is to be done on a database."""


def _hostile(order: Order) -> list[str]:
    """Stage hostile input, and print what became of it as JSON."""
    if order.job == "bomb":
        result = hostile.stage_bomb(Path(order.target))
    else:
        database_url = load_settings().database_url
        result = hostile.stage_hostile_lines(Path(order.folder), database_url, order.seed, order.count)
    print(json.dumps(result))
    return []


def _kill(_target: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate(_target: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(_target: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _shrink(target: Path) -> None:
    os.truncate(target, target.stat().st_size // 2)


def _grow(target: Path) -> None:
    with target.open("ab") as stream:
        stream.write(b'{"one": "more"}\n')


def _rewrite(target: Path) -> None:
    target.write_bytes(target.read_bytes().swapcase())


def _database_beside(target: Path) -> Path:
    """Take away what belongs to the database beside a file that is to take its place, and return its path."""
    path = target.with_name("messaging.db")
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return path


def _move_over(target: Path) -> None:
    target.rename(_database_beside(target))


def _copy_over(target: Path) -> None:
    shutil.copyfile(target, _database_beside(target))


FAULTS: Mapping[str, Callable[[Path], None]] = {
    "kill": _kill,
    "terminate": _terminate,
    "stop": _stop,
    "vanish": lambda target: target.unlink(),
    "shrink": _shrink,
    "grow": _grow,
    "rewrite": _rewrite,
    "move over": _move_over,
    "copy over": _copy_over,
}


def main() -> None:
    """Serve requests, one a line, until the input ends."""
    do_without_prefect()
    _warm_up()
    # Or each victim's collector would look through, and so copy, all that was imported.
    gc.freeze()
    for request in sys.stdin:
        command, _, argument = request.partition(" ")
        print(json.dumps(REQUESTS[command](argument)), flush=True)


def _warm_up() -> None:
    """Do one run, so that no victim pays for what is imported, compiled or read late, or lacks the right to."""
    with tempfile.TemporaryDirectory() as outer:
        scene = land_all(empty_scene(Path(outer) / "scene"), sample_files())
        with chdir(scene.folder), redirect_stdout(io.StringIO()):
            os.environ.update(scene.settings())
            _run_pipeline("hourly")
    # It remembers its folder, and a victim may be given another one.
    tempfile.tempdir = None


def _start(order_text: str) -> int:
    order = Order(**json.loads(order_text))
    process_id = os.fork()
    if process_id == 0:
        os._exit(_be_victim(order))
    return process_id


def _wait(process_id: str) -> dict[str, Any]:
    _, status, usage = os.wait4(int(process_id), 0)
    return {"exit_code": os.waitstatus_to_exitcode(status), "cpu_seconds": usage.ru_utime + usage.ru_stime}


def _wait_until_stopped(process_id: str) -> bool:
    """Wait until a process stands still, or has ended; return which."""
    ending = os.waitid(os.P_PID, int(process_id), os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return ending is not None and ending.si_code == os.CLD_STOPPED


REQUESTS: Mapping[str, Callable[[str], Any]] = {
    "start": _start,
    "wait": _wait,
    "wait-until-stopped": _wait_until_stopped,
}
"""What can be asked for: a process that carries out an order, and its ending."""


def _be_victim(order: Order) -> int:
    """Carry out an order in this process, and return the exit code: 70 when there was a traceback."""
    try:
        signal.alarm(order.longest_seconds)
        scene = Scene(Path(order.folder))
        _redirect(scene.folder / f"output-{os.getpid()}.txt")
        os.chdir(scene.folder)
        os.environ.update({**scene.settings(), **order.settings})
        points = os.open(scene.folder / f"points-{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if order.user_id is not None:
            os.setgroups([])
            os.setgid(order.user_id)
            os.setuid(order.user_id)
        prepare(order, points)
        time.sleep(max(0.0, order.start_at - time.monotonic()))
        return _run(order)
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _redirect(output: Path) -> None:
    """Put what is printed into a file; the pipes belong to the process that forked this one."""
    for number, target, mode in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        opened = os.open(target, mode, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)


def prepare(order: Order, points: int) -> None:
    """Lay in wait in this process for the point of an order, and write the points that it comes by to a file."""
    dialect.BUSY_TIMEOUT_SECONDS = order.busy_timeout_seconds
    run_lease.RENEWALS_A_LEASE = order.renewals_a_lease  # type: ignore[assignment]
    wal.LARGEST_UNREMARKED_BYTES = 0
    lines.CHUNK_LINES = order.chunk_lines
    lines.READ_BYTES = order.read_bytes
    packing.PIECE_BYTES = order.read_bytes
    small_files.MOST_FILES = order.most_files
    spool.MEMORY_BYTES = order.spool_bytes
    if not order.is_traced:
        return
    count = 0

    def on_point(label: str) -> None:
        nonlocal count
        os.write(points, f"{label}\n".encode())
        is_there = label == order.at_label if order.at_label else count == order.at
        if order.fault is not None and is_there:
            FAULTS[order.fault](Path(order.target))
        count += 1

    if order.is_watched:
        folder = Path(order.folder)
        tracing.trace(on_point, on_statement=_appender(folder / f"statements-{os.getpid()}.txt"))
        tracing.watch(_appender(folder / f"opened-{os.getpid()}.txt"))
    else:
        tracing.trace(on_point, most_pages=order.most_pages)


def _appender(path: Path) -> Callable[[str], None]:
    """Return a function that appends a line to a file."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(text: str) -> None:
        os.write(opened, " ".join(text.split()).encode(errors="backslashreplace") + b"\n")

    return append


def _run(order: Order) -> int:
    if order.host_name:
        _move_to(order.host_name)
    if order.job in RUNS:
        return _run_pipeline(order.job)
    try:
        problems = JOBS[order.job](load_settings()) if order.job in JOBS else _hostile(order)
    except PipelineError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    main()
