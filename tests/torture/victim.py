"""A process that runs the real stages as flows/ joins them, but without Prefect, and comes to harm where it is told.

`python -m tests.torture.victim` reads orders from its input, one a line, and forks a process for each, so that a run
costs no imports. What is imported here is what such a process begins with.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flows.stopping import StopRequest
from src.marketing_messaging_service import decisions, loading, staging
from src.marketing_messaging_service.checking import INVARIANTS, check_database
from src.marketing_messaging_service.dictionary import refresh_dictionary
from src.marketing_messaging_service.errors import DatabaseError, PipelineError
from src.marketing_messaging_service.infrastructure import database
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.results import LandingFile
from src.marketing_messaging_service.settings import Settings, load_settings
from src.marketing_messaging_service.staging import lines, spool
from tests.torture import hostile, tracing
from tests.torture.orders import Order
from tests.torture.scene import AS_OF, Scene


def run_pipeline(settings: Settings, stop: StopRequest) -> list[str]:
    """Do what one run of flows/ does, in its order, and return what went wrong with a file or the rules."""
    upgrade_to_head(settings.database_url)
    refresh_dictionary(create_database_engine(settings.database_url))
    engine = create_database_engine(settings.database_url)
    found = staging.discover(
        settings.landing_path,
        loading.known_files(engine),
        settle_seconds=settings.landing_settle_seconds,
        sleep=stop.sleep,
    )
    print(f"{len(found.new_files)} new, waiting: {', '.join(found.waiting_names) or 'none'}", flush=True)
    problems = [f"{problem.display_path}: {problem.explanation}" for problem in found.problems]
    for file in found.new_files:
        stop.check()
        try:
            _take(file, engine, stop)
        except DatabaseError:
            stop.check()
            raise
        except PipelineError as error:
            stop.check()
            problems.append(f"{file.display_path}: {error}")
    stop.check()
    try:
        decisions.decide_pending(engine, decisions.read_rules(settings.rules_path), decided_at=utc_now())
    except PipelineError as error:
        problems.append(f"Deciding: {error}")
    return problems


def _take(file: LandingFile, engine: Any, stop: StopRequest) -> None:
    on_progress = stop.checking(lambda _: None)
    staged = staging.stage_file(file, on_progress=on_progress)
    try:
        loading.load_file(engine, staged, as_of=AS_OF, on_progress=on_progress)
    finally:
        staged.close()


def _hourly(settings: Settings) -> list[str]:
    stop = StopRequest()
    with (
        stop.listening(),
        run_lock(settings.database_path, settings.run_lock_timeout_seconds, stop.check),
    ):
        return run_pipeline(settings, stop)


def _unlocked(settings: Settings) -> list[str]:
    """A run on a file system whose locks hold nobody back: the database alone must keep the promises."""
    return run_pipeline(settings, StopRequest())


def _migrate(settings: Settings) -> list[str]:
    upgrade_to_head(settings.database_url)
    refresh_dictionary(create_database_engine(settings.database_url))
    return []


def _check(settings: Settings) -> list[str]:
    report = check_database(settings.database_path, (*INVARIANTS, *decisions.AUDIT))
    return [f"{finding.invariant}: {finding.examples or finding.problem}" for finding in report.broken]


JOBS: Mapping[str, Callable[[Settings], list[str]]] = {
    "hourly": _hourly,
    "unlocked": _unlocked,
    "migrate": _migrate,
    "check": _check,
}


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


def _shrink(target: Path) -> None:
    os.truncate(target, target.stat().st_size // 2)


def _grow(target: Path) -> None:
    with target.open("ab") as stream:
        stream.write(b'{"one": "more"}\n')


def _rewrite(target: Path) -> None:
    target.write_bytes(target.read_bytes().swapcase())


FAULTS: Mapping[str, Callable[[Path], None]] = {
    "kill": _kill,
    "terminate": _terminate,
    "vanish": lambda target: target.unlink(),
    "shrink": _shrink,
    "grow": _grow,
    "rewrite": _rewrite,
}


def main() -> None:
    """Serve orders until the input ends: `start <order>` answers with a process id, `wait <id>` with its ending."""
    for request in sys.stdin:
        command, _, argument = request.partition(" ")
        answer = _start(Order(**json.loads(argument))) if command == "start" else _wait(int(argument))
        print(json.dumps(answer), flush=True)


def _start(order: Order) -> int:
    process_id = os.fork()
    if process_id == 0:
        os._exit(_be_victim(order))
    return process_id


def _wait(process_id: int) -> dict[str, Any]:
    _, status, usage = os.wait4(process_id, 0)
    return {"exit_code": os.waitstatus_to_exitcode(status), "cpu_seconds": usage.ru_utime + usage.ru_stime}


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
    database.BUSY_TIMEOUT_SECONDS = order.busy_timeout_seconds
    lines.CHUNK_LINES = order.chunk_lines
    lines.READ_BYTES = order.read_bytes
    spool.MEMORY_BYTES = order.spool_bytes
    count = 0

    def on_point(label: str) -> None:
        nonlocal count
        os.write(points, f"{label}\n".encode())
        if order.fault is not None and count == order.at:
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
    try:
        problems = _hostile(order) if order.job in {"fuzz", "bomb"} else JOBS[order.job](load_settings())
    except PipelineError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    main()
