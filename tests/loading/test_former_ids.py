"""Events that an earlier version loaded under another id are known when they are delivered again."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.loading import new_events
from tests.loading.raw_files import raw, rows
from tests.staging.outcomes import parse_line

MOVING = [raw(None, sent_at=f"2026-03-01T12:00:0{number}Z", retry=number) for number in range(3)]
"""One event, delivered three times."""


def loaded_by_the_first_version(engine: Engine, *lines: dict[str, Any]) -> None:
    """Give events that have just been loaded the ids that the first version gave them."""
    with write_transaction(engine) as connection:
        for line in lines:
            parsed = parse_line(json.dumps(line).encode())
            [former_id] = parsed.former_ids
            change = text("UPDATE events SET message_id = :former WHERE message_id = :today")
            done = connection.execute(change, {"former": former_id, "today": parsed.event["message_id"]})
            assert done.rowcount == 1


def counts(result: Any) -> tuple[int, int, int]:
    return result.inserted_count, result.duplicate_count, result.conflict_count


@pytest.fixture(params=[1, 50_000], ids=["indexes rebuilt", "indexes kept"], autouse=True)
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_events, "SMALLEST_REBUILD", request.param)


def test_one_event_that_says_when_it_was_sent_each_time_is_one_event(engine, load):
    assert counts(load("a.jsonl", *MOVING)) == (1, 2, 0)
    assert counts(load("b.jsonl", MOVING[2], raw(None))) == (0, 2, 0)


def test_what_was_loaded_under_its_former_id_is_a_duplicate(engine, load):
    load("a.jsonl", raw("m1"), MOVING[0], raw("m2"))
    loaded_by_the_first_version(engine, MOVING[0])

    result = load("b.jsonl", raw("m3"), MOVING[0], raw(None, user_id="else", sent_at="x"), chunk_rows=1)

    assert counts(result) == (2, 1, 0)
    assert rows(engine, "SELECT count(*) FROM events WHERE message_id LIKE 'content:%'") == [(2,)]


def test_another_delivery_beside_it_in_the_file_is_known_too(engine, load):
    load("a.jsonl", MOVING[0])
    loaded_by_the_first_version(engine, MOVING[0])

    assert counts(load("b.jsonl", MOVING[1], MOVING[0], MOVING[2])) == (0, 3, 0)


def test_a_negative_zero_that_was_another_amount_once_is_known(engine, load):
    event = raw(None, properties={"amount": -0.0, "attempt_number": 1})
    load("a.jsonl", event)
    loaded_by_the_first_version(engine, event)

    assert counts(load("b.jsonl", event, raw(None, properties={"amount": 0, "attempt_number": 1}))) == (0, 2, 0)


def test_two_files_loaded_together_are_distinguished_as_before(engine, landing, load):
    load("a.jsonl", MOVING[0], MOVING[1] | {"user_id": "v"})
    loaded_by_the_first_version(engine, MOVING[0], MOVING[1] | {"user_id": "v"})

    assert counts(load("b.jsonl", MOVING[0], chunk_rows=1)) == (0, 1, 0)
    assert counts(load("c.jsonl", MOVING[1] | {"user_id": "v"}, MOVING[0])) == (0, 2, 0)


def test_thousands_of_them_are_known(engine, load):
    events = [raw(None, user_id=f"u{number}", sent_at=number) for number in range(1_200)]
    load("a.jsonl", *events)
    loaded_by_the_first_version(engine, *events[::2])

    assert counts(load("b.jsonl", *events, *events[::3])) == (0, 1_600, 0)
