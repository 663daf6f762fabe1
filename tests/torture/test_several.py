"""Several runs at once on a server; the long form has many, and more harm."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.infrastructure.database import create_database_engine
from tests.postgresql import Server, server_or_skip
from tests.torture import several
from tests.torture.forks import KILLED, ForkServer, Victim
from tests.torture.several import Expected, Harm


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that no other test uses, because it comes to harm."""
    yield from server_or_skip()


@pytest.fixture(scope="module")
def wanted(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What one process leaves on SQLite."""
    return several.expected(server, tmp_path_factory.mktemp("several"), several.shared_files())


@pytest.mark.parametrize("jobs", several.CROWDS, ids=", ".join)
def test_several_runs_leave_what_one_process_leaves_on_sqlite(
    server: ForkServer, own: Server, wanted: Expected, tmp_path: Path, jobs: tuple[str, ...]
) -> None:
    hit, breaches = several.survive(server, own, wanted, jobs, None, random.Random(0), tmp_path / "read")
    assert (hit, breaches) == (0, [])


@pytest.mark.parametrize("harm", several.HARMS, ids=lambda harm: str(harm.__name__))
def test_whatever_happens_to_several_runs_nothing_is_lost_and_nothing_done_twice(
    server: ForkServer, own: Server, wanted: Expected, tmp_path: Path, harm: Harm
) -> None:
    chance = random.Random(harm.__name__)
    assert several.survive(server, own, wanted, several.CROWDS[1], harm, chance, tmp_path / "read")[1] == []


@pytest.mark.parametrize(
    ("table", "statement"), [("events", "INSERT INTO %events%"), ("event_properties", "COPY %event_properties%")]
)
def test_the_file_of_a_run_that_is_killed_while_it_loads_is_taken_by_the_one_beside_it(
    server: ForkServer, own: Server, wanted: Expected, tmp_path: Path, table: str, statement: str
) -> None:
    url = own.new_database()
    migrated = Victim(server, several.order(wanted.scene, url, "migrate")).wait()
    assert migrated.exit_code == 0, migrated.output
    with held_table(url, table):
        killed = Victim(server, several.order(wanted.scene, url, "hourly"))
        several.wait_for(lambda: several.sessions_at(own, url, statement) == 1)
        beside = Victim(server, several.order(wanted.scene, url, "hourly"))
        several.wait_for(lambda: several.sessions_at(own, url, statement) == 2)
        killed.send(signal.SIGKILL)
        assert killed.wait().exit_code == KILLED
    ending = beside.wait()
    assert ending.exit_code == 0, ending.output
    assert "being taken by another run right now" in ending.output
    assert several.everything(url, tmp_path / "at once") == wanted.rows
    # The next run enters the one that was killed as such.
    assert several.finish(server, wanted.scene, url) is None
    assert several.breaches(url, wanted, tmp_path / "read") == []


@contextmanager
def held_table(url: str, name: str) -> Iterator[None]:
    """Keep everybody from writing into a table for a while."""
    with create_database_engine(url).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"BEGIN; LOCK TABLE {name} IN SHARE MODE")
        yield
        driver.execute("ROLLBACK")


def test_a_run_that_is_killed_while_it_reads_a_file_lets_others_have_it(
    server: ForkServer, own: Server, wanted: Expected, tmp_path: Path
) -> None:
    url = own.new_database()
    killed = Victim(server, several.order(wanted.scene, url, "load only"))
    # Its sign of life, and the files that it stages.
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND objsubid = 1"
    several.wait_for(lambda: own.ask(held) > 1)
    killed.send(signal.SIGKILL)
    assert killed.wait().exit_code == KILLED
    began = time.monotonic()
    ending = Victim(server, several.order(wanted.scene, url, "hourly")).wait()
    assert ending.exit_code == 0, ending.output
    assert time.monotonic() - began < 20
    assert several.finish(server, wanted.scene, url) is None
    assert several.breaches(url, wanted, tmp_path / "read") == []
