"""Copies a database page by page, which nothing in its schema can prevent."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PAGES_AT_ONCE = 4_096
"""How many pages are copied between reports of progress and checks whether the copy is still wanted."""


def copy_pages(database_path: Path, copy_path: Path, on_progress: Callable[[int], None]) -> None:
    """Copy a database, as committed at this moment, into a file that must not exist yet.

    It reads one snapshot, including what is still in the -wal, so a run may keep writing. `on_progress` gets the bytes
    written since the last call; an exception that it raises ends the copy.
    """
    written = 0

    def look(_status: int, remaining: int, total: int) -> None:
        nonlocal written
        done = (total - remaining) * page_size
        on_progress(done - written)
        written = done

    uri = f"{database_path.resolve().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as live,
        closing(sqlite3.connect(copy_path)) as target,
    ):
        live.execute("BEGIN")
        # A transaction takes its snapshot when it first reads.
        (page_size,) = live.execute("PRAGMA page_size").fetchone()
        live.execute("SELECT count(*) FROM sqlite_master").fetchone()
        live.backup(target, pages=PAGES_AT_ONCE, progress=look)
