"""Arithmetic on stored instants: exact against Python's, also where Python's own calendar ends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Connection, Dialect, String, literal, select, type_coerce
from sqlalchemy.dialects import postgresql

from src.marketing_messaging_service.decisions.sql_time import EndOfUtcDay, SecondsBefore, StartOfUtcDay, UtcDay
from src.marketing_messaging_service.infrastructure.database import (
    UtcDateTime,
    create_database_engine,
    read_transaction,
    timestamp_text,
)
from tests.effort import examples

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
LONGEST_WINDOW = 316_224_000
POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

STAMP = "%(param_1)s::TIMESTAMP WITHOUT TIME ZONE"
"""An instant as a bound value, with the type that psycopg is given beside it."""

instants = st.datetimes(timezones=st.just(UTC))
windows = st.integers(1, LONGEST_WINDOW) | st.sampled_from((1, 59, 60, 1800, 3600, 86_400, LONGEST_WINDOW))


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    with read_transaction(create_database_engine("sqlite://", create=True)) as connection:
        yield connection


def stored(instant: datetime) -> ColumnElement[datetime]:
    return literal(instant, UtcDateTime)


def value(connection: Connection, expression: Any) -> Any:
    return connection.execute(select(expression)).scalar_one()


def as_text(connection: Connection, expression: ColumnElement[Any]) -> Any:
    return value(connection, type_coerce(expression, String))


def is_in_window(connection: Connection, other: datetime, instant: datetime, seconds: int) -> bool:
    return bool(value(connection, stored(other).between(SecondsBefore(stored(instant), seconds), stored(instant))))


@examples(300)
@given(instant=instants, seconds=windows)
@example(instant=LAST, seconds=LONGEST_WINDOW)
@example(instant=datetime(2024, 3, 1, tzinfo=UTC), seconds=86_400)
@example(instant=datetime(1900, 3, 1, microsecond=1, tzinfo=UTC), seconds=86_400)
@example(instant=datetime(300, 3, 2, tzinfo=UTC), seconds=1)
@example(instant=datetime(2026, 1, 1, microsecond=999_999, tzinfo=UTC), seconds=1)
def test_seconds_before_an_instant_are_exact_to_the_microsecond(connection, instant, seconds):
    if instant - FIRST >= timedelta(seconds=seconds):
        assert value(connection, SecondsBefore(stored(instant), seconds)) == instant - timedelta(seconds=seconds)


@examples(300)
@given(instant=instants, other=instants, seconds=windows)
@example(instant=FIRST, other=FIRST, seconds=86_400)
@example(instant=LAST, other=FIRST, seconds=LONGEST_WINDOW)
@example(instant=FIRST, other=LAST, seconds=LONGEST_WINDOW)
def test_a_window_holds_just_what_lies_between_its_ends(connection, instant, other, seconds):
    assert is_in_window(connection, other, instant, seconds) == (
        timedelta(0) <= instant - other <= timedelta(seconds=seconds)
    )


@examples(300)
@given(instant=instants, seconds=windows, ticks=st.integers(-2, 2))
@example(instant=FIRST, seconds=86_400, ticks=0)
@example(instant=FIRST + timedelta(hours=24), seconds=86_400, ticks=0)
@example(instant=FIRST + timedelta(hours=24, microseconds=1), seconds=86_400, ticks=-1)
def test_the_borders_of_a_window_are_exact_also_when_it_begins_before_year_1(connection, instant, seconds, ticks):
    begin_after_first = instant - FIRST - timedelta(seconds=seconds)
    other = FIRST + max(begin_after_first + timedelta(microseconds=ticks), timedelta(0))

    assert is_in_window(connection, other, instant, seconds) == (instant - other <= timedelta(seconds=seconds))


@examples(300)
@given(instant=instants)
@example(instant=FIRST)
@example(instant=LAST)
def test_a_utc_day_runs_from_its_first_to_its_last_microsecond(connection, instant):
    first = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    last = instant.replace(hour=23, minute=59, second=59, microsecond=999_999)

    assert value(connection, UtcDay(stored(instant))) == instant.date().isoformat()
    assert value(connection, StartOfUtcDay(stored(instant))) == first
    assert value(connection, EndOfUtcDay(stored(instant))) == last


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 11, 23, tzinfo=UTC), "2026-11-23"),
        (datetime(2026, 11, 23, 23, 59, 59, 999_999, tzinfo=UTC), "2026-11-23"),
        (datetime.fromisoformat("2026-11-23T23:30:00-08:00"), "2026-11-24"),
        (datetime.fromisoformat("2026-11-23T01:00:00+05:30"), "2026-11-22"),
        (datetime(1, 1, 1, 12, tzinfo=UTC), "0001-01-01"),
        (LAST, "9999-12-31"),
    ],
)
def test_days_have_the_one_format_of_stored_instants(connection, instant, day):
    assert as_text(connection, UtcDay(stored(instant))) == day
    assert as_text(connection, StartOfUtcDay(stored(instant))) == f"{day} 00:00:00.000000"
    assert as_text(connection, EndOfUtcDay(stored(instant))) == f"{day} 23:59:59.999999"


@pytest.mark.parametrize(
    ("instant", "seconds", "before"),
    [
        (datetime(2024, 3, 1, 0, 0, 0, 1, tzinfo=UTC), 86_400, "2024-02-29 00:00:00.000001"),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), 1800, "2026-03-01 11:30:00.000000"),
        (datetime(2, 1, 1, tzinfo=UTC), 86_400, "0001-12-31 00:00:00.000000"),
    ],
)
def test_seconds_before_an_instant_have_the_one_format_of_stored_instants(connection, instant, seconds, before):
    assert as_text(connection, SecondsBefore(stored(instant), seconds)) == before
    assert before == timestamp_text(instant - timedelta(seconds=seconds))


def test_no_instant_has_no_day_and_none_before_it(connection):
    nothing = literal(None, UtcDateTime)

    for expression in (SecondsBefore(nothing, 60), UtcDay(nothing), StartOfUtcDay(nothing), EndOfUtcDay(nothing)):
        assert value(connection, expression) is None


@pytest.mark.parametrize(
    ("expression", "sql"),
    [
        (SecondsBefore(stored(LAST), 60), f"({STAMP} + CAST(%(param_2)s::VARCHAR AS interval))"),
        (UtcDay(stored(LAST)), f"to_char({STAMP}, 'YYYY-MM-DD')"),
        (StartOfUtcDay(stored(LAST)), f"date_trunc('day', {STAMP})"),
        (
            EndOfUtcDay(stored(LAST)),
            f"(date_trunc('day', {STAMP}) + interval '1 day' - interval '1 microsecond')",
        ),
    ],
)
def test_postgresql_uses_its_own_arithmetic(expression, sql):
    assert str(expression.compile(dialect=POSTGRESQL)) == sql
