"""Stages raw files in other processes, while earlier ones are loaded in this one."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Protocol

from flows.pipeline.staging_files import Attempt, FileGroup
from flows.pipeline.steps import RETRIES, flow_logger, has_another_try, outcome, patiently, step
from flows.pipeline.stopping import StopRequest
from src.marketing_messaging_service import staging
from src.marketing_messaging_service.errors import DaskError, PipelineError
from src.marketing_messaging_service.staging import StagingOrder, Stored
from src.marketing_messaging_service.staging.results import LandingFile, StagedFiles

GROUPS_A_WORKER = 2
"""How many groups of files each worker has: one at work and one to continue with."""

GROUPS_MORE = 2
"""How many more groups may wait on the disk to be loaded, so that no worker waits for the database."""


class Pending(Protocol):
    """Files that a worker is to stage, or has staged."""

    def result(self, check: Callable[[], None]) -> Sequence[Stored]:
        """Wait for them, and return what was stored; `check` is called about once a second.

        Raises the worker's error, and DaskError when there is no worker for too long.
        """

    def cancel(self) -> None:
        """Have no worker begin with them any more."""


class Workers(Protocol):
    """Processes that stage files."""

    def count(self) -> int:
        """Return how many there are now."""

    def submit(self, order: StagingOrder) -> Pending:
        """Give files to the next idle worker."""


class _Job:
    """Files staged elsewhere, again if necessary. Not a dataclass, because Prefect would look into all of one."""

    def __init__(self, group: FileGroup[LandingFile], order: StagingOrder, workers: Workers) -> None:
        self.group = group
        self.order = order
        self._workers = workers
        self._pending: Pending | None = workers.submit(order)

    def result(self, check: Callable[[], None]) -> Sequence[Stored]:
        """Return what was stored; asking again stages the files again."""
        pending = self._pending or self._workers.submit(self.order)
        self._pending = None
        stored = pending.result(check)
        passing = next((each.passing_failure for each in stored if each.passing_failure), "")
        if passing and has_another_try():
            raise PipelineError(passing, may_pass=True)
        return stored

    def cancel(self) -> None:
        """Have no worker begin with them any more."""
        if self._pending is not None:
            self._pending.cancel()


@step("stage {files}", retries=RETRIES)
def stage(files: FileGroup[LandingFile], job: _Job, stop: StopRequest) -> Sequence[Stored]:
    """Wait until a worker has staged raw files, and return where their rows are."""
    return job.result(stop.check)


def staged_ahead(
    files: Sequence[LandingFile],
    make_order: Callable[[Sequence[LandingFile]], StagingOrder],
    workers: Workers,
    stop: StopRequest,
) -> Generator[Attempt]:
    """Have workers stage files, and give the results in the order of the files, whichever finishes first.

    Just enough groups are staged ahead that no worker waits, so that the disk does not fill. Raises DaskError when the
    workers cannot continue, and StoppedError when the run was asked to stop; what was given before stays valid.
    """
    jobs: deque[_Job] = deque()

    def give_out() -> None:
        nonlocal files
        while files and len(jobs) < GROUPS_A_WORKER * workers.count() + GROUPS_MORE:
            some = staging.next_files(files)
            jobs.append(_Job(FileGroup(some), make_order(some), workers))
            files = files[len(some) :]

    try:
        while files or jobs:
            patiently(give_out, stop, flow_logger())
            stop.check()
            yield from _attempts(jobs[0], stop)
            jobs.popleft()
    finally:
        for job in jobs:
            job.cancel()


def _attempts(job: _Job, stop: StopRequest) -> Generator[Attempt]:
    try:
        stored: Sequence[Stored] = outcome(stage(job.group, job, stop))
    except DaskError:
        stop.check()
        raise
    except PipelineError as error:
        stop.check()
        yield Attempt(job.group, None, error)
        return
    files = job.group.files
    for each in stored:
        staged = staging.open_stored(each, files, job.order)
        try:
            _refuse_blind_worker(staged, each)
        except DaskError:
            staged.rows.close()
            raise
        group = FileGroup(files[: each.file_count], str(job.group) if len(stored) == 1 else "")
        yield Attempt(group, staged, seconds=each.seconds)
        files = files[each.file_count :]


def _refuse_blind_worker(staged: StagedFiles, stored: Stored) -> None:
    """Raise DaskError when a worker could not read a file that this run can."""
    for failure in staged.failures:
        if _is_as_discovered(failure.file):
            raise DaskError(
                f"The Dask worker {stored.worker} cannot read what this run can: {failure.error} Make sure that every "
                "worker reaches the raw files by the same path and, for a bucket, has credentials in its environment, "
                "then run again."
            )


def _is_as_discovered(file: LandingFile) -> bool:
    with suppress(OSError):
        if file.place is not None and file.place.signature() == file.file_signature:
            file.place.open().close()
            return True
    return False
