"""Runs that want to write at the same time, started through the server as an operator or the schedule does."""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from flows.local_server import PROJECT
from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.infrastructure.run_lease import run_lease
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from tests.end_to_end.system import System, started

pytestmark = pytest.mark.server

SAMPLES = PROJECT / "data" / "samples"

ONE_MORE = {
    "message_id": "one more",
    "user_id": "ada",
    "event_type": "payment_failed",
    "event_timestamp": "2026-11-03T03:00:00Z",
}
"""An event that is not among the samples."""

WORKER_SECONDS = 8.0
"""How long a worker needs at most to say how the process of a run has ended."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, started once for this file on the sample events, with runs by hand only."""
    folder = tmp_path_factory.mktemp("one-writer")
    shutil.copytree(SAMPLES, folder / "landing")
    with started(folder) as system:
        system.switch_schedules_off()
        yield system


def test_of_five_runs_that_are_late_one_takes_everything_and_the_others_find_nothing_new(system: System) -> None:
    system.set_work(is_paused=True)
    hour = datetime.now(UTC).replace(minute=5, second=0, microsecond=0)
    runs = [late_run(system, hour - timedelta(hours=number)) for number in range(5, 0, -1)]
    system.set_work(is_paused=False)
    began = time.monotonic()
    ended = [system.run_in_state(run, "Completed") for run in runs]
    assert time.monotonic() - began < 60.0
    messages = sorted(str(run.state.message) for run in ended if run.state is not None)
    assert messages[0].startswith("6 files: 193 lines")
    assert messages[1:] == ["Nothing new: 6 files in landing, all taken before."] * 4
    assert list(events_by_run(system).values()) == [180]
    assert sorted(run.name for run in ended) == [
        f"hourly {hour - timedelta(hours=number):%Y-%m-%dT%H:%MZ}" for number in range(5, 0, -1)
    ]


def test_a_run_that_finds_another_one_at_work_for_too_long_is_cancelled_and_says_who_it_is(system: System) -> None:
    url = f"sqlite:///{system.database_path}"
    upgrade_to_head(url)
    before = events_by_run(system)
    (system.landing / "one-more.jsonl").write_text(json.dumps(ONE_MORE), encoding="utf-8")
    long_backfill = run_lease(
        create_database_engine(url),
        "backfill 2026-11-01 → 2026-11-08",
        flow_run_id=None,
        lease_seconds=60,
        wait=lambda _: False,
    )
    with run_lock(url, 0, lambda: None), long_backfill:
        waiting = system.start_run("hourly/hourly", RUN_LOCK_TIMEOUT_SECONDS="2")
        run = system.run_in_state(waiting, "Cancelled")
        time.sleep(WORKER_SECONDS)
    found = system.client.read_flow_run(run.id)
    assert found.state is not None
    assert found.state.name == "Cancelled"
    assert str(found.state.message).startswith(
        "Another run is at work: backfill 2026-11-01 → 2026-11-08, at work since "
    )
    assert "It did not end within 2 s, so this run did nothing." in str(found.state.message)
    log = system.log_of(run)
    assert any(line.startswith("Waiting for another run (backfill 2026-11-01") for line in log)
    assert not any("Traceback" in line or "exception" in line for line in log)
    assert events_by_run(system) == before
    system.run_in_state(system.start_run("hourly/hourly"), "Completed")
    assert sum(events_by_run(system).values()) == 181


def late_run(system: System, moment: datetime) -> FlowRun:
    """A run that the schedule made for a moment that has passed."""
    deployment = system.client.read_deployment_by_name("hourly/hourly")
    return system.client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=moment))


def events_by_run(system: System) -> dict[str, int]:
    with closing(sqlite3.connect(system.database_path)) as connection:
        sql = "SELECT l.flow_run_id, count(*) FROM events AS e JOIN loads AS l ON l.id = e.load_id GROUP BY 1"
        return dict(connection.execute(sql).fetchall())
