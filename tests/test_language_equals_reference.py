"""The whole rule language, over runs of hours, against an oracle that decides one match at a time."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import RunOptions
from tests import strategies
from tests.effort import examples
from tests.language_strategies import Document, dense_file, language_documents
from tests.pipeline import Pipeline, Template
from tests.reference import Reference, Row, sort_rows
from tests.rule_reference import Decider, Event
from tests.self_check.databases import broken
from tests.strategies import RawFile, Told
from tests.test_pipeline_equals_reference import fresh_pipeline


class LanguageReference(Reference):
    """Loads as the reference does, and decides by the whole language."""

    def __init__(self) -> None:
        super().__init__()
        self.decider = Decider()
        self._loaded_as_of: dict[int, datetime] = {}

    def run(self, files: Sequence[RawFile], document: Document, run: RunOptions) -> None:
        """Do one run: load the files, and decide what is to be decided."""
        is_held = run.mode is RunMode.LOAD_ONLY
        window = (run.window.start, run.window.end) if run.window else None
        for file in files:
            self.load(file, window, None if is_held else run.oldest_event_at, is_held=is_held)
        for each in self._events:
            self._loaded_as_of.setdefault(each.key, run.as_of)
        if is_held or not any(rule.get("enabled", True) for rule in document["rules"]):
            return
        fresh: list[tuple[Event, datetime | None]] = []
        loaded = [self._plain(event) for event in self._events]
        for each in self._events:
            if each.key in self._decided or not self._is_asked(each, window):
                continue
            if run.latest_event_at is not None and each.content.timestamp > run.latest_event_at:
                self._ahead.add(each.key)
                continue
            has_waited = each.is_held or each.key in self._ahead
            fresh.append((loaded[each.key], run.oldest_event_at if has_waited else each.oldest))
            self._decided.add(each.key)
        self.decider.decide(document, run.as_of, fresh, loaded)

    def _plain(self, event: Any) -> Event:
        content = event.content
        return Event(
            event.key,
            content.user_id,
            content.event_type,
            content.timestamp,
            asdict(content.properties),
            asdict(content.user_traits),
            self._loaded_as_of[event.key],
        )

    def sends(self) -> list[Row]:
        return sort_rows(
            (
                send.event.key,
                send.rule_name,
                send.template_name,
                send.channel,
                _text(send.decision_time),
                send.is_exempt_from_limits,
            )
            for send in self.decider.sends
        )

    def refusals(self) -> list[Row]:
        return sort_rows(
            (
                refusal.event.key,
                refusal.rule_name,
                refusal.template_name,
                refusal.reason,
                _text(refusal.decision_time),
                refusal.blocking_send and (refusal.blocking_send.event.key, refusal.blocking_send.rule_name),
                refusal.blocking_event and refusal.blocking_event.key,
            )
            for refusal in self.decider.refusals
        )

    def waits(self) -> list[Row]:
        return sort_rows(
            (each.event.key, each.rule_name, _text(each.decision_time), each.is_too_old)
            for each in self.decider.waiting
        )

    def lapsed(self) -> list[Row]:
        return sort_rows((each.event.key, each.rule_name) for each in self.decider.lapsed)


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S.%f")


KEYED = "WITH keyed AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS event_key FROM events) "


def decided(pipeline: Pipeline) -> dict[str, list[Row]]:
    with pipeline.reading():
        return _decided(pipeline)


def _decided(pipeline: Pipeline) -> dict[str, list[Row]]:
    sends = pipeline.rows(
        KEYED + "SELECT event_key, rule_name, template_name, channel, coalesce(decision_time, event_timestamp), "
        "is_exempt_from_limits FROM send_requests JOIN keyed ON keyed.id = event_id"
    )
    refusals = pipeline.rows(
        KEYED + "SELECT keyed.event_key, s.rule_name, s.template_name, s.suppression_reason, "
        "coalesce(s.decision_time, s.event_timestamp), blocker.event_key, r.rule_name, blocking.event_key "
        "FROM suppressions s JOIN keyed ON keyed.id = s.event_id "
        "LEFT JOIN send_requests r ON r.id = s.blocked_by_send_request_id "
        "LEFT JOIN keyed blocker ON blocker.id = r.event_id "
        "LEFT JOIN keyed blocking ON blocking.id = s.blocked_by_event_id"
    )
    waits = pipeline.rows(
        KEYED
        + "SELECT event_key, rule_name, decide_at, is_too_old FROM waiting_matches JOIN keyed ON keyed.id = event_id"
    )
    lapsed = pipeline.rows(
        KEYED
        + "SELECT event_key, rule_name FROM ended_waits JOIN keyed ON keyed.id = event_id WHERE outcome = 'lapsed'"
    )
    return {
        "sends": sends,
        "refusals": sort_rows((*row[:5], None if row[5] is None else (row[5], row[6]), row[7]) for row in refusals),
        "waits": waits,
        "lapsed": lapsed,
    }


def expected(reference: LanguageReference) -> dict[str, list[Row]]:
    return {
        "sends": reference.sends(),
        "refusals": reference.refusals(),
        "waits": reference.waits(),
        "lapsed": reference.lapsed(),
    }


@examples(150)
@given(
    files=strategies.event_batches(),
    documents=st.lists(language_documents(), min_size=1, max_size=3),
    orders=st.lists(strategies.run_orders(), min_size=1, max_size=4),
)
def test_every_decision_is_what_deciding_one_match_at_a_time_gives(
    template: Template, files: list[RawFile], documents: list[Document], orders: list[Told]
) -> None:
    reference = LanguageReference()
    with fresh_pipeline(template) as pipeline:
        for number, told in enumerate(orders):
            document = documents[number % len(documents)]
            for file in files[number :: len(orders)]:
                pipeline.land(file)
            landed = [file for earlier in range(number + 1) for file in files[earlier :: len(orders)]]
            options = pipeline.told(told)
            reference.run(landed, document, options)
            pipeline.do(options, document)
            assert decided(pipeline) == expected(reference)
        for refusal in reference.decider.refusals:
            event(refusal.reason)
        event(f"sends: {bool(reference.decider.sends)}")
        event(f"lapsed: {bool(reference.decider.lapsed)}")


HOURS_BETWEEN_RUNS = (0, 1, 12, 13, 24, 36, 24 * 7, 24 * 31)


@st.composite
def dense_runs(draw: st.DrawFn) -> list[tuple[datetime, RawFile, Document]]:
    """Runs one after the other, with few users, few types and few conditions, so that everything meets."""
    documents = draw(st.lists(language_documents(is_dense=True), min_size=1, max_size=2))
    as_of = draw(st.sampled_from(strategies.ANCHORS)) - timedelta(hours=1)
    runs = []
    for number in range(draw(st.integers(1, 5))):
        as_of += timedelta(hours=draw(st.sampled_from(HOURS_BETWEEN_RUNS)), minutes=draw(st.sampled_from((0, 30))))
        file = draw(dense_file(as_of, number))
        runs.append((as_of, file, draw(st.sampled_from(documents))))
    return runs


@examples(400)
@given(runs=dense_runs())
def test_everything_against_a_match_is_found_in_its_order(
    template: Template, runs: list[tuple[datetime, RawFile, Document]]
) -> None:
    reference = LanguageReference()
    with fresh_pipeline(template) as pipeline:
        files: list[RawFile] = []
        for as_of, file, document in runs:
            pipeline.land(file)
            files.append(file)
            options = pipeline.options(as_of=as_of)
            reference.run(files, document, options)
            pipeline.do(options, document)
            assert decided(pipeline) == expected(reference)
        for refusal in reference.decider.refusals:
            event(refusal.reason)
        event(f"sends: {len(reference.decider.sends)}")
        event(f"lapsed: {bool(reference.decider.lapsed)}")


@examples(60)
@given(runs=dense_runs())
def test_the_self_check_finds_nothing_wrong_with_what_the_language_decides(
    template: Template, runs: list[tuple[datetime, RawFile, Document]]
) -> None:
    with fresh_pipeline(template) as pipeline:
        for as_of, file, document in runs:
            pipeline.land(file)
            pipeline.do(pipeline.options(as_of=as_of), document)
        pipeline.engine.dispose()
        found = broken(pipeline.database_url)
        assert {name: finding.examples for name, finding in found.items()} == {}
