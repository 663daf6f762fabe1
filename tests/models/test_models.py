"""What the tables promise to their writers."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.models import (
    Conflict,
    Event,
    EventProperties,
    Load,
    RejectedRow,
    Ruleset,
    SendRequest,
    SourceFile,
    Suppression,
    UnknownKey,
    UserTraits,
)
from tests.database_session import create_session

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(message_id: str = "m1", **values: Any) -> Event:
    """An event of user u."""
    return Event(message_id=message_id, user_id="u", event_type="payment_failed", event_timestamp=NOON, **values)


def send_request(**values: Any) -> SendRequest:
    """A send request of rule r to user u."""
    defaults = {"rule_name": "r", "template_name": "T", "dedupe_key": "ever"}
    return SendRequest(
        user_id="u",
        channel="email",
        reason="rule:r",
        event_timestamp=NOON,
        **defaults | values,
    )


def suppression(**values: Any) -> Suppression:
    """A suppression by rule r."""
    defaults = {"rule_name": "r", "template_name": "T"}
    return Suppression(
        user_id="u",
        suppression_reason="once_ever",
        event_timestamp=NOON,
        **defaults | values,
    )


def load(content_hash: str = "h", **values: Any) -> Load:
    """A load of a file, by default without lines."""
    file = SourceFile(content_hash=content_hash, path="a.jsonl", size_bytes=0, modified_at=NOON, file_signature="s")
    names = ("read", "inserted", "duplicate", "conflict", "rejected", "blank")
    zero = {f"{name}_count": 0 for name in names}
    return Load(**{"source_file": file, "as_of": NOON, "state": "loaded"} | zero | values)


def add(engine: Engine, *rows: Base) -> None:
    """Store rows in one transaction."""
    with create_session(engine) as session:
        session.add_all(rows)


def count(engine: Engine, model: type[Base]) -> int:
    """How many rows a table has."""
    with create_session(engine) as session:
        return session.execute(select(func.count()).select_from(model)).scalar_one()


def refused(engine: Engine, *rows: Base) -> str:
    """What the database says on refusing rows."""
    with pytest.raises(IntegrityError) as caught:
        add(engine, *rows)
    return str(caught.value.orig)


def test_an_event_and_its_properties_and_traits_know_each_other(engine):
    add(engine, event(properties=EventProperties(amount=9.5), user_traits=UserTraits(country="BR")))
    with create_session(engine) as session:
        stored = session.scalars(select(Event)).one()
        assert stored.properties is not None
        assert stored.user_traits is not None
        assert stored.properties.amount == 9.5
        assert stored.user_traits.country == "BR"
        assert stored.properties.event is stored.user_traits.event is stored


def test_an_event_may_have_neither_properties_nor_traits(engine):
    add(engine, event())
    with create_session(engine) as session:
        stored = session.scalars(select(Event)).one()
        assert stored.properties is None
        assert stored.user_traits is None


def test_an_event_without_a_time_of_creation_gets_the_present(engine):
    before = datetime.now(UTC)
    add(engine, event())
    with create_session(engine) as session:
        assert before <= session.scalars(select(Event.created_at)).one() <= datetime.now(UTC)


def test_deleting_an_event_deletes_its_properties_and_traits(engine):
    add(engine, event(properties=EventProperties(amount=9.5), user_traits=UserTraits(country="BR")))
    with create_session(engine) as session:
        session.delete(session.scalars(select(Event)).one())
    assert count(engine, EventProperties) == count(engine, UserTraits) == 0


def test_deleting_an_event_by_sql_deletes_its_properties_traits_and_conflicts(engine):
    with create_session(engine) as session:
        row, of_load = event(properties=EventProperties(amount=9.5), user_traits=UserTraits(country="BR")), load()
        session.add_all([row, of_load])
        session.flush()
        session.add(Conflict(load_id=of_load.id, line_number=1, event_id=row.id, differing_fields="amount"))
    with create_session(engine) as session:
        session.execute(delete(Event))
    assert count(engine, EventProperties) == count(engine, UserTraits) == count(engine, Conflict) == 0


def test_properties_and_traits_taken_from_their_event_are_deleted(engine):
    add(engine, event(properties=EventProperties(amount=9.5), user_traits=UserTraits(country="BR")))
    with create_session(engine) as session:
        stored = session.scalars(select(Event)).one()
        stored.properties = None
        stored.user_traits = None
    assert count(engine, Event) == 1
    assert count(engine, EventProperties) == count(engine, UserTraits) == 0


def test_deleting_an_event_keeps_what_was_decided_on_it_without_the_link(engine):
    row = event()
    sent = send_request(event=row)
    add(engine, row, sent, suppression(event=row, rule_name="other", blocked_by=sent))
    with create_session(engine) as session:
        session.delete(session.scalars(select(Event)).one())
    with create_session(engine) as session:
        stored = session.scalars(select(SendRequest)).one()
        assert stored.event_id is None
        refusal = session.scalars(select(Suppression)).one()
        assert refusal.event_id is None
        assert refusal.blocked_by is stored
        assert (stored.event_timestamp, refusal.event_timestamp) == (NOON, NOON)


def test_a_send_request_that_blocked_another_message_cannot_be_deleted(engine):
    row = event()
    sent = send_request(event=row)
    add(engine, row, sent, suppression(event=row, rule_name="other", blocked_by=sent))
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), create_session(engine) as session:
        session.execute(delete(SendRequest))


def test_deleting_a_load_deletes_its_rejected_rows_and_unknown_keys(engine):
    with create_session(engine) as session:
        of_load = load()
        session.add(of_load)
        session.flush()
        session.add(
            RejectedRow(
                load_id=of_load.id, line_number=1, raw_line="{", reason_code="invalid_json", explanation="is not"
            )
        )
        session.add(UnknownKey(load_id=of_load.id, key_path="coupon", occurrence_count=1))
    with create_session(engine) as session:
        session.execute(delete(Load))
    assert count(engine, RejectedRow) == count(engine, UnknownKey) == 0


def test_a_load_that_brought_events_cannot_be_deleted(engine):
    of_load = load()
    add(engine, of_load)
    with create_session(engine) as session:
        session.add(event(load_id=session.scalars(select(Load.id)).one()))
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), create_session(engine) as session:
        session.execute(delete(Load))


def test_properties_without_an_event_are_refused(engine):
    assert refused(engine, EventProperties(event_id=99, amount=1.0)) == "FOREIGN KEY constraint failed"


@pytest.mark.parametrize("child", [EventProperties, UserTraits])
def test_an_event_has_at_most_one_row_of_properties_and_one_of_traits(engine, child):
    add(engine, event(id=1))
    add(engine, child(event_id=1))
    assert refused(engine, child(event_id=1)) == f"UNIQUE constraint failed: {child.__tablename__}.event_id"


def test_a_message_id_stands_once(engine):
    assert refused(engine, event("m1"), event("m1")) == "UNIQUE constraint failed: events.message_id"


def test_a_rule_sends_once_on_an_event(engine):
    row = event()
    second = send_request(event=row, template_name="OTHER")
    assert "send_requests.event_id, send_requests.rule_name" in refused(engine, row, send_request(event=row), second)


def test_a_rule_suppresses_once_on_an_event(engine):
    row = event()
    second = suppression(event=row, template_name="OTHER")
    assert "suppressions.event_id, suppressions.rule_name" in refused(engine, row, suppression(event=row), second)


def test_two_rules_may_decide_on_one_event_and_one_rule_on_two(engine):
    first, second = event("m1"), event("m2")
    add(
        engine,
        send_request(event=first, dedupe_key="a"),
        send_request(event=first, dedupe_key="b", rule_name="other"),
        send_request(event=second, dedupe_key="c"),
    )
    assert count(engine, SendRequest) == 3


def test_a_message_with_the_same_dedupe_key_goes_to_a_user_once(engine):
    twice = (send_request(event=event("m1")), send_request(event=event("m2")))
    assert refused(engine, *twice).endswith(
        "send_requests.template_name, send_requests.dedupe_key, send_requests.user_id"
    )


def test_the_same_dedupe_key_may_serve_another_message(engine):
    add(engine, send_request(event=event("m1")), send_request(event=event("m2"), template_name="OTHER"))
    assert count(engine, SendRequest) == 2


def test_a_file_is_known_once_and_loaded_once(engine):
    assert refused(engine, load("h"), load("h")) == "UNIQUE constraint failed: source_files.content_hash"
    add(engine, load("h"))
    with pytest.raises(IntegrityError, match=r"loads\.source_file_id"), create_session(engine) as session:
        session.add(load(source_file=session.scalars(select(SourceFile)).one()))


def test_a_ruleset_is_kept_once(engine):
    twice = [Ruleset(content_hash="h", yaml_text="") for _ in range(2)]
    assert refused(engine, *twice) == "UNIQUE constraint failed: rulesets.content_hash"


def test_a_line_is_rejected_once(engine):
    add(engine, load())
    row = {"load_id": 1, "line_number": 1, "raw_line": "", "reason_code": "invalid_json", "explanation": ""}
    refusal = pytest.raises(IntegrityError, match=r"rejected_rows\.load_id, rejected_rows\.line_number")
    with refusal, create_session(engine) as session:
        session.execute(insert(RejectedRow), [row, row])


@pytest.mark.parametrize(
    "counts",
    [
        {"read_count": 1},
        {"inserted_count": 1},
        {"read_count": 5, "inserted_count": 2, "duplicate_count": 1, "rejected_count": 1},
        {"read_count": 3, "inserted_count": 2, "duplicate_count": 1, "rejected_count": 1, "blank_count": 1},
    ],
)
def test_counts_that_do_not_add_up_are_refused(engine, counts):
    assert refused(engine, load(**counts)) == "CHECK constraint failed: ck_loads_counts_add_up"


def test_counts_that_add_up_are_kept(engine):
    add(
        engine,
        load(read_count=7, inserted_count=1, duplicate_count=2, conflict_count=2, rejected_count=3, blank_count=1),
    )
    assert count(engine, Load) == 1


@pytest.mark.parametrize("conflict_count", [-1, 2])
def test_conflicts_are_a_part_of_the_duplicates(engine, conflict_count):
    counts = {"read_count": 1, "duplicate_count": 1, "conflict_count": conflict_count}
    assert refused(engine, load(**counts)) == "CHECK constraint failed: ck_loads_conflicts_are_duplicates"


def test_a_load_is_loaded_or_decided_and_nothing_else(engine):
    add(engine, load("a", state="loaded"), load("b", state="decided"))
    assert refused(engine, load("c", state="done")) == "CHECK constraint failed: ck_loads_state"
