"""A backfill from the form in the browser to the rows in the database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.end_to_end.browser import Operator, browser_path, operator
from tests.end_to_end.system import System, started

pytestmark = pytest.mark.ui

SOURCE = "data/samples"
"""As an operator types it: relative to the project's folder, in which runs are at work."""

MIDNIGHT = datetime(2026, 11, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, started once for this file with nothing in its landing folder."""
    browser_path()
    with started(tmp_path_factory.mktemp("ui-backfill")) as system:
        yield system


@pytest.fixture
def user(system: System) -> Iterator[Operator]:
    """Somebody in front of a browser."""
    with operator(system.place.url) as user:
        yield user


def fill_the_form(user: Operator, start: datetime, end: datetime, mode: str) -> None:
    user.open_deployment("backfill")
    user.open_form()
    user.pick_time("start", start)
    user.pick_time("end", end)
    user.fill("source", SOURCE)
    user.choose("mode", mode)
    # The samples are of long ago.
    user.fill("max_event_age_hours", "0")


def count(system: System, table: str, start: datetime, end: datetime) -> int:
    between = [f"{instant:%Y-%m-%d %H:%M:%S.%f}" for instant in (start, end)]
    with closing(sqlite3.connect(system.database_path)) as connection:
        sql = f"SELECT count(*) FROM {table} WHERE event_timestamp >= ? AND event_timestamp < ?"
        (number,) = connection.execute(sql, between).fetchone()
    assert isinstance(number, int)
    return number


def test_a_backfill_takes_its_window_and_shows_its_report_with_a_picture(system: System, user: Operator) -> None:
    window = (MIDNIGHT, MIDNIGHT + timedelta(days=1))
    fill_the_form(user, *window, mode="load and decide")
    user.screenshot("backfill-form", height=1400)
    user.submit()
    user.wait_for_state("Completed")
    user.log_until("Finished in state")
    user.screenshot("backfill-run", height=1160)
    report = user.open_artifact("run-report")
    assert "2026-11-03 00:00" in report
    assert min(user.picture_widths()) > 0
    user.screenshot("backfill-report", height=900)
    assert (count(system, "events", *window), count(system, "send_requests", *window)) == (114, 15)


def test_a_preview_says_what_would_be_sent_and_keeps_nothing(system: System, user: Operator) -> None:
    window = (MIDNIGHT - timedelta(hours=2), MIDNIGHT)
    fill_the_form(user, *window, mode="preview")
    user.submit()
    user.wait_for_state("Completed")
    report = user.open_artifact("run-report")
    assert "nothing was kept" in report
    assert "welcome_email" in report
    assert (count(system, "events", *window), count(system, "send_requests", *window)) == (0, 0)


def test_a_window_that_ends_before_it_begins_is_reported_on_the_page_of_the_run(user: Operator) -> None:
    fill_the_form(user, MIDNIGHT, MIDNIGHT - timedelta(hours=1), mode="load and decide")
    user.submit()
    user.wait_for_state("Failed")
    log = user.log_until("Finished in state")
    assert log[1].startswith(
        "The window is empty: end (2026-11-02 23:00 UTC) is not after start (2026-11-03 00:00 UTC)"
    )
    assert not any("Traceback" in line for line in log)
