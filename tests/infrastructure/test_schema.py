"""A current schema is recognised without Alembic, and nothing else is taken for one."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.migrations import alembic_config
from src.marketing_messaging_service.infrastructure.schema import migrate, newest_revision

PROJECT = Path(__file__).parents[2]


def test_the_newest_revision_is_alembics_head():
    assert newest_revision() == ScriptDirectory(str(PROJECT / "alembic")).get_current_head()


def test_a_current_database_is_left_alone_and_alembic_not_imported(database_url):
    code = (
        "import sys; from src.marketing_messaging_service.infrastructure.schema import migrate; "
        "print(migrate(sys.argv[1]), 'alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, database_url], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] False\n"


def test_a_copy_that_a_migration_left_is_removed_when_the_schema_is_current(database_url, tmp_path):
    (tmp_path / "test.db.before-migration").touch()
    assert migrate(database_url) == []
    assert [path.name for path in tmp_path.iterdir()] == ["test.db"]


def test_the_flows_do_not_import_alembic():
    code = "import sys, flows.hourly, flows.backfill; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_new_database_is_created_and_an_older_one_brought_up(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    assert migrate(url)[-1] == newest_revision()
    command.downgrade(alembic_config(url), "-1")
    assert migrate(url) == [newest_revision()]
    assert migrate(url) == []


@pytest.mark.parametrize("rows", ["('9999')", "('0002'), ('0003')"])
def test_a_schema_of_another_version_is_refused_with_a_sentence(tmp_path, database_url, rows):
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM alembic_version")
        connection.execute(f"INSERT INTO alembic_version VALUES {rows}")
    with pytest.raises(DatabaseError, match="not one this version knows"):
        migrate(database_url)


def test_a_file_that_is_not_a_database_is_reported_in_a_sentence(tmp_path):
    (tmp_path / "x.db").write_text("no database at all", encoding="utf-8")
    with pytest.raises(DatabaseError, match="file is not a database"):
        migrate(f"sqlite:///{tmp_path}/x.db")
