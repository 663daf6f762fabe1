"""Backfills that are killed, and the runs after them."""

import random
from pathlib import Path

import pytest

from tests.torture import backfills, crowds, tracing
from tests.torture.compare import TABLES, everything
from tests.torture.forks import ForkServer
from tests.torture.kills import Start, kill_at
from tests.torture.test_kills import fault_at

LOADED = f"load: {tracing.AFTER_COMMIT}"
IN_A_CHUNK = f"load: {tracing.BETWEEN_CHUNKS}"
DECIDED = f"decide: {tracing.BEFORE_COMMIT}"
IN_THE_DECISION = f"decide: {tracing.STATEMENT}"


@pytest.fixture(scope="module")
def begun(server: ForkServer, starts: dict[str, Start], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Start]:
    """What each run of each plan begins with."""
    return backfills.beginnings(server, starts["taken before"], tmp_path_factory.mktemp("backfills"))


@pytest.mark.parametrize(
    ("beginning", "label", "part"),
    [
        ("loaded, then decided: load only", IN_A_CHUNK, 0.7),
        ("loaded, then decided: backfill", DECIDED, 0),
        ("an hour, then the rest: hourly", LOADED, 0),
        ("an hour held, the rest, the hour: one hour only loaded", LOADED, 0),
        ("expired, then decided again: decided again", IN_THE_DECISION, 0.7),
        ("expired, then decided again: decided again", DECIDED, 0),
        ("taken, then replayed: replayed", f"stage: {tracing.STATEMENT}", 0.5),
        ("taken, then replayed: replayed", f"load: {tracing.STATEMENT}", 0.9),
        ("taken, then replayed: replayed", f"load: {tracing.BEFORE_COMMIT}", 0),
        ("taken, then replayed: replayed", LOADED, 0),
        ("taken, then replayed: replayed", f"record: {tracing.AFTER_COMMIT}", 1),
        ("taken, then replayed: replayed", DECIDED, 0),
    ],
)
def test_a_backfill_that_is_killed_and_done_again_leaves_what_it_leaves_undisturbed(
    server: ForkServer, begun: dict[str, Start], tmp_path: Path, beginning: str, label: str, part: float
) -> None:
    assert kill_at(server, fault_at(begun[beginning], label, part), tmp_path / "scene").breaches == ()


@pytest.mark.parametrize("plan", ["backfilled: backfill", "loaded, then decided: load only"])
def test_a_backfill_of_everything_decides_what_one_hourly_run_decides(
    starts: dict[str, Start], begun: dict[str, Start], plan: str
) -> None:
    assert backfills.same_decisions(begun[plan], starts["taken before"]) == []


def test_what_a_killed_run_has_only_loaded_is_decided_with_the_rest_as_by_one_run(
    server: ForkServer, starts: dict[str, Start], begun: dict[str, Start], tmp_path: Path
) -> None:
    fault = fault_at(begun["loaded, then decided: load only"], LOADED, 0.5)
    assert backfills.kill_before_the_next(server, fault, starts["taken before"], tmp_path / "scene").breaches == ()


def test_what_decides_again_replaces_expired_decisions(begun: dict[str, Start]) -> None:
    undisturbed = everything(begun["expired, then decided again: decided again"].undisturbed)
    assert len(undisturbed["former_suppressions"]) > 5
    assert len(undisturbed["batch_rules"]) == 3


def test_a_replay_takes_rejected_lines(begun: dict[str, Start]) -> None:
    undisturbed = everything(begun["taken, then replayed: replayed"].undisturbed)
    place = list(TABLES["rejected_rows"].references).index("replayed_load_id")
    taken = [row for row in undisturbed["rejected_rows"] if row[place] is not None]
    assert 2 <= len(taken) < len(undisturbed["rejected_rows"])


def test_replays_and_hourly_runs_at_once_leave_what_one_replay_leaves(
    server: ForkServer, begun: dict[str, Start], tmp_path: Path
) -> None:
    start = begun["taken, then replayed: replayed"]
    assert crowds.replays_beside_hourly_runs(server, start, tmp_path / "scene", random.Random(1)) == []


@pytest.mark.parametrize("label", [IN_A_CHUNK, f"report: {tracing.AFTER_COMMIT}"])
def test_a_preview_leaves_every_row_as_it_was_also_when_it_is_killed(
    server: ForkServer, begun: dict[str, Start], tmp_path: Path, label: str
) -> None:
    fault = fault_at(begun["previewed: preview"], label, 1)
    assert backfills.kill_preview(server, fault, tmp_path / "scene").breaches == ()
