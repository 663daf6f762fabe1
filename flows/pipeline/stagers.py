"""Chooses where a run's raw files are staged: in its own process, or on Dask if that is set and helps."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType

from flows.pipeline.staging_ahead import Workers, staged_ahead
from flows.pipeline.staging_files import Attempt, staged_here
from flows.pipeline.steps import Logger
from flows.pipeline.stopping import StopRequest
from src.marketing_messaging_service import staging
from src.marketing_messaging_service.settings import Settings
from src.marketing_messaging_service.staging import SourcesFile
from src.marketing_messaging_service.staging.results import LandingFile


class Stager:
    """Stages files as the settings say; Dask's workers exist from when they are first needed until it is closed."""

    def __init__(self, settings: Settings, sources: SourcesFile, stop: StopRequest, log: Logger) -> None:
        self._settings = settings
        self._sources = sources
        self._stop = stop
        self._log = log
        self._held = ExitStack()
        self._workers: Workers | None = None

    def __enter__(self) -> "Stager":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def stage(self, files: Sequence[LandingFile]) -> Generator[Attempt]:
        """Give the results of staging files, in order.

        A replay's files are not in a place that a worker could read, and one group of files is quickly done here.
        Raises DaskError if Dask cannot do it, and StoppedError when the run was asked to stop.
        """
        settings, keys = self._settings, self._settings.more_delivery_keys
        is_one_group = len(staging.next_files(files)) == len(files)
        if settings.dask is None or is_one_group or any(file.kept for file in files):
            yield from staged_here(files, self._sources, keys, self._stop)
            return
        if self._workers is None:
            # Importing what Dask needs takes half a second, only for those who use it.
            from flows.pipeline.dask_workers import dask_workers  # noqa: PLC0415  an extra

            entered = dask_workers(settings.dask, settings.staged_path, self._log)
            self._workers = self._held.enter_context(entered)
        make_order = partial(
            staging.StagingOrder, sources=self._sources, delivery_keys=keys, folder=settings.staged_path
        )
        yield from staged_ahead(files, make_order, self._workers, self._stop)
