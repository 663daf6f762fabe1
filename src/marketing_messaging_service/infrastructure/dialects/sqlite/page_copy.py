"""A copy of a database page by page, which nothing in its schema can keep from being made."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PAGES_AT_ONCE = 4_096
"""Pages that are copied between two looks at how far it has come, and whether it is still wanted."""


def copy_pages(database_path: Path, copy_path: Path, on_progress: Callable[[int], None]) -> None:
    """Copy a database, as it is committed at this moment, into a file that must not be there yet.

    One snapshot is read, what is still in the -wal included, so that a run may keep writing. `on_progress` gets
    the bytes that were written since the last call; what it raises ends the copy.
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
