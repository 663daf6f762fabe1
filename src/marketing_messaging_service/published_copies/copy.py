"""A consistent copy of the database in one file."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from src.marketing_messaging_service.infrastructure.dialects.sqlite.page_copy import copy_pages

STEPS_BETWEEN_LOOKS = 200_000
"""How many steps of SQLite's machine between reports of the copy's progress."""


def vacuum_into(database_path: Path, copy_path: Path, on_progress: Callable[[int], None]) -> None:
    """Write a copy of the database as it is at this moment, including what is still in its -wal.

    It reads one snapshot, so a run may keep writing; the copy is one file with nothing beside it. `on_progress` gets
    the number of bytes written since the last call; an exception that it raises ends the copy.
    """
    written = 0
    raised: list[BaseException] = []

    def look() -> int:
        nonlocal written
        size = copy_path.stat().st_size if copy_path.exists() else 0
        try:
            on_progress(size - written)
        except BaseException as error:
            raised.append(error)
            return 1
        written = size
        return 0

    # autocommit, because a copy cannot be made inside a transaction
    with closing(
        sqlite3.connect(f"{database_path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    ) as live:
        live.set_progress_handler(look, STEPS_BETWEEN_LOOKS)
        try:
            live.execute("VACUUM INTO ?", (str(copy_path),))
        except sqlite3.OperationalError as error:
            if raised:
                raise raised[0] from None
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            # Somebody's own index uses a function of another program, and only that program can rebuild it.
            copy_path.unlink(missing_ok=True)
            copy_pages(database_path, copy_path, on_progress)
            forget_wal(copy_path)
    on_progress(copy_path.stat().st_size - written)


def forget_wal(copy_path: Path) -> None:
    """Make a copy one file with nothing beside it, as VACUUM does."""
    with closing(sqlite3.connect(copy_path, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
