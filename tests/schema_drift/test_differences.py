"""Whatever differs from what the migrations make is named, and nothing else is."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, Table

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import Base, create_database_engine, read_transaction
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import declared_objects
from src.marketing_messaging_service.schema_drift import find_differences, refuse_older_schema
from src.marketing_messaging_service.schema_drift.declared import table_parts
from tests.self_check.databases import drop_constraint, execute


@pytest.fixture
def path(database_url: str) -> Path:
    """A migrated database with nothing in it."""
    return Path(database_url.removeprefix("sqlite:///"))


def differences(path: Path) -> list[str]:
    """What differs, as it is said."""
    with read_transaction(create_database_engine(f"sqlite:///{path}")) as connection:
        return [difference.sentence for difference in find_differences(connection)]


def test_a_migrated_file_is_as_the_models_and_views_declare(path: Path):
    assert differences(path) == []


CHANGES = [
    (["DROP INDEX uq_events_message_id"], "the index uq_events_message_id of events is missing"),
    (
        ["DROP INDEX uq_events_message_id", "CREATE INDEX uq_events_message_id ON events (message_id)"],
        "the index uq_events_message_id of events differs from the one that the migrations make",
    ),
    (
        ["DROP INDEX ix_loads_undecided", "CREATE INDEX ix_loads_undecided ON loads (id) WHERE state = 'Loaded'"],
        "the index ix_loads_undecided of loads differs from the one that the migrations make",
    ),
    (["DROP VIEW load_history"], "the view load_history is missing"),
    (
        ["DROP VIEW event_dates", "CREATE VIEW event_dates AS SELECT '2026-01-01' AS event_date"],
        "the view event_dates differs from the one that the migrations make",
    ),
    (
        ["DROP VIEW event_dates", "CREATE TABLE Event_Dates (event_date)"],
        "the view event_dates is missing, and a table has its name",
    ),
    (["DROP TABLE run_leases"], "the table run_leases is missing"),
    (
        ["ALTER TABLE loads ADD COLUMN note TEXT"],
        "the table loads has the column note, which no migration made",
    ),
    (
        ["ALTER TABLE unknown_keys RENAME COLUMN occurrence_count TO how_many"],
        "the table unknown_keys lacks the column occurrence_count",
        "the table unknown_keys has the column how_many, which no migration made",
    ),
    (
        ["CREATE TRIGGER audit AFTER INSERT ON Events BEGIN SELECT 1; END"],
        "the trigger audit on Events is not part of this project and can change or block what a run writes",
    ),
    (
        ["CREATE UNIQUE INDEX one_a_user ON send_requests (user_id)"],
        "the index one_a_user on send_requests is not part of this project and can refuse what a run writes",
    ),
]


@pytest.mark.parametrize(("statements", *["expected"]), [(change[0], change[1:]) for change in CHANGES])
def test_a_change_is_named(path: Path, statements: Sequence[str], expected: Sequence[str]):
    execute(path, *statements)
    assert differences(path) == list(expected)


def test_a_column_of_another_type_or_without_its_default_is_named(path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(replace(sql, 'user_id VARCHAR(64) NOT NULL', 'user_id BLOB'), "
            "'DEFAULT (CURRENT_TIMESTAMP) ', '') WHERE name = 'events'"
        )
    said = differences(path)
    assert said[0] == "the table events has USER_ID BLOB in place of USER_ID VARCHAR ( 64 ) NOT NULL"
    assert said[1].startswith("the table events has CREATED_AT ")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("table", "constraint"),
    [
        ("loads", "ck_loads_counts_add_up"),
        ("events", "fk_events_load_id_loads"),
        ("source_files", "uq_source_files_content_hash"),
    ],
)
def test_a_constraint_that_is_gone_is_named(path: Path, table: str, constraint: str):
    drop_constraint(path, table, constraint)
    assert differences(path) == [f"the table {table} lacks the constraint {constraint}"]


def test_what_is_somebodys_own_is_no_difference(path: Path):
    execute(
        path,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT UNIQUE)",
        "CREATE UNIQUE INDEX one_note ON notes (body)",
        "CREATE TRIGGER kept BEFORE DELETE ON notes BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE INDEX mine ON events (event_type)",
        'CREATE VIEW "a ""view""" AS SELECT * FROM gone',
        "CREATE VIEW my_sends AS SELECT user_id FROM send_requests",
        "CREATE TRIGGER into_a_view INSTEAD OF INSERT ON my_sends BEGIN SELECT 1; END",
        "ANALYZE",
    )
    assert differences(path) == []


def test_how_a_statement_is_written_is_no_difference(path: Path):
    execute(
        path,
        "DROP INDEX uq_events_message_id",
        'create unique  index "uq_events_message_id"\non [events] ( `message_id` )',
    )
    assert differences(path) == []


@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=str)
def test_every_column_and_constraint_of_a_table_is_compared(table: Table):
    (sql,) = [declared.sql for declared in declared_objects(Base.metadata, {}) if declared.name == table.name]
    assert table_parts(sql).parts.keys() == {
        *(f"column {column.name}" for column in table.columns),
        *(f"constraint {constraint.name}" for constraint in table.constraints),
    }


def test_a_foreign_key_that_a_column_was_added_with_is_the_one_of_the_table():
    added = table_parts(
        "CREATE TABLE t (id INTEGER, b INTEGER CONSTRAINT fk_t_b_u REFERENCES u (id) ON DELETE SET NULL)"
    )
    declared = table_parts(
        "CREATE TABLE t (id INTEGER, b INTEGER, "
        "CONSTRAINT fk_t_b_u FOREIGN KEY(b) REFERENCES u (id) ON DELETE SET NULL)"
    )
    assert added == declared


def test_an_older_schema_is_refused(engine: Engine, path: Path):
    execute(path, "UPDATE alembic_version SET version_num = '0006'")
    with pytest.raises(DatabaseError, match="it lacks "), read_transaction(engine) as connection:
        refuse_older_schema(connection)
