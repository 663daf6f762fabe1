"""Arithmetic at the ends of the calendar, and everywhere else."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.infrastructure.instants import (
    FIRST_INSTANT,
    LAST_INSTANT,
    hours_after,
    hours_before,
    instant_text,
    within_calendar,
)

EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))

instants = st.datetimes(timezones=st.sampled_from([UTC, EAST, WEST]))
hours = st.integers(0, 10**30)


@given(instants, hours)
def test_hours_lead_as_far_as_the_calendar_goes(instant: datetime, number: int) -> None:
    earlier, later = hours_before(instant, number), hours_after(instant, number)
    assert FIRST_INSTANT <= earlier <= within_calendar(instant) <= later <= LAST_INSTANT
    if earlier > FIRST_INSTANT:
        assert instant - earlier == timedelta(hours=number)
    if later < LAST_INSTANT:
        assert later - instant == timedelta(hours=number)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (datetime.min.replace(tzinfo=EAST), FIRST_INSTANT),
        (datetime.max.replace(tzinfo=WEST), LAST_INSTANT),
        (datetime(2026, 11, 1, tzinfo=EAST), datetime(2026, 10, 31, 10, tzinfo=UTC)),
    ],
)
def test_an_instant_beyond_the_calendar_becomes_its_end(instant: datetime, expected: datetime) -> None:
    assert within_calendar(instant) == expected


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (datetime(2026, 11, 23, 10, 5, 59, 999_999, tzinfo=UTC), ("2026-11-23 10:05", "2026-11-23 10:05:59")),
        (datetime(1, 2, 3, tzinfo=UTC), ("0001-02-03 00:00", "0001-02-03 00:00:00")),
        (datetime(2026, 1, 1, tzinfo=EAST), ("2025-12-31 10:00", "2025-12-31 10:00:00")),
    ],
)
def test_an_instant_is_read_in_utc_and_its_year_has_four_digits(instant: datetime, expected: tuple[str, str]) -> None:
    assert (instant_text(instant), instant_text(instant, "seconds")) == expected
