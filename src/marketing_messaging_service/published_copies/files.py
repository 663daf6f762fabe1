"""Writes files that appear complete and together, or not at all."""

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from src.marketing_messaging_service.errors import DatabaseError

BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
"""What readers of a published copy may have left beside it; read with another copy it would damage that one."""


def partial_path(path: Path) -> Path:
    """Return where a file is written before it is complete; what an earlier run left there is removed."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    return partial


def refuse_obstacles(paths: Iterable[Path]) -> None:
    """Raise DatabaseError if there is something other than a file where a file is to be written."""
    for path in paths:
        for each in (path, path.with_name(f".{path.name}.partial"), _previous(path)):
            if each.is_dir() and not each.is_symlink():
                raise DatabaseError(
                    f"{each} is a folder, but a file is to be published there; nothing was written, and what was "
                    "published before stays. Move it away, or let PUBLISH_PATH name another folder."
                )


def put_in_place(partials: Mapping[Path, Path]) -> None:
    """Put files, given as partial by final path, in place one after the other, each flushed to the disk first.

    If one cannot be, the earlier ones are reverted, so that all come from one snapshot.
    """
    for partial in partials.values():
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
    touched: list[Path] = []
    try:
        for path, partial in partials.items():
            _keep(path)
            touched.append(path)
            partial.replace(path)
    except BaseException:
        for path in touched:
            _take_back(path)
        raise
    finally:
        for path in touched:
            _previous(path).unlink(missing_ok=True)
    for folder in {path.parent for path in partials}:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def forget_companions(copy_path: Path) -> None:
    """Remove what is beside a copy of a database that is about to be replaced and belongs only to it."""
    for ending in BESIDE_A_DATABASE:
        copy_path.with_name(copy_path.name + ending).unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _keep(path: Path) -> None:
    """Give the file to be replaced a second name, from which it can be restored."""
    previous = _previous(path)
    previous.unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.path.lexists(path):
        return
    try:
        os.link(path, previous, follow_symlinks=False)
    except OSError:
        # Where a file cannot have two names, readers miss it for a moment.
        path.rename(previous)


def _take_back(path: Path) -> None:
    try:
        _previous(path).replace(path)
    except FileNotFoundError:
        path.unlink(missing_ok=True)
