"""A database put in the place of another one is reported as that, and nothing else is."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from src.marketing_messaging_service.errors import DatabaseError, LeaseLostError, LoadError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    read_transaction,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.replacement import (
    Imprint,
    file_identity,
    refuse_another_file,
    replacement_told,
    take_imprint,
)

RUN = text(
    "INSERT INTO runs (flow_name, mode, as_of, source, max_rejected_percent, started_at, state) "
    "VALUES ('hourly', 'load and decide', :time, 'landing', 5, :time, 'running')"
)


@pytest.fixture
def path(database_url: str, tmp_path: Path) -> Path:
    """The file of the engine's database; a copy from before its one run is beside it."""
    shutil.copyfile(tmp_path / "test.db", tmp_path / "older.db")
    return tmp_path / "test.db"


@pytest.fixture
def imprint(path: Path, engine: Engine) -> Imprint:
    """What the database is known by when its one run has begun."""
    with write_transaction(engine) as connection:
        connection.execute(RUN, {"time": "2026-11-01 10:00:00.000000"})
    return take_imprint(engine)


def told(engine: Engine, imprint: Imprint, error: Exception) -> str:
    """The sentence that a failure becomes."""
    with pytest.raises(DatabaseError) as caught, replacement_told(engine, imprint):
        raise error
    return str(caught.value)


def test_another_file_is_reported(path, engine, imprint):
    path.with_name("older.db").replace(path)
    assert told(engine, imprint, LeaseLostError("Another run has taken over.")) == (
        f"The database {path} was replaced while this run was at work: another file lies there. What this run had "
        "committed is in the one that was there before. Do not replace a database while a run is at work; "
        "then run again, which takes every file that this database does not know."
    )
    with pytest.raises(DatabaseError, match="was replaced while this run was at work"):
        refuse_another_file(path, imprint.file)


def test_a_file_that_is_gone_is_reported(path, engine, imprint):
    path.unlink()
    assert "another file lies there" in told(engine, imprint, LeaseLostError("Another run has taken over."))


def test_older_content_in_the_same_file_is_reported(path, engine, imprint):
    shutil.copyfile(path.with_name("older.db"), path)
    assert "it does not know the run 1, so it is an older copy" in told(engine, imprint, LeaseLostError("Taken over."))


def test_another_run_of_the_same_number_is_reported(path, engine, imprint):
    with write_transaction(engine) as connection:
        connection.execute(text("UPDATE runs SET started_at = '2026-11-02 10:00:00.000000'"))
    assert "it does not know the run 1" in told(engine, imprint, LeaseLostError("Another run has taken over."))


@pytest.mark.parametrize(
    ("statement", "schema"),
    [
        ("UPDATE alembic_version SET version_num = '0003'", "0003"),
        ("DROP TABLE alembic_version", "none of this project"),
    ],
)
def test_another_schema_is_reported_in_place_of_what_follows_from_it(path, engine, imprint, statement, schema):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
        connection.execute("DROP TABLE run_remarks")
    with (
        pytest.raises(DatabaseError, match=rf"its schema is another one \({schema}\)"),
        replacement_told(engine, imprint),
        read_transaction(engine) as reader,
    ):
        reader.exec_driver_sql("SELECT * FROM run_remarks")


@pytest.mark.parametrize("error", [LeaseLostError("Another run has taken over."), KeyError("a defect")])
def test_of_the_same_database_every_failure_passes_as_it_is(engine, imprint, error):
    with pytest.raises(type(error), match=str(error)), replacement_told(engine, imprint):
        raise error


def test_a_sentence_about_something_else_passes_as_it_is(path, engine, imprint):
    path.with_name("older.db").replace(path)
    with pytest.raises(LoadError, match="a file"), replacement_told(engine, imprint):
        raise LoadError("a file")


def test_a_database_without_runs_is_known_by_its_file_and_schema(engine):
    assert take_imprint(engine).last_run is None
    with pytest.raises(KeyError), replacement_told(engine, take_imprint(engine)):
        raise KeyError


def test_the_same_file_by_another_name_is_the_same(path):
    link = path.with_name("link.db")
    link.symlink_to(path)
    refuse_another_file(link, file_identity(path))


@pytest.mark.server
def test_a_server_that_is_lost_meanwhile_is_reported(postgresql, postgresql_template):
    engine = create_database_engine(postgresql.new_database(postgresql_template))

    @event.listens_for(engine, "after_cursor_execute")
    def cut(_connection, _cursor, statement, *_):
        if "FROM runs" in statement:
            postgresql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'")

    with pytest.raises(DatabaseError, match=r"[Ww]hat was committed before is safe"):
        take_imprint(engine)
