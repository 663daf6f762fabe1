"""WAL mode, in which reading never disturbs a run; the file keeps it until another program changes it."""

import sqlite3
import time

from src.marketing_messaging_service.errors import DatabaseError

WAL = "wal"

SWITCH_RETRY_SECONDS = 0.1

LARGEST_UNREMARKED_BYTES = 8 << 20
"""How much a reader may keep in the -wal file without a remark: twice what SQLite itself lets build up."""


def journal_mode(connection: sqlite3.Connection) -> str:
    """Return the file's journal mode."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return str(mode)


def bring_into_wal(connection: sqlite3.Connection, timeout_seconds: float) -> None:
    """Put the file into WAL mode if it is not; must be called outside a transaction.

    A copy made by VACUUM INTO is not in WAL mode, and other programs switch it off. Raises DatabaseError when another
    program does not release the file in time, or the disk does not support the mode.
    """
    deadline = time.monotonic() + timeout_seconds
    while journal_mode(connection) != WAL:
        if _has_switched(connection):
            return
        if time.monotonic() >= deadline:
            raise DatabaseError(
                "The database is not in WAL mode, in which reading never disturbs a run, and cannot be switched to it "
                f"while another program has it open; one had it open for {timeout_seconds:g} s. End that program, then "
                "run again.",
                may_pass=True,
            )
        time.sleep(SWITCH_RETRY_SECONDS)


def _has_switched(connection: sqlite3.Connection) -> bool:
    """Try once; return False if another program was in the way (SQLite's own timeout does not apply here)."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return False
        raise
    if mode != WAL:
        raise DatabaseError(
            f"The database cannot be switched to WAL mode, in which reading never disturbs a run; it stays in the "
            f"mode {mode}. Put it on a disk of this machine, then run again."
        )
    return True


def kept_by_readers(connection: sqlite3.Connection) -> int:
    """Move what can be moved from the -wal file into the database, and return how many bytes readers hold back.

    Must be called outside a transaction. A reader that keeps its snapshot makes the file grow with every run.
    """
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    _, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(0, int(frames) - int(moved)) * int(page_size)
