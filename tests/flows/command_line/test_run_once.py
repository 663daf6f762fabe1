"""What the command line does about Prefect itself."""

import os
import subprocess
import sys
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.command_line import run_once
from flows.command_line.run_once import SERVER_LEVEL, final_state
from flows.pipeline.ctrl_c import StoppedError, refused
from src.marketing_messaging_service.errors import PipelineError

TELLS_ERRORS = (
    "import logging; from prefect.logging.configuration import setup_logging; setup_logging(); "
    "print(*(logging.getLogger(name).isEnabledFor(logging.ERROR) for name in {names!r}))"
)


class FakeFlow:
    """A flow at whose start Prefect fails as requested, and which keeps what it was called with."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.called_with: dict[str, Any] = {}

    def validate_parameters(self, parameters: dict[str, Any]) -> None:
        """Take any parameter."""

    def __call__(self, **options: Any) -> str:
        self.called_with = options
        if self.error:
            raise self.error
        return "the state"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without what one of the tests leaves in it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.pop(SERVER_LEVEL, None)
    monkeypatch.setattr(run_once, "bind_to_this_process", lambda: None)
    return monkeypatch


def test_a_flow_is_called_for_its_state() -> None:
    flow: Any = FakeFlow()
    assert final_state(flow, {"folder": "here"}) == "the state"
    assert flow.called_with == {"folder": "here", "return_state": True}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Timed out while attempting to connect to ephemeral Prefect API server.", "PREFECT_HOME"),
        ("Failed to reach API at http://127.0.0.1:4200/api/", "PREFECT_API_URL"),
    ],
)
def test_a_prefect_server_that_cannot_be_had_is_reported_in_a_sentence_with_advice(said: str, advice: str) -> None:
    flow: Any = FakeFlow(RuntimeError(said))
    with pytest.raises(PipelineError, match=rf"^Prefect cannot run the flow: {said.rstrip('.')}\. .*{advice}"):
        final_state(flow, {})


def test_a_wrong_setting_is_reported_before_the_flow_is_called(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RUN_LOCK_TIMEOUT_SECONDS", "soon")
    flow: Any = FakeFlow()
    with pytest.raises(PipelineError, match=r"^RUN_LOCK_TIMEOUT_SECONDS: "):
        final_state(flow, {})
    assert flow.called_with == {}


def test_any_other_error_of_prefect_stays_what_it_is() -> None:
    flow: Any = FakeFlow(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match=r"^something else$"):
        final_state(flow, {})


@pytest.mark.slow
def test_a_temporary_server_tells_why_it_cannot_start_and_not_that_it_was_ended() -> None:
    flow: Any = FakeFlow()
    final_state(flow, {})
    names = ["prefect.server.services.task_run_recorder", "uvicorn.error"]
    told = subprocess.run(
        [sys.executable, "-c", TELLS_ERRORS.format(names=names)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["False", "True"]


def test_how_much_a_server_tells_is_the_operators_to_say(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(SERVER_LEVEL, "DEBUG")
    flow: Any = FakeFlow()
    final_state(flow, {})
    assert os.environ[SERVER_LEVEL] == "DEBUG"


def test_ctrl_c_before_the_flow_listens_to_it_is_reported_in_a_sentence() -> None:
    flow: Any = FakeFlow(KeyboardInterrupt())
    with pytest.raises(StoppedError, match=r"^Stopped by Ctrl-C\. What was committed stays\.") as stopped:
        final_state(flow, {})
    assert refused(stopped.value) == 130


@pytest.mark.parametrize(("url", "binding_count"), [(None, 1), ("http://127.0.0.1:4200/api", 0)])
def test_only_a_run_without_a_server_binds_a_temporary_one_to_itself(
    environment: pytest.MonkeyPatch, url: str | None, binding_count: int
) -> None:
    bindings: list[None] = []
    environment.setattr(run_once, "bind_to_this_process", lambda: bindings.append(None))
    flow: Any = FakeFlow()
    with temporary_settings({PREFECT_API_URL: url}):
        final_state(flow, {})
    assert len(bindings) == binding_count
