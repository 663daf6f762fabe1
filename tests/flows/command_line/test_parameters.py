"""Instants and ages as somebody may type them: at the ends of the calendar, without a zone, beyond all bounds."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from prefect import Flow

from flows.backfill import backfill
from flows.check import check
from flows.command_line.parameters import LONGEST_AGE_HOURS, end_of_window, single_instant
from flows.command_line.run_once import final_state
from flows.hourly import hourly
from flows.replay import replay
from src.marketing_messaging_service.errors import ParameterError

EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
NAIVE = datetime(2026, 11, 1)  # noqa: DTZ001  a naive time is the point


def test_an_instant_is_kept_in_utc() -> None:
    assert single_instant("as_of", datetime(2026, 11, 1, 14, tzinfo=EAST)) == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (
            datetime.min.replace(tzinfo=EAST),
            r"^as_of is 0001-01-01T00:00:00\+14:00, which in UTC is outside",
        ),
        (datetime.max.replace(tzinfo=WEST), r"^as_of is 9999-12-31T23:59:59\.999999-12:00, which in UTC is outside"),
        (NAIVE, r"^as_of is 2026-11-01T00:00:00, which has no UTC offset; write it like"),
    ],
)
def test_an_instant_that_is_none_is_refused_by_the_name_of_its_parameter(instant: datetime, expected: str) -> None:
    with pytest.raises(ParameterError, match=expected):
        single_instant("as_of", instant)


def test_a_window_ends_where_the_calendar_does_and_is_meant_in_utc() -> None:
    assert end_of_window(datetime(1, 1, 1, 13, tzinfo=EAST)) == datetime.min.replace(tzinfo=UTC)
    assert end_of_window(datetime.max.replace(tzinfo=WEST)) == datetime.max.replace(tzinfo=UTC)
    assert end_of_window(NAIVE) == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("flow", "parameters"),
    [
        (hourly, {"max_event_age_hours": LONGEST_AGE_HOURS + 1}),
        (backfill, {"start": NAIVE, "end": NAIVE, "max_event_age_hours": 10**30}),
        (replay, {"max_event_age_hours": -1}),
        (check, {"max_load_age_hours": 20_000_000}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_age_beyond_its_bounds_is_refused_in_one_sentence_before_prefect_starts(
    flow: Flow[..., Any], parameters: dict[str, Any]
) -> None:
    name = list(parameters)[-1]
    with pytest.raises(
        ParameterError, match=rf"^{name}: Input should be .*(?:876000|0)\. Nothing was started; correct it"
    ):
        final_state(flow, parameters)


@pytest.mark.parametrize(
    "instant", [datetime.min.replace(tzinfo=EAST), datetime.max.replace(tzinfo=WEST)], ids=["first", "last"]
)
def test_a_run_as_of_an_end_of_the_calendar_fails_with_a_sentence(landing: Any, instant: datetime) -> None:
    state = hourly(as_of=instant, return_state=True)
    assert state.is_failed()
    assert str(state.message).startswith(f"as_of is {instant.isoformat()}, which in UTC is outside the years")


def test_a_limit_of_age_may_reach_beyond_the_calendar(landing: Any) -> None:
    as_of = datetime(50, 1, 1, tzinfo=UTC)
    state = hourly(as_of=as_of, max_event_age_hours=LONGEST_AGE_HOURS, return_state=True)
    assert state.is_completed(), state.message
