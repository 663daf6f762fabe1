"""On-time events end in the same decisions in hourly runs and in one daily run, by rules of the whole language.

For rulesets without blocks and expiry, which look at the logical time by definition.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import Window
from tests.effort import examples
from tests.language_strategies import FIELDS, Document, language_documents
from tests.pipeline import Pipeline, Template
from tests.strategies import DAY_BORDER, EVENT_TYPES, RawEvent
from tests.test_language_equals_reference import decided
from tests.test_pipeline_equals_reference import fresh_pipeline

HOURS = 48
"""Two days, so that what the first leaves waiting is decided in the second."""

ENDED = (
    "WITH keyed AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS event_key FROM events) "
    "SELECT event_key, rule_name, decide_at, is_too_old, outcome FROM ended_waits JOIN keyed ON keyed.id = event_id"
)
KEYS = "SELECT user_id, template_name, rule_name, dedupe_key FROM send_requests"


@st.composite
def on_time_days(draw: st.DrawFn) -> list[RawEvent]:
    """The events of two days in the order of time: of few users and types, on half hours and right beside them."""
    ticks = st.sampled_from((0, 0, 0, -1, 1))
    places = st.tuples(st.integers(1, 2 * HOURS - 2), ticks)
    crowded = st.lists(places, min_size=2, max_size=14)
    found = []
    for number, (half_hours, microseconds) in enumerate(sorted(draw(crowded))):
        instant = DAY_BORDER + timedelta(minutes=30 * half_hours, microseconds=microseconds)
        raw: dict[str, Any] = {
            "message_id": f"m{number}",
            "user_id": draw(st.sampled_from(("u", "u", "v"))),
            "event_type": draw(st.sampled_from((*EVENT_TYPES[:2], *EVENT_TYPES))),
            "event_timestamp": instant.isoformat(),
        }
        for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True)):
            part, _, key = name.partition(".")
            raw.setdefault(part, {})[key] = draw(st.sampled_from(FIELDS[name]))
        found.append(raw)
    return found


def run_at(
    pipeline: Pipeline,
    events: Sequence[RawEvent],
    hours: Sequence[int],
    document: Document,
    *,
    has_window: bool = False,
) -> None:
    """Do a run at each of some hours; each loads what happened since the previous one."""
    start = DAY_BORDER
    for hour in hours:
        as_of = DAY_BORDER + timedelta(hours=hour)
        new = [each for each in events if start <= datetime.fromisoformat(each["event_timestamp"]) < as_of]
        if new:
            pipeline.land(new)
        pipeline.do(pipeline.options(Window(start, as_of) if has_window else None, as_of=as_of), document)
        start = as_of


def left(pipeline: Pipeline) -> dict[str, Any]:
    return {**decided(pipeline), "ended": pipeline.rows(ENDED), "keys": pipeline.rows(KEYS)}


@pytest.mark.slow
@examples(50)
@given(
    events=on_time_days(),
    document=language_documents(looks_at_as_of=False, is_dense=True),
    hours=st.sets(st.integers(1, HOURS - 1), max_size=12),
)
def test_hourly_runs_and_a_daily_run_end_in_the_same_decisions(
    template: Template, events: list[RawEvent], document: Document, hours: set[int]
) -> None:
    with fresh_pipeline(template) as hourly, fresh_pipeline(template) as daily, fresh_pipeline(template) as at_once:
        run_at(hourly, events, [*sorted(hours), HOURS], document)
        run_at(daily, events, [HOURS // 2, HOURS], document, has_window=True)
        run_at(at_once, events, [HOURS], document)
        expected = left(at_once)
        assert left(hourly) == expected
        assert left(daily) == expected
        for name in ("sends", "refusals", "waits", "ended"):
            event(f"{name}: {bool(expected[name])}")


@pytest.mark.slow
@examples(10)
@given(events=on_time_days(), document=language_documents(looks_at_as_of=False, is_dense=True))
def test_every_hour_of_a_day_and_one_backfill_of_what_was_only_loaded_end_in_the_same_decisions(
    template: Template, events: list[RawEvent], document: Document
) -> None:
    end = DAY_BORDER + timedelta(hours=HOURS)
    everything = Window(DAY_BORDER, end)
    with fresh_pipeline(template) as hourly, fresh_pipeline(template) as backfilled:
        run_at(hourly, events, range(1, HOURS + 1), document)
        backfilled.land(events)
        backfilled.do(backfilled.options(everything, RunMode.LOAD_ONLY, as_of=end), document)
        backfilled.do(backfilled.options(everything, as_of=end), document)
        assert left(hourly) == left(backfilled)
