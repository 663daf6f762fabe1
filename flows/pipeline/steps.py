"""What the flows share: steps that fail with a sentence instead of a traceback, and a progress bar."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

from prefect import runtime, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.logging.loggers import flow_run_logger
from prefect.states import Failed
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from flows.pipeline.ctrl_c import StoppedError
from flows.pipeline.stopping import StopRequest
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.tables import escaped, printable

# The flows log one line per step themselves. Prefect's own lines about a task, and for a foreseeable failure a second
# report with "NoneType: None" as its traceback, would bury them. An unforeseen traceback comes from the flow's logger.
logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)
# Where the environment keeps Prefect from telling in each run how it came to its code (flows/local_server/place.py
# does), the lines of the run itself are wanted all the same.
logging.getLogger("prefect.flow_runs").setLevel(logging.NOTSET)


LONG_FILE_BYTES = 16 << 20
"""Files from this size on show a progress bar on a terminal; smaller ones are done in an instant."""


ARTIFACT_SECONDS = 2.0
"""How often the progress artifact of a long file is updated."""

RETRIES = 2
"""How often a step that does data work is retried after a passing fault, such as a locked database."""

RETRY_SECONDS = (2.0, 10.0)
"""How long it waits before each retry."""


_Made = TypeVar("_Made")

Logger = logging.Logger | logging.LoggerAdapter[Any]


def step(run_name: str, *, retries: int = 0) -> Callable[[Callable[..., Any]], Callable[..., State[Any]]]:
    """Make a Prefect task of a function, to be called for its final state.

    `run_name` names a run of it in the UI, with parameters in braces. A PipelineError becomes a Failed state that
    carries the sentence, because a raised exception would put a traceback into the log; one that may pass is retried.
    Nothing is cached or persisted: the database knows what has been done.
    """

    def make_step(function: Callable[..., Any]) -> Callable[..., State[Any]]:
        @task(
            name=function.__name__,
            task_run_name=run_name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=list(RETRY_SECONDS),
            retry_condition_fn=_may_pass,
        )
        @wraps(function)
        def foreseeable(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except PipelineError as failure:
                error = _stopped(arguments) or failure
                if error.may_pass and runtime.task_run.run_count <= retries:
                    flow_logger().warning("%s failed and is tried again: %s", function.__name__, error)
                return Failed(message=str(error), data=error)

        @wraps(function)
        def run(*arguments: Any, **options: Any) -> State[Any]:
            state: State[Any] = foreseeable(*arguments, **options, return_state=True)
            return state

        return run

    return make_step


def patiently(what: Callable[[], _Made], stop: StopRequest, log: Logger) -> _Made:
    """Do something outside a step as steps are done: after a fault that may pass, wait and retry."""
    for seconds in RETRY_SECONDS:
        try:
            return what()
        except PipelineError as error:
            stop.check()
            if not error.may_pass:
                raise
            log.warning("It is tried again: %s", error)
            stop.sleep(seconds)
    return what()


def _stopped(arguments: Sequence[object]) -> StoppedError | None:
    """Return the request to stop, if a failed step knows of one: it explains the failure."""
    for stop in arguments:
        if isinstance(stop, StopRequest):
            try:
                stop.check()
            except StoppedError as stopped:
                return stopped
    return None


def _may_pass(_task: Any, _task_run: Any, state: State[Any]) -> bool:
    return isinstance(state.data, PipelineError) and state.data.may_pass


def has_another_try() -> bool:
    """Return whether the current step is retried if it fails by a passing fault; never outside Prefect."""
    return bool(0 < runtime.task_run.run_count <= RETRIES)


def flow_logger() -> logging.LoggerAdapter[Any]:
    """Return the logger of the run, also from within a step, whose own logger is silent."""
    context = FlowRunContext.get()
    assert context is not None  # noqa: S101  a step runs in a flow
    assert context.flow_run is not None  # noqa: S101  and a flow at work has its run
    return flow_run_logger(context.flow_run, context.flow)


def named_by_start(name: str) -> Callable[[], str]:
    """Return a function that names a run in the UI by its flow and the instant that it was scheduled for."""

    def run_name() -> str:
        return f"{name} {minute_of_name(runtime.flow_run.scheduled_start_time)}"

    return run_name


def minute_of_name(instant: datetime) -> str:
    """Return an aware instant as it appears in the name of a run, such as `2026-11-23T10:05Z`."""
    return f"{instant_text(instant).replace(' ', 'T')}Z"


def outcome(state: State[Any]) -> Any:
    """Return a step's result. Raises the PipelineError that it failed with, or the unforeseen exception."""
    try:
        return state.result()
    except FailedRun as error:
        raise PipelineError(str(error)) from None


@contextmanager
def progress(
    verb: str, name: str, total: int, *, is_long: bool, has_bar: bool = True
) -> Iterator[Callable[[int], None]]:
    """Yield a function that reports the progress of long work: on the terminal, and as an artifact of the run.

    For short work it does nothing. Work with long parts has no bar: a terminal shows one at a time.
    """
    if not is_long:
        yield lambda _: None
        return
    artifact = _ProgressArtifact(verb, name, total)
    with progress_bar(f"{verb} {name}", total, is_long=has_bar) as advance_bar:

        def advance(amount: int) -> None:
            advance_bar(amount)
            artifact.advance(amount)

        yield advance
        artifact.finish()


class _ProgressArtifact:
    """A progress artifact, updated only now and then, because each update is a request to the server."""

    def __init__(self, verb: str, name: str, total: int) -> None:
        self._total = max(total, 1)
        self._done = 0
        self._told = time.monotonic()
        self._id: Any = create_progress_artifact(
            0.0, key=f"{verb.lower()}-progress", description=f"{verb} {escaped(printable(name))}"
        )

    def advance(self, amount: int) -> None:
        self._done += amount
        if time.monotonic() - self._told >= ARTIFACT_SECONDS:
            self._told = time.monotonic()
            update_progress_artifact(self._id, min(100.0, 100 * self._done / self._total))

    def finish(self) -> None:
        update_progress_artifact(self._id, 100.0)


@contextmanager
def progress_bar(label: str, total: int | None, *, is_long: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a bar on the terminal; it does nothing for short work or without a terminal."""
    if not (is_long and sys.stderr.isatty()):
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(label, total=total)
        yield lambda amount: progress.advance(bar, amount)
