"""Which events had a prior event that was loaded with them or earlier: asked of all at once, and of each by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, select, text

from src.marketing_messaging_service.decisions.conditions import Happened
from src.marketing_messaging_service.decisions.prior_there import candidate_columns, had_prior_event
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.models import Event, Load, SourceFile
from tests.effort import examples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = Happened(event_type="signup", within_hours=1)

# User, type, seconds and microseconds from noon, load (0 for none); ids count in this order.
Told = tuple[str, str, float, int]


def store(connection: Connection, events: list[Told]) -> None:
    connection.execute(text("DELETE FROM events"))
    for number, (user_id, event_type, seconds, load_id) in enumerate(events, start=1):
        row = {
            "id": number,
            "message_id": f"m{number}",
            "user_id": user_id,
            "event_type": event_type,
            "event_timestamp": NOON + timedelta(seconds=seconds),
            "load_id": load_id or None,
        }
        connection.execute(insert(Event).values(row))


def found(connection: Connection, trigger: str) -> set[int]:
    """The events of a type of which it is true, asked of all of them at once."""
    candidate = select(*candidate_columns()).where(Event.event_type == trigger).cte("candidate")
    true_of = had_prior_event(candidate, HOUR, "prior")
    return set(connection.execute(select(candidate.c.event_id).where(candidate.c.event_id.in_(true_of))).scalars())


def expected(events: list[Told], trigger: str) -> set[int]:
    """The same, event by event as it is defined."""
    return {
        number
        for number, (user_id, event_type, seconds, load_id) in enumerate(events)
        if event_type == trigger
        and any(
            place != number
            and other[:2] == (user_id, "signup")
            and 0 <= round(seconds - other[2], 6) <= 3600
            and other[3] <= load_id
            for place, other in enumerate(events)
        )
    }


@pytest.fixture
def connection(engine: Engine) -> Any:
    with write_transaction(engine) as connection:
        file = {"content_hash": "", "path": "", "size_bytes": 0, "modified_at": NOON, "file_signature": ""}
        counts = dict.fromkeys(
            ("read_count", "inserted_count", "duplicate_count", "conflict_count", "rejected_count", "blank_count"), 0
        )
        for number in (1, 2, 3):
            connection.execute(insert(SourceFile).values(id=number, **file | {"content_hash": str(number)}))
            connection.execute(
                insert(Load).values(id=number, source_file_id=number, as_of=NOON, state="loaded", **counts)
            )
        yield connection


MICROSECOND = 0.000001

CASES: dict[str, tuple[list[Told], set[int]]] = {
    "an hour before": ([("u", "signup", -3600, 1), ("u", "link", 0, 1)], {2}),
    "a microsecond more": ([("u", "signup", -3600 - MICROSECOND, 1), ("u", "link", 0, 1)], set()),
    "the same instant": ([("u", "link", 0, 1), ("u", "signup", 0, 1)], {1}),
    "a microsecond after": ([("u", "signup", MICROSECOND, 1), ("u", "link", 0, 1)], set()),
    "another user": ([("v", "signup", -1, 1), ("u", "link", 0, 1)], set()),
    "a later load": ([("u", "link", 0, 1), ("u", "signup", -1, 2)], set()),
    "an earlier load behind a later one": ([("u", "signup", -2, 1), ("u", "link", 0, 2), ("u", "signup", -1, 3)], {2}),
    "no load": ([("u", "signup", -1, 0), ("u", "link", 0, 1)], {2}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_lies_in_the_window_and_was_loaded_counts(connection, case):
    events, true_of = CASES[case]
    store(connection, events)
    assert found(connection, "link") == true_of


@pytest.mark.parametrize(
    ("seconds", "loads", "true_of"),
    [((0, 0), (1, 1), {1, 2}), ((0, 0), (1, 2), {2}), ((0,), (1,), set()), ((0, 0, 0), (2, 3, 1), {1, 2})],
)
def test_an_event_is_not_its_own_prior_event(connection, seconds, loads, true_of):
    store(connection, [("u", "signup", each, load) for each, load in zip(seconds, loads, strict=True)])
    assert found(connection, "signup") == true_of


TOLD = st.tuples(
    st.sampled_from("uv"),
    st.sampled_from(["signup", "link"]),
    st.sampled_from([-3601, -3600 - MICROSECOND, -3600, -1, -MICROSECOND, 0, MICROSECOND, 1, 3599, 3600]),
    st.sampled_from([0, 1, 2, 3]),
)


@examples(60)
@given(events=st.lists(TOLD, max_size=12), trigger=st.sampled_from(["signup", "link"]))
def test_of_any_events_it_is_what_each_by_itself_comes_to(connection, events, trigger):
    store(connection, events)
    assert found(connection, trigger) == {number + 1 for number in expected(events, trigger)}
