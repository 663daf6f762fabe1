"""Runs that want to write at the same time, started through the server as an operator or the schedule does."""

import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

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

WORKER_SECONDS = 8.0
"""How long a worker needs at most to say how the process of a run has ended."""


def test_a_run_that_finds_another_one_at_work_for_too_long_is_cancelled_and_says_who_it_is(tmp_path: Path) -> None:
    with started(tmp_path, RUN_LOCK_TIMEOUT_SECONDS="2") as system:
        shutil.copytree(SAMPLES, system.landing, dirs_exist_ok=True)
        url = f"sqlite:///{system.database_path}"
        upgrade_to_head(url)
        long_backfill = run_lease(
            create_database_engine(url),
            "backfill 2026-11-01 → 2026-11-08",
            flow_run_id=None,
            lease_seconds=60,
            wait=lambda _: False,
        )
        with run_lock(f"sqlite:///{system.database_path}", 0, lambda: None), long_backfill:
            run = system.run_in_state(system.start_run("hourly/hourly"), "Cancelled")
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
        assert events_by_run(system) == {}
        system.run_in_state(system.start_run("hourly/hourly"), "Completed")
        assert sum(events_by_run(system).values()) == 180


def test_of_five_runs_that_are_late_one_takes_everything_and_the_others_find_nothing_new(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "landing")
    with started(tmp_path) as system:
        system.switch_schedules_off()
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


def late_run(system: System, moment: datetime) -> FlowRun:
    """A run that the schedule made for a moment that has passed."""
    deployment = system.client.read_deployment_by_name("hourly/hourly")
    return system.client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=moment))


def events_by_run(system: System) -> dict[str, int]:
    with closing(sqlite3.connect(system.database_path)) as connection:
        sql = "SELECT l.flow_run_id, count(*) FROM events AS e JOIN loads AS l ON l.id = e.load_id GROUP BY 1"
        return dict(connection.execute(sql).fetchall())
