"""Every writer puts the file into WAL mode, whoever switched it off."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    preview_engine,
    read_transaction,
    remark_on_readers,
    url_of,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.sqlite import dialect
from src.marketing_messaging_service.infrastructure.dialects.sqlite.wal import bring_into_wal, journal_mode
from src.marketing_messaging_service.infrastructure.schema import migrate
from src.marketing_messaging_service.published_copies import publish
from tests.pipeline import Pipeline
from tests.published_copies.test_publish import silent
from tests.self_check.databases import RULES, event


@pytest.fixture
def path(database_url: str, tmp_path: Path) -> Path:
    """A current database that another program took out of WAL mode."""
    with closing(sqlite3.connect(tmp_path / "test.db")) as other_program:
        other_program.execute("PRAGMA journal_mode=DELETE")
    return tmp_path / "test.db"


def mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return journal_mode(connection)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read the first of several rows, as a notebook does, and stay there."""
    with closing(sqlite3.connect(path)) as notebook:
        cursor = notebook.execute("SELECT * FROM data_dictionary")
        cursor.fetchone()
        yield


def test_a_current_schema_is_brought_into_it_too(path, database_url):
    assert mode(path) == "delete"
    assert migrate(database_url) == []
    assert mode(path) == "wal"


def test_a_transaction_that_writes_brings_the_file_into_it(path, engine):
    with closing(sqlite3.connect(path)) as other_program:
        other_program.execute("PRAGMA journal_mode=DELETE")
    with write_transaction(engine):
        pass
    assert mode(path) == "wal"


def test_a_preview_brings_the_file_into_it(path, database_url):
    with preview_engine(database_url):
        pass
    assert mode(path) == "wal"


def test_a_transaction_that_reads_leaves_the_file_as_it_is(path, engine):
    with closing(sqlite3.connect(path)) as other_program:
        other_program.execute("PRAGMA journal_mode=DELETE")
    with read_transaction(engine):
        pass
    assert mode(path) == "delete"


def test_while_another_program_reads_the_file_in_its_old_mode_it_says_what_is_in_the_way(
    path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(path)) as other_program:
        other_program.execute("PRAGMA journal_mode=DELETE")
    monkeypatch.setattr(dialect, "BUSY_TIMEOUT_SECONDS", 0)
    with (
        reading(path),
        pytest.raises(
            DatabaseError, match="cannot be switched to it while another program has it open; one had it open for 0 s"
        ) as caught,
        write_transaction(engine),
    ):
        pass
    assert caught.value.may_pass


def test_a_disk_that_does_not_allow_for_it_is_reported():
    with (
        closing(sqlite3.connect(":memory:")) as in_memory,
        pytest.raises(DatabaseError, match=r"stays in the mode memory\. Put it on a disk of this machine"),
    ):
        bring_into_wal(in_memory, 0)


def write(engine: Engine, byte_count: int) -> None:
    with write_transaction(engine) as connection:
        connection.execute(
            text("INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES (:hash, :text, '')"),
            {"hash": uuid4().hex, "text": "x" * byte_count},
        )


def test_a_reader_that_holds_on_to_its_snapshot_is_remarked_on_with_the_size_and_what_to_do(engine, tmp_path):
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as notebook:
        notebook.execute("BEGIN")
        notebook.execute("SELECT count(*) FROM rulesets").fetchone()
        write(engine, 7_000_000)
        assert remark_on_readers(engine) is None
        write(engine, 7_000_000)
        remark = remark_on_readers(engine)
        assert remark is not None
        assert remark.startswith("test.db-wal holds 14 MB that cannot be moved into test.db, because another program")
        assert f"(`lsof {tmp_path}/test.db` lists who has the file open)" in remark
        notebook.execute("COMMIT")
        assert remark_on_readers(engine) is None


def test_readers_that_come_and_go_are_not_remarked_on(engine, tmp_path):
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as notebook:
        for _ in range(3):
            write(engine, 7_000_000)
            notebook.execute("SELECT count(*) FROM rulesets").fetchall()
            assert remark_on_readers(engine) is None


def test_a_published_copy_that_was_put_back_works_on_beside_a_notebook(migrated_template: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template)
    pipeline.run([[event("m1", "ada", "signup", "10:00")]], RULES)
    publish(url_of(pipeline.database_path), tmp_path / "published", silent)
    (tmp_path / "published" / "messaging.db").replace(pipeline.database_path)
    assert mode(pipeline.database_path) == "delete"
    pipeline.run([[event("m2", "ada", "signup", "11:00")]], RULES)
    assert mode(pipeline.database_path) == "wal"
    with reading(pipeline.database_path):
        pipeline.run([[event("m3", "ada", "signup", "12:00")]], RULES)
    with closing(sqlite3.connect(pipeline.database_path)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (3,)
