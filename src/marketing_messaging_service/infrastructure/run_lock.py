"""One run at a time on one database."""

import errno
import os
import pwd
import stat
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
def run_lock(
    database_path: Path, timeout_seconds: float, on_wait: Callable[[], None], *, setting: str = "DATABASE_URL"
) -> Iterator[None]:
    """Hold the database's run lock; `on_wait` is called about once a second while another run holds it.

    The operating system frees the lock when its process ends, however it ends. Raises RunInProgressError when
    the other run does not end in time, and DatabaseError, naming the setting that leads there, when the lock file
    cannot be made or opened.
    """
    path = lock_path(database_path)
    if not os.path.isdir(path.parent):  # noqa: PTH112  Path.is_dir raises where a folder above may not be looked into
        raise DatabaseError(f"The folder {path.parent} of {setting} does not exist; create it, or correct {setting}.")
    lock = FileLock(path)
    try:
        _acquire(lock, timeout_seconds, on_wait)
    except Timeout:
        raise RunInProgressError(
            f"Another run is at work on {database_path} and did not end within {timeout_seconds:g} s; nothing was "
            "done. What it leaves pending is taken by the next run."
        ) from None
    except OSError as error:
        raise DatabaseError(_refusal(path, setting, error)) from None
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


def _refusal(path: Path, setting: str, error: OSError) -> str:
    """Return why a lock file cannot be had, and what to do."""
    complaint = _complaint(path) if error.errno != errno.EROFS else None
    if complaint is None:
        reason = os.strerror(error.errno or 0)
        return f"The folder {path.parent} of {setting} cannot be written to ({reason}). Let this user write there."
    return (
        f"The lock file {path} of {setting} cannot be written to ({complaint}). Delete it while no run is at work, "
        "then run again."
    )


def _complaint(path: Path) -> str | None:
    """Return what is wrong with the lock file itself, None when it is not there or nothing is."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return "it is a link, and none is followed there"
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "it is no ordinary file"
    owner, own = _user_name(status.st_uid), _user_name(os.geteuid())
    if owner == own:
        return f"its rights do not let its owner, {own}, do so"
    return f"it belongs to the user {owner}, and this run is one of the user {own}: let all runs be of one user"


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
