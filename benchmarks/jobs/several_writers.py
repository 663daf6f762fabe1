"""Loads the same files with one or two runs, and decides in as many shards, on the job's own PostgreSQL server."""

import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from benchmarks.job import not_measured, step
from benchmarks.several_writers import decide_in, load_by
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from tests.postgresql import new_server


def by_one(raw_file: Path, _database: Path) -> None:
    """Load the files of a folder by one run, and decide them in one transaction."""
    _take(raw_file.parent, 1)


def by_two(raw_file: Path, _database: Path) -> None:
    """Load them by two runs at once, and decide them in two shards at once."""
    _take(raw_file.parent, 2)


def _take(landing: Path, count: int) -> None:
    with ExitStack() as held:
        with not_measured():
            server = held.enter_context(new_server(careful=True))
            loaders = held.enter_context(ProcessPoolExecutor(count, mp_context=get_context("spawn")))
            url = server.new_database()
            upgrade_to_head(url)
            # Each is running, and has imported everything, before it is measured.
            list(loaders.map(time.sleep, [1.0] * count))
        with step("load"):
            load_by(loaders, url, landing, count)
        with step("decide"):
            decide_in(url, count)
