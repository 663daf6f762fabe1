"""Prefect's processes on this machine: started in one folder, watched, and found again after a crash."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import get_current_settings

from src.marketing_messaging_service.errors import PipelineError

PROJECT = Path(__file__).resolve().parents[1]
"""The folder that every process works in, because `.env` is read there and relative paths start there."""

HOME_MARKER = "MESSAGING_UP_HOME"
"""The variable that every process inherits, flow runs too, and by which one is known again after a crash."""

START_SECONDS = 60.0
STOP_SECONDS = 5.0
LOOK_SECONDS = 0.1
LAST_LINES = 12


class UpError(PipelineError):
    """The server, the deployments or the worker did not come up, or did not stay up."""


@dataclass(frozen=True)
class Place:
    """Where one server and its worker live: a folder and a port."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """The address of the API."""
        return f"{self.url}/api"

    @property
    def log_path(self) -> Path:
        """The file that takes what the processes print."""
        return self.home / "up.log"

    def environment(self) -> dict[str, str]:
        """Return the environment of the processes: the caller's, with Prefect kept to this folder and this machine."""
        elsewhere = ("PREFECT_PROFILE", "PREFECT_API_KEY")
        callers = {name: value for name, value in os.environ.items() if name not in elsewhere}
        no_proxy = [value for name in ("NO_PROXY", "no_proxy") if (value := callers.get(name))]
        return callers | {
            HOME_MARKER: str(self.home),
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_UI_URL": self.url,
            "PREFECT_SERVER_UI_API_URL": self.api_url,
            # Otherwise any page that is open in a browser might start runs.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{self.url},http://localhost:{self.port}",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # The newer UI asks a tracking service outside for its configuration, with analytics off as well.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            # In memory, where it is kept otherwise, a lease dies with the server, and its slot stays taken for ever.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            # Six lines about submission and working directory, above the flow's own in each run. Warnings still show.
            "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "WARNING",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_CLI_COLORS": "false",
            "NO_PROXY": ",".join([*no_proxy, "127.0.0.1", "localhost"]),
            "PYTHONUNBUFFERED": "1",
        }

    def client(self) -> SyncPrefectClient:
        """Return a client of the server, to be used in a `with` statement."""
        secret = get_current_settings().api.auth_string
        auth_string = secret.get_secret_value() if secret else None
        return SyncPrefectClient(self.api_url, auth_string=auth_string, httpx_settings={"trust_env": False})

    def is_answering(self) -> bool:
        """Whether a Prefect server answers here."""
        try:
            return httpx.get(f"{self.api_url}/health", timeout=1.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def process_ids(self) -> list[int]:
        """Return the processes that were started in this folder, in this life or an earlier one.

        They are told by their environment, which only Linux shows; elsewhere the list is empty.
        """
        mark = f"{HOME_MARKER}={self.home}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _variables(path)]


def _variables(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        # It has ended meanwhile, or belongs to somebody else.
        return []


@dataclass
class Processes:
    """What was started in a place in this life, by name."""

    place: Place
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        """Start a command of Prefect's."""
        with self.place.log_path.open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603  the arguments are this project's own
                [sys.executable, "-m", "prefect", *arguments],
                cwd=PROJECT,
                env=self.place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the parent alone, which stops the others in the right order.
                start_new_session=True,
            )

    def finish(self, name: str) -> None:
        """Wait for a command to end; raise UpError if it fails."""
        self.wait_until(name, lambda: self.running[name].poll() == 0)
        del self.running[name]

    def wait_until(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait for something that a process is to bring about; raise UpError if that ends before, or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if self.running[name].poll() not in (None, 0):
                raise UpError(f"{self._what_ended(name)}{self._last_lines()}")
            if time.monotonic() > deadline:
                raise UpError(f"The {name} was not ready after {START_SECONDS:.0f} seconds.{self._last_lines()}")
            time.sleep(LOOK_SECONDS)

    def stay(self) -> None:
        """Stay as long as every process does; raise UpError when one has ended."""
        while True:
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise UpError(f"{self._what_ended(name)}{self._last_lines()}")
            time.sleep(LOOK_SECONDS)

    def stop(self, name: str) -> None:
        """Stop one process, if it runs."""
        if process := self.running.pop(name, None):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all_but(self, name: str) -> None:
        """Stop every other process: those of this life, last started first, and any that an earlier one left behind."""
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
    """Ask processes to end, and after a while make them."""
    left = set(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = {pid for pid in left if _send(pid, number)}
        deadline = time.monotonic() + STOP_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            left = {pid for pid in left if _send(pid, 0)}


def _send(pid: int, number: int) -> bool:
    """Send a signal; return whether the process was there to take it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
