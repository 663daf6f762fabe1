"""Runs that stand still, or are killed, while they hold the lease."""

from pathlib import Path

from tests.torture import leases
from tests.torture.forks import ForkServer
from tests.torture.kills import Fault, Start


def middle(faults: list[Fault]) -> Fault:
    return faults[len(faults) // 2]


def test_beside_a_run_that_stands_still_for_longer_than_its_lease_another_one_of_its_machine_gives_way(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    fault = middle(leases.inside_a_load(starts["taken before"]))
    assert leases.beside_one_that_stands_still(server, fault, tmp_path / "scene") == []


def test_a_run_that_was_taken_over_while_it_stood_still_says_so_and_commits_nothing_more(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    fault = leases.between_transactions(starts["taken before"])[0]
    assert leases.taken_over_by_one_that_is_killed(server, fault, tmp_path / "scene") == []


def test_the_lease_of_a_run_that_was_killed_is_taken_at_once(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    fault = middle(leases.inside_a_load(starts["taken before"]))
    assert leases.killed_holder(server, fault, tmp_path / "scene") == []
