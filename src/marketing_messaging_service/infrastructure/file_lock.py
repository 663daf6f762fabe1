"""Keeps runs on one machine apart by a lock file beside the database."""

import errno
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.turns import take_turn
from src.marketing_messaging_service.paths import LOCK, companion


def lock_path(guarded: Path) -> Path:
    """Return the lock file of a database file; the same one whatever link leads to it."""
    return companion(guarded, LOCK)


@contextmanager
def file_lock(
    guarded: Path, timeout_seconds: float, on_wait: Callable[[], None], *, setting: str = "DATABASE_URL"
) -> Iterator[None]:
    """Hold the lock of a file; `on_wait` is called about once a second while another run holds it.

    The operating system releases the lock when its process ends, however it ends. Raises RunInProgressError when the
    other run does not end in time, and DatabaseError, naming the setting that leads there, when the lock file cannot be
    created or opened.
    """
    path = lock_path(guarded)
    if not os.path.isdir(path.parent):  # noqa: PTH112  Path.is_dir raises where a folder above may not be looked into
        raise DatabaseError(f"The folder {path.parent} of {setting} does not exist; create it, or correct {setting}.")
    lock = FileLock(path)

    def has_acquired(seconds: float) -> bool:
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            return False
        return True

    try:
        take_turn(has_acquired, str(guarded), timeout_seconds, on_wait)
    except OSError as error:
        raise DatabaseError(_refusal(path, setting, error)) from None
    try:
        yield
    finally:
        lock.release()


def _refusal(path: Path, setting: str, error: OSError) -> str:
    """Return why a lock file cannot be used, and what to do."""
    complaint = _complaint(path) if error.errno != errno.EROFS else None
    if complaint is None:
        reason = os.strerror(error.errno or 0)
        return f"The folder {path.parent} of {setting} cannot be written to ({reason}). Let this user write there."
    return (
        f"The lock file {path} of {setting} cannot be written to ({complaint}). Delete it while no run is at work, "
        "then run again."
    )


def _complaint(path: Path) -> str | None:
    """Return what is wrong with the lock file itself, None if it is fine or missing."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return "it is a link, and links are not followed there"
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "it is not an ordinary file"
    owner, own = _user_name(status.st_uid), _user_name(os.geteuid())
    if owner == own:
        return f"its rights do not let its owner, {own}, do so"
    return f"it belongs to the user {owner}, but this run's user is {own}: start all runs as one user"


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
