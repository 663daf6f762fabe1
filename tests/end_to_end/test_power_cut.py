"""Everything killed at once in the middle of a run, and started again."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType

from flows.leftovers import FOUND_AT_START
from flows.processes import PROJECT
from tests.end_to_end.system import started

pytestmark = pytest.mark.server

SAMPLES = PROJECT / "data" / "samples"


def test_after_a_power_cut_the_dead_run_is_crashed_and_the_next_one_completes(tmp_path: Path) -> None:
    # A file that has just landed holds the run up until it has stood still for so long.
    with started(tmp_path, LANDING_SETTLE_SECONDS="600") as system:
        shutil.copytree(SAMPLES, system.landing, dirs_exist_ok=True, copy_function=shutil.copyfile)
        dead = system.run_in_state(system.start_run("hourly/hourly"), "Running")
        system.cut_the_power()

    with started(tmp_path) as system:
        assert "marked as Crashed: 1" in system.printed
        found = system.client.read_flow_run(dead.id)
        assert found.state is not None
        assert (found.state.type, found.state.message) == (StateType.CRASHED, FOUND_AT_START)
        run = system.run_in_state(system.start_run("hourly/hourly"), "Completed")
        with closing(sqlite3.connect(system.database_path)) as connection:
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (180,)
        assert run.state is not None


def test_a_run_that_is_stopped_together_with_the_worker_does_not_stay_running(tmp_path: Path) -> None:
    with started(tmp_path, LANDING_SETTLE_SECONDS="600") as system:
        shutil.copytree(SAMPLES, system.landing, dirs_exist_ok=True, copy_function=shutil.copyfile)
        run = system.run_in_state(system.start_run("hourly/hourly"), "Running")
        assert system.stop() == 0
    with closing(sqlite3.connect(system.place.home / "prefect.db")) as connection:
        found = connection.execute("SELECT state_type FROM flow_run WHERE id = ?", (str(run.id),))
        assert found.fetchone() == ("CRASHED",)


@pytest.mark.parametrize("victim", ["server", "worker"])
def test_when_one_of_its_processes_dies_it_says_so_and_stops_the_rest(tmp_path: Path, victim: str) -> None:
    with started(tmp_path) as system:
        system.kill(victim)
        assert system.process.wait(30) == 1
        assert f"The {victim} was ended by SIGKILL." in system.printed
        assert system.place.process_ids() == []


def test_when_only_the_command_itself_was_killed_the_next_one_ends_what_it_left_behind(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        first.process.kill()
        first.process.wait()
        orphans = set(first.place.process_ids())
        assert orphans
        with started(tmp_path) as second:
            assert not orphans & set(second.place.process_ids())
            assert second.place.is_answering()
