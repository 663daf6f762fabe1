"""A row that a trigger refuses or deletes is neither inserted nor a duplicate: nothing of its file is kept."""

import pytest
from sqlalchemy import Engine, text

from src.marketing_messaging_service.errors import LostRowsError, RefusedRowError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.loading import new_events
from tests.loading.conftest import Load
from tests.loading.raw_files import raw, rows

BARE = raw()
EVENT = raw(properties={"amount": 1, "coupon": "x"}, user_traits={"country": "NO"})


def add_trigger(engine: Engine, table: str, when: str = "BEFORE INSERT", then: str = "SELECT RAISE(IGNORE)") -> None:
    with write_transaction(engine) as connection:
        connection.execute(text(f"CREATE TRIGGER meddling {when} ON {table} BEGIN {then}; END"))


TABLES = [
    "events",
    "event_types",
    "event_properties",
    "user_traits",
    "rejected_rows",
    "unknown_keys",
    "source_files",
    "loads",
]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_a_trigger_keeps_out_is_a_sentence(engine: Engine, load: Load, table: str):
    add_trigger(engine, table)
    with pytest.raises(LostRowsError, match=rf"1 row was written to the table {table}, and 0 .*DROP TRIGGER"):
        load("a.jsonl", EVENT, {"no": "event"})
    assert rows(engine, "SELECT count(*) FROM loads") == [(0,)]


@pytest.mark.parametrize("table", ["event_properties", "user_traits", "rejected_rows", "unknown_keys"])
def test_a_row_that_a_trigger_takes_away_again_is_a_sentence(engine: Engine, load: Load, table: str):
    add_trigger(engine, table, "AFTER INSERT", f"DELETE FROM {table} WHERE rowid = NEW.rowid")
    with pytest.raises(LostRowsError, match=f"1 row was written to the table {table}, and 0 "):
        load("a.jsonl", EVENT, {"no": "event"})


def test_an_event_that_a_trigger_takes_away_again_is_a_sentence(engine: Engine, load: Load):
    add_trigger(engine, "events", "AFTER INSERT", "DELETE FROM events WHERE id = NEW.id")
    with pytest.raises(LostRowsError, match="1 row was written to the table events, and 0 "):
        load("a.jsonl", BARE)
    with pytest.raises(RefusedRowError, match="FOREIGN KEY constraint failed"):
        load("b.jsonl", EVENT)


def test_an_event_that_is_kept_out_of_a_large_load_is_a_sentence(
    engine: Engine, load: Load, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(new_events, "SMALLEST_REBUILD", 1)
    add_trigger(engine, "events")
    with pytest.raises(LostRowsError, match="1 row was written to the table events, and 0 "):
        load("a.jsonl", EVENT)


def test_a_trigger_that_lets_every_row_pass_is_in_nobodys_way(engine: Engine, load: Load):
    with write_transaction(engine) as connection:
        connection.execute(text("CREATE TABLE seen (message_id TEXT)"))
    add_trigger(engine, "events", "AFTER INSERT", "INSERT INTO seen VALUES (NEW.message_id)")
    load("a.jsonl", EVENT, EVENT)
    again = load("b.jsonl", EVENT, EVENT | {"message_id": "m2"})
    assert (again.inserted_count, again.duplicate_count) == (1, 1)
    assert rows(engine, "SELECT message_id FROM seen ORDER BY 1") == [("m1",), ("m2",)]


IGNORED = ("BEFORE INSERT", "SELECT RAISE(IGNORE)")


@pytest.mark.parametrize("trigger", [IGNORED, ("AFTER INSERT", "DELETE FROM conflicts WHERE load_id = NEW.load_id")])
def test_a_conflict_that_a_trigger_keeps_out_is_a_sentence(engine: Engine, load: Load, trigger: tuple[str, str]):
    load("a.jsonl", BARE)
    add_trigger(engine, "conflicts", *trigger)
    with pytest.raises(LostRowsError, match=r"1 row was written to the table conflicts, and 0 .*DROP TRIGGER"):
        load("b.jsonl", BARE | {"event_timestamp": "2026-03-01T23:00:00Z"})
    assert rows(engine, "SELECT count(*) FROM loads") == [(1,)]


@pytest.mark.parametrize("trigger", [IGNORED, ("AFTER INSERT", "DELETE FROM held_events")])
def test_an_event_that_a_trigger_lets_nobody_hold_is_a_sentence(engine: Engine, load: Load, trigger: tuple[str, str]):
    add_trigger(engine, "held_events", *trigger)
    with pytest.raises(LostRowsError, match=r"1 row was written to the table held_events, and 0 .*DROP TRIGGER"):
        load("a.jsonl", BARE, is_held=True)
    assert rows(engine, "SELECT count(*) FROM events") == [(0,)]
