"""A run that is killed or stopped, and the one after it."""

import random
from pathlib import Path

import pytest

from tests.torture import kills, tracing
from tests.torture.forks import ForkServer
from tests.torture.kills import Fault, Start

BOUNDARIES = [
    ("no database", f"migrate: {tracing.STATEMENT}", 0.5),
    ("no database", f"migrate: {tracing.AFTER_COMMIT}", 0),
    ("older schema", f"migrate: {tracing.BEFORE_COMMIT}", 0),
    ("taken before", f"stage: {tracing.READING}", 0.3),
    ("taken before", f"load: {tracing.BETWEEN_CHUNKS}", 0.5),
    ("taken before", f"load: {tracing.AFTER_COMMIT}", 1),
    ("taken before", f"decide: {tracing.STATEMENT}", 0.7),
    ("older schema", f"decide: {tracing.BEFORE_COMMIT}", 0),
    ("taken before", f"report: {tracing.BEFORE_COMMIT}", 0),
    ("many small files", f"stage: {tracing.READING}", 0.5),
    ("many small files", f"load: {tracing.BETWEEN_CHUNKS}", 0.5),
    ("many small files", f"load: {tracing.STATEMENT}", 0.7),
    ("many small files", f"load: {tracing.BEFORE_COMMIT}", 1),
    ("many small files", f"load: {tracing.AFTER_COMMIT}", 0.5),
]
"""Beginning, point, and which one of that name: 0 is the first, 1 the last."""


def fault_at(start: Start, label: str, part: float) -> Fault:
    positions = [position for position, name in enumerate(start.points) if name == label]
    return Fault(start, positions[round(part * (len(positions) - 1))])


@pytest.mark.parametrize(("start", "label", "part"), BOUNDARIES)
def test_a_run_killed_at_any_boundary_is_finished_by_the_next_as_if_nothing_had_happened(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, start: str, label: str, part: float
) -> None:
    survival = kills.kill_at(server, fault_at(starts[start], label, part), tmp_path / "scene")
    assert survival.breaches == ()


BEFORE_TIMES_WERE_TEXT = "0009"


def test_a_migration_that_changes_tables_where_they_stand_may_be_killed_at_any_statement(
    server: ForkServer, tmp_path: Path
) -> None:
    start = kills.start_at(server, tmp_path, BEFORE_TIMES_WERE_TEXT)
    last = len([label for label in start.points if label == f"migrate: {tracing.STATEMENT}"]) - 1
    faults = [fault_at(start, f"migrate: {tracing.STATEMENT}", place / last) for place in range(0, last, last // 4)]
    faults += [fault_at(start, f"migrate: {what}", 0) for what in (tracing.BEFORE_COMMIT, tracing.AFTER_COMMIT)]
    survivals = [kills.kill_at(server, fault, tmp_path / f"scene {fault.at}") for fault in faults]
    assert kills.breaches_of(survivals) == []
    assert all(survival.was_hit for survival in survivals)


def test_runs_killed_at_any_moment_are_finished_by_the_next_as_if_nothing_had_happened(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    chance = random.Random(1)
    start = starts[chance.choice(sorted(starts))]
    assert kills.breaches_of(list(kills.kill_at_random(server, start, tmp_path / "scene", chance))) == []


@pytest.mark.parametrize(
    ("label", "part"),
    [
        (f"migrate: {tracing.STATEMENT}", 0.5),
        (f"stage: {tracing.READING}", 0.5),
        (f"load: {tracing.BETWEEN_CHUNKS}", 0.5),
    ],
)
def test_a_run_asked_to_stop_says_so_at_the_next_safe_point_and_fails(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, label: str, part: float
) -> None:
    survival = kills.terminate_at(server, fault_at(starts["older schema"], label, part), tmp_path / "scene")
    assert survival.breaches == ()
    assert survival.was_hit


def test_small_files_are_loaded_many_in_a_transaction(starts: dict[str, Start]) -> None:
    start = starts["many small files"]
    loads = start.points.count(f"load: {tracing.AFTER_COMMIT}")
    assert len(list(start.scene.landing.iterdir())) > 5 * loads > 5


def test_every_step_has_points_at_which_it_can_be_killed(starts: dict[str, Start]) -> None:
    steps = {label.partition(":")[0] for start in starts.values() for label in start.points}
    assert steps == {"migrate", "dictionary", "lease", "record", "discover", "stage", "load", "decide", "report"}
