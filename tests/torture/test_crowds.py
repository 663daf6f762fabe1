"""Several at once on one database."""

import random
from pathlib import Path

import pytest

from tests.torture import crowds
from tests.torture.forks import ForkServer
from tests.torture.kills import Start


@pytest.mark.parametrize("beginning", ["older schema", "taken before"])
def test_three_pairs_of_runs_at_once_leave_what_one_leaves(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, beginning: str
) -> None:
    _, breaches = crowds.crowd(server, starts[beginning], tmp_path / "scene", random.Random(1))
    assert breaches == []


@pytest.mark.parametrize("beginning", ["no database"])
def test_runs_at_once_that_no_lock_file_holds_apart_leave_what_one_leaves(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, beginning: str
) -> None:
    assert crowds.crowd_without_lock(server, starts[beginning], tmp_path / "scene", random.Random(1)) == []


@pytest.mark.parametrize("beginning", ["older schema"])
def test_migrations_at_once_all_end_well(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, beginning: str
) -> None:
    assert crowds.migrations_at_once(server, starts[beginning], tmp_path / "scene", random.Random(1)) == []


@pytest.mark.parametrize("beginning", ["older schema"])
def test_a_run_beside_an_analyst_with_a_long_read_transaction_ends_well_and_leaves_the_snapshot_alone(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, beginning: str
) -> None:
    assert crowds.beside_a_reader(server, starts[beginning], tmp_path / "scene") == []


def test_a_run_beside_an_analyst_who_holds_the_write_lock_waits_and_ends_well(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    assert crowds.beside_a_writer(server, starts["taken before"], tmp_path / "scene", seconds=2) == []


def test_a_run_beside_an_analyst_who_does_not_let_go_says_what_to_do_and_the_next_one_does_the_rest(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    assert crowds.beside_a_writer_for_too_long(server, starts["taken before"], tmp_path / "scene") == []
