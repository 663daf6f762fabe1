"""Events that come before their time: they wait, undecided and unknown, until a run reaches them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from src.marketing_messaging_service.errors import LostRowsError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import RunOptions, Window
from tests.decisions.helpers import event, prior, rule
from tests.pipeline import Pipeline

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)
WHOLE_DAY = Window(TEN.replace(hour=0), TEN.replace(hour=0) + timedelta(days=1))

PAID = {"rules": [rule(mode="once_per_calendar_day")]}


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    return Pipeline(tmp_path / "run", migrated_template)


def at(hour: float) -> str:
    """An instant so many hours after the midnight before ten."""
    return (TEN.replace(hour=0) + timedelta(hours=hour)).isoformat()


def hourly(pipeline: Pipeline, hour: float, rules: Mapping[str, Any] = PAID, ahead: int | None = 1) -> None:
    as_of = TEN.replace(hour=0) + timedelta(hours=hour)
    pipeline.do(pipeline.options(as_of=as_of, max_event_ahead_hours=ahead), rules)


def backfill(pipeline: Pipeline, hour: float, window: Window = WHOLE_DAY, **told: Any) -> None:
    as_of = TEN.replace(hour=0) + timedelta(hours=hour)
    pipeline.do(pipeline.options(window, as_of=as_of, max_event_ahead_hours=1, **told), PAID)


def sent(pipeline: Pipeline) -> list[str]:
    return [row[0] for row in pipeline.rows("SELECT message_id FROM send_requests JOIN events e ON e.id = event_id")]


def waiting(pipeline: Pipeline) -> list[tuple[str, str]]:
    return [(str(row[0]), str(row[1])) for row in pipeline.rows("SELECT message_id, waits_for FROM waiting_events")]


def test_an_event_at_the_limit_is_decided_and_one_after_it_waits(pipeline):
    late = (TEN + timedelta(hours=1, microseconds=1)).isoformat()
    pipeline.land([event("at", at=at(11)), event("after", at=late, user_id="bob")])
    hourly(pipeline, 10)
    assert sent(pipeline) == ["at"]
    assert waiting(pipeline) == [("after", "its time")]


def test_it_is_decided_by_the_first_run_that_reaches_its_time_less_the_tolerance(pipeline):
    pipeline.land([event("late afternoon", at=at(17))])
    for hour in (10, 15.999):
        hourly(pipeline, hour)
        assert sent(pipeline) == []
    hourly(pipeline, 16)
    assert sent(pipeline) == ["late afternoon"]
    assert waiting(pipeline) == []
    assert pipeline.rows("SELECT run_id, batch_id, due_at FROM held_events") == [(3, 2, "2026-11-23 17:00:00.000000")]
    assert pipeline.rows("SELECT event_count, held_count, ahead_count FROM batches") == [(0, 0, 1), (1, 1, 0)]


def test_while_it_waits_it_uses_up_no_once(pipeline):
    pipeline.land([event("a clock a day ahead", at=at(33))])
    hourly(pipeline, 10)
    pipeline.land([event("the real one", at=at(32))])
    hourly(pipeline, 33)
    assert sent(pipeline) == ["the real one"]
    assert pipeline.rows("SELECT message_id FROM suppressions JOIN events e ON e.id = event_id") == [
        ("a clock a day ahead",)
    ]


def test_while_it_waits_it_is_nobodys_latest_value(pipeline):
    pipeline.land(
        [
            event("2099", at="2099-01-01T00:00:00Z", user_traits={"country": "XX"}),
            event("today", at=at(9), user_traits={"country": "SE"}),
        ]
    )
    hourly(pipeline, 10)
    assert pipeline.latest_traits() == [("ana", None, "SE", None, None)]
    hourly(pipeline, 10, ahead=876_000)
    assert pipeline.latest_traits() == [("ana", None, "XX", None, None)]


def test_what_was_decided_in_the_future_before_there_was_a_limit_is_nobodys_latest_value_once_there_is_one(pipeline):
    pipeline.land([event("2099", at="2099-01-01T00:00:00Z", user_traits={"country": "XX"})])
    hourly(pipeline, 10, ahead=None)
    assert pipeline.latest_traits() == [("ana", None, "XX", None, None)]
    hourly(pipeline, 8)
    assert pipeline.latest_traits() == []
    pipeline.land([event("now", at=at(10), user_traits={"country": "SE"})])
    hourly(pipeline, 8)
    assert pipeline.latest_traits() == [("ana", None, "SE", None, None)]


def test_it_is_no_prior_event_of_what_is_decided_while_it_waits(pipeline):
    nudge = {"rules": [rule("nudge", prior("signup", 48), on="link")]}
    pipeline.land([event("signup", "signup", at=at(20)), event("link", "link", at=at(9))])
    hourly(pipeline, 10, nudge)
    assert sent(pipeline) == []
    pipeline.land([event("second link", "link", at=at(21))])
    hourly(pipeline, 20, nudge)
    assert sent(pipeline) == ["second link"]


def test_it_is_held_to_the_limit_of_age_of_the_run_that_decides_it(pipeline):
    pipeline.land([event("tonight", at=at(20))])
    hourly(pipeline, 10)
    options = pipeline.options(as_of=TEN + timedelta(days=9), max_event_ahead_hours=1, max_event_age_hours=24)
    pipeline.do(options, PAID)
    assert pipeline.rows("SELECT suppression_reason FROM suppressions") == [("expired",)]


def test_without_a_tolerance_everything_later_than_as_of_waits(pipeline):
    pipeline.land([event("now", at=at(10)), event("soon", at=(TEN + timedelta(microseconds=1)).isoformat())])
    hourly(pipeline, 10, ahead=0)
    assert sent(pipeline) == ["now"]
    assert waiting(pipeline) == [("soon", "its time")]


def test_a_limit_beyond_the_calendar_is_none(pipeline):
    pipeline.land([event("the end", at="9999-12-31T23:59:59.999999Z")])
    pipeline.do(pipeline.options(as_of=datetime.max.replace(tzinfo=UTC), max_event_ahead_hours=1), PAID)
    assert sent(pipeline) == ["the end"]


def test_what_a_backfill_takes_too_early_is_decided_by_the_hourly_run_that_reaches_it(pipeline):
    pipeline.land([event("morning", at=at(9)), event("evening", at=at(20), user_id="bob")])
    backfill(pipeline, 10)
    assert sent(pipeline) == ["morning"]
    assert waiting(pipeline) == [("evening", "its time")]
    hourly(pipeline, 19)
    assert sent(pipeline) == ["evening", "morning"]


def test_a_backfill_decides_what_is_due_in_its_window_and_nothing_else_that_waits(pipeline):
    pipeline.land([event("evening", at=at(20)), event("next day", at=at(25), user_id="bob")])
    hourly(pipeline, 10)
    backfill(pipeline, 40)
    assert sent(pipeline) == ["evening"]
    assert waiting(pipeline) == [("next day", "its time")]


def test_what_was_loaded_only_waits_for_a_backfill_and_after_one_that_came_too_early_for_its_time(pipeline):
    pipeline.land([event("morning", at=at(9)), event("evening", at=at(20), user_id="bob")])
    backfill(pipeline, 10, mode=RunMode.LOAD_ONLY)
    hourly(pipeline, 24)
    assert waiting(pipeline) == [("evening", "a backfill"), ("morning", "a backfill")]
    backfill(pipeline, 10)
    assert sent(pipeline) == ["morning"]
    assert waiting(pipeline) == [("evening", "its time")]
    assert pipeline.rows("SELECT state FROM loads") == [("held",)]
    hourly(pipeline, 19)
    assert sent(pipeline) == ["evening", "morning"]
    assert pipeline.rows("SELECT state FROM loads") == [("decided",)]


def test_what_was_loaded_only_and_lies_in_the_future_is_nobodys_latest_value(pipeline):
    pipeline.land([event("evening", at=at(20), user_traits={"country": "XX"})])
    backfill(pipeline, 10, mode=RunMode.LOAD_ONLY)
    assert pipeline.latest_traits() == []
    backfill(pipeline, 19, mode=RunMode.LOAD_ONLY)
    assert pipeline.latest_traits() == [("ana", None, "XX", None, None)]


def test_the_future_is_looked_for_by_time_however_much_is_new_or_waits(pipeline):
    pipeline.land([event(f"m{number}", at=at(9)) for number in range(50)] + [event("evening", at=at(20))])
    plans: list[str] = []

    @sqlalchemy_event.listens_for(pipeline.engine, "before_cursor_execute")
    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "held_events" in statement or ("sum(" not in statement and "count(*)" in statement):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.extend(row[3] for row in rows)

    hourly(pipeline, 10)
    hourly(pipeline, 19)
    assert any("ix_held_events_due (due_at" in plan for plan in plans)
    assert any("ix_events_event_timestamp_event_type (event_timestamp>?)" in plan for plan in plans)
    assert not [plan for plan in plans if plan.startswith(("SCAN held_events", "SCAN events"))]


def test_an_order_knows_its_limit(tmp_path):
    options = RunOptions("hourly", RunMode.LOAD_AND_DECIDE, TEN, tmp_path, max_event_ahead_hours=2)
    assert options.latest_event_at == TEN + timedelta(hours=2)
    assert RunOptions("hourly", RunMode.LOAD_AND_DECIDE, TEN, tmp_path).latest_event_at is None


@pytest.mark.parametrize(
    "trigger",
    [
        "BEFORE INSERT ON held_events BEGIN SELECT RAISE(IGNORE); END",
        "AFTER INSERT ON held_events BEGIN DELETE FROM held_events; END",
    ],
)
def test_one_that_a_trigger_does_not_let_wait_is_a_sentence_and_is_not_lost(pipeline, trigger):
    pipeline.land([event("after", at=at(17))])
    with write_transaction(pipeline.engine) as connection:
        connection.exec_driver_sql(f"CREATE TRIGGER meddling {trigger}")
    with pytest.raises(LostRowsError, match=r"1 row was written to the table held_events, and 0 .*DROP TRIGGER"):
        hourly(pipeline, 10)
    with write_transaction(pipeline.engine) as connection:
        connection.exec_driver_sql("DROP TRIGGER meddling")
    hourly(pipeline, 16)
    assert sent(pipeline) == ["after"]
