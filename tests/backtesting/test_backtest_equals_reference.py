"""Backtests against the oracle: it decides a past twice, one match at a time, in hourly runs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from src.marketing_messaging_service.backtesting import schedule
from src.marketing_messaging_service.backtesting.schedule import HOUR, MANY_AN_HOUR
from tests import strategies
from tests.backtesting.histories import Raw, by_run, compared, lived
from tests.effort import examples
from tests.language_strategies import Document, dense_file, language_documents
from tests.pipeline import Pipeline, Template
from tests.test_language_equals_reference import LanguageReference
from tests.test_pipeline_equals_reference import fresh_pipeline

Outcomes = dict[tuple[str, str], tuple[str, str, str]]


@st.composite
def on_time_events(draw: st.DrawFn) -> list[Raw]:
    """Some events of one or two users over a few days, in the order in which hourly runs load them."""
    anchor = draw(st.sampled_from(strategies.ANCHORS))
    raw = [
        each for number in range(draw(st.integers(1, 3))) for each in draw(dense_file(anchor + number * DAY, number))
    ]
    return [each for some in by_run(raw).values() for each in some]


DAY = timedelta(days=1)


def decided_by_the_oracle(pipeline: Pipeline, events: list[Raw], document: Document) -> Outcomes:
    """What comes of each event under each rule, in hourly runs from the first event to the last."""
    reference = LanguageReference()
    runs = by_run(events)
    as_of, last = min(runs), max(runs)
    while as_of <= last:
        reference.run([list(map(dict, runs.get(as_of, [])))], document, pipeline.options(as_of=as_of))
        as_of += HOUR
    names = [raw["message_id"] for some in runs.values() for raw in some]
    found: Outcomes = {}
    for send in reference.decider.sends:
        outcome = "alert" if send.is_alert else "send"
        found[names[send.event.key], send.rule_name] = outcome, send.template_name, send.channel
    for refusal in reference.decider.refusals:
        key = names[refusal.event.key], refusal.rule_name
        found[key] = f"suppressed:{refusal.reason}", refusal.template_name, ""
    every: Sequence[Any] = (*reference.decider.sends, *reference.decider.refusals)
    at = {(names[each.event.key], each.rule_name): each.decision_time for each in every}
    return {key: (*outcome[:2], f"{outcome[2]} {at[key].isoformat()}") for key, outcome in found.items()}


@pytest.mark.slow
@examples(25)
@given(
    events=on_time_events(),
    documents=st.tuples(*[language_documents(is_dense=True)] * 2),
    many_an_hour=st.sampled_from((0, MANY_AN_HOUR)),
)
def test_what_differs_is_what_differs_when_one_match_at_a_time_is_decided_twice(
    template: Template, events: list[Raw], documents: tuple[Document, Document], many_an_hour: int
) -> None:
    assume(events)
    with fresh_pipeline(template) as pipeline, patch.object(schedule, "MANY_AN_HOUR", many_an_hour):
        lived(pipeline, events, documents[0])
        pipeline.engine.dispose()
        before, after = (decided_by_the_oracle(pipeline, events, document) for document in documents)
        difference, changes = compared(pipeline.database_url, *documents)
        expected = {
            key: (before[key][0] if key in before else None, after[key][0] if key in after else None)
            for key in {**before, **after}
            if before.get(key) != after.get(key)
        }
        assert {(each.message_id, each.rule_name): (each.before, each.after) for each in changes} == expected
        for side, decided in (("before", before), ("after", after)):
            sends = sum(outcome == "send" for outcome, *_ in decided.values())
            refused = sum(outcome.startswith("suppressed") for outcome, *_ in decided.values())
            assert getattr(difference.sends, side) == sends
            assert getattr(difference.suppressions, side) == refused
        event(f"changes: {bool(changes)}")
        for document in documents:
            event(f"blocks: {bool(document.get('blocks'))}, wait_for_data: {bool(document.get('wait_for_data'))}")
        _, against_decided = compared(pipeline.database_url, None, None)
        assert against_decided == []
