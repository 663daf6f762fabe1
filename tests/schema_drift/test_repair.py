"""Views and indexes are rebuilt; no row is touched, and nothing is forced."""

from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import create_database_engine, read_transaction
from src.marketing_messaging_service.schema_drift import find_differences, repair
from src.marketing_messaging_service.schema_drift.results import RepairedObject
from tests.self_check.databases import by_hand, execute, rows

SOURCE_FILE = (
    "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at) "
    "VALUES ({0}, '{0}', 'a', 1, '2026-03-01 10:00:00.000000', 's', '2026-03-01 10:00:00.000000')"
)
EVENT = (
    "INSERT INTO events (id, message_id, user_id, event_type, event_timestamp, created_at) "
    "VALUES ({0}, '{1}', 'u', 't', '2026-03-01 10:00:00.000000', '2026-03-01 10:00:00.000000')"
)


@pytest.fixture
def path(database_url: str) -> Path:
    """A migrated database with nothing in it."""
    return Path(database_url.removeprefix("sqlite:///"))


def repaired(path: Path) -> list[RepairedObject]:
    return repair(create_database_engine(f"sqlite:///{path}"))


def differences(path: Path) -> list[str]:
    with read_transaction(create_database_engine(f"sqlite:///{path}")) as connection:
        return [difference.sentence for difference in find_differences(connection)]


def test_of_a_sound_file_nothing_is_made(path: Path):
    assert repaired(path) == []


def test_every_index_and_view_comes_back(path: Path):
    with by_hand(path) as connection:
        dropped = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE type IN ('index', 'view') AND sql IS NOT NULL"
        ).fetchall()
        for kind, name in dropped:
            connection.execute(f"DROP {kind} {name}")
    assert len(differences(path)) == len(dropped) > 20
    assert {(made.kind, made.name) for made in repaired(path)} == set(dropped)
    assert differences(path) == []
    assert rows(path, "SELECT * FROM daily_messages") == []


def test_what_stood_in_the_place_of_a_view_is_handed_back(path: Path):
    mine = "CREATE VIEW event_dates AS SELECT 'x''y' AS event_date"
    execute(path, "DROP VIEW event_dates", mine)
    assert repaired(path) == [RepairedObject("view", "event_dates", replaced_sql=mine)]
    assert differences(path) == []


def test_a_trigger_on_a_view_stays(path: Path):
    execute(
        path,
        "DROP VIEW event_dates",
        "CREATE VIEW event_dates AS SELECT 1 AS event_date",
        "CREATE TRIGGER into_it INSTEAD OF INSERT ON event_dates BEGIN SELECT 1; END",
    )
    repaired(path)
    assert rows(path, "SELECT tbl_name FROM sqlite_master WHERE name = 'into_it'") == [("event_dates",)]


def test_a_unique_index_against_which_rows_stand_is_not_forced_and_the_others_are_made(path: Path):
    execute(
        path,
        "DROP INDEX uq_events_message_id",
        "CREATE INDEX uq_events_message_id ON events (message_id)",
        "DROP INDEX ix_suppressions_user_id",
        EVENT.format(1, "m"),
        EVENT.format(2, "m"),
    )
    kept, made = sorted(repaired(path), key=lambda each: not each.problem)
    assert kept.problem == (
        "rows stand against it (UNIQUE constraint failed: events.message_id); the self-check says which"
    )
    assert made == RepairedObject("index", "ix_suppressions_user_id")
    assert rows(path, "SELECT sql FROM sqlite_master WHERE name = 'uq_events_message_id'") == [
        ("CREATE INDEX uq_events_message_id ON events (message_id)",)
    ]
    assert rows(path, "SELECT count(*) FROM events") == [(2,)]


def test_a_view_over_a_table_that_lacks_a_column_is_made_and_said_to_be_of_no_use(path: Path):
    execute(
        path,
        "DROP VIEW rejected_lines",
        "ALTER TABLE rejected_rows RENAME COLUMN field_name TO other",
        SOURCE_FILE.format(1),
    )
    assert "no such column: rejected.field_name" in {made.problem for made in repaired(path) if made.problem}.pop()
    assert rows(path, "SELECT count(*) FROM source_files") == [(1,)]


def test_a_table_in_the_place_of_a_view_is_left_alone(path: Path):
    execute(path, "DROP VIEW event_dates", "CREATE TABLE event_dates (event_date)")
    assert repaired(path) == []
    assert differences(path) == ["the view event_dates is missing, and a table has its name"]


def test_an_older_schema_is_refused(path: Path):
    execute(path, "UPDATE alembic_version SET version_num = '0006'")
    with pytest.raises(DatabaseError, match="it lacks "):
        repaired(path)
