"""`python -m flows.up`: the schedule fires, a run goes through a worker's process, and all of it goes down again."""

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from flows.local_server import PROJECT
from tests.end_to_end.system import System, started, wait_until


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, started once for this file on the sample events."""
    folder = tmp_path_factory.mktemp("up")
    shutil.copytree(PROJECT / "data" / "samples", folder / "landing")
    with started(folder, is_first=True) as system:
        yield system


@pytest.fixture(scope="module")
def run_by_hand(system: System) -> FlowRun:
    """A run of the hourly job that somebody started as soon as he could."""
    return system.start_run("hourly/hourly")


def scheduled_runs(system: System, deployment: str) -> list[FlowRun]:
    by_name = DeploymentFilter(name=DeploymentFilterName(any_=[deployment]))
    runs = system.client.read_flow_runs(deployment_filter=by_name, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
    return [run for run in runs if run.auto_scheduled]


def test_it_prints_what_the_readme_shows(system: System) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    _, _, shown = readme.partition("```console\n$ make up\n")
    printed = system.printed.replace(system.place.url, "http://127.0.0.1:4200")
    printed = printed.replace(str(system.place.log_path), ".prefect/up.log")
    seconds = re.compile(r"after \d+ seconds")
    assert seconds.sub("after …", printed) == seconds.sub("after …", shown.partition("```")[0])


def test_every_hour_has_a_run_scheduled_at_five_past(system: System, run_by_hand: FlowRun) -> None:
    wait_until(lambda: len(scheduled_runs(system, "hourly")) >= 2, 30.0, "runs are scheduled")
    times = [run.expected_start_time for run in scheduled_runs(system, "hourly")]
    first = times[0]
    assert first is not None
    assert (first.utcoffset(), first.minute, first.second) == (timedelta(0), 5, 0)
    assert times == [first + timedelta(hours=number) for number in range(len(times))]


def test_a_run_goes_through_a_worker_into_the_database_of_the_settings(system: System, run_by_hand: FlowRun) -> None:
    run = system.run_in_state(run_by_hand, "Completed")
    with closing(sqlite3.connect(system.database_path)) as connection:
        rows = connection.execute(
            "SELECT count(*), max(l.flow_run_id) FROM events AS e JOIN loads AS l ON l.id = e.load_id"
        )
        assert rows.fetchone() == (180, str(run.id))
    assert set(run.tags) == {"messaging", "hourly"}


def test_a_schedule_that_is_off_has_no_runs(system: System, run_by_hand: FlowRun) -> None:
    assert scheduled_runs(system, "publish") == []


def test_another_page_in_the_browser_may_not_call_the_api(system: System) -> None:
    asked = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{system.place.api_url}/deployments/filter", headers=asked, trust_env=False)
    assert "access-control-allow-origin" not in answer.headers


def test_while_nothing_happens_it_leaves_the_machine_alone(system: System, run_by_hand: FlowRun) -> None:
    system.run_in_state(run_by_hand, "Completed")
    seconds = 4.0
    before = system.cpu_seconds()
    time.sleep(seconds)
    # Not a matter of the last percent: a service of the server that never sleeps takes a whole core.
    assert system.cpu_seconds() - before < seconds / 2


def test_a_second_one_says_where_the_first_one_is(system: System) -> None:
    assert refusal(system.place.home, system.place.port) == (
        f"It is already up, at {system.place.url}; stop that one first (Ctrl-C).\n"
    )


def test_a_taken_port_is_refused_in_one_sentence(system: System, tmp_path: Path) -> None:
    port = system.place.port
    assert refusal(tmp_path, port) == (
        f"Port {port} is taken by another Prefect server; stop it, or choose another port: make up PORT={port + 1}\n"
    )


def refusal(home: Path, port: int) -> str:
    command = [sys.executable, "-m", "flows.up", "--home", str(home), "--port", str(port)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


def test_sigterm_ends_it_and_leaves_no_process_behind(system: System, run_by_hand: FlowRun) -> None:
    """The last test of this file, because the system is gone after it."""
    assert system.stop() == 0
    assert system.printed.endswith("Stopping …\nStopped.\n")
    assert system.place.process_ids() == []
