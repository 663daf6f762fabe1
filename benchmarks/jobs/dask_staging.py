"""Stages many raw files: one after the other in this process, or by two Dask workers on this machine."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import flows  # noqa: F401  sets the process up as that of a flow, and imports nothing
from benchmarks.job import not_measured, step
from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.infrastructure.schedulers import DaskScheduler
from src.marketing_messaging_service.staging import StagingOrder, discover, next_files, open_stored, stage_files
from src.marketing_messaging_service.staging.results import LandingFile, StagedFiles
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES


def here(raw_file: Path, _database: Path) -> None:
    """Stage every file of a folder."""
    files: Sequence[LandingFile] = _files(raw_file)
    with step("stage"):
        while files:
            staged = stage_files(files)
            _forget(staged)
            files = files[staged.file_count :]


def on_two_workers(raw_file: Path, database: Path) -> None:
    """Have two workers stage them that are already running and have staged something before."""
    from flows.pipeline.dask_workers import dask_workers  # noqa: PLC0415  for this job alone

    files, folder = _files(raw_file), database.parent / "staged"
    with not_measured():
        entered = dask_workers(DaskScheduler(worker_count=2), folder, logging.getLogger(__name__))
        workers = entered.__enter__()
        warming = [workers.submit(order) for order in [_order(files[-1:], folder)] * 4]
        for each in warming:
            each.result(lambda: None)
    with step("stage"):
        given = [(order, workers.submit(order)) for order in (_order(group, folder) for group in _groups(files))]
        for order, pending in given:
            rest: Sequence[LandingFile] = order.files
            for stored in pending.result(lambda: None):
                _forget(open_stored(stored, rest, order))
                rest = rest[stored.file_count :]
    with not_measured():
        entered.__exit__(None, None, None)


def _files(raw_file: Path) -> Sequence[LandingFile]:
    with step("find and hash"):
        return discover(raw_file.parent, KnownFiles()).new_files


def _groups(files: Sequence[LandingFile]) -> Iterator[Sequence[LandingFile]]:
    while files:
        group = next_files(files)
        yield group
        files = files[len(group) :]


def _order(files: Sequence[LandingFile], folder: Path) -> StagingOrder:
    return StagingOrder(files, SHIPPED_SOURCES, (), folder)


def _forget(staged: StagedFiles) -> None:
    staged.rows.close()
