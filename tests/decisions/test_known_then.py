"""What conditions came to when an event was decided: asked of all events at once, and of each by itself."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, select, text

from src.marketing_messaging_service.decisions.known_then import candidate_columns, certain_matches, impossible_matches
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.rule_blocks import whole_of_text
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.sql_time import SecondsAfter
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.loading import open_run
from src.marketing_messaging_service.models import Event, EventProperties, Load, RunMode, SourceFile, UserTraits
from src.marketing_messaging_service.run_options import RunOptions
from tests.effort import examples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MICROSECOND = 0.000001

Told = tuple[str, str, float, int, str | None]
"""User, type, seconds from noon, load and run (0 for none), and a country, which is the number of an order as well; ids
count in this order."""


def told(user_id: str, event_type: str, seconds: float, load: int, country: str | None = None) -> Told:
    return user_id, event_type, seconds, load, country


def store(connection: Connection, events: Sequence[Told]) -> None:
    for table in ("event_properties", "user_traits", "events"):
        connection.execute(text(f"DELETE FROM {table}"))
    for number, (user_id, event_type, seconds, load, country) in enumerate(events, start=1):
        row = {
            "id": number,
            "message_id": f"m{number}",
            "user_id": user_id,
            "event_type": event_type,
            "event_timestamp": NOON + timedelta(seconds=seconds),
            "load_id": load or None,
        }
        connection.execute(insert(Event).values(row))
        if country is not None:
            connection.execute(insert(EventProperties).values(event_id=number, order_id=country))
            connection.execute(insert(UserTraits).values(event_id=number, country=country))


def rule(condition: Any, trigger: str = "link", wait: float | None = None) -> Rule:
    raw: dict[str, Any] = {
        "name": "r",
        "trigger": {"event_type": trigger},
        "conditions": condition,
        "action": {"type": "send", "template_name": "T", "delivery_method": "email"},
    }
    if wait is not None:
        raw["wait"] = {"hours": wait}
    return whole_of_text(json.dumps({"rules": [raw]}), "a text").rules[0]


def found(connection: Connection, asked: Rule) -> tuple[set[int], set[int]]:
    """The events that a rule certainly matched when their own run decided, and those that it cannot have matched."""
    at: Any = Event.event_timestamp
    if asked.wait is not None:
        at = SecondsAfter(at, round(asked.wait.hours * 3600))
    events = select(*candidate_columns([asked], Load.run_id, at)).select_from(Event)
    wanted = with_payload(events.outerjoin(Load, Load.id == Event.load_id)).where(
        Event.event_type == asked.trigger.event_type
    )
    certain, impossible = (
        set(connection.execute(which(asked, wanted.subquery("wanted"), 0)).scalars())
        for which in (certain_matches, impossible_matches)
    )
    return certain, impossible


@pytest.fixture
def connection(engine: Engine) -> Any:
    runs = [open_run(engine, RunOptions("hourly", RunMode.LOAD_AND_DECIDE, NOON, Path("landing"))) for _ in range(3)]
    assert runs == [1, 2, 3]
    with write_transaction(engine) as connection:
        file = {"content_hash": "", "path": "", "size_bytes": 0, "modified_at": NOON, "file_signature": ""}
        counts = dict.fromkeys(
            ("read_count", "inserted_count", "duplicate_count", "conflict_count", "rejected_count", "blank_count"), 0
        )
        for number in (1, 2, 3):
            connection.execute(insert(SourceFile).values(id=number, **file | {"content_hash": str(number)}))
            load = {"id": number, "source_file_id": number, "run_id": number, "as_of": NOON, "state": "loaded"}
            connection.execute(insert(Load).values(load | counts))
        yield connection


HOUR = {"happened": {"event_type": "signup", "within_hours": 1}}
FRENCH = {"field": "latest_traits.country", "operator": "equals", "value": "FR"}
LINK = told("u", "link", 0, 2)

CASES: dict[str, tuple[Any, list[Told], bool | None]] = {
    "an hour before": (HOUR, [told("u", "signup", -3600, 1), LINK], True),
    "a microsecond more": (HOUR, [told("u", "signup", -3600 - MICROSECOND, 1), LINK], False),
    "the same instant": (HOUR, [LINK, told("u", "signup", 0, 2)], True),
    "a microsecond after": (HOUR, [told("u", "signup", MICROSECOND, 1), LINK], False),
    "another user": (HOUR, [told("v", "signup", -1, 1), LINK], False),
    "a later run": (HOUR, [LINK, told("u", "signup", -1, 3)], False),
    "an earlier run behind a later one": (HOUR, [told("u", "signup", -2, 1), LINK, told("u", "signup", -1, 3)], True),
    "no load": (HOUR, [told("u", "signup", -1, 0), LINK], True),
    "none, and one since": ({"not": HOUR}, [LINK, told("u", "signup", -1, 3)], True),
    "none, but one": ({"not": HOUR}, [told("u", "signup", -1, 2), LINK, told("u", "signup", -1, 3)], False),
    "at most one, and more since": (
        {"happened": {"event_type": "signup", "at_most": 1}},
        [told("u", "signup", -1, 2), LINK, told("u", "signup", -2, 3), told("u", "signup", -3, 3)],
        None,
    ),
    "two, and one more since": (
        {"happened": {"event_type": "signup", "at_least": 4}},
        [told("u", "signup", -1, 2), told("u", "signup", -1, 2), LINK, told("u", "signup", -2, 3)],
        False,
    ),
    "the latest, which came before": (FRENCH, [told("u", "x", -1, 1, "FR"), LINK, told("u", "x", 1, 3, "DE")], True),
    "the latest by time and then by id": (
        FRENCH,
        [told("u", "x", -1, 1, "DE"), told("u", "x", -1, 1, "FR"), told("u", "x", -2, 1, "DE"), LINK],
        True,
    ),
    "an earlier one that came late": (FRENCH, [told("u", "x", -1, 1, "FR"), LINK, told("u", "x", -2, 3, "DE")], True),
    "a later one that came late": (FRENCH, [told("u", "x", -2, 1, "FR"), LINK, told("u", "x", -1, 3, "DE")], None),
    "not the latest": ({"not": FRENCH}, [told("u", "x", -1, 1, "FR"), LINK], False),
    "none is known": (FRENCH, [LINK, told("v", "x", -1, 1, "FR")], False),
    "none is known, and not": ({"not": FRENCH}, [LINK], True),
    "its own": (FRENCH, [told("u", "link", 0, 2, "FR"), told("u", "x", -1, 1, "DE")], True),
}


@pytest.mark.parametrize("case", CASES)
def test_what_held_for_certain_and_what_cannot_have_held_are_reported(connection: Connection, case: str) -> None:
    condition, events, wanted = CASES[case]
    store(connection, events)
    number = next(number for number, each in enumerate(events, start=1) if each[1] == "link")
    certain, impossible = found(connection, rule(condition))
    assert (certain, impossible) == ({number} if wanted is True else set(), {number} if wanted is False else set())


@pytest.mark.parametrize(
    ("seconds", "loads", "true_of"),
    [((0, 0), (1, 1), {1, 2}), ((0, 0), (1, 2), {2}), ((0,), (1,), set()), ((0, 0, 0), (2, 3, 1), {1, 2})],
)
def test_an_event_is_not_counted_for_itself(
    connection: Connection, seconds: Sequence[float], loads: Sequence[int], true_of: set[int]
) -> None:
    store(connection, [told("u", "signup", at, load) for at, load in zip(seconds, loads, strict=True)])
    certain, impossible = found(connection, rule(HOUR, trigger="signup"))
    assert (certain, certain | impossible) == (true_of, set(range(1, len(seconds) + 1)))


def test_what_no_run_is_recorded_of_is_known_from_below_only(connection: Connection) -> None:
    connection.execute(text("UPDATE loads SET run_id = NULL"))
    store(connection, [told("u", "signup", -1, 1), LINK, told("v", "link", 0, 2), told("v", "signup", -1, 3)])
    assert found(connection, rule(HOUR)) == ({2}, set())
    assert found(connection, rule({"not": HOUR})) == (set(), {2})


EVENTS = st.lists(
    st.builds(
        told,
        st.sampled_from("uuv"),
        st.sampled_from(["signup", "link"]),
        st.sampled_from([-3601, -3600 - MICROSECOND, -3600, -1, -MICROSECOND, 0, MICROSECOND, 1, 3599, 3600]),
        st.sampled_from([0, 1, 2, 3]),
        st.sampled_from([None, "FR", "DE"]),
    ),
    max_size=12,
)


@st.composite
def looks(draw: st.DrawFn) -> dict[str, Any]:
    look: dict[str, Any] = {"event_type": draw(st.sampled_from(["signup", "link"]))}
    window = draw(st.sampled_from(("", "within_hours", "since_trigger")))
    look |= {"within_hours": 1} if window == "within_hours" else {"since_trigger": True} if window else {}
    least, most = draw(st.sampled_from(((None, None), (2, None), (None, 0), (None, 1), (1, 2))))
    look |= {name: count for name, count in (("at_least", least), ("at_most", most)) if count is not None}
    if draw(st.booleans()):
        look["where"] = [{"field": "user_traits.country", "operator": "equals", "value": "FR"}]
    if draw(st.booleans()):
        look["same"] = ["properties.order_id"]
    return look


def came_to(events: Sequence[Told], number: int, look: dict[str, Any], wait: float) -> bool:
    """Whether a look held for an event when its own run decided, judged by what was there."""
    user_id, _, seconds, load, country = events[number]
    end = seconds + wait * 3600
    start = end - 3600 if "within_hours" in look else seconds if "since_trigger" in look else -1e9
    count = sum(
        place != number
        and other[:2] == (user_id, look["event_type"])
        and round(other[2] - start, 6) >= 0
        and round(end - other[2], 6) >= 0
        and other[3] <= load
        and ("where" not in look or other[4] == "FR")
        and ("same" not in look or (other[4] is not None and other[4] == country))
        for place, other in enumerate(events)
    )
    most = look.get("at_most")
    return count >= look.get("at_least", 1 if most is None else 0) and (most is None or count <= most)


@examples(100)
@given(events=EVENTS, look=looks(), trigger=st.sampled_from(["signup", "link"]), wait=st.sampled_from([None, 0.5, 1]))
def test_what_is_reported_of_any_look_is_what_each_event_by_itself_comes_to(
    connection: Connection, events: list[Told], look: dict[str, Any], trigger: str, wait: float | None
) -> None:
    if "since_trigger" in look and wait is None:
        wait = 1
    store(connection, events)
    certain, impossible = found(connection, rule({"happened": look}, trigger, wait))
    of_trigger = [number for number, each in enumerate(events) if each[1] == trigger and each[3]]
    true_of = {number + 1 for number in of_trigger if came_to(events, number, look, wait or 0)}
    known = {number + 1 for number in of_trigger}
    assert certain & known <= true_of
    assert not impossible & true_of
    is_on_time = len({each[3] for each in events if each[3]}) <= 1
    counts_none = (look.get("at_least"), look.get("at_most", 0)) == (None, 0)
    if is_on_time or (counts_none and not (trigger == look["event_type"] and wait)):
        assert certain & known == true_of
        assert impossible & known == known - true_of
        event("exact")
