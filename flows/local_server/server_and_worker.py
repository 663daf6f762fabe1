"""A Prefect server, the deployments and a worker: started together, kept together, stopped together."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.local_server.place import Place
from flows.local_server.processes import Processes, UpError, end_processes
from flows.pipeline.dead_runs import FOUND_AT_START, WORK_POOL, mark_leftovers_crashed
from src.marketing_messaging_service.errors import WHO_DOES_THE_REST

WORKER_NAME = "up"
"""A new name at each start would fill the UI with dead workers."""

WORKER_LIMIT = 3
"""How many runs at once: one that writes, and a check and a publication beside it."""

STOPPED_BY_HAND = f"Stopped together with its worker. {WHO_DOES_THE_REST}"

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Switches = dict[tuple[str, str | None], bool]
"""Whether each schedule is on, by the names of its deployment and its schedule in prefect.yaml."""


def up(place: Place) -> None:
    """Start everything and stay. Raises UpError if anything fails; however it ends, everything is stopped."""
    processes = Processes(place)
    with _alone(place), _stopped_at_the_end(processes):
        _start(processes)
        processes.stay()


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Reserve the folder and the port for this process."""
    place.home.mkdir(parents=True, exist_ok=True)
    address = place.home / "address"
    lock = FileLock(place.home / "up.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UpError(f"It is already up, at {address.read_text()}; stop that one first (Ctrl-C).") from None
    with lock:
        # The previous holder of the lock is gone; what it started may not be.
        end_processes(place.process_ids())
        _refuse_taken_port(place)
        address.write_text(place.url)
        if place.log_path.exists():
            place.log_path.replace(place.log_path.with_suffix(".log.1"))
        yield


def _refuse_taken_port(place: Place) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", place.port))
        except OSError:
            who = "another Prefect server" if place.is_answering() else "another program"
            raise UpError(
                f"Port {place.port} is taken by {who}; stop it, or choose another port: make up PORT={place.port + 1}"
            ) from None


def _start(processes: Processes) -> None:
    place = processes.place
    begin = time.monotonic()
    _say(f"Starting Prefect; its output goes to {_short(place.log_path)}")
    processes.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(place.port))
    processes.wait_until("server", place.is_answering)
    with place.client() as client:
        _ensure_work_pool(processes, client)
        if number := mark_leftovers_crashed(client, FOUND_AT_START):
            _say(f"Runs that were under way when everything last stopped, now marked as Crashed: {number}")
        # The two start side by side, which saves seconds.
        started_at = datetime.now(UTC)
        worker = ("worker", "start", "--pool", WORK_POOL, "--name", WORKER_NAME, "--limit", str(WORKER_LIMIT))
        processes.start("worker", *worker)
        _deploy(processes, client)
        processes.wait_until("worker", lambda: _has_worker_since(client, started_at))
    _say(f"Up after {time.monotonic() - begin:.0f} seconds: {place.url}")
    _say("  To start a run: Deployments → hourly → Run → Quick run. It also runs by itself, every hour.")
    _say("  To stop everything: Ctrl-C.")


def _ensure_work_pool(processes: Processes, client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        processes.start("creation of the work pool", "work-pool", "create", WORK_POOL, "--type", "process")
        processes.finish("creation of the work pool")


def _deploy(processes: Processes, client: SyncPrefectClient) -> None:
    """Deploy what prefect.yaml has; it sets when a schedule fires, but whether it is on stays as set in the UI."""
    before = _switches(client)
    processes.start("deployment of prefect.yaml", "deploy", "--all")
    processes.finish("deployment of prefect.yaml")
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            is_on = before.get((deployment.name, schedule.slug), schedule.active)
            if is_on != schedule.active:
                client.update_deployment_schedule(deployment.id, schedule.id, active=is_on)


def _switches(client: SyncPrefectClient) -> Switches:
    return {
        (deployment.name, schedule.slug): schedule.active
        for deployment in client.read_deployments()
        for schedule in deployment.schedules
    }


def _has_worker_since(client: SyncPrefectClient, moment: datetime) -> bool:
    workers = client.read_workers_for_work_pool(WORK_POOL)
    return any(worker.last_heartbeat_time and worker.last_heartbeat_time >= moment for worker in workers)


@contextmanager
def _stopped_at_the_end(processes: Processes) -> Iterator[None]:
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            # Stopping takes seconds and must not be left half done.
            signal.signal(number, signal.SIG_IGN)
        _say("Stopping …")
        _stop(processes)
        _say("Stopped.")


def _stop(processes: Processes) -> None:
    # The server stops last, so that the runs can still report how they ended.
    processes.stop_all_but("server")
    if processes.place.is_answering():
        # Prefect's worker takes its runs down with it and leaves them Running in the UI.
        with suppress(httpx.HTTPError), processes.place.client() as client:
            mark_leftovers_crashed(client, STOPPED_BY_HAND)
    processes.stop("server")
    end_processes(processes.place.process_ids())


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
