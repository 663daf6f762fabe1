"""Every way in which a run can end: in one state, with one sentence in its log and one report on its page."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun, TerminationSignal
from prefect.states import Completed, get_state_exception

from flows.pipeline.ctrl_c import StoppedError
from flows.pipeline.endings import WITHOUT_NUMBERS, EndedBadly, RunPage, exit_code, result_of
from src.marketing_messaging_service.errors import PipelineError

SENTENCE = "1 problem. b.jsonl cannot be read."
SIGNAL = "Stopped from outside."


run_ids: list[str] = []
"""The runs so far."""


def run(end: Callable[[RunPage], State[Any]], *, has_report: bool = False) -> State[Any]:
    """Run a flow that ends so, with a report of its own or without."""

    @flow(name="ending")
    def ending() -> State[Any]:
        run_ids.append(str(runtime.flow_run.id))
        page = RunPage("run-report")
        if has_report:
            page.keep(lambda: page.show("## The report", "The headline"))
        with page.cut_off(SIGNAL):
            return end(page)

    return ending(return_state=True)


def end_by(error: BaseException) -> Callable[[RunPage], State[Any]]:
    def end(_: RunPage) -> State[Any]:
        raise error

    return end


ENDINGS: dict[str, tuple[Callable[[RunPage], State[Any]], str, str]] = {
    "completed": (lambda page: page.completed(SENTENCE, 7), "Completed", SENTENCE),
    "failed": (lambda page: page.failed(SENTENCE, 7), "Failed", SENTENCE),
    "cannot go on": (lambda page: page.failed(PipelineError(SENTENCE)), "Failed", SENTENCE),
    "another run": (lambda page: page.cancelled(SENTENCE), "Cancelled", SENTENCE),
}


@pytest.fixture
def log(_prefect: None, errors_logged: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    errors_logged.set_level(logging.INFO)
    return errors_logged


def logged_of_the_run(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "prefect.flow_runs"]


def reports_of_the_run() -> list[tuple[str | None, Any]]:
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilterFlowRunId(any_=[UUID(run_ids[-1])])
        keyed = ArtifactFilterKey(any_=["run-report"])
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_run, key=keyed))
    return [(artifact.description, artifact.data) for artifact in artifacts]


@pytest.mark.parametrize("name", ENDINGS)
def test_a_run_ends_in_one_state_with_one_sentence_and_one_report(log: pytest.LogCaptureFixture, name: str) -> None:
    end, expected, sentence = ENDINGS[name]
    state = run(end)
    assert (state.name, state.message) == (expected, sentence)
    assert logged_of_the_run(log)[-2:] == [sentence, f"Finished in state {expected}."]
    assert "Traceback" not in log.text
    assert reports_of_the_run() == [(sentence, WITHOUT_NUMBERS)]


def test_the_report_of_a_run_that_has_one_is_left_whatever_it_comes_to(log: pytest.LogCaptureFixture) -> None:
    for end, _, _ in ENDINGS.values():
        run(end, has_report=True)
        assert reports_of_the_run() == [("The headline", "## The report")]


def test_what_nobody_foresaw_keeps_its_traceback_and_leaves_a_report(log: pytest.LogCaptureFixture) -> None:
    state = run(end_by(KeyError("x")))
    assert state.is_failed()
    assert "Traceback" in log.text
    ((description, _),) = reports_of_the_run()
    assert description == "A defect, please report it: KeyError('x')."


def test_a_run_that_a_signal_ends_says_so_and_leaves_a_report(log: pytest.LogCaptureFixture) -> None:
    def end(page: RunPage) -> State[Any]:
        # Prefect would end this process.
        with pytest.raises(TerminationSignal), page.cut_off(SIGNAL):
            raise TerminationSignal(15)
        return Completed()

    run(end)
    assert SIGNAL in logged_of_the_run(log)
    assert [description for description, _ in reports_of_the_run()] == [SIGNAL]


@pytest.mark.parametrize("name", ["failed", "another run"])
def test_the_process_that_a_worker_starts_reports_no_traceback_of_it(log: pytest.LogCaptureFixture, name: str) -> None:
    state = run(ENDINGS[name][0])
    carried = get_state_exception(state)
    assert isinstance(carried, FailedRun)
    for logger in ("prefect.flow_runs", "prefect.engine"):
        logging.getLogger(logger).error("exited with unexpected exception", exc_info=carried)
    logging.getLogger("prefect.flow_runs").info("Finished in state Running()")
    assert "unexpected exception" not in log.text
    assert "Running" not in log.text


@pytest.mark.usefixtures("_prefect")
def test_whoever_started_a_run_has_its_result_and_its_exit_code() -> None:
    page = RunPage("run-report")

    @flow
    def ends() -> list[State[Any]]:
        return [
            page.completed(SENTENCE, 7),
            page.failed(SENTENCE, 7),
            page.failed(StoppedError("SIGINT", 130)),
            page.cancelled(SENTENCE),
        ]

    completed, failed, stopped, cancelled = ends()
    assert [result_of(state) for state in (completed, failed, stopped, cancelled)] == [7, 7, None, None]
    assert [exit_code(state) for state in (completed, failed, stopped, cancelled)] == [0, 1, 130, 1]
    assert isinstance(get_state_exception(failed), EndedBadly)
