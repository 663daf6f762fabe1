"""The steps of a flow under Prefect: what is retried, what is not, and how long work reports its progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.pipeline import steps
from flows.pipeline.steps import RETRIES, outcome, progress, step
from src.marketing_messaging_service.errors import DatabaseError, PipelineError, RulesError


@pytest.fixture(autouse=True)
def _without_waiting(_prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_SECONDS", (0.0, 0.0))


class Faulty:
    """A step that fails so many times before it succeeds."""

    def __init__(self, *errors: PipelineError) -> None:
        self._errors = list(errors)
        self.call_count = 0

    def run(self) -> Any:
        @step("work", retries=RETRIES)
        def work() -> str:
            self.call_count += 1
            if self._errors:
                raise self._errors.pop(0)
            return "done"

        @flow
        def once() -> Any:
            return outcome(work())

        return once()


def test_a_locked_database_is_tried_again(errors_logged: pytest.LogCaptureFixture) -> None:
    faulty = Faulty(DatabaseError("is locked", may_pass=True))
    assert faulty.run() == "done"
    assert faulty.call_count == 2
    assert "work failed and is tried again: is locked" in errors_logged.text
    assert "Traceback" not in errors_logged.text


def test_a_fault_that_does_not_pass_ends_in_its_sentence() -> None:
    faulty = Faulty(*[DatabaseError("is locked", may_pass=True)] * 9)
    with pytest.raises(PipelineError, match="is locked"):
        faulty.run()
    assert faulty.call_count == 1 + RETRIES


def test_a_mistake_in_the_rules_is_not_tried_again() -> None:
    faulty = Faulty(RulesError("rule x: no such operator"))
    with pytest.raises(PipelineError, match="no such operator"):
        faulty.run()
    assert faulty.call_count == 1


@contextmanager
def _no_bar(*_: object, **__: object) -> Iterator[Any]:
    yield lambda _: None


def test_long_work_tells_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "progress_bar", _no_bar)
    monkeypatch.setattr(steps, "ARTIFACT_SECONDS", 0.0)
    seen = []

    @flow
    def once() -> None:
        with progress("Loading", "a|b.jsonl", 4, is_long=True) as advance:
            advance(1)
            seen.extend(artifacts())
        seen.extend(artifacts())

    once()
    assert [(each.description, each.data) for each in seen] == [
        ("Loading a\\|b.jsonl", 25.0),
        ("Loading a\\|b.jsonl", 100.0),
    ]


def artifacts() -> list[Any]:
    with get_client(sync_client=True) as client:
        keyed = ArtifactFilter(key=ArtifactFilterKey(any_=["loading-progress"]))
        return client.read_artifacts(artifact_filter=keyed)
