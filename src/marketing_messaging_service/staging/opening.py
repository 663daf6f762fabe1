"""Opens what should be a raw file, whatever has been put in its place meanwhile."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
"""What may be where a regular file is expected, by its mode."""


def kind_of_file(mode: int) -> str:
    """Return what a mode says that something is, for a sentence."""
    return next((kind for is_one, kind in KINDS_OF_FILE if is_one(mode)), "no regular file")


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading. Raises OSError, also when something else is there.

    It never waits: a FIFO that has replaced the file since it was listed would block an ordinary `open` until somebody
    writes into it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, f"it is {kind_of_file(mode)} and not a file")
