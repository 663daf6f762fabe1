"""Files that appear whole or not at all."""

import os
from pathlib import Path


def partial_path(path: Path) -> Path:
    """Return where a file is written before it is whole; what an earlier run left there is removed."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    return partial


def put_in_place(partials: dict[Path, Path]) -> None:
    """Put files, given as partial by final path, in place one after the other, each of them on the disk before."""
    for partial in partials.values():
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
    for path, partial in partials.items():
        partial.replace(path)
    for folder in {path.parent for path in partials}:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
