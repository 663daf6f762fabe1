"""Starts, watches and stops Prefect's processes on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flows.local_server.place import PROJECT, Place
from src.marketing_messaging_service.errors import PipelineError

START_SECONDS = 60.0
STOP_SECONDS = 5.0
LOOK_SECONDS = 0.1
LAST_LINES = 12


class UpError(PipelineError):
    """The server, the deployments or the worker did not start, or did not keep running."""


@dataclass
class Processes:
    """What this process has started in a place, by name."""

    place: Place
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        """Start a Prefect command."""
        with self.place.log_path.open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603  the arguments are this project's own
                [sys.executable, "-m", "prefect", *arguments],
                cwd=PROJECT,
                env=self.place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Only the parent gets Ctrl-C; it stops the others in the right order.
                start_new_session=True,
            )

    def finish(self, name: str) -> None:
        """Wait for a command to end; raise UpError if it fails."""
        self.wait_until(name, lambda: self.running[name].poll() == 0)
        del self.running[name]

    def wait_until(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait for something that a process is to do; raise UpError if that ends first, or it takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if self.running[name].poll() not in (None, 0):
                raise UpError(f"{self._what_ended(name)}{self._last_lines()}")
            if time.monotonic() > deadline:
                raise UpError(f"The {name} was not ready after {START_SECONDS:.0f} seconds.{self._last_lines()}")
            time.sleep(LOOK_SECONDS)

    def stay(self) -> None:
        """Stay as long as all processes run; raise UpError when one has ended."""
        while True:
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise UpError(f"{self._what_ended(name)}{self._last_lines()}")
            time.sleep(LOOK_SECONDS)

    def stop(self, name: str) -> None:
        """Stop one process, if it is running."""
        if process := self.running.pop(name, None):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all_but(self, name: str) -> None:
        """Stop every other process: our own, last started first, and any that an earlier start left behind."""
        for other in [other for other in reversed(self.running) if other != name]:
            self.stop(other)
        spared = self.running[name].pid if name in self.running else None
        end_processes([pid for pid in self.place.process_ids() if pid != spared])

    def _what_ended(self, name: str) -> str:
        code = self.running[name].returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The {name} {how}."

    def _last_lines(self) -> str:
        lines = self.place.log_path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-LAST_LINES:]
        return "\n".join([f" The last lines of {self.place.log_path}:", *(f"  {line}" for line in lines)])


def end_processes(pids: Iterable[int]) -> None:
    """Ask processes to end, and after a while force them."""
    left = set(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = {pid for pid in left if _send(pid, number)}
        deadline = time.monotonic() + STOP_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            left = {pid for pid in left if _send(pid, 0)}


def _send(pid: int, number: int) -> bool:
    """Send a signal; return whether the process was there to receive it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
