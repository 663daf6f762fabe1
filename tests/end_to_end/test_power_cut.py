"""What dies without a word, all of it or a part, and what the next start makes of it.

The tests go on from one another, because each start takes 20 s of CPU.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun, StateType

from flows.local_server import PROJECT
from flows.pipeline.dead_runs import FOUND_AT_START
from tests.end_to_end.system import System, started

pytestmark = pytest.mark.server

SAMPLES = PROJECT / "data" / "samples"


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FlowRun]:
    """The folder of a system whose every process was killed, and the run that was at work then."""
    folder = tmp_path_factory.mktemp("power-cut")
    # A file that has just landed holds the run up until it has stood still for so long.
    with started(folder, LANDING_SETTLE_SECONDS="600") as system:
        shutil.copytree(SAMPLES, system.landing, dirs_exist_ok=True, copy_function=shutil.copyfile)
        run = system.run_in_state(system.start_run("hourly/hourly"), "Running")
        system.cut_the_power()
    return folder, run


@pytest.fixture(scope="module")
def system(cut_off: tuple[Path, FlowRun]) -> Iterator[System]:
    """The system that is started after it in the same folder."""
    with started(cut_off[0]) as system:
        yield system


def test_after_a_power_cut_the_dead_run_is_crashed_and_the_next_one_completes(
    cut_off: tuple[Path, FlowRun], system: System
) -> None:
    assert "marked as Crashed: 1" in system.printed
    found = system.client.read_flow_run(cut_off[1].id)
    assert found.state is not None
    assert (found.state.type, found.state.message) == (StateType.CRASHED, FOUND_AT_START)
    system.run_in_state(system.start_run("hourly/hourly"), "Completed")
    with closing(sqlite3.connect(system.database_path)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (180,)


def test_when_only_the_command_itself_was_killed_the_next_one_ends_what_it_left_behind(system: System) -> None:
    system.process.kill()
    system.process.wait()
    orphans = set(system.place.process_ids())
    assert orphans
    with started(system.folder) as second:
        assert not orphans & set(second.place.process_ids())
        assert second.place.is_answering()
        second.dies_with_its("server")
