"""Before tables are rebuilt: room on the disk, a copy until it has succeeded, and how long it may take."""

import re
import shutil
import sqlite3
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure import migrations
from src.marketing_messaging_service.infrastructure.dialects.sqlite import before_migrating
from src.marketing_messaging_service.infrastructure.dialects.sqlite.page_copy import copy_pages
from src.marketing_messaging_service.infrastructure.migration_guard import Audience, made_by_revision
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.infrastructure.schema import migrate
from tests.infrastructure.test_migrations import (
    FAILING_MIGRATION,
    REPOSITORY,
    REVISIONS,
    STEPS,
    downgrade,
    populate,
    rows_of,
    upgrade,
    url_of,
)

pytestmark = pytest.mark.slow

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of revision 0005 that holds rows."""
    path = tmp_path / "history.db"
    populate(path, "0005")
    return path


def copy_of(path: Path) -> Path:
    return path.with_name("history.db.before-migration")


def root_pages(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall())


@pytest.mark.parametrize(("lower", "upper"), STEPS)
def test_it_is_known_of_each_revision_which_tables_it_rebuilds(tmp_path, lower, upper):
    path = tmp_path / "history.db"
    populate(path, lower)
    made = made_by_revision(REPOSITORY / "alembic")[upper]
    for move, to, rebuilt in ((upgrade, upper, made.rebuilt), (downgrade, lower, made.rebuilt_by_downgrade)):
        before = root_pages(path)
        move(path, to)
        after = root_pages(path)
        assert {table for table in before if table in after and after[table] != before[table]} == rebuilt


def parts(sql: str) -> list[str]:
    """The lines of a statement in one order, because Alembic puts those of a rebuilt table's constraints in any."""
    return sorted(line.rstrip(", ") for line in sql.splitlines())


def test_what_each_revision_makes_is_what_stands_when_it_has_been_applied(tmp_path):
    for revision, made in made_by_revision(REPOSITORY / "alembic").items():
        upgrade(tmp_path / "new.db", revision)
        with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        assert {each.name: parts(each.sql) for each in made.schema.values()} == {
            name: parts(sql) for name, sql in rows if name != "alembic_version"
        }


def test_while_it_continues_a_copy_of_the_database_as_it_was_lies_beside_it(path):
    before, seen = rows_of(path), []

    def look_at_copy(_: str) -> None:
        if copy_of(path).exists():
            seen.append(rows_of(copy_of(path)))

    upgrade_to_head(url_of(path), Audience(info=look_at_copy))
    assert seen[0] == before
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]


def test_it_says_how_many_rows_it_changes_and_how_long_that_may_take(path, monkeypatch):
    told: list[str] = []
    upgrade_to_head(url_of(path), Audience(info=told.append))
    assert told[0].startswith("Migrating rewrites ")
    assert "events (5 rows), " in told[0]
    assert told[0].endswith("; measured elsewhere, that takes about 1 s.")
    assert told[1] == f"A copy of the database as it was is kept at {copy_of(path)} until the migration has succeeded."


@pytest.mark.parametrize(
    ("counts", "duration"),
    [({"events": 0}, "about 1 s"), ({"events": 1_000_000}, "about 15 s"), ({"events": 20_000_000}, "about 5 minutes")],
)
def test_the_time_it_may_take_follows_the_rows(counts, duration):
    assert before_migrating.duration_told(counts, {"events": 15.0}) == duration


def test_the_copy_can_be_switched_off(path):
    told: list[str] = []
    migrate(url_of(path), info=told.append, is_copied=False)
    assert len(told) == 1


def test_a_disk_without_room_is_reported_before_anything_is_written(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 100_000))
    with pytest.raises(DatabaseError) as caught:
        upgrade_to_head(url_of(path))
    assert re.fullmatch(
        rf"The database was not migrated: that needs some 0\.\d MB of free disk in {path.parent}, or 0\.\d MB without "
        r"a copy from before \(MIGRATION_COPY=False\), and 0\.1 MB are free\. Free some space, then run again\. "
        r"Nothing was changed\.",
        str(caught.value),
    )
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]


def test_without_the_copy_less_room_is_enough(path, monkeypatch):
    size = path.stat().st_size
    monkeypatch.setattr(before_migrating, "ROOM_A_TABLE", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, size - 1))
    with pytest.raises(DatabaseError, match="of free disk in"):
        upgrade_to_head(url_of(path))
    assert upgrade_to_head(url_of(path), is_copied=False) == REVISIONS[5:]


def test_the_room_follows_the_tables_that_are_rebuilt(path, monkeypatch):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE large (content BLOB)")
        connection.executemany("INSERT INTO large VALUES (?)", [(bytes(100_000),)] * 100)
        connection.commit()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 5_000_000))
    with pytest.raises(DatabaseError, match=r"needs some 1\d MB of free disk in .*, or 0\.\d MB without a copy"):
        upgrade_to_head(url_of(path))
    assert upgrade_to_head(url_of(path), is_copied=False) == REVISIONS[5:]


def test_a_copy_that_a_killed_migration_left_counts_as_room_and_is_replaced(path, monkeypatch):
    size = path.stat().st_size
    copy_of(path).write_bytes(bytes(size))
    copy_of(path).with_name("history.db.before-migration.partial").write_bytes(b"half")
    monkeypatch.setattr(before_migrating, "ROOM_A_TABLE", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 0))
    assert upgrade_to_head(url_of(path)) == REVISIONS[5:]
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]


def test_a_copy_that_is_ended_leaves_everything_as_it_was(path):
    def end() -> None:
        raise DatabaseError("asked to stop")

    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="asked to stop"):
        upgrade_to_head(url_of(path), Audience(look=end))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]


def test_a_disk_that_the_copy_fills_keeps_no_half_of_it_and_the_next_run_continues(path, monkeypatch):
    def copy_until_full(*arguments) -> None:
        copy_pages(*arguments)
        raise sqlite3.OperationalError("database or disk is full")

    before = path.read_bytes()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(before_migrating, "copy_pages", copy_until_full)
        with pytest.raises(DatabaseError) as caught:
            upgrade_to_head(url_of(path))
    assert str(caught.value) == (
        f"The database was not migrated: a copy from before cannot be kept in {path.parent} (database or disk is "
        "full). Free some space there, let this user write there, or do without a copy (MIGRATION_COPY=False), then "
        "run again. Nothing was changed."
    )
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]
    assert upgrade_to_head(url_of(path)) == REVISIONS[5:]


def test_a_disk_that_the_migration_fills_loses_nothing_and_the_next_run_continues(path):
    made_by_revision(migrations.SCRIPT_LOCATION)  # in memory, where there is room
    with closing(sqlite3.connect(path)) as connection:
        (page_count,) = connection.execute("PRAGMA page_count").fetchone()
    before = rows_of(path)

    def fill(connection, _) -> None:
        connection.execute(f"PRAGMA max_page_count={page_count + 5}")

    event.listen(Engine, "connect", fill)
    try:
        with pytest.raises(DatabaseError, match=r"database or disk is full.*free some space, then run again"):
            upgrade_to_head(url_of(path))
    finally:
        event.remove(Engine, "connect", fill)
    assert rows_of(path) == rows_of(copy_of(path)) == before
    assert upgrade_to_head(url_of(path)) == REVISIONS[5:]
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]


def test_a_migration_that_fails_leaves_the_copy(path, tmp_path, monkeypatch):
    history = tmp_path / "history"
    shutil.copytree(REPOSITORY / "alembic", history, ignore=shutil.ignore_patterns("__pycache__"))
    (history / "versions" / "9999_fail.py").write_text(FAILING_MIGRATION, encoding="utf-8")
    monkeypatch.setattr(migrations, "SCRIPT_LOCATION", history)
    before = rows_of(path)
    with pytest.raises(DatabaseError, match="could not be migrated and keeps the schema it had"):
        upgrade_to_head(url_of(path))
    assert rows_of(path) == rows_of(copy_of(path)) == before


def test_a_new_database_needs_no_copy_and_nothing_is_said(tmp_path):
    told: list[str] = []
    upgrade_to_head(url_of(tmp_path / "new.db"), Audience(info=told.append, warning=told.append))
    assert told == []
    assert [each.name for each in tmp_path.iterdir()] == ["new.db"]


def test_a_database_without_rows_needs_no_copy(tmp_path):
    told: list[str] = []
    upgrade(tmp_path / "new.db", "0005")
    upgrade_to_head(url_of(tmp_path / "new.db"), Audience(info=told.append, warning=told.append))
    assert told == []
