"""Dask's workers, through Prefect's DaskTaskRunner: a running scheduler, or workers that a run starts for itself.

Workers get a plain function and what it needs to know: they need no Prefect server and no settings except credentials
for a bucket, and never learn where the database is. The run's own steps wait for them.
"""

import logging
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from traceback import walk_tb
from typing import Any

import dask
from distributed import Client, Future
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.scheduler import KilledWorker, NoWorkerError
from prefect_dask.task_runners import DaskTaskRunner

from flows.pipeline.steps import Logger
from src.marketing_messaging_service import staging
from src.marketing_messaging_service.errors import DaskError
from src.marketing_messaging_service.infrastructure.schedulers import DaskScheduler
from src.marketing_messaging_service.staging import StagingOrder, Stored

ANSWER_SECONDS = 30.0
"""How long the scheduler may take to answer, when a run connects to it and later."""

NO_WORKER_SECONDS = 60.0
"""How long a run waits for a worker while there is none."""

LOOK_SECONDS = 1.0
"""How often a waiting run checks whether it was asked to stop."""

COUNT_SECONDS = 5.0
"""How often it checks whether there are workers."""

STAGING_FILE = "staging/stored.py"

_GONE = (OSError, RuntimeError, ClosedClientError)
"""What Dask's client raises when its scheduler does not answer, or when it has given up; they have no common base."""

_MISFITS = (ImportError, AttributeError, pickle.PickleError, EOFError)
"""What a process raises when it cannot unpack what it was given: it lacks the program, or has another version."""


class DaskWorkers:
    """The workers of one scheduler, as a run sees them."""

    def __init__(self, client: Client, scheduler: DaskScheduler) -> None:
        self._client = client
        self.scheduler = scheduler

    def count(self) -> int:
        """Return how many workers there are now. Raises DaskError when the scheduler does not answer."""
        try:
            client: Any = self._client
            found = client.sync(client.scheduler.identity, n_workers=0, callback_timeout=ANSWER_SECONDS)
        except (*_GONE, AttributeError):
            # A TimeoutError too is an OSError; a client that has given up may have no scheduler at all.
            raise self.lost() from None
        return int(found["n_workers"])

    def submit(self, order: StagingOrder) -> "_Pending":
        """Give files to the next idle worker. Raises DaskError when the scheduler is gone."""
        try:
            # A repeated request has to be done again.
            return _Pending(self._client.submit(pickle.loads, pickle.dumps(_Call(order)), pure=False), self)
        except _GONE:
            raise self.lost() from None

    def lost(self) -> DaskError:
        """Return the error of a scheduler that is gone; another may soon be in its place."""
        return DaskError(
            f"The Dask scheduler {self.scheduler} no longer answers. Start it and its workers again, then run again.",
            may_pass=True,
        )


class _Call:
    """The call that stages files, made where it is unpickled.

    The scheduler looks into every function that it passes on, so it would need the program too. It does not look into
    bytes.
    """

    def __init__(self, order: StagingOrder) -> None:
        self._order = order

    def __reduce__(self) -> tuple[Any, ...]:
        return staging.store, (self._order,)


class _Pending:
    """Files that a worker is to stage, or has staged."""

    def __init__(self, future: "Future[Any]", workers: DaskWorkers) -> None:
        self._future = future
        self._workers = workers

    def result(self, check: Callable[[], None]) -> Sequence[Stored]:
        """Wait for them, and return what was stored; `check` is called about once a second.

        Raises the worker's error, and DaskError when workers or scheduler are gone or cannot do it.
        """
        counted = seen = time.monotonic()
        while (stored := self._result_within(LOOK_SECONDS)) is None:
            check()
            now = time.monotonic()
            if now - counted >= COUNT_SECONDS:
                counted = now
                if self._workers.count():
                    seen = now
                elif now - seen >= NO_WORKER_SECONDS:
                    raise _no_worker(self._workers.scheduler)
        return stored

    def _result_within(self, seconds: float) -> Sequence[Stored] | None:
        """Return what was stored, None if that takes longer. Raises as `result` does."""
        stored: Sequence[Stored] | None = None
        try:
            stored = self._future.result(timeout=seconds)
        except TimeoutError:
            if self._future.status == "error":
                raise
        except (FutureCancelledError, ClosedClientError, OSError):
            # The connection may also break while a result is being fetched.
            if self._future.status == "error":
                raise
            raise self._workers.lost() from None
        except NoWorkerError:
            raise _no_worker(self._workers.scheduler) from None
        except KilledWorker as error:
            raise _deadly(error) from None
        except _MISFITS as error:
            if _is_of_staging(error):
                raise
            raise _misfit(error) from None
        except RuntimeError as error:
            # What the scheduler says to a client of a very different version.
            if "deserialization" not in str(error):
                raise
            raise _misfit(error) from None
        return stored

    def cancel(self) -> None:
        """Keep workers from starting on them."""
        with suppress(*_GONE):
            self._future.cancel()  # type: ignore[no-untyped-call]  # Dask is typed in part


def _no_worker(scheduler: DaskScheduler) -> DaskError:
    return DaskError(
        f"The Dask scheduler {scheduler} has had no worker for {NO_WORKER_SECONDS:g} s. Start workers in the project's "
        "folder (docs/scale.md), then run again."
    )


def _deadly(error: KilledWorker) -> DaskError:
    return DaskError(
        f"{error.allowed_failures + 1} Dask workers died one after another while staging the same files. "
        "Give them more memory, or unset DASK_SCHEDULER for one run, then run again."
    )


def _is_of_staging(error: BaseException) -> bool:
    """Whether a worker had begun to stage, so that the error is a defect; a missing package is not one."""
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    return not isinstance(error, ImportError) and any(file.endswith(STAGING_FILE) for file in files)


def _misfit(error: Exception) -> DaskError:
    return DaskError(
        f"A Dask worker, or the scheduler, cannot do its task ({type(error).__name__}: {error}). Start them "
        "in the project's folder, with the same version and packages as this run, then run again."
    )


@contextmanager
def dask_workers(scheduler: DaskScheduler, staged_path: Path, log: Logger) -> Iterator[DaskWorkers]:
    """Yield the workers of a scheduler; a run's own for as long as it needs them.

    Raises DaskError when the scheduler does not answer, or staged rows cannot be kept in the folder.
    """
    try:
        staged_path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DaskError(
            f"STAGED_PATH names the folder {staged_path}, which cannot be created ({error.strerror}); correct it, then "
            "run again."
        ) from None
    began = time.monotonic()
    with (
        _quiet(),
        dask.config.set(_configuration()),
        _runner(scheduler) as runner,
    ):
        try:
            with _deaf_to_ctrl_c():
                client = runner.client
        except (OSError, RuntimeError) as error:
            raise DaskError(
                f"The Dask scheduler {scheduler} does not answer ({type(error).__name__}). Start it, or correct "
                "DASK_SCHEDULER, then run again."
            ) from None
        workers = DaskWorkers(client, scheduler)
        log.info("Staging on Dask, %s: %d workers after %.1f s.", scheduler, workers.count(), time.monotonic() - began)
        yield workers


def _configuration() -> dict[str, Any]:
    inherited = dask.config.get("distributed.nanny.pre-spawn-environ")
    return {
        "distributed.comm.timeouts.connect": f"{ANSWER_SECONDS}s",
        # The run's own workers write to its terminal.
        "distributed.nanny.pre-spawn-environ": {**inherited, "DASK_LOGGING__DISTRIBUTED": "critical"},
    }


def _runner(scheduler: DaskScheduler) -> DaskTaskRunner:
    client_options = {"timeout": ANSWER_SECONDS}
    if scheduler.address:
        return DaskTaskRunner(address=scheduler.address, client_kwargs=client_options)
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": scheduler.worker_count,
            "threads_per_worker": 1,
            "processes": True,
            "host": "127.0.0.1",
            # Even without a dashboard there is a page of figures for monitoring.
            "dashboard_address": "127.0.0.1:0",
            "worker_dashboard_address": "127.0.0.1:0",
            "scheduler_kwargs": {"dashboard": False},
            # Staging has its own memory bounds; a share of this machine's memory is not one of them.
            "memory_limit": 0,
            "silence_logs": logging.CRITICAL,
            "env": {"DATABASE_URL": ""},
        },
        client_kwargs=client_options,
    )


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started now, and later by the same threads.

    On a terminal it reaches every process of a run, but only the run itself knows what to do; it hears it afterwards.
    """
    # Python starts this one with the first process, and then listens again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's log: this module says what is wrong, in a sentence."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "prefect.task_runner.dask")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
