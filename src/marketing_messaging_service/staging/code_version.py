"""Identifies the version of the program in a process, so that two processes know whether they run the same."""

import hashlib
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

READING_LIBRARIES = ("msgspec", "numpy", "pandas", "pyarrow")
"""The libraries that read raw files; another version of one may read differently."""


@cache
def code_version() -> str:
    """Return a checksum of the program and of the libraries that read raw files, as they were at the first call.

    It takes some 20 ms, once per process.
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
