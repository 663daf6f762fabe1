"""What keeps a run from writing is named when it is somebody else's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from src.marketing_messaging_service.errors import DatabaseError, PipelineError, RefusedRowError
from src.marketing_messaging_service.infrastructure.database import preview_engine, write_transaction

NOTE = text("INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES ('h', 'x', '2026-01-01')")


def make(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("distance", 1, len, deterministic=True)
        for statement in statements:
            connection.execute(statement)


def complaint(engine: Engine, statement: str | None = None) -> str:
    """What is said when a ruleset is noted, or another statement is executed."""
    with pytest.raises(PipelineError) as caught, write_transaction(engine) as connection:
        connection.execute(NOTE if statement is None else text(statement))
    return str(caught.value)


def test_a_trigger_that_raises_is_named_with_its_message_and_what_to_do(engine, tmp_path):
    make(
        tmp_path / "test.db",
        "CREATE TRIGGER harmless BEFORE UPDATE ON rulesets BEGIN SELECT RAISE(ABORT, 'other'); END",
        'CREATE TRIGGER "no ""new""" BEFORE INSERT ON rulesets BEGIN SELECT RAISE(ABORT, \'it\'\'s closed\'); END',
    )
    with pytest.raises(RefusedRowError) as caught, write_transaction(engine) as connection:
        connection.execute(NOTE)
    assert str(caught.value) == (
        'The database refused a row because of the trigger no "new" on rulesets, which is not part of this project, '
        "and not "
        "because of one of its own constraints (it's closed); nothing of this step was kept. Change the trigger so "
        'that every row passes unchanged, or drop it (DROP TRIGGER "no ""new"""), then run again.'
    )


@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
def test_however_a_trigger_raises_it_is_named(engine, tmp_path, action):
    make(
        tmp_path / "test.db",
        f"CREATE TRIGGER closed BEFORE INSERT ON rulesets BEGIN SELECT RAISE({action}, 'closed'); END",
    )
    assert complaint(engine).startswith("The database refused a row because of the trigger closed on rulesets, ")


def test_a_preview_names_it_too(engine, database_url, tmp_path):
    make(tmp_path / "test.db", "CREATE TRIGGER closed BEFORE INSERT ON rulesets BEGIN SELECT RAISE(ABORT, 'no'); END")
    with preview_engine(database_url) as scratch:
        assert complaint(scratch).startswith("The database refused a row because of the trigger closed on rulesets, ")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE INDEX far ON rulesets (distance(yaml_text))", "the index far on rulesets"),
        ("CREATE INDEX far ON rulesets (yaml_text) WHERE distance(yaml_text) > 3", "the index far on rulesets"),
        (
            "CREATE TRIGGER far AFTER INSERT ON rulesets BEGIN SELECT distance(new.id); END",
            "the trigger far on rulesets",
        ),
        ("CREATE TRIGGER gone AFTER INSERT ON rulesets BEGIN DELETE FROM notes; END", "the trigger gone on rulesets"),
        ("CREATE TRIGGER gone AFTER INSERT ON rulesets BEGIN SELECT new.colour; END", "the trigger gone on rulesets"),
    ],
)
def test_what_needs_something_that_is_not_there_is_named(engine, tmp_path, statement, told):
    make(tmp_path / "test.db", statement)
    with pytest.raises(DatabaseError) as caught, write_transaction(engine) as connection:
        connection.execute(NOTE)
    assert str(caught.value).startswith(
        f"The database cannot be written to because of {told}, which is not part of this"
    )
    assert not isinstance(caught.value, RefusedRowError)


@pytest.mark.parametrize("columns", ["yaml_text", "yaml_text, first_used_at", "lower(yaml_text)"])
def test_a_unique_index_that_refuses_a_row_is_named(engine, tmp_path, columns):
    make(tmp_path / "test.db", f"CREATE UNIQUE INDEX one_text ON rulesets ({columns})")
    with write_transaction(engine) as connection:
        connection.execute(NOTE)
    again = "INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES ('i', 'x', '2026-01-01')"
    assert complaint(engine, again).startswith("The database refused a row because of the index one_text on rulesets, ")


def test_a_constraint_of_our_own_is_not_laid_at_the_door_of_others(engine, tmp_path):
    make(
        tmp_path / "test.db",
        "CREATE UNIQUE INDEX one_text ON rulesets (yaml_text)",
        "CREATE TRIGGER closed BEFORE UPDATE ON rulesets BEGIN SELECT RAISE(ABORT, 'closed'); END",
    )
    with write_transaction(engine) as connection:
        connection.execute(NOTE)
    again = "INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES ('h', 'y', '2026-01-01')"
    assert "UNIQUE constraint failed: rulesets.content_hash" in complaint(engine, again)
    assert "not part of this project" not in complaint(engine, again)


def test_a_table_of_ours_that_is_gone_is_not_laid_at_the_door_of_others(engine, tmp_path):
    make(
        tmp_path / "test.db",
        "CREATE TRIGGER noting AFTER INSERT ON rulesets BEGIN DELETE FROM conflicts; END",
        "DROP TABLE conflicts",
    )
    assert "no such table: main.conflicts. Its tables, indexes or views are not as" in complaint(engine)
