"""Runs whose files Dask's workers stage, while workers, scheduler and run are killed, stopped and started again."""

import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from src.marketing_messaging_service.staging import sweep
from src.marketing_messaging_service.staging.sweeping import LEFTOVER_HOURS
from tests.dask_cluster import Cluster
from tests.torture.forks import ForkServer, Victim
from tests.torture.orders import Order
from tests.torture.scene import Scene, empty_scene, land_all
from tests.torture.several import Expected, breaches

WORKERS = 2

RUNS_TO_RECOVER = 3

TICK_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 60
LONGEST_PAUSE_SECONDS = 0.3
"""How long after a file was loaded harm comes at most, which is about as long as the next one takes."""

CUT_SHORT = "did not get to their end"
UNHARMED = "did all the same"
OVER = "were over before"
"""What becomes of a run that harm comes to."""

Harm = Callable[[Cluster, Victim, random.Random], None]


def kill_worker(cluster: Cluster, _victim: Victim, chance: random.Random) -> None:
    """Kill one worker: the other one does its work."""
    chance.choice(cluster.workers).kill()


def kill_workers(cluster: Cluster, _victim: Victim, _chance: random.Random) -> None:
    """Kill every worker: the run says so."""
    for worker in cluster.workers:
        worker.kill()


def stop_worker(cluster: Cluster, _victim: Victim, chance: random.Random) -> None:
    """Let one worker stand still for a moment, as a machine that swaps."""
    worker = chance.choice(cluster.workers)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(chance.uniform(0, 1))
    worker.send_signal(signal.SIGCONT)


def kill_scheduler(cluster: Cluster, _victim: Victim, _chance: random.Random) -> None:
    """Kill the scheduler."""
    cluster.scheduler_process.kill()
    cluster.scheduler_process.wait()


def stop_scheduler(cluster: Cluster, _victim: Victim, _chance: random.Random) -> None:
    """Let the scheduler stand still until the run is over."""
    cluster.scheduler_process.send_signal(signal.SIGSTOP)


def kill_run(_cluster: Cluster, victim: Victim, _chance: random.Random) -> None:
    """End the run as a power cut of its machine would."""
    with suppress(ProcessLookupError):
        victim.send(signal.SIGKILL)


def stop_run(_cluster: Cluster, victim: Victim, _chance: random.Random) -> None:
    """Ask the run to end, as Ctrl-C does."""
    with suppress(ProcessLookupError):
        victim.send(signal.SIGTERM)


HARMS: tuple[Harm, ...] = (
    kill_worker,
    kill_workers,
    stop_worker,
    kill_scheduler,
    stop_scheduler,
    kill_run,
    stop_run,
)


def order(scene: Scene, cluster: Cluster) -> Order:
    """Return the order for a run that gives its files to the workers, two at a time."""
    settings = {"DASK_SCHEDULER": cluster.scheduler.address, "STAGED_PATH": str(scene.folder / "staged")}
    return Order(str(scene.folder), settings=settings, is_traced=False, most_files=2)


def _wait_for_loads(scene: Scene, count: int) -> None:
    """Wait until so many files are loaded."""
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    loaded = 0
    while loaded < count and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)
        # The file, or the table, may not be there yet.
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{scene.database}?mode=ro", uri=True)) as reader:
            loaded = reader.execute("SELECT count(*) FROM loads").fetchone()[0]


def survive(
    forks: ForkServer,
    cluster: Cluster,
    wanted: Expected,
    files: Sequence[tuple[str, bytes]],
    harm: Harm,
    chance: random.Random,
    folder: Path,
) -> tuple[str, list[str]]:
    """Let a run come to harm at some moment and run again; return what became of it, and all that is not right."""
    cluster.mend(WORKERS)
    scene = land_all(empty_scene(folder), files)
    victim = Victim(forks, order(scene, cluster))
    # By what is loaded, and not by the clock, or most harm would come before or after the work on a busy machine.
    _wait_for_loads(scene, chance.randrange(len(wanted.rows["files"])))
    time.sleep(chance.uniform(0, LONGEST_PAUSE_SECONDS))
    survival = OVER if victim.has_ended() else UNHARMED
    harm(cluster, victim, chance)
    ending = victim.wait()
    found = [fault] if (fault := ending.fault()) is not None else []
    cluster.mend(WORKERS)
    last = ending
    for _ in range(RUNS_TO_RECOVER):
        last = Victim(forks, order(scene, cluster)).wait()
        if last.exit_code == 0:
            break
    if last.exit_code != 0:
        found.append(f"never recovered: {last.output}")
    else:
        found += breaches(scene.settings()["DATABASE_URL"], wanted, folder / "read")
        sweep(scene.folder / "staged", time.time() + (LEFTOVER_HOURS + 1) * 3_600)
        staged = scene.folder / "staged"
        found += [f"{left.name} is never removed" for left in (staged.iterdir() if staged.exists() else ())]
    shutil.rmtree(folder, ignore_errors=True)
    return survival if ending.exit_code == 0 else CUT_SHORT, [f"{harm.__name__}: {each}" for each in found]
