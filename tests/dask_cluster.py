"""A Dask scheduler and workers on this machine, each a process that a test may kill."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from distributed import Client

from src.marketing_messaging_service.infrastructure.schedulers import DaskScheduler

ROOT = Path(__file__).parents[1]

START_SECONDS = 60
"""How long a process of Dask may take to start on a busy machine."""


class Cluster:
    """Listens on 127.0.0.1 alone, and keeps what it writes in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._port = _free_port()
        self.scheduler = DaskScheduler(address=f"tcp://127.0.0.1:{self._port}")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler_process = self._start_scheduler()

    def start_worker(self, project: Path = ROOT) -> "subprocess.Popen[bytes]":
        """Start a worker in a folder; nobody starts it again when it dies."""
        worker = self._start("worker", self.scheduler.address, "--nthreads", "1", "--no-nanny", cwd=project)
        self.workers.append(worker)
        return worker

    def worker_count(self) -> int:
        """Return how many workers the scheduler knows."""
        connected: Any = Client
        with connected(self.scheduler.address, timeout=START_SECONDS, set_as_default=False) as client:
            return int(client.scheduler_info()["n_workers"])

    def mend(self, worker_count: int) -> None:
        """Let everything go on that stands still, start what has died, and wait for so many workers."""
        for process in (self.scheduler_process, *self.workers):
            _send(process, signal.SIGCONT)
        if self.scheduler_process.poll() is not None:
            self._end_workers()
            self.scheduler_process = self._start_scheduler()
        if self.worker_count() < len(self._living()):
            # Such as have lost their scheduler while it stood still, and are about to end.
            self._end_workers()

        def are_there() -> bool:
            # One that stood still may find only now that it has lost its scheduler, and end.
            while len(self._living()) < worker_count:
                self.start_worker()
            return self.worker_count() == worker_count

        wait_until(are_there)

    def _living(self) -> Sequence["subprocess.Popen[bytes]"]:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        return self.workers

    def _end_workers(self) -> None:
        for worker in self.workers:
            _send(worker, signal.SIGKILL)
            worker.wait()
        self.workers = []

    def stop(self) -> None:
        """End every process."""
        for process in (*self.workers, self.scheduler_process):
            _send(process, signal.SIGCONT)
            _send(process, signal.SIGKILL)
            process.wait()

    def _start_scheduler(self) -> "subprocess.Popen[bytes]":
        process = self._start("scheduler", "--port", str(self._port))
        wait_until(lambda: process.poll() is not None or _is_listening(self._port))
        assert process.poll() is None, "the scheduler did not start"
        return process

    def _start(self, *arguments: str, cwd: Path = ROOT) -> "subprocess.Popen[bytes]":
        here = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, *here],
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(self._folder)},
        )


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that Dask does."""
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "Dask did not get there"
        time.sleep(0.1)


def _send(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with closing(socket.socket()) as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
