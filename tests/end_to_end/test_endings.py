"""How runs end that a worker started: what their pages show when they are cancelled, killed, tried again."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Cancelling

from flows.local_server import STOPPED_BY_HAND
from flows.pipeline.stopping import CUT_OFF
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from tests.end_to_end.system import RUN_SECONDS, System, started, wait_until

pytestmark = pytest.mark.server

FLUSH_SECONDS = 20.0
"""How long the last lines of a log and the reports may be on their way."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, started once for this file, with runs by hand only."""
    with started(tmp_path_factory.mktemp("endings")) as system:
        system.switch_schedules_off()
        yield system


def land(system: System, name: str, line_count: int) -> Path:
    """Write a raw file, whose events are those of its name: what another test loaded is not staged again."""
    path = system.landing / name
    with path.open("w", encoding="utf-8") as file:
        for number in range(line_count):
            event = {
                "message_id": f"{name}-{number}",
                "user_id": f"u{number}",
                "event_type": "payment_failed",
                "event_timestamp": "2026-11-26T10:00:00Z",
            }
            file.write(f"{json.dumps(event)}\n")
    return path


def reports_of(system: System, run: FlowRun) -> list[str]:
    """The sentences of the reports on a run's page."""
    of_run = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), key=ArtifactFilterKey(any_=["run-report"])
    )
    return [str(artifact.description) for artifact in system.client.read_artifacts(artifact_filter=of_run)]


def processes_of_runs(system: System) -> list[int]:
    """The processes that the worker has started for runs."""
    return [
        pid
        for pid in system.place.process_ids()
        if b"PREFECT__FLOW_RUN_ID" in Path(f"/proc/{pid}/environ").read_bytes()
    ]


def run_at_work(system: System) -> FlowRun:
    """Start an hourly run and wait until it loads a file of some size."""
    run = system.start_run("hourly/hourly")
    wait_until(lambda: any(line.startswith("Staged") for line in system.log_of(run)), RUN_SECONDS, "it loads")
    return run


def ends_with(system: System, run: FlowRun, line: str) -> None:
    wait_until(lambda: line in system.log_of(run), FLUSH_SECONDS, f"the log says {line}")
    log = system.log_of(run)
    assert log.count(line) == 1
    assert not any("Traceback" in entry or "Running" in entry for entry in log)


def test_a_run_that_is_cancelled_while_it_loads_says_so_once_and_leaves_one_report(system: System) -> None:
    big = land(system, "cancelled.jsonl", 400_000)
    run = run_at_work(system)
    system.client.set_flow_run_state(run.id, Cancelling())
    system.run_in_state(run, "Cancelled")
    ends_with(system, run, CUT_OFF)
    assert reports_of(system, run) == [CUT_OFF]
    big.unlink()


def test_a_run_that_is_cancelled_while_it_waits_says_so_once_and_leaves_one_report(system: System) -> None:
    with run_lock(f"sqlite:///{system.database_path}", 0, lambda: None):
        run = system.start_run("hourly/hourly")
        wait_until(lambda: any(line.startswith("Waiting") for line in system.log_of(run)), 60.0, "it waits")
        system.client.set_flow_run_state(run.id, Cancelling())
        system.run_in_state(run, "Cancelled")
    ends_with(system, run, CUT_OFF)
    assert reports_of(system, run) == [CUT_OFF]


def test_a_run_that_is_cancelled_before_a_worker_took_it_ends_at_once_and_holds_up_no_other(system: System) -> None:
    system.set_work(is_paused=True)
    run = system.start_run("hourly/hourly")
    system.client.set_flow_run_state(run.id, Cancelling())
    system.run_in_state(run, "Cancelled")
    system.set_work(is_paused=False)
    system.run_in_state(system.start_run("hourly/hourly"), "Completed")
    assert system.run_in_state(run, "Cancelled").run_count == 0
    assert system.log_of(run) == []


def test_a_process_that_is_ended_by_a_signal_says_so_once_and_leaves_one_report(system: System) -> None:
    big = land(system, "ended.jsonl", 400_000)
    run = run_at_work(system)
    for pid in processes_of_runs(system):
        os.kill(pid, signal.SIGTERM)
    system.run_in_state(run, "Crashed")
    ends_with(system, run, CUT_OFF)
    assert reports_of(system, run) == [CUT_OFF]
    big.unlink()


def test_a_run_that_is_killed_has_its_report_from_the_next_one(system: System) -> None:
    big = land(system, "killed.jsonl", 400_000)
    run = run_at_work(system)
    for pid in processes_of_runs(system):
        os.kill(pid, signal.SIGKILL)
    system.run_in_state(run, "Crashed")
    assert reports_of(system, run) == []
    big.unlink()
    system.run_in_state(system.start_run("hourly/hourly"), "Completed")
    ((sentence),) = reports_of(system, run)
    assert sentence.startswith("It ended without a word. What was committed stays.")
    of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
    assert {task.state_type for task in system.client.read_task_runs(task_run_filter=of_run)} == {
        StateType.COMPLETED,
        StateType.CRASHED,
    }


def test_a_retry_of_a_run_that_failed_for_rejected_lines_fails_too_and_says_why(system: System) -> None:
    (system.landing / "bad.jsonl").write_text('{"user_id": "ada"}\n', encoding="utf-8")
    run = system.run_in_state(system.start_run("hourly/hourly"), "Failed")
    system.client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
    wait_until(lambda: system.client.read_flow_run(run.id).run_count == 2, 60.0, "it is tried again")
    tried_again = system.run_in_state(run, "Failed")
    assert tried_again.state is not None
    assert "bad.jsonl: An earlier attempt of this run took it" in str(tried_again.state.message)
    time.sleep(1)
    sentences = reports_of(system, run)
    assert len(sentences) == 2
    assert all("1 of 1 line could not be read (100.0 %)" in sentence for sentence in sentences)


def test_a_run_that_is_at_work_when_make_up_ends_is_marked_with_a_sentence(system: System) -> None:
    land(system, "stopped.jsonl", 400_000)
    run = run_at_work(system)
    assert system.stop() == 0
    # What starts after it would mark a run that was left at work with another sentence.
    with started(system.folder) as again:
        ended = again.client.read_flow_run(run.id)
        assert ended.state is not None
        assert (ended.state.name, ended.state.message) == ("Crashed", STOPPED_BY_HAND)
        # Here, because another start takes 20 s of CPU: when its worker dies, it says so and stops the rest.
        again.dies_with_its("worker")
