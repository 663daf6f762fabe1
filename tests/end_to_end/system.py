"""The whole system as an operator has it: `python -m flows.up` in processes of its own, on a free port, in a folder."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort

from flows.local_server import PROJECT, Place
from flows.pipeline.dead_runs import WORK_POOL
from src.marketing_messaging_service.settings import Settings
from tests.prefect_home import make_home

UP_SECONDS = 120.0
RUN_SECONDS = 120.0


@dataclass(frozen=True)
class System:
    """A running server and worker, with the folder that everything is in."""

    folder: Path
    place: Place
    process: "subprocess.Popen[str]"
    client: SyncPrefectClient

    @property
    def landing(self) -> Path:
        """Where raw files arrive."""
        return self.folder / "landing"

    @property
    def database_path(self) -> Path:
        """The SQLite file that runs write."""
        return self.folder / "messaging.db"

    @property
    def printed(self) -> str:
        """What the command has said so far, on both of its streams."""
        return (self.folder / "printed").read_text(encoding="utf-8")

    def start_run(self, deployment: str, **settings: str) -> FlowRun:
        """Start a run by hand, as the UI does, with settings other than the worker's."""
        found = self.client.read_deployment_by_name(deployment)
        return self.client.create_flow_run_from_deployment(found.id, job_variables={"env": settings})

    def run_in_state(self, run: FlowRun, name: str) -> FlowRun:
        """Wait until a run is in a state, and return it then."""

        def is_there() -> bool:
            state_name = self.client.read_flow_run(run.id).state_name
            assert state_name not in {"Failed", "Crashed"} - {name}, f"the run is {state_name}"
            return state_name == name

        wait_until(is_there, RUN_SECONDS, f"a run is {name}")
        return self.client.read_flow_run(run.id)

    def log_of(self, run: FlowRun) -> list[str]:
        """What the log on the run's page says, line by line."""
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        return [entry.message for entry in self.client.read_logs(of_run, sort=LogSort.TIMESTAMP_ASC)]

    def set_work(self, *, is_paused: bool) -> None:
        """Pause the worker, which then takes no run, like one that is down; or let it continue."""
        self.client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=is_paused))

    def switch_schedules_off(self) -> None:
        """Let no run start by itself any more."""
        for deployment in self.client.read_deployments():
            for schedule in deployment.schedules:
                self.client.update_deployment_schedule(deployment.id, schedule.id, active=False)

    def cpu_seconds(self) -> float:
        """The processor time that its processes have taken since they began."""
        ticks = 0
        for pid in self.place.process_ids():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self, name: str) -> None:
        """Kill its process of a name, `server` or `worker`."""
        for pid in self.place.process_ids():
            if f"prefect\0{name}\0start" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):
                os.kill(pid, signal.SIGKILL)

    def dies_with_its(self, victim: str) -> None:
        """Kill its process of a name, and see that it says so and stops the rest."""
        self.kill(victim)
        assert self.process.wait(30) == 1
        assert f"The {victim} was ended by SIGKILL." in self.printed
        assert self.place.process_ids() == []

    def cut_the_power(self) -> None:
        """Kill every process of it at once."""
        self.process.kill()
        for pid in self.place.process_ids():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not self.place.process_ids(), 10.0, "every process has ended")


@contextmanager
def started(folder: Path, *, is_first: bool = False, **settings: str) -> Iterator[System]:
    """Start the system in a folder, which may have been used before; whatever happens, nothing of it stays running.

    Only the first one ever is left to make Prefect's own database.
    """
    (folder / "landing").mkdir(exist_ok=True)
    place = Place(folder / "prefect", _free_port())
    if not (is_first or place.home.exists()):
        make_home(place.home)
    try:
        process = _start(folder, place, settings)
        with place.client() as client:
            yield System(folder, place, process, client)
        if process.poll() is None:
            process.terminate()
            process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pid in place.process_ids():
            os.kill(pid, signal.SIGKILL)


def _start(folder: Path, place: Place, settings: dict[str, str]) -> "subprocess.Popen[str]":
    printed = folder / "printed"
    with printed.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.up", "--home", str(place.home), "--port", str(place.port)],
            cwd=PROJECT,
            env=_environment(folder, settings),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            text=True,
        )
    wait_until(lambda: "Up after" in printed.read_text() or process.poll() is not None, UP_SECONDS, "it is up")
    assert process.poll() is None, printed.read_text()
    return process


def _environment(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    known = {name.upper() for name in Settings.model_fields}
    outside = {name: value for name, value in os.environ.items() if name.upper() not in known}
    return {name: value for name, value in outside.items() if not name.startswith("PREFECT_")} | {
        "DATABASE_URL": f"sqlite:///{folder}/messaging.db",
        "LANDING_PATH": str(folder / "landing"),
        "LANDING_SETTLE_SECONDS": "0",
        "PUBLISH_PATH": str(folder / "published"),
        **settings,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something to come true; fail, saying what did not, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
