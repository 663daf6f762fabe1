"""Runs that are killed while matches wait, by rules of the whole language that change from run to run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.torture import backfills, tracing, waits
from tests.torture.forks import ForkServer
from tests.torture.kills import Start, kill_at, self_check
from tests.torture.test_kills import fault_at

PLAN = "waits by changed rules"
BEGUN, ENDED = "first rules at 1", "first rules at 4"


@pytest.fixture(scope="module")
def begun(server: ForkServer, starts: dict[str, Start], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Start]:
    """What each run begins with."""
    return backfills.beginnings(server, starts["taken before"], tmp_path_factory.mktemp("waits"), waits.PLANS)


def values(start: Start, sql: str, *, before: bool = False) -> set[str]:
    """What a column holds after all runs, or before the first one."""
    with closing(sqlite3.connect(start.scene.database if before else start.undisturbed)) as connection:
        return {value for (value,) in connection.execute(sql)}


def test_every_way_in_which_a_wait_can_end_and_everything_against_a_match_is_met(
    begun: dict[str, Start],
) -> None:
    last = begun[f"{PLAN}: {waits.PLANS[PLAN][-1]}"]
    assert values(last, "SELECT outcome FROM ended_waits") == {"decided", "no match", "lapsed"}
    reasons = values(last, "SELECT suppression_reason FROM suppressions")
    assert {"blocked:opted_out", "blocked:failing", "holdout", "expired", "once_per_hours"} <= reasons
    assert {"limit:two", "limit:one", "once_per_calendar_day", "once_per_calendar_week"} <= reasons
    for job in waits.PLANS[PLAN][2:]:
        assert len(values(begun[f"{PLAN}: {job}"], "SELECT event_id FROM waiting_matches", before=True)) > 5
    for start in begun.values():
        assert self_check(start.undisturbed) == []


@pytest.mark.parametrize(
    ("job", "label", "part"),
    [
        (BEGUN, f"decide: {tracing.BEFORE_COMMIT}", 0),
        (BEGUN, f"decide: {tracing.STATEMENT}", 0.5),
        (ENDED, f"decide: {tracing.STATEMENT}", 0.2),
        (ENDED, f"decide: {tracing.STATEMENT}", 0.8),
        (ENDED, f"decide: {tracing.BEFORE_COMMIT}", 0),
        (ENDED, f"decide: {tracing.AFTER_COMMIT}", 1),
    ],
)
def test_a_run_that_is_killed_while_matches_wait_is_finished_by_the_next_as_if_nothing_had_happened(
    server: ForkServer, begun: dict[str, Start], tmp_path: Path, job: str, label: str, part: float
) -> None:
    fault = fault_at(begun[f"{PLAN}: {job}"], label, part)
    assert kill_at(server, fault, tmp_path / "scene").breaches == ()
