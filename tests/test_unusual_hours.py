"""What an hour has to look like to be unusual: far from the same hours of four weeks, and never by chance."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from src.marketing_messaging_service.infrastructure.database import timestamp_text, write_transaction
from src.marketing_messaging_service.infrastructure.instants import FIRST_INSTANT, LAST_INSTANT
from src.marketing_messaging_service.unusual_hours import FEWEST, HISTORY_DAYS, Share, is_unusual, unusual_hour
from tests.reporting.runs import add_run

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
USUAL = [Share(5 + day % 5, 1000) for day in range(HISTORY_DAYS)]
"""Half a percent to nine tenths."""


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (Share(7, 1000), False),
        (Share(12, 1000), False),
        (Share(40, 1000), True),
        (Share(1000, 1000), True),
        (Share(0, 1000), False),
        (Share(20, FEWEST - 1), False),
        (Share(0, 0), False),
    ],
)
def test_only_a_share_far_from_all_of_the_past_ones_is_unusual(share: Share, expected: bool) -> None:
    assert is_unusual(share, USUAL) is expected


def test_messages_that_stay_away_are_unusual_too() -> None:
    past = [Share(140 + day, 1000) for day in range(HISTORY_DAYS)]
    assert is_unusual(Share(0, 1000), past)
    assert not is_unusual(Share(150, 1000), past)


def test_what_never_happened_before_is_not_unusual_once() -> None:
    past = [Share(0, 1000) for _ in range(HISTORY_DAYS)]
    assert not is_unusual(Share(9, 1000), past)
    assert is_unusual(Share(30, 1000), past)


@given(st.lists(st.builds(Share, st.integers(0, 50), st.just(50)), max_size=19), st.integers(0, 1000))
def test_with_little_history_nothing_is_unusual(past: list[Share], part: int) -> None:
    empty = [Share(0, 0)] * HISTORY_DAYS
    assert not is_unusual(Share(part, 1000), [*past, *empty])


def test_a_healthy_year_has_no_unusual_hour() -> None:
    chance = random.Random(20261126)  # noqa: S311  chance that is seeded
    usual, alarms = 0.006, 0
    past: list[Share] = []
    for _ in range(365):
        whole = chance.randint(200, 2000)
        # Days differ among themselves by more than chance.
        share = Share(sum(chance.random() < usual * chance.uniform(0.7, 1.3) for _ in range(whole)), whole)
        alarms += is_unusual(share, past[-HISTORY_DAYS:])
        past.append(share)
    assert alarms == 0


def add_hour(connection: Connection, as_of: datetime, *, read: int, rejected: int, **values: object) -> int:
    """Record a run of an hour, with one load."""
    run_id = add_run(connection, as_of=as_of, decided_count=0, **values)
    connection.execute(
        text(
            "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, taken_at, file_signature) "
            "VALUES (:id, :id, :id, 1, :at, :at, :id)"
        ),
        {"id": run_id, "at": timestamp_text(as_of)},
    )
    connection.execute(
        text(
            "INSERT INTO loads (source_file_id, run_id, as_of, state, read_count, inserted_count, duplicate_count, "
            "conflict_count, rejected_count, blank_count, outside_count, loaded_at) "
            "VALUES (:id, :id, :at, 'decided', :read, :read - :rejected, 0, 0, :rejected, 0, 0, :at)"
        ),
        {"id": run_id, "at": timestamp_text(as_of), "read": read, "rejected": rejected},
    )
    return run_id


def four_weeks(connection: Connection, days: int = HISTORY_DAYS) -> None:
    for day in range(days, 0, -1):
        for hour in (-1, 0):
            # Other hours have other shares.
            rejected = 5 if hour == 0 else 300
            at = NOON - timedelta(days=day) + timedelta(hours=hour)
            add_hour(connection, at, read=1000, rejected=rejected)


def test_an_hour_is_held_against_the_same_hours_of_four_weeks(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        four_weeks(connection)
        (sentence,) = unusual_hour(connection, add_hour(connection, NOON, read=1000, rejected=300))
    assert sentence == (
        "Unusual: 300 rejected lines for 1,000 lines (30.0 %); at this hour of the last four weeks it was 0.5 % to "
        "0.5 %."
    )


@pytest.mark.parametrize("end", [FIRST_INSTANT, LAST_INSTANT])
def test_a_run_at_an_end_of_the_calendar_has_no_four_weeks_before_it(engine: Engine, end: datetime) -> None:
    with write_transaction(engine) as connection:
        assert unusual_hour(connection, add_hour(connection, end, read=1000, rejected=6)) == ()


def test_a_usual_hour_and_one_of_a_backfill_say_nothing(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        four_weeks(connection)
        assert unusual_hour(connection, add_hour(connection, NOON, read=1000, rejected=6)) == ()
        window = {"window_start_at": NOON, "window_end_at": NOON + timedelta(hours=1)}
        assert unusual_hour(connection, add_hour(connection, NOON, read=1000, rejected=900, **window)) == ()


def test_with_less_than_four_weeks_of_history_nothing_is_said(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        four_weeks(connection, days=HISTORY_DAYS - 1)
        assert unusual_hour(connection, add_hour(connection, NOON, read=1000, rejected=900)) == ()


def test_the_messages_of_an_hour_are_held_against_its_decided_events(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        four_weeks(connection)
        connection.execute(text("UPDATE runs SET decided_count = 100"))
        run_ids = connection.execute(text("SELECT id FROM runs")).scalars().all()
        for run_id in run_ids:
            connection.execute(
                text(
                    "INSERT INTO send_requests (user_id, template_name, channel, reason, run_id, event_timestamp, "
                    "dedupe_key) SELECT 'u' || value, 'T', 'email', 'rule:x', :run_id, :at, :run_id || ':' || value "
                    "FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 60) "
                    "SELECT value FROM n)"
                ),
                {"run_id": run_id, "at": timestamp_text(NOON)},
            )
        run_id = add_hour(connection, NOON, read=100, rejected=0)
        connection.execute(text("UPDATE runs SET decided_count = 100 WHERE id = :id"), {"id": run_id})
        assert unusual_hour(connection, run_id) == (
            "Unusual: 0 messages and alerts for 100 decided events (0.0 %); at this hour of the last four weeks it was "
            "60.0 % to 60.0 %.",
        )
