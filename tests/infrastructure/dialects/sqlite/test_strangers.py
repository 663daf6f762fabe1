"""What other people keep in the file comes through every migration as it was, or is named with what to do."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.schema_object import SchemaObject
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects
from src.marketing_messaging_service.infrastructure.dialects.sqlite.stranger_columns import definitions
from src.marketing_messaging_service.infrastructure.migration_guard import Audience
from src.marketing_messaging_service.infrastructure.migrations import alembic_config, upgrade_to_head
from tests.infrastructure.test_migrations import REVISIONS, assert_sound, downgrade, populate, url_of

pytestmark = pytest.mark.slow

KEPT = {
    "a broken view": "CREATE VIEW my_view AS SELECT * FROM gone",
    "a view with another program's function": "CREATE VIEW far AS SELECT distance(user_id) AS d FROM events",
    "a view with a quote in its name": 'CREATE VIEW "it""s mine" AS SELECT id FROM events',
    "a view that reads ours": "CREATE VIEW signups AS SELECT * FROM events WHERE event_type = 'signup_completed'",
    "a table": "CREATE TABLE notes (id INTEGER PRIMARY KEY, event_id INTEGER REFERENCES events (id), note TEXT)",
    "a table that points at what is not unique": "CREATE TABLE odd (user_id TEXT REFERENCES events (user_id))",
    "an expression index": "CREATE INDEX my_expression ON events (lower(user_id))",
    "a partial index": "CREATE INDEX my_part ON events (user_id) WHERE event_type = 'app_opened'",
    "an index that goes down": "CREATE INDEX my_latest ON events (event_timestamp DESC, user_id COLLATE NOCASE)",
    "a unique partial index": "CREATE UNIQUE INDEX my_unique ON send_requests (id, channel) WHERE channel <> 'x'",
    "an index with a quote in its name": 'CREATE INDEX "a ""quoted"" one" ON suppressions (template_name)',
    "a trigger that raises": "CREATE TRIGGER no_change BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
    "a trigger that ignores": "CREATE TRIGGER quiet BEFORE UPDATE ON send_requests BEGIN SELECT RAISE(IGNORE); END",
    "a trigger that writes": "CREATE TRIGGER noting AFTER DELETE ON suppressions BEGIN "
    "INSERT INTO notes (note) VALUES ('deleted'); END",
    "a trigger of another program": "CREATE TRIGGER far_off AFTER UPDATE ON suppressions BEGIN "
    "SELECT distance(new.user_id); END",
}
"""Objects of others that come through as they are, each by the statement that makes it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a database that does not exist yet."""
    return tmp_path / "history.db"


def make(path: Path, *statements: str) -> None:
    """Make objects by hand, as a program does that has a function of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("distance", 1, len, deterministic=True)
        for statement in statements:
            connection.execute(statement)


def objects_of(path: Path) -> dict[str, SchemaObject]:
    """What a file holds, by name."""
    engine = create_engine(url_of(path))
    with engine.connect() as connection:
        found = {each.name: each for each in standing_objects(connection)}
    engine.dispose()
    return found


def upgraded(path: Path) -> list[str]:
    """Upgrade to the newest revision, and return what the migration warns of."""
    warnings: list[str] = []
    upgrade_to_head(url_of(path), Audience(warning=warnings.append))
    return warnings


def made(path: Path, *statements: str) -> dict[str, SchemaObject]:
    """Make objects by hand, and return them by name."""
    before = objects_of(path)
    make(path, *statements)
    return {name: each for name, each in objects_of(path).items() if name not in before}


def notes(path: Path) -> list[tuple[int, str]]:
    """The rows of somebody's own table."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT event_id, note FROM notes").fetchall()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_what_others_keep_comes_through_as_it_was_from_every_revision(path, revision):
    populate(path, revision)
    theirs = made(path, *KEPT.values())
    assert len(theirs) == len(KEPT)
    make(path, "INSERT INTO notes (event_id, note) VALUES (1, 'kept'), (99, 'of an event that is gone')")
    assert upgraded(path) == []
    after = objects_of(path)
    assert {name: after.get(name) for name in theirs} == theirs
    assert notes(path) == [(1, "kept"), (99, "of an event that is gone")]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_what_others_keep_comes_through_a_downgrade_too(path, revision):
    populate(path, revision)
    theirs = made(path, *KEPT.values())
    downgrade(path, REVISIONS[REVISIONS.index(revision) - 1])
    after = objects_of(path)
    assert {name: after.get(name) for name in theirs} == theirs


def test_their_triggers_do_not_see_what_a_migration_changes(path):
    populate(path, "0001")
    make(
        path,
        "CREATE TABLE notes (event_id INTEGER, note TEXT)",
        "CREATE TRIGGER noting AFTER UPDATE ON events BEGIN INSERT INTO notes VALUES (old.id, 'changed'); END",
    )
    assert upgraded(path) == []
    assert notes(path) == []
    make(path, "UPDATE events SET user_id = 'u' WHERE id = 1")
    assert notes(path) == [(1, "changed")]


def test_a_table_that_needs_a_module_of_another_program_is_not_in_the_way(path):
    populate(path, "0004")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'far', 'far', 0, 'CREATE VIRTUAL TABLE far USING none (x)')"
        )
    assert upgraded(path) == []
    assert objects_of(path)["far"].sql == "CREATE VIRTUAL TABLE far USING none (x)"


def test_what_sqlite_has_measured_is_left_to_sqlite(path):
    populate(path, "0004")
    make(path, "ANALYZE")
    assert upgraded(path) == []


def test_a_table_whose_name_a_migration_needs_gets_another_one_and_keeps_its_rows(path):
    populate(path, "0004")
    make(path, "CREATE TABLE runs (km REAL)", "CREATE INDEX my_index ON runs (km)", "INSERT INTO runs VALUES (12.5)")
    (told,) = upgraded(path)
    last = REVISIONS[-1]
    assert told == (
        f"The table runs is not part of this project, and its name was needed: it is called runs_before_{last} now, "
        "with every row. Change what reads it."
    )
    assert objects_of(path)["my_index"].table_name == f"runs_before_{last}"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"SELECT km FROM runs_before_{last}").fetchall() == [(12.5,)]
    assert_sound(path)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE VIEW runs AS SELECT 12.5 AS km", "runs"),
        ("CREATE VIEW Load_History AS SELECT count(*) AS n FROM loads", "Load_History"),
        ('CREATE VIEW "rule_funnel" AS SELECT 1 AS "the ""one"""', "rule_funnel"),
    ],
)
def test_a_view_whose_name_a_migration_needs_gets_another_one_and_is_not_replaced_without_a_word(path, statement, name):
    populate(path, "0003")
    make(path, statement)
    moved = f"{name}_before_{REVISIONS[-1]}"
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute(f"SELECT * FROM {name}")
        columns, rows = before.description, before.fetchall()
    assert upgraded(path) == [
        f"The view {name} is not part of this project, and its name was needed: it is called {moved} now. Change what "
        "reads it."
    ]
    with closing(sqlite3.connect(path)) as connection:
        after = connection.execute(f"SELECT * FROM {moved}")
        assert (after.description, after.fetchall()) == (columns, rows)
    assert not objects_of(path)[name.lower()].sql.startswith(statement)


def test_a_view_of_ours_that_somebody_changed_is_kept_when_a_migration_makes_it_again(path):
    populate(path, "0004")
    make(path, "DROP VIEW load_history", "CREATE VIEW load_history AS SELECT count(*) AS n FROM loads")
    (told,) = upgraded(path)
    moved = f"load_history_before_{REVISIONS[-1]}"
    assert told.startswith("The view load_history is not part of this project, and its name was needed: it is called ")
    assert objects_of(path)[moved].sql.endswith("SELECT count(*) AS n FROM loads")
    assert "load.loaded_at" in objects_of(path)["load_history"].sql


def test_a_view_of_ours_that_somebody_changed_is_left_alone_when_no_migration_makes_it_again(path):
    populate(path, REVISIONS[-2])
    make(path, "DROP VIEW event_dates", "CREATE VIEW event_dates AS SELECT '2026-11-01' AS event_date")
    assert upgraded(path) == []
    assert objects_of(path)["event_dates"].sql.endswith("SELECT '2026-11-01' AS event_date")


def test_an_index_whose_name_a_migration_needs_gets_another_one(path):
    populate(path, "0004")
    make(path, "CREATE INDEX ix_runs_flow_run_id ON events (user_id)")
    (told,) = upgraded(path)
    moved = f"ix_runs_flow_run_id_before_{REVISIONS[-1]}"
    assert told.startswith(
        "The index ix_runs_flow_run_id on events is not part of this project, and its name was needed: "
    )
    assert objects_of(path)[moved].table_name == "events"
    assert objects_of(path)["ix_runs_flow_run_id"].table_name == "runs"


def test_a_trigger_on_a_view_of_ours_comes_back_when_the_view_is_made_again(path):
    populate(path, "0004")
    theirs = made(
        path,
        "CREATE TRIGGER no_write INSTEAD OF DELETE ON load_history BEGIN SELECT RAISE(ABORT, 'only read this'); END",
    )
    assert upgraded(path) == []
    assert objects_of(path)["no_write"] == theirs["no_write"]


def test_an_index_with_another_programs_function_on_a_table_that_is_rebuilt_is_named_with_its_statement(path):
    populate(path, "0005")
    statement = "CREATE INDEX far ON events (distance(user_id))"
    make(path, statement)
    (told,) = upgraded(path)
    assert told == (
        "The index far on events is not part of this project and cannot be made again after the migration (no such "
        f"function: distance). Change what it says, and make it by hand: {statement}"
    )
    assert "far" not in objects_of(path)


def test_a_view_that_reads_what_a_migration_takes_away_is_named(path):
    populate(path, "0005")
    make(path, "CREATE VIEW mine AS SELECT message FROM runs")
    warnings: list[str] = []
    config = alembic_config(url_of(path))
    config.attributes["audience"] = Audience(warning=warnings.append)
    command.downgrade(config, "0004")
    assert warnings == [
        "The view mine is not part of this project and cannot be read any more (no such table: main.runs), because the "
        "schema is another one now. Change it, or drop it."
    ]


COLUMNS = {
    "plain": ("segment", "segment TEXT DEFAULT 'none'"),
    "one with a collation": ("nick", "nick TEXT COLLATE NOCASE"),
    "one that checks and points": ("note_id", "note_id INTEGER CHECK (note_id > 0) REFERENCES notes (id)"),
    "a generated one": ("day", "day TEXT GENERATED ALWAYS AS (substr(event_timestamp, 1, 10)) VIRTUAL"),
    "one with a quote in its name": ('it"s', '"it""s" TEXT'),
}


def column_of(path: Path, table: str, name: str) -> tuple[str, list[object]]:
    """How a column is defined, and its values."""
    quoted = name.replace('"', '""')
    with closing(sqlite3.connect(path)) as connection:
        values = [value for (value,) in connection.execute(f'SELECT "{quoted}" FROM {table} ORDER BY id')]
    sql = objects_of(path)[table].sql
    start, end = definitions(sql)[name.upper()]
    return " ".join(sql[start:end].split()), values


@pytest.mark.parametrize("revision", ["0001", "0005", "0009"])
def test_columns_that_others_have_added_are_what_they_were(path, revision):
    populate(path, revision)
    make(path, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")
    for name, definition in COLUMNS.values():
        quoted = name.replace('"', '""')
        make(path, f"ALTER TABLE events ADD COLUMN {definition}", f'CREATE INDEX "by_{quoted}" ON events ("{quoted}")')
    make(path, "UPDATE events SET segment = NULL WHERE id = 1")
    names = [name for name, _ in COLUMNS.values()]
    before = [(column_of(path, "events", name), objects_of(path)[f"by_{name}"]) for name in names]
    assert upgraded(path) == []
    assert [(column_of(path, "events", name), objects_of(path)[f"by_{name}"]) for name in names] == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_column_whose_name_a_migration_needs_gets_another_one_and_keeps_its_values(path):
    populate(path, "0005")
    theirs = made(
        path,
        "CREATE VIEW broken AS SELECT * FROM gone",
        "CREATE VIEW one AS SELECT 1",
        "CREATE TRIGGER no_write INSTEAD OF DELETE ON one BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    make(path, "ALTER TABLE event_properties ADD COLUMN Currency TEXT", "UPDATE event_properties SET currency = 'EUR'")
    last = REVISIONS[-1]
    assert upgraded(path) == [
        "The column Currency of event_properties is not part of this project, and its name was needed: it is called "
        f"Currency_before_{last} now, with every value. Change what reads it."
    ]
    assert set(column_of(path, "event_properties", f"Currency_before_{last}")[1]) == {"EUR"}
    assert set(column_of(path, "event_properties", "currency")[1]) == {None}
    after = objects_of(path)
    assert {name: after.get(name) for name in theirs} == theirs


def test_a_column_that_cannot_come_through_is_named_with_what_to_do(path):
    populate(path, "0005")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'user_id VARCHAR(64) NOT NULL,', "
            "'user_id VARCHAR(64) NOT NULL, day TEXT AS (1) STORED,') WHERE name = 'send_requests'"
        )
    with pytest.raises(DatabaseError) as caught:
        upgraded(path)
    assert str(caught.value) == (
        "The database was not migrated: the column day of send_requests is not part of this project, and is generated "
        "and "
        'stored, so it cannot be kept. Drop it (ALTER TABLE "send_requests" DROP COLUMN "day"), then '
        "run again."
    )


def test_a_column_of_others_that_points_at_what_is_gone_is_their_affair(path):
    populate(path, "0005")
    make(
        path,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY)",
        "ALTER TABLE events ADD COLUMN note_id INTEGER REFERENCES notes (id)",
        "UPDATE events SET note_id = 99",
    )
    assert upgraded(path) == []


def test_a_table_with_a_name_that_alembic_needs_for_a_moment_is_not_in_the_way(path):
    populate(path, "0005")
    make(path, "CREATE TABLE _alembic_tmp_events (mine TEXT)")
    (told,) = upgraded(path)
    assert told.startswith("The table _alembic_tmp_events is not part of this project, and its name was needed: ")
