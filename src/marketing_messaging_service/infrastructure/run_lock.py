"""One run at a time on one database."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.marketing_messaging_service.errors import DatabaseError, RunInProgressError
from src.marketing_messaging_service.places import LOCK, companion

WAIT_SECONDS = 1.0
"""How often a waiting run looks up from its waiting."""


def lock_path(database_path: Path) -> Path:
    """Return the lock file that belongs to a database file, the same one by whatever link it is reached."""
    return companion(database_path, LOCK)


@contextmanager
def run_lock(database_path: Path, timeout_seconds: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the database's run lock; `on_wait` is called about once a second while another run holds it.

    The operating system frees the lock when its process ends, however it ends. Raises RunInProgressError when
    the other run does not end in time.
    """
    path = lock_path(database_path)
    if not path.parent.is_dir():
        raise DatabaseError(f"The folder {path.parent} of DATABASE_URL does not exist; create it, or correct the URL.")
    lock = FileLock(path)
    try:
        _acquire(lock, timeout_seconds, on_wait)
    except Timeout:
        raise RunInProgressError(
            f"Another run is at work on {database_path} and did not end within {timeout_seconds:g} s; nothing was "
            "done. What it leaves pending is taken by the next run."
        ) from None
    except OSError as error:
        raise DatabaseError(
            f"The folder {path.parent} of DATABASE_URL cannot be written to ({os.strerror(error.errno or 0)})."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, timeout_seconds: float, on_wait: Callable[[], None]) -> None:
    deadline = time.monotonic() + timeout_seconds
    seconds = 0.0
    while True:
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            if time.monotonic() >= deadline:
                raise
        else:
            return
        on_wait()
        seconds = min(WAIT_SECONDS, max(0.0, deadline - time.monotonic()))
