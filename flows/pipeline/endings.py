"""Ends a run in one state, with one sentence in its log, and one report on its page in the Prefect UI."""

import logging
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, FailedRun, PrefectException, TerminationSignal
from prefect.states import Cancelled, Completed, Failed

from flows.pipeline.ctrl_c import StoppedError
from flows.pipeline.dead_runs import mark_tasks_crashed
from flows.pipeline.stopping import is_started_by_worker
from src.marketing_messaging_service.errors import PipelineError

WITHOUT_NUMBERS = (
    "There is nothing to count for this run. docs/operations.md says what each message means and what to do."
)
"""The report of a run that has only its sentence, which the page shows above it."""


class EndedBadly(FailedRun):
    """What the state of an unsuccessful run carries: the sentence, and what the run still has to show.

    It is an exception because Prefect raises what a Failed or Cancelled state carries; anything else in one ends the
    log in a traceback.
    """

    def __init__(self, sentence: str, result: object = None, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.result = result
        self.exit_code = exit_code


class RunPage:
    """The page of the current run in the Prefect UI, on which it leaves one report, however it ends."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._leave_report: Callable[[], None] | None = None

    def keep(self, leave_report: Callable[[], None]) -> None:
        """Keep a function that leaves the report at the run's end; without one the sentence is the report."""
        self._leave_report = leave_report

    def show(self, markdown: str, headline: str) -> None:
        """Leave the report."""
        self.attempt(lambda: create_markdown_artifact(markdown, key=self._key, description=headline))

    def attempt(self, leave: Callable[[], object]) -> None:
        """Leave something on the page; if the server does not take it, that is no reason for a run to fail."""
        try:
            leave()
        except (httpx.HTTPError, PrefectException) as error:
            get_run_logger().warning("The Prefect server did not accept the report for this page (%s).", error)

    def show_of(self, flow_run_id: str, markdown: str, headline: str) -> None:
        """Leave a killed run's report on its page, where its tasks would otherwise be shown as running for ever."""

        def create() -> None:
            with get_client(sync_client=True) as client:
                client.create_artifact(
                    ArtifactCreate(
                        key=self._key,
                        type="markdown",
                        description=headline,
                        data=markdown,
                        flow_run_id=UUID(flow_run_id),
                    )
                )
                mark_tasks_crashed(client, UUID(flow_run_id), headline)

        self.attempt(create)

    def completed(self, sentence: str, result: object) -> State[Any]:
        """Say how the run went, and return its state."""
        self._say(logging.INFO, sentence)
        return Completed(message=sentence, data=result)

    def failed(self, why: str | PipelineError, result: object = None) -> State[Any]:
        """Say why the run failed, and return its state."""
        sentence = str(why)
        self._say(logging.ERROR, sentence)
        code = why.exit_code if isinstance(why, StoppedError) else 1
        return Failed(message=sentence, data=EndedBadly(sentence, result, code))

    def cancelled(self, sentence: str) -> State[Any]:
        """Say why the run did nothing, and return its state."""
        self._say(logging.WARNING, sentence)
        return Cancelled(message=sentence, data=EndedBadly(sentence))

    @contextmanager
    def cut_off(self, sentence: str) -> Iterator[None]:
        """Say why a stopped run ends, and let Prefect give it its state: Cancelled, or Crashed.

        The sentence is for a signal that comes while nothing listens for it. Prefect reports what nobody foresaw, with
        its traceback.
        """
        try:
            yield
        except TerminationSignal:
            self._say(logging.WARNING, sentence)
            self._flush()
            raise
        except StoppedError as error:
            if not is_started_by_worker():
                raise
            self._say(logging.WARNING, str(error))
            self._flush()
            raise TerminationSignal(signal.SIGTERM) from None
        except PipelineError:
            raise
        except Exception as error:
            self._leave(defect_sentence(error))
            raise

    def _say(self, level: int, sentence: str) -> None:
        get_run_logger().log(level, sentence)
        self._leave(sentence)

    def _flush(self) -> None:
        # The process is about to end, and anything not sent to the server by then is lost.
        for handler in logging.getLogger("prefect.flow_runs").handlers:
            handler.flush()

    def _leave(self, sentence: str) -> None:
        if self._leave_report:
            self._leave_report()
        else:
            self.show(WITHOUT_NUMBERS, sentence)


def defect_sentence(error: Exception) -> str:
    """Return what to say about an unforeseen exception."""
    return f"A defect, please report it: {error!r}."


def result_of(state: State[Any]) -> object:
    """Return what a run has to show, however it ended; None if that is nothing."""
    result = state.result(raise_on_failure=False)
    return result.result if isinstance(result, EndedBadly) else result


def exit_code(state: State[Any]) -> int:
    """Return the exit code of a command whose run ended in a state."""
    if state.is_completed():
        return 0
    result = state.result(raise_on_failure=False)
    return result.exit_code if isinstance(result, EndedBadly) else 1


_END = re.compile(r"(Finished in state \w+).*", re.DOTALL)


class _OneEnd(logging.Filter):
    """Drops the traceback, and the repetition, of a failure that the flow has already reported in one sentence."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], (FailedRun, CancelledRun)):
            return False
        end = _END.fullmatch(record.getMessage())
        if end is None:
            return True
        # The state's message is the sentence already logged above.
        record.msg, record.args = f"{end[1]}.", ()
        # Prefect says here that a cancelled run is still running; its worker sets the state.
        return end[1] != "Finished in state Running"


# The process that a worker starts for a run takes a Failed or Cancelled state for an unforeseen exception.
for _name in ("prefect.flow_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(_OneEnd())
