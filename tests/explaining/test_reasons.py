"""Every reason against a message, besides the one for which it was refused."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import event as noted
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.explaining.one_user import SUPPRESSED, explain_user
from src.marketing_messaging_service.explaining.standing import Decision, SentBefore, Standing
from src.marketing_messaging_service.infrastructure.database import read_transaction
from tests import strategies
from tests.decisions.helpers import event, rule
from tests.effort import examples
from tests.explaining.helpers import play
from tests.language_strategies import Document, language_documents
from tests.pipeline import AS_OF, Pipeline, Template
from tests.strategies import RawFile, Told
from tests.test_language_equals_reference import KEYED, LanguageReference, dense_runs
from tests.test_pipeline_equals_reference import fresh_pipeline


def reasons(pipeline: Pipeline, user_id: str = "ana") -> dict[tuple[int, str], tuple[str, ...]]:
    """Of each refused message of a user the reasons, by its event's id and its rule."""
    with read_transaction(pipeline.engine) as connection:
        found = explain_user(connection, user_id, None)
    return {(each.event.id, each.rule): each.reasons for each in found if each.outcome == SUPPRESSED}


def test_what_would_refuse_a_message_without_the_first_reason_is_named_too(pipeline: Pipeline) -> None:
    limits = [{"name": "one_a_day", "at_most": 1, "calendar": "day"}, {"name": "many", "at_most": 9, "hours": 1}]
    blocks = [{"name": "left", "from": {"event_type": "left"}}, {"name": "sms_only", "channels": ["sms"],
        "from": {"event_type": "left"}}]  # fmt: skip
    events = [event("a"), event("b", at="2026-03-01T13:00:00Z"), event("c", "left", "2026-03-01T14:00:00Z")]
    play(pipeline, [rule("r", mode="once_ever")], events[:1], limits=limits, blocks=blocks)
    play(pipeline, [rule("r", mode="once_ever", expires_after_hours=1)], events[1:], limits=limits, blocks=blocks)
    assert reasons(pipeline) == {(2, "r"): ("once_ever", "blocked:left", "limit:one_a_day", "expired")}


def test_only_sends_that_were_decided_before_it_count(pipeline: Pipeline) -> None:
    limits = [{"name": "one_a_day", "at_most": 1, "calendar": "day"}]
    blocks = [{"name": "left", "from": {"event_type": "left"}, "until": {"event_type": "back"}}]
    left, back = event("l", "left", "2026-03-01T10:00:00Z"), event("k", "back", "2026-03-01T12:30:00Z")
    play(pipeline, [rule("r")], [left, event("a")], [back, event("b", at="2026-03-01T13:00:00Z")],
         limits=limits, blocks=blocks)  # fmt: skip
    assert reasons(pipeline) == {(2, "r"): ("blocked:left",)}


def test_the_age_that_counts_is_that_of_the_run_that_loaded_the_event(pipeline: Pipeline) -> None:
    rules = {"rules": [rule("r", mode="once_ever")]}
    pipeline.land([event("a"), event("b", at="2026-03-01T13:00:00Z")])
    pipeline.do(pipeline.options(as_of=AS_OF, max_event_age_hours=1), rules)
    pipeline.land([event("c", at="2026-03-01T14:00:00Z")])
    pipeline.do(pipeline.options(as_of=AS_OF + timedelta(hours=1)), rules)
    assert reasons(pipeline) == {(1, "r"): ("expired",), (2, "r"): ("expired",)}


def test_only_sends_near_enough_to_matter_are_looked_at(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    reasons_of = Standing.reasons

    def counted(self: Standing, decision: Decision, before: Sequence[SentBefore]) -> list[str]:
        looked_at.append(len(before))
        return reasons_of(self, decision, before)

    monkeypatch.setattr(Standing, "reasons", counted)
    days = [event(f"{day} {hour}", at=f"2026-03-{day:02}T{hour}:00:00Z") for day in range(1, 21) for hour in (12, 13)]
    play(pipeline, [rule("r")], days, limits=[{"name": "few", "at_most": 1, "hours": 2}])
    assert set(reasons(pipeline).values()) == {("limit:few",)}
    assert looked_at == [1] * 20


def equal_the_reference(pipeline: Pipeline, reference: LanguageReference) -> None:
    keys: dict[int, int] = dict(pipeline.rows(KEYED + "SELECT id, event_key FROM keyed"))
    users = [row[0] for row in pipeline.rows("SELECT DISTINCT user_id FROM events")]
    found = {(keys[key], name): every for user in users for (key, name), every in reasons(pipeline, user).items()}
    expected = {(refusal.event.key, refusal.rule_name): refusal.reasons for refusal in reference.decider.refusals}
    assert found == expected
    for every in expected.values():
        noted(f"reasons: {len(every)}")


@examples(80)
@given(runs=dense_runs())
def test_they_are_all_that_deciding_one_match_at_a_time_finds(
    template: Template, runs: list[tuple[datetime, RawFile, Document]]
) -> None:
    reference = LanguageReference()
    with fresh_pipeline(template) as pipeline:
        files: list[RawFile] = []
        for as_of, file, document in runs:
            pipeline.land(file)
            files.append(file)
            order = pipeline.options(as_of=as_of)
            reference.run(files, document, order)
            pipeline.do(order, document)
        equal_the_reference(pipeline, reference)


@examples(60)
@given(
    files=strategies.event_batches(),
    documents=st.lists(language_documents(), min_size=1, max_size=3),
    orders=st.lists(strategies.run_orders(), min_size=1, max_size=4),
)
def test_they_are_so_with_windows_limits_of_age_and_what_was_only_loaded(
    template: Template, files: list[RawFile], documents: list[Document], orders: list[Told]
) -> None:
    reference = LanguageReference()
    with fresh_pipeline(template) as pipeline:
        for number, told in enumerate(orders):
            for file in files[number :: len(orders)]:
                pipeline.land(file)
            landed = [file for earlier in range(number + 1) for file in files[earlier :: len(orders)]]
            order = pipeline.told(told)
            document = documents[number % len(documents)]
            reference.run(landed, document, order)
            pipeline.do(order, document)
        equal_the_reference(pipeline, reference)
