"""Which version of the program a process runs, so that two processes know whether they do the same."""

import hashlib
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

READING_LIBRARIES = ("msgspec", "numpy", "pandas", "pyarrow")
"""The libraries that a raw file is read with; another version of one may read it otherwise."""


@cache
def code_version() -> str:
    """Return a checksum of the program and of what it reads raw files with, as they were when this was first asked.

    It takes some 20 ms, once in a process.
    """
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for library in READING_LIBRARIES:
        digest.update(f"{library} {_version(library)}\n".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
