"""What a server complains of is a sentence that says what to do, and whether it may pass."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

from src.marketing_messaging_service.errors import DatabaseError, RefusedRowError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    read_transaction,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.postgresql.errors import complaint
from src.marketing_messaging_service.infrastructure.schema import migrate
from tests.postgresql import PASSWORD, Server

ROLE = "guest_of_tests"


@pytest.fixture(scope="module")
def role(postgresql: Server) -> Iterator[str]:
    """A role without rights."""
    postgresql.execute(f"CREATE ROLE {ROLE} LOGIN")
    yield ROLE
    postgresql.execute(f"ALTER ROLE {ROLE} NOLOGIN")


@pytest.fixture
def url(postgresql: Server, postgresql_template: str) -> str:
    return postgresql.new_database(postgresql_template)


def of_role(url: str, name: str) -> str:
    return make_url(url).set(username=name).render_as_string(hide_password=False)


def name_of(url: str) -> str:
    return str(make_url(url).database)


def told(url: str, sql: str = "SELECT 1", *, reads: bool = False) -> DatabaseError:
    """What a statement ends in."""
    transaction = read_transaction if reads else write_transaction
    with pytest.raises(DatabaseError) as caught, transaction(create_database_engine(url)) as connection:
        connection.exec_driver_sql(sql)
    assert PASSWORD not in str(caught.value)
    return caught.value


@dataclass(frozen=True)
class Raised:
    """An error that is hard to bring about, raised by the server all the same."""

    sqlstate: str
    advice: str
    may_pass: bool = False


@pytest.mark.parametrize(
    "raised",
    [
        Raised("53100", "Its disk is full: free some space, then run again. What was committed before is safe."),
        Raised("53200", "It is short of memory or disk. Run again in a moment"),
        Raised(
            "53300",
            "It has no free connection: end the programs that hold them, or raise max_connections",
            may_pass=True,
        ),
        Raised("40001", "Another transaction was in the way. Run again in a moment", may_pass=True),
        Raised("40P01", "Another transaction was in the way. Run again in a moment", may_pass=True),
        Raised("08006", "Check that the server of DATABASE_URL is running", may_pass=True),
        Raised("57P01", "The server is stopping, starting or was stopped. Run again in a moment", may_pass=True),
        Raised("57P03", "The server is stopping, starting or was stopped. Run again in a moment", may_pass=True),
        Raised("58030", "The server cannot read or write its files: look at its disk and its log"),
        Raised("XX001", "Its data is damaged: restore a backup, then run again."),
        Raised("XX002", "An index is damaged: rebuild it (REINDEX DATABASE), then run again."),
    ],
    ids=lambda raised: raised.sqlstate,
)
def test_each_kind_of_trouble_says_what_to_do(url: str, raised: Raised) -> None:
    error = told(url, f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{raised.sqlstate}'; END $$")
    assert str(error).startswith(f"The database cannot be used: as told. {raised.advice}")
    assert error.may_pass is raised.may_pass


def test_a_wrong_password_is_reported_and_not_tried_again(postgresql: Server, url: str) -> None:
    rules = Path(postgresql.folder) / "data" / "pg_hba.conf"
    before = rules.read_text()
    postgresql.execute(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}x'")
    try:
        rules.write_text(f"local all locked scram-sha-256\n{before}")
        postgresql.execute("SELECT pg_reload_conf()")
        error = told(of_role(url, "locked"))
    finally:
        rules.write_text(before)
        postgresql.execute("SELECT pg_reload_conf()")
    assert 'password authentication failed for user "locked"' in str(error)
    assert str(error).endswith(
        "Check the user and the password of DATABASE_URL, and that the server lets them in (pg_hba.conf)."
    )
    assert not error.may_pass


def test_a_role_that_is_not_there_is_reported(url: str) -> None:
    error = told(of_role(url, "nobody_at_all"))
    assert 'role "nobody_at_all" does not exist. Check the user and the password' in str(error)
    assert not error.may_pass


def test_a_database_that_is_not_there_is_reported(postgresql: Server) -> None:
    error = told(postgresql.url_of("nothing"))
    assert 'database "nothing" does not exist. Check the name of the database in DATABASE_URL' in str(error)
    assert not error.may_pass


def test_a_server_that_has_no_connection_left_may_have_one_later(postgresql: Server, url: str, role: str) -> None:
    postgresql.execute(f"ALTER DATABASE {name_of(url)} CONNECTION LIMIT 0")
    error = told(of_role(url, role))
    assert "too many connections" in str(error)
    assert "It has no free connection" in str(error)
    assert error.may_pass


def test_a_right_that_is_missing_is_reported(url: str, role: str) -> None:
    error = told(of_role(url, role), "SELECT * FROM events", reads=True)
    assert "permission denied for table events. Let the role of DATABASE_URL own the database, or give it" in str(error)
    assert not error.may_pass


def test_a_role_that_may_make_no_tables_is_reported_when_it_migrates(postgresql: Server, role: str) -> None:
    empty = postgresql.new_database()
    with pytest.raises(DatabaseError, match="permission denied for schema public"):
        migrate(of_role(empty, role))


def test_a_standby_is_reported(postgresql: Server, url: str) -> None:
    postgresql.execute(f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    error = told(url, "DELETE FROM run_leases")
    assert "It is a standby, or read-only: let DATABASE_URL name the primary server." in str(error)


def test_a_statement_that_takes_too_long_for_the_server_is_reported(postgresql: Server, url: str) -> None:
    postgresql.execute(f"ALTER DATABASE {name_of(url)} SET statement_timeout = '100ms'")
    error = told(url, "SELECT pg_sleep(20)", reads=True)
    assert "a statement_timeout that is too short for it (ALTER ROLE … SET statement_timeout = 0 lifts it)" in str(
        error
    )


def test_a_connection_that_the_server_ends_in_the_midst_may_be_made_again(postgresql: Server, url: str) -> None:
    name = name_of(url)
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE '%pg_sleep%'"

    def end_it() -> None:
        while not ended.wait(0.05):
            postgresql.execute(end)

    ended = threading.Event()
    ending = threading.Thread(target=end_it)
    ending.start()
    try:
        error = told(url, "SELECT pg_sleep(20)")
    finally:
        ended.set()
        ending.join()
    assert "The server is stopping, starting or was stopped" in str(error)
    assert error.may_pass
    with read_transaction(create_database_engine(url)) as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_a_table_that_another_program_has_locked_is_reported(url: str) -> None:
    with create_database_engine(url).connect() as other:
        other.exec_driver_sql("LOCK TABLE events")
        error = told(url, "SET LOCAL lock_timeout = '50ms'; SELECT * FROM events", reads=True)
        other.rollback()
    assert "Another program has held a lock for too long; end that program, then run again." in str(error)
    assert error.may_pass


def test_of_a_row_that_is_refused_nothing_is_repeated(url: str) -> None:
    rows = "('ana@example.org', '', '2026-01-01'), ('ana@example.org', '', '2026-01-01')"
    with (
        pytest.raises(RefusedRowError) as caught,
        write_transaction(create_database_engine(url)) as connection,
    ):
        connection.exec_driver_sql(f"INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES {rows}")
    assert 'violates unique constraint "uq_rulesets_content_hash"' in str(caught.value)
    assert "ana@example.org" not in str(caught.value)


def test_a_pooler_that_takes_no_transactions_is_reported_as_such() -> None:
    psycopg = pytest.importorskip("psycopg")
    error = psycopg.errors.ProtocolViolation("transaction blocks not allowed in statement pooling mode")
    told = complaint(error)
    assert told is not None
    assert told.sentence.endswith("Let DATABASE_URL name the server itself, or a pool in session mode; then run again.")
    assert not told.may_pass
