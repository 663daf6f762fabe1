"""Several at once on one database: runs, migrations, and analysts who hold it open."""

import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.torture.forks import Ending, ForkServer
from tests.torture.kills import Start, recover, unlike_one_run
from tests.torture.orders import Order
from tests.torture.scene import Scene

PAIR = ("hourly", "backfill")
"""The jobs that are started several at a time in the same second."""

PAIRS = 3

MACHINES = (("hourly", "one"), ("backfill", "two"), ("migrate", ""), ("hourly", ""))
"""Jobs, each on a machine of its own."""

AT_ONCE_SECONDS = 0.05
"""Within how long all of them begin."""

ANOTHER_RUN = "Another run is at work"

LOCK_TIMEOUTS = ("0", "1", "120")


def crowd(server: ForkServer, start: Start, folder: Path, chance: random.Random) -> tuple[list[Ending], list[str]]:
    """Start three pairs of runs at once; each ends well or says that another is at work. One of them is patient."""
    jobs = [*PAIR * PAIRS]
    timeouts = ["120", *(chance.choice(LOCK_TIMEOUTS) for _ in jobs[1:])]
    scene = start.scene.copy_to(folder)
    endings = _together(server, scene, jobs, timeouts, chance)
    breaches = [breach for ending in endings for breach in _unlike_a_run(ending)]
    return endings, breaches + _left_as_by_one(scene, start)


def crowd_without_lock(server: ForkServer, start: Start, folder: Path, chance: random.Random) -> list[str]:
    """Start runs of several machines and a migration at once, which no lock file holds apart."""
    scene = start.scene.copy_to(folder)
    orders = [Order(str(scene.folder), job=job, host_name=host_name) for job, host_name in MACHINES]
    endings = _at_once(server, orders, chance)
    breaches = [f"ended with {ending.exit_code}: {ending.output}" for ending in endings if ending.exit_code]
    return breaches + _left_as_by_one(scene, start)


def replays_beside_hourly_runs(server: ForkServer, start: Start, folder: Path, chance: random.Random) -> list[str]:
    """Start replays and hourly runs at once, where no file is left to take: they leave what one replay does."""
    scene = start.scene.copy_to(folder)
    endings = _together(server, scene, ("replayed", "hourly") * 2, ["120"] * 4, chance)
    breaches = [f"ended with {ending.exit_code}: {ending.output}" for ending in endings if ending.exit_code]
    return breaches + _left_as_by_one(scene, start)


def migrations_at_once(server: ForkServer, start: Start, folder: Path, chance: random.Random) -> list[str]:
    """Start four migrations at once; all end well, and a run after them finds what it expects."""
    scene = start.scene.copy_to(folder)
    endings = _together(server, scene, ("migrate",) * 4, ["120"] * 4, chance)
    breaches = [f"ended with {ending.exit_code}: {ending.output}" for ending in endings if ending.exit_code]
    return breaches + recover(server, start, scene)


def beside_a_reader(server: ForkServer, start: Start, folder: Path) -> list[str]:
    """Run beside an analyst whose read transaction began before the run and goes on after it, which the run says."""
    scene = start.scene.copy_to(folder)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as analyst:
        analyst.execute("BEGIN")
        seen = analyst.execute("SELECT count(*) FROM events").fetchone()
        ending = server.run(Order(str(scene.folder)))
        seen_after = analyst.execute("SELECT count(*) FROM events").fetchone()
    breaches = [] if ending.exit_code == 0 else [f"ended with {ending.exit_code}: {ending.output}"]
    if "messaging.db-wal holds" not in ending.output:
        breaches.append(f"does not say that a reader lets the -wal file grow: {ending.output}")
    if seen != seen_after:
        breaches.append("the analyst's snapshot changed beneath a read transaction")
    return breaches + _left_as_by_one(scene, start)


def beside_a_writer(server: ForkServer, start: Start, folder: Path, seconds: float) -> list[str]:
    """Run beside an analyst who holds the write lock for so long."""
    scene = start.scene.copy_to(folder)
    with _write_lock(scene.database, seconds):
        ending = server.run(Order(str(scene.folder)))
    breaches = [] if ending.exit_code == 0 else [f"ended with {ending.exit_code}: {ending.output}"]
    if ending.seconds < seconds:
        breaches.append(f"the run ended after {ending.seconds:.1f} s, before the lock was free")
    return breaches + _left_as_by_one(scene, start)


def beside_a_writer_for_too_long(server: ForkServer, start: Start, folder: Path) -> list[str]:
    """Run beside an analyst who does not let go of the write lock in time: the run says what to do."""
    scene = start.scene.copy_to(folder)
    with _write_lock(scene.database, 2.5):
        ending = server.run(Order(str(scene.folder), busy_timeout_seconds=1))
    breaches = [] if ending.exit_code == 1 else [f"ended with {ending.exit_code}"]
    if "Another program has held it" not in ending.output or "Traceback" in ending.output:
        breaches.append(f"says {ending.output}")
    return breaches + recover(server, start, scene)


@contextmanager
def _write_lock(database: Path, seconds: float) -> Iterator[None]:
    """Hold the write lock in another thread, from now on for so many seconds."""
    is_held = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as analyst:
            analyst.execute("BEGIN IMMEDIATE")
            is_held.set()
            time.sleep(seconds)
            analyst.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    yield
    thread.join()


def _together(
    server: ForkServer, scene: Scene, jobs: Sequence[str], timeouts: Sequence[str], chance: random.Random
) -> list[Ending]:
    orders = [
        Order(str(scene.folder), job=job, settings={"RUN_LOCK_TIMEOUT_SECONDS": timeout})
        for job, timeout in zip(jobs, timeouts, strict=True)
    ]
    return _at_once(server, orders, chance)


def _at_once(server: ForkServer, orders: Sequence[Order], chance: random.Random) -> list[Ending]:
    start_at = time.monotonic() + 0.2
    return server.run_together(
        [replace(order, start_at=start_at + chance.uniform(0, AT_ONCE_SECONDS)) for order in orders]
    )


def _unlike_a_run(ending: Ending) -> list[str]:
    if fault := ending.fault():
        return [fault]
    if ending.exit_code and ANOTHER_RUN not in ending.output:
        return [f"ended with {ending.exit_code}: {ending.output}"]
    return []


def _left_as_by_one(scene: Scene, start: Start) -> list[str]:
    return unlike_one_run(scene.database, start.undisturbed, killed=0)
