"""What a run notices of a signal, also of one whose exception is lost."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from types import FrameType
from typing import NoReturn

import pytest

from flows.pipeline import stopping
from flows.pipeline.ctrl_c import StoppedError
from flows.pipeline.stopping import CUT_OFF, StopRequest
from src.marketing_messaging_service.errors import PipelineError


class OfPrefect(BaseException):
    """Stands for the exception that Prefect makes of SIGTERM."""


@pytest.fixture
def _started_by_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stopping, "is_started_by_worker", lambda: True)

    def bridge(_number: int, _frame: FrameType | None) -> NoReturn:
        raise OfPrefect

    before = signal.signal(signal.SIGTERM, bridge)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate_within_sqlite() -> None:
    """Send this process a SIGTERM while SQLite calls back, where its exception only ends the statement."""
    # Datasette, which other tests import, has the driver report what it swallows.
    sqlite3.enable_callback_tracebacks(False)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.set_progress_handler(lambda: os.kill(os.getpid(), signal.SIGTERM), 1000)
        with suppress(sqlite3.OperationalError):
            connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n")


@pytest.mark.usefixtures("_started_by_worker")
def test_a_signal_whose_exception_sqlite_swallowed_is_noticed_beside_it() -> None:
    stop = StopRequest()
    noticed: list[bool] = []
    with suppress(StoppedError), stop.listening():
        noticed.append(stop.is_made)
        terminate_within_sqlite()
        noticed.append(stop.is_made)
    assert noticed == [False, True]


@pytest.mark.usefixtures("_started_by_worker")
def test_what_a_signal_brings_about_is_reported_as_a_stop() -> None:
    stop = StopRequest()

    def interrupted() -> None:
        terminate_within_sqlite()
        raise PipelineError("The database cannot be used: interrupted.")

    with pytest.raises(StoppedError) as stopped, stop.listening(), stop.told_as_such():
        interrupted()
    assert str(stopped.value) == CUT_OFF


def test_without_a_signal_an_error_stays_what_it_is() -> None:
    stop = StopRequest()
    with pytest.raises(PipelineError, match="the disk is full"), stop.listening(), stop.told_as_such():
        raise PipelineError("the disk is full")


@pytest.mark.usefixtures("_started_by_worker")
def test_a_signal_that_comes_too_late_for_a_safe_point_ends_the_run_all_the_same() -> None:
    stop = StopRequest()
    with pytest.raises(StoppedError), stop.listening():
        terminate_within_sqlite()


@pytest.mark.usefixtures("_started_by_worker")
def test_elsewhere_the_exception_of_prefect_passes() -> None:
    with pytest.raises(OfPrefect), StopRequest().listening():
        os.kill(os.getpid(), signal.SIGTERM)
