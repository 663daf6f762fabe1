"""What the flows have in common: steps that fail with a sentence instead of a traceback, and a progress bar."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Failed
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from src.marketing_messaging_service.errors import PipelineError

# The flows log one line a step themselves; Prefect's own lines about a task, and for a foreseeable failure a second
# telling with "NoneType: None" for a traceback, would bury them. An unforeseen traceback comes from the flow's logger.
logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)

LONG_FILE_BYTES = 16 << 20
"""Files from this size on show a progress bar on a terminal; smaller ones are done in a blink."""


def step(run_name: str) -> Callable[[Callable[..., Any]], Callable[..., State[Any]]]:
    """Make a Prefect task of a function, to be called for its final state.

    `run_name` is how one run of it is called in the UI, with parameters in braces. A PipelineError becomes a
    Failed state that carries the sentence, because a raised exception would put a traceback into the log. Nothing
    is cached or persisted: what has been done is for the database to know.
    """

    def make_step(function: Callable[..., Any]) -> Callable[..., State[Any]]:
        @task(name=function.__name__, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)
        @wraps(function)
        def foreseeable(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except PipelineError as error:
                return Failed(message=str(error))

        @wraps(function)
        def run(*arguments: Any, **options: Any) -> State[Any]:
            state: State[Any] = foreseeable(*arguments, **options, return_state=True)
            return state

        return run

    return make_step


def outcome(state: State[Any]) -> Any:
    """Return what a step gave. Raises PipelineError with its sentence, or the exception nobody foresaw."""
    try:
        return state.result()
    except FailedRun as error:
        raise PipelineError(str(error)) from None


@contextmanager
def progress_bar(label: str, total: int, *, is_long: bool) -> Iterator[Callable[[int], None]]:
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
