"""The temporary server that Prefect starts for a run without one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.command_line import temporary_server
from flows.local_server import PROJECT

SECONDS = 30.0

RUN = """
import subprocess, sys, time
from flows.command_line.temporary_server import _Subprocess
arguments = [sys.executable, "-m", "uvicorn", "--app-dir", sys.argv[1], "app:app", "--port", "0", "--lifespan", "off"]
print(_Subprocess().Popen(arguments).pid, flush=True)
time.sleep(600)
"""
"""A run that starts a server as Prefect does, and then takes long."""


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
    process = temporary_server._Subprocess().Popen([sys.executable, "-m", "uvicorn", "--no-such-option"])
    process.wait(SECONDS)
    assert process.stderr is not None
    assert "No such option" in str(process.stderr.read())
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()


def test_other_processes_are_started_as_they_are() -> None:
    process = temporary_server._Subprocess().Popen([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE)
    assert process.communicate()[0] == b"1\n"
