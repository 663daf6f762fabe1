"""The temporary server of a run without one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

from flows.command_line import temporary_server
from flows.local_server import PROJECT
from tests.prefect_home import make_home

SECONDS = 30.0

RUN = """
import os, sys, time
from flows.command_line.temporary_server import start_bound
process, _ = start_bound(["--app-dir", sys.argv[1], "app:app", "--port", "0", "--lifespan", "off"], os.environ)
print(process.pid, flush=True)
time.sleep(600)
"""
"""A run that starts a server, and then takes long."""

ASKED = """
import sys
from flows.command_line.temporary_server import bind_to_this_process
bind_to_this_process()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.api_healthcheck(), get_client(sync_client=True).api_url == client.api_url, "fastapi" in sys.modules)
"""
"""A process that asks a server whether it is there."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    (tmp_path / "app.py").write_text("async def app(scope, receive, send): pass\n")
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def is_there(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + SECONDS
    while is_there(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_ends_with_its_run_when_that_is_killed_and_holds_none_of_its_streams(run: "subprocess.Popen[str]") -> None:
    assert run.stdout is not None
    server = int(run.stdout.readline())
    assert is_there(server)
    run.kill()
    assert run.stdout.read() == ""
    wait_until_gone(server)


def test_it_is_out_of_reach_of_ctrl_c_on_the_terminal_of_its_run(run: "subprocess.Popen[str]") -> None:
    assert run.stdout is not None
    server = int(run.stdout.readline())
    assert os.getsid(server) == server != os.getsid(run.pid)


def test_why_it_does_not_start_can_be_read() -> None:
    process, said = temporary_server.start_bound(["--no-such-option"], os.environ)
    process.wait(SECONDS)
    said.seek(0)
    assert b"No such option" in said.read()
    said.close()
    assert process.stdin is not None
    process.stdin.close()


@pytest.mark.server
def test_prefect_takes_it_for_its_own_without_importing_a_server(tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**outside, "PREFECT_HOME": str(tmp_path / "home")}
    told = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["None", "True", "False"]


@pytest.mark.server
def test_one_that_cannot_start_is_reported_with_what_it_said(tmp_path: Path) -> None:
    nowhere = f"sqlite+aiosqlite:///{tmp_path}/nowhere/prefect.db"
    with (
        temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: nowhere}),
        pytest.raises(RuntimeError, match=r"(?s)^Timed out .* exit code 3 and said: .*unable to open database file"),
    ):
        temporary_server.TemporaryServer().start()
