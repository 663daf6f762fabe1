"""Events delivered again: counted, left out, and recorded where they say something else."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.loading.raw_files import raw, rows

FULL = {
    "properties": {"amount": 9.5, "attempt_number": 3, "failure_reason": "CARD_EXPIRED"},
    "user_traits": {"email": "a@b.c", "country": "BR", "marketing_opt_in": True, "risk_segment": "low"},
}


def conflicts(engine: Engine) -> list[tuple[Any, ...]]:
    """What was recorded of redeliveries that differ."""
    return rows(engine, "SELECT load_id, line_number, event_id, differing_fields FROM conflicts ORDER BY 1, 2")


def test_an_event_delivered_twice_in_a_file_is_one_row(engine, load):
    result = load("a.jsonl", raw("m1", **FULL), raw("m2"), raw("m1", **FULL))
    assert (result.inserted_count, result.duplicate_count, result.conflict_count) == (2, 1, 0)
    assert rows(engine, "SELECT message_id FROM events ORDER BY id") == [("m1",), ("m2",)]
    assert rows(engine, "SELECT event_id FROM event_properties") == [(1,)]
    assert rows(engine, "SELECT event_id FROM user_traits") == [(1,)]
    assert conflicts(engine) == []


def test_an_event_delivered_in_two_files_is_one_row_of_the_first(engine, load):
    load("a.jsonl", raw("m1", **FULL))
    result = load("b.jsonl", raw("m2", **FULL), raw("m1", **FULL))
    assert (result.inserted_count, result.duplicate_count, result.conflict_count) == (1, 1, 0)
    assert rows(engine, "SELECT message_id, load_id FROM events ORDER BY id") == [("m1", 1), ("m2", 2)]
    assert rows(engine, "SELECT message_id FROM event_properties JOIN events ON events.id = event_id") == [
        ("m1",),
        ("m2",),
    ]


def test_the_children_of_new_events_between_duplicates_find_their_own_event(engine, load):
    load("a.jsonl", raw("m1"), raw("m4"))
    load("b.jsonl", *(raw(f"m{number}", properties={"amount": number}) for number in (1, 2, 4, 3, 2, 5)))
    assert rows(engine, "SELECT message_id, amount FROM event_properties JOIN events ON events.id = event_id") == [
        ("m2", 2.0),
        ("m3", 3.0),
        ("m5", 5.0),
    ]


def test_the_same_said_in_another_spelling_is_no_conflict(engine, load):
    load("a.jsonl", raw("m1", event_timestamp="2026-03-01T12:00:00Z", properties={"amount": 12, "attempt_number": 3}))
    again = {"properties": {"amount": "12.0", "attempt_number": "3", "failure_reason": None}, "user_traits": {}}
    result = load("b.jsonl", raw("m1", event_timestamp="2026-03-01T17:30:00.000+05:30", **again))
    assert (result.duplicate_count, result.conflict_count) == (1, 0)


def test_unknown_keys_that_differ_are_no_conflict(load):
    result = load("a.jsonl", raw("m1", coupon="A"), raw("m1", coupon="B", properties={"shop": 1}))
    assert (result.duplicate_count, result.conflict_count) == (1, 0)


def test_an_event_without_message_id_is_known_by_its_content(engine, load):
    load("a.jsonl", raw(None), raw(None, properties={"amount": 1}))
    result = load("b.jsonl", raw(None), raw(None, properties={"amount": 2}))
    assert (result.inserted_count, result.duplicate_count, result.conflict_count) == (1, 1, 0)
    assert rows(engine, "SELECT count(DISTINCT message_id) FROM events WHERE message_id LIKE 'content:%'") == [(3,)]


def test_a_retry_without_message_id_is_one_event_whatever_is_said_of_its_delivery(engine, load):
    payload: dict[str, Any] = {"properties": {"amount": 5, "attempt_number": 4, "channel": "web"}}
    load("a.jsonl", raw(None, **payload, sent_at="2026-03-01T10:00:00Z", retry=0))
    result = load("b.jsonl", *(raw(None, **payload, sentAt="2026-03-01T10:00:09Z", retries=n) for n in (1, 2)))
    assert (result.inserted_count, result.duplicate_count, result.conflict_count) == (0, 2, 0)

    payload["properties"]["channel"] = "app"
    assert load("c.jsonl", raw(None, **payload)).inserted_count == 1


def test_message_ids_that_only_look_alike_are_different_events(load):
    result = load("a.jsonl", *(raw(message_id) for message_id in ("7", "007", "7 ", "m", "M", "é", "e\u0301")))
    assert (result.inserted_count, result.duplicate_count) == (7, 0)


def test_a_rejected_line_is_no_duplicate(load):
    result = load("a.jsonl", raw("m1"), raw("m1", user_id=""))
    assert (result.duplicate_count, result.rejected_count) == (0, 1)


def test_a_retry_with_a_time_of_its_own_is_a_conflict_that_says_so(engine, load):
    load("a.jsonl", raw("m0"), raw("m1", **FULL))
    result = load("b.jsonl", raw("m2"), raw("m1", **FULL, event_timestamp="2026-03-01T12:00:00.000001Z"))
    assert (result.duplicate_count, result.conflict_count, result.collision_count) == (1, 1, 0)
    assert conflicts(engine) == [(2, 2, 2, "event_timestamp")]


def test_every_retry_is_compared_with_the_event_that_stands(engine, load):
    """The third line says the same as the second, but the first is the one that is kept."""
    later = raw("m1", event_timestamp="2026-03-01T12:00:01Z")
    result = load("a.jsonl", raw("m1"), later, later, raw("m1"))
    assert (result.duplicate_count, result.conflict_count) == (3, 2)
    assert conflicts(engine) == [(1, 2, 1, "event_timestamp"), (1, 3, 1, "event_timestamp")]


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_duplicates_are_found_within_a_chunk_and_beyond_it(engine, load, chunk_rows):
    later = {"event_timestamp": "2026-03-01T12:00:01Z"}
    load("a.jsonl", raw("m1"))
    lines = [raw("m2"), raw("m1", **later), raw("m2"), raw("m3"), raw("m2", **later)]
    result = load("b.jsonl", *lines, chunk_rows=chunk_rows)
    assert (result.inserted_count, result.duplicate_count, result.conflict_count) == (2, 3, 2)
    assert [(load_id, line) for load_id, line, _, _ in conflicts(engine)] == [(2, 2), (2, 5)]


def test_a_file_that_holds_nothing_new_is_in_the_ledger_and_brings_no_events(engine, load):
    load("a.jsonl", raw("m1"), raw("m2"))
    load("b.jsonl", raw("m2"), raw("m1"))
    assert rows(engine, "SELECT inserted_count, duplicate_count, first_event_id, last_event_id FROM loads") == [
        (2, 0, 1, 2),
        (0, 2, None, None),
    ]
