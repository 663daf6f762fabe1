"""A column gets another type: no row is touched, and nothing else of its table is another than it was."""

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.sqlite import retyping
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects
from src.marketing_messaging_service.infrastructure.dialects.sqlite.retyping import retype, retyped

TABLE = """CREATE TABLE "moments" (
    id INTEGER NOT NULL,
    happened_at DATETIME NOT NULL,
    note VARCHAR(64) DEFAULT 'happened_at DATETIME',
    "created_at" DATETIME DEFAULT CURRENT_TIMESTAMP,
    amount NUMERIC(10, 2) CHECK (amount > 0),
    CONSTRAINT pk_moments PRIMARY KEY (id),
    CONSTRAINT ck_moments_order CHECK (happened_at <= created_at)
)"""

ROWS = [
    (1, "2025-12-31 23:59:59.000000", "a", "2026-01-01 00:00:00.000000", 1.5),
    (2, "2026-03-01 10:00:00.000000", "b", "2026-03-01 10:00:00.000000", None),
]

TIMES = {"moments": ["happened_at", "created_at"]}


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection to a database with a table of two rows and indexes, and a table that points at it."""
    engine = create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(TABLE)
        connection.exec_driver_sql("CREATE UNIQUE INDEX one_time ON moments (happened_at, id)")
        connection.exec_driver_sql("CREATE INDEX recent ON moments (id) WHERE happened_at >= '2026'")
        connection.exec_driver_sql("CREATE INDEX late ON moments ((happened_at >= '2026'))")
        connection.exec_driver_sql("CREATE TABLE notes (moment_id INTEGER REFERENCES moments (id) ON DELETE CASCADE)")
        connection.exec_driver_sql("CREATE TRIGGER kept AFTER DELETE ON moments BEGIN DELETE FROM notes; END")
        connection.exec_driver_sql("INSERT INTO moments VALUES (?, ?, ?, ?, ?)", ROWS)
        connection.exec_driver_sql("INSERT INTO notes VALUES (1)")
        yield connection
    engine.dispose()


def refuse_changing_the_schema(monkeypatch: pytest.MonkeyPatch, connection: Connection) -> None:
    """Let SQLite be one that was built not to let its schema be changed."""

    def deny(action: int, table: str | None, *_: object) -> int:
        is_refused = action == sqlite3.SQLITE_UPDATE and table == "sqlite_master" and is_changing
        return sqlite3.SQLITE_DENY if is_refused else sqlite3.SQLITE_OK

    is_changing = False
    change_statements = retyping.change_statements

    def change(*arguments: object) -> bool:
        nonlocal is_changing
        is_changing = True
        done = change_statements(*arguments)  # type: ignore[arg-type]
        is_changing = False
        return done

    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, sqlite3.Connection)
    driver_connection.set_authorizer(deny)
    monkeypatch.setattr(retyping, "change_statements", change)


@pytest.mark.parametrize("is_refused", [False, True], ids=["by the schema", "by building the table anew"])
def test_values_compare_as_text_and_everything_else_is_as_it_was(connection, monkeypatch, is_refused):
    if is_refused:
        refuse_changing_the_schema(monkeypatch, connection)
    question = "SELECT sum(happened_at >= '2026'), sum(happened_at < '2026') FROM moments"
    before = {each.key: each for each in standing_objects(connection)}
    assert connection.exec_driver_sql(question).one() == (2, 0)
    retype(connection, TIMES, old="DATETIME", new="TEXT")
    assert connection.exec_driver_sql(question).one() == (1, 1)
    after = {each.key: each for each in standing_objects(connection)}
    assert after.pop("moments").sql == TABLE.replace("_at DATETIME NOT", "_at TEXT NOT").replace(
        '"created_at" DATETIME', '"created_at" TEXT'
    )
    del before["moments"]
    assert after == before
    assert connection.exec_driver_sql("SELECT * FROM moments").fetchall() == ROWS
    assert connection.exec_driver_sql("SELECT * FROM notes").fetchall() == [(1,)]
    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []


def test_an_index_that_holds_what_a_comparison_said_holds_what_it_says_now(connection):
    retype(connection, TIMES, old="DATETIME", new="TEXT")
    by_index = "SELECT id FROM moments INDEXED BY recent WHERE happened_at >= '2026'"
    assert connection.exec_driver_sql(by_index).scalars().all() == [2]
    assert connection.exec_driver_sql("SELECT id FROM moments WHERE (happened_at >= '2026') = 1").scalars().all() == [2]


def test_a_number_in_place_of_a_time_becomes_text(connection):
    connection.exec_driver_sql("INSERT INTO moments (id, happened_at, created_at) VALUES (3, '2026', NULL)")
    connection.exec_driver_sql("INSERT INTO moments (id, happened_at, created_at) VALUES (4, 1772359200.5, NULL)")
    retype(connection, TIMES, old="DATETIME", new="TEXT")
    times = connection.exec_driver_sql("SELECT happened_at FROM moments WHERE id > 2 ORDER BY happened_at").scalars()
    assert times.all() == ["1772359200.5", "2026"]
    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_what_has_the_type_already_is_left_alone(connection):
    retype(connection, TIMES, old="DATETIME", new="TEXT")
    before = standing_objects(connection)
    retype(connection, TIMES, old="DATETIME", new="TEXT")
    assert standing_objects(connection) == before


def test_it_goes_back_too(connection):
    before = standing_objects(connection)
    retype(connection, TIMES, old="DATETIME", new="TEXT")
    retype(connection, TIMES, old="TEXT", new="DATETIME")
    assert standing_objects(connection) == before
    assert connection.exec_driver_sql("SELECT * FROM moments").fetchall() == ROWS


@pytest.mark.parametrize(
    ("sql", "name"),
    [("CREATE TABLE t (x DATE)", "x"), ("CREATE TABLE t (y DATETIME)", "x"), ("CREATE TABLE t (x)", "x")],
)
def test_a_column_of_another_type_than_expected_is_reported(sql, name):
    with pytest.raises(DatabaseError, match=f"the column {name} is not DATETIME, as the migrations made it, in CREATE"):
        retyped(sql, [name], old="DATETIME", new="TEXT")


def test_only_the_columns_that_were_asked_for_are_changed():
    sql = "CREATE TABLE t (x DATETIME, y DATETIME, CHECK (x DATETIME), [z z] DATETIME)"
    assert retyped(sql, ["y", "z z"], old="DATETIME", new="TEXT") == (
        "CREATE TABLE t (x DATETIME, y TEXT, CHECK (x DATETIME), [z z] TEXT)"
    )
