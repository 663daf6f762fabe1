"""The whole pipeline, stage, load and decide, against an oracle that decides one event at a time."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.results import Window
from tests import strategies
from tests.pipeline import AS_OF, Pipeline
from tests.reference import Reference, Row
from tests.strategies import ANCHORS, STEPS, RawEvent, RawFile, RulesDocument

# The migrated template is made once and only read.
thorough = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@contextmanager
def fresh_pipeline(migrated_template: Path) -> Iterator[Pipeline]:
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(Path(folder), migrated_template)
        yield pipeline
        pipeline.engine.dispose()


def expected(reference: Reference) -> dict[str, list[Row]]:
    return {
        "events": reference.events(),
        "event_properties": reference.event_properties(),
        "user_traits": reference.user_traits(),
        "send_requests": reference.send_requests(),
        "suppressions": reference.suppressions(),
    }


@thorough
@given(
    files=strategies.event_batches(),
    documents=st.lists(strategies.rules_documents(), min_size=1, max_size=4),
    files_a_run=st.integers(1, 3),
)
def test_every_row_is_what_deciding_one_event_at_a_time_gives(
    migrated_template: Path, files: list[RawFile], documents: list[RulesDocument], files_a_run: int
) -> None:
    runs = [files[start : start + files_a_run] for start in range(0, len(files), files_a_run)]
    reference = Reference()
    with fresh_pipeline(migrated_template) as pipeline:
        for number, run in enumerate(runs):
            rules = documents[number % len(documents)]
            for file in run:
                reference.load(file)
            reference.decide(rules)
            pipeline.run(run, rules)
        assert pipeline.everything() == expected(reference)


@thorough
@given(data=st.data(), events=strategies.on_time_day(), rules=strategies.rules_documents())
def test_the_same_on_time_events_in_one_run_or_in_many_end_in_the_same_decisions(
    migrated_template: Path, data: st.DataObject, events: list[RawEvent], rules: RulesDocument
) -> None:
    files = data.draw(strategies.partitions(events))
    with fresh_pipeline(migrated_template) as at_once, fresh_pipeline(migrated_template) as hour_by_hour:
        at_once.run([events], rules)
        for file in files:
            hour_by_hour.run([file], rules)
        assert hour_by_hour.everything() == at_once.everything()


@st.composite
def orders(draw: st.DrawFn) -> tuple[Window | None, RunMode, int]:
    """What a run is told: no window, or one with borders on the instants of events; a mode; and the limit of age."""
    hours = draw(st.sampled_from((0, 0, *(int((AS_OF - anchor).total_seconds() // 3600) for anchor in ANCHORS))))
    if draw(st.booleans()):
        return None, RunMode.LOAD_AND_DECIDE, hours
    borders = [anchor + step for anchor in ANCHORS for step in (*STEPS, timedelta(0))]
    start, end = sorted(draw(st.lists(st.sampled_from(borders), min_size=2, max_size=2, unique=True)))
    return Window(start, end), draw(st.sampled_from((RunMode.LOAD_AND_DECIDE, RunMode.LOAD_ONLY))), hours


@thorough
@given(
    files=strategies.event_batches(),
    rules=strategies.rules_documents(),
    told=st.lists(orders(), min_size=1, max_size=6),
)
def test_hourly_runs_and_backfills_in_any_order_give_what_one_event_at_a_time_gives(
    migrated_template: Path,
    files: list[RawFile],
    rules: RulesDocument,
    told: list[tuple[Window | None, RunMode, int]],
) -> None:
    reference = Reference()
    with fresh_pipeline(migrated_template) as pipeline:
        for number, (window, mode, hours) in enumerate(told):
            for file in files[number :: len(told)]:
                pipeline.land(file)
            landed = [file for earlier in range(number + 1) for file in files[earlier :: len(told)]]
            order = pipeline.order(window, mode, hours)
            span = window and (window.start, window.end)
            is_held = mode is RunMode.LOAD_ONLY
            for file in landed:
                reference.load(file, span, None if is_held else order.oldest_event_at, is_held=is_held)
            if not is_held:
                reference.decide(rules, span, order.oldest_event_at)
            pipeline.do(order, rules)
            assert pipeline.everything() == expected(reference)


@settings(thorough, max_examples=25)
@given(files=strategies.event_batches(), rules=strategies.rules_documents())
def test_running_again_changes_nothing(migrated_template: Path, files: list[RawFile], rules: RulesDocument) -> None:
    with fresh_pipeline(migrated_template) as pipeline:
        pipeline.run(files, rules)
        after_once = pipeline.everything()
        assert pipeline.take() == []
        assert pipeline.decide(rules).event_count == 0
        assert pipeline.everything() == after_once


@settings(thorough, max_examples=25)
@given(files=strategies.event_batches(), rules=strategies.rules_documents())
def test_delivering_everything_again_in_one_other_file_changes_no_event_and_no_decision(
    migrated_template: Path, files: list[RawFile], rules: RulesDocument
) -> None:
    with fresh_pipeline(migrated_template) as pipeline:
        pipeline.run(files, rules)
        after_once = pipeline.everything()
        pipeline.run([[event for file in files for event in file]], rules)
        assert pipeline.everything() == after_once
