"""The whole pipeline, stage, load and decide, against an oracle that decides one event at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import RunOptions, Window
from src.marketing_messaging_service.self_check.again import AGAIN_INVARIANTS
from src.marketing_messaging_service.self_check.batches import BATCH_INVARIANTS
from src.marketing_messaging_service.self_check.decisions_made import DECISION_INVARIANTS
from tests import strategies
from tests.effort import examples
from tests.pipeline import Pipeline, Template, quick_folder
from tests.postgresql import ServerTemplate
from tests.reference import Reference, Row
from tests.self_check.databases import broken
from tests.strategies import DAY_BORDER, RawEvent, RawFile, RulesDocument, Told


@contextmanager
def fresh_pipeline(template: Template) -> Iterator[Pipeline]:
    with quick_folder() as folder:
        pipeline = Pipeline(folder, template)
        yield pipeline
        pipeline.engine.dispose()
        if isinstance(template, ServerTemplate):
            template.server.drop(pipeline.database_url)


def expected(reference: Reference) -> dict[str, list[Row]]:
    return {
        "events": reference.events(),
        "event_properties": reference.event_properties(),
        "user_traits": reference.user_traits(),
        "send_requests": reference.send_requests(),
        "suppressions": reference.suppressions(),
        "former_suppressions": reference.former_suppressions(),
    }


@examples(150)
@given(
    files=strategies.event_batches(),
    documents=st.lists(strategies.rules_documents(), min_size=1, max_size=4),
    files_a_run=st.integers(1, 3),
)
def test_every_row_is_what_deciding_one_event_at_a_time_gives(
    template: Template, files: list[RawFile], documents: list[RulesDocument], files_a_run: int
) -> None:
    runs = [files[start : start + files_a_run] for start in range(0, len(files), files_a_run)]
    reference = Reference()
    with fresh_pipeline(template) as pipeline:
        for number, run in enumerate(runs):
            rules = documents[number % len(documents)]
            for file in run:
                reference.load(file)
            reference.decide(rules)
            pipeline.run(run, rules)
        assert pipeline.everything() == expected(reference)


@examples(150)
@given(data=st.data(), events=strategies.on_time_day(), rules=strategies.rules_documents())
def test_the_same_on_time_events_in_one_run_or_in_many_end_in_the_same_decisions(
    template: Template, data: st.DataObject, events: list[RawEvent], rules: RulesDocument
) -> None:
    files = data.draw(strategies.partitions(events))
    with fresh_pipeline(template) as at_once, fresh_pipeline(template) as hour_by_hour:
        at_once.run([events], rules)
        for file in files:
            hour_by_hour.run([file], rules)
        assert hour_by_hour.everything() == at_once.everything()


@examples(80)
@given(
    files=strategies.event_batches(),
    rules=strategies.rules_documents(),
    told=st.lists(strategies.run_orders(), min_size=1, max_size=6),
)
def test_hourly_runs_and_backfills_in_any_order_give_what_one_event_at_a_time_gives(
    template: Template,
    files: list[RawFile],
    rules: RulesDocument,
    told: list[Told],
) -> None:
    reference = Reference()
    with fresh_pipeline(template) as pipeline:
        orders = []
        for number, run in enumerate(told):
            for file in files[number :: len(told)]:
                pipeline.land(file)
            landed = [file for earlier in range(number + 1) for file in files[earlier :: len(told)]]
            options = pipeline.told(run)
            orders.append(options)
            is_held = options.mode is RunMode.LOAD_ONLY
            for file in landed:
                reference.load(file, run.window, None if is_held else options.oldest_event_at, is_held=is_held)
            if not is_held:
                reference.decide(rules, run.window, options.oldest_event_at, options.latest_event_at)
            pipeline.do(options, rules)
            with pipeline.reading():
                assert pipeline.everything() == expected(reference)
                assert pipeline.waiting() == reference.waiting()
                assert pipeline.latest_traits() == reference.latest_traits(reached_by(orders))


@examples(120)
@given(
    data=st.data(),
    files=strategies.event_batches(),
    documents=st.lists(strategies.rules_documents(), min_size=1, max_size=3),
    told=st.lists(strategies.run_orders(), min_size=2, max_size=6),
)
def test_rules_that_decide_again_among_hourly_runs_and_backfills_give_what_one_event_at_a_time_gives(
    template: Template,
    data: st.DataObject,
    files: list[RawFile],
    documents: list[RulesDocument],
    told: list[Told],
) -> None:
    reference = Reference()
    with fresh_pipeline(template) as pipeline:
        for number, run in enumerate(told):
            for file in files[number :: len(told)]:
                pipeline.land(file)
            landed = [file for earlier in range(number + 1) for file in files[earlier :: len(told)]]
            rules = documents[number % len(documents)]
            is_held = run.mode == RunMode.LOAD_ONLY
            again = data.draw(strategies.names_of(rules)) if run.window and not is_held else []
            options = pipeline.told(run, again)
            for file in landed:
                reference.load(file, run.window, None if is_held else options.oldest_event_at, is_held=is_held)
            if not is_held:
                reference.decide(rules, run.window, options.oldest_event_at, options.latest_event_at, again)
            pipeline.do(options, rules)
            assert pipeline.everything() == expected(reference)
            assert pipeline.waiting() == reference.waiting()
        pipeline.engine.dispose()
        assert broken(pipeline.database_url, (*BATCH_INVARIANTS, *DECISION_INVARIANTS, *AGAIN_INVARIANTS, *AUDIT)) == {}


def reached_by(orders: list[RunOptions]) -> datetime | None:
    """The latest instant that any of the runs allowed; None when none of them had a limit."""
    if all(options.latest_event_at is None for options in orders):
        return None
    return max(options.latest_event_at or options.as_of for options in orders)


@examples(60)
@given(data=st.data(), events=strategies.on_time_day(), rules=strategies.rules_documents())
def test_events_that_come_before_their_time_end_in_the_decisions_of_one_run_after_it(
    template: Template, data: st.DataObject, events: list[RawEvent], rules: RulesDocument
) -> None:
    on_time = data.draw(strategies.partitions(events))
    files = data.draw(strategies.early_deliveries(on_time))
    ends = [datetime.fromisoformat(file[-1]["event_timestamp"]) for file in on_time]
    with fresh_pipeline(template) as at_once, fresh_pipeline(template) as hour_by_hour:
        for file, end in zip(files, ends, strict=True):
            hour_by_hour.land(file)
            hour_by_hour.do(hour_by_hour.options(as_of=end, max_event_ahead_hours=0), rules)
            at_once.land(file)
        at_once.do(at_once.options(as_of=ends[-1], max_event_ahead_hours=0), rules)
        assert hour_by_hour.everything() == at_once.everything()
        # Without an enabled rule, every event is left to the next run.
        is_waiting = not strategies.enabled_names(rules)
        assert hour_by_hour.waiting() == at_once.waiting()
        assert len(at_once.waiting()) == is_waiting * len(at_once.events())
        assert hour_by_hour.latest_traits() == at_once.latest_traits()


@examples(40)
@given(data=st.data(), events=strategies.on_time_day(days=30), rules=strategies.rules_documents())
def test_a_backfill_of_a_month_in_one_go_or_by_windows_ends_in_the_decisions_of_its_hourly_runs(
    template: Template, data: st.DataObject, events: list[RawEvent], rules: RulesDocument
) -> None:
    files = data.draw(strategies.partitions(events))
    month = Window(DAY_BORDER, DAY_BORDER + timedelta(days=30))
    middle = DAY_BORDER + timedelta(days=data.draw(st.integers(1, 29)))
    with (
        fresh_pipeline(template) as hourly,
        fresh_pipeline(template) as at_once,
        fresh_pipeline(template) as loaded_first,
    ):
        for file in files:
            hourly.land(file)
            hourly.do(hourly.options(), rules)
            at_once.land(file)
            loaded_first.land(file)
        at_once.do(at_once.options(month), rules)
        loaded_first.do(loaded_first.options(month, RunMode.LOAD_ONLY), rules)
        for window in (Window(month.start, middle), Window(middle, month.end)):
            loaded_first.do(loaded_first.options(window), rules)
        assert at_once.everything() == hourly.everything()
        assert loaded_first.everything() == hourly.everything()


@examples(25)
@given(files=strategies.event_batches(), rules=strategies.rules_documents())
def test_running_again_changes_nothing(template: Template, files: list[RawFile], rules: RulesDocument) -> None:
    with fresh_pipeline(template) as pipeline:
        pipeline.run(files, rules)
        after_once = pipeline.everything()
        assert pipeline.take() == []
        assert pipeline.decide(rules).event_count == 0
        assert pipeline.everything() == after_once


@examples(25)
@given(files=strategies.event_batches(), rules=strategies.rules_documents())
def test_delivering_everything_again_in_one_other_file_changes_no_event_and_no_decision(
    template: Template, files: list[RawFile], rules: RulesDocument
) -> None:
    with fresh_pipeline(template) as pipeline:
        pipeline.run(files, rules)
        after_once = pipeline.everything()
        pipeline.run([[event for file in files for event in file]], rules)
        assert pipeline.everything() == after_once
