"""The benchmark measures one and two loaders and shards, and prints their ratios."""

import pytest

from benchmarks.postgresql import Cost
from benchmarks.several_writers import run, told


@pytest.mark.server
def test_one_and_two_of_each_are_measured() -> None:
    found = run(line_count=800, rounds=1)
    assert list(found) == ["load by 1", "decide in 1", "load by 2", "decide in 2"]
    assert all(cost.seconds > 0 for costs in found.values() for cost in costs)


def test_two_are_reported_as_a_share_of_what_one_takes() -> None:
    seconds = {"load by 1": 4.0, "load by 2": 3.0, "decide in 1": 2.0, "decide in 2": 1.2}
    lines = told({what: [Cost(1.0, each)] for what, each in seconds.items()})
    assert lines[-2:] == ["load by 2 / 1: 0.75 of the time", "decide in 2 / 1: 0.60 of the time"]
