"""Rules that decide again: which events, beside which decisions, and what is said where they cannot."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.marketing_messaging_service.decisions import AUDIT, decide_pending, named_rules, read_rules
from src.marketing_messaging_service.decisions.results import DecisionResult
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.loading import open_run
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import RunOptions, Window
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.decisions.helpers import Rule, blockers, column, decisions, event, prior, rule, run, written
from tests.pipeline import AS_OF, Pipeline

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = Window(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
MORNING = Window(DAY.start, NOON)

HOURS_TO_NOON = int((AS_OF - NOON).total_seconds() // 3600)
"""A limit of age by which events before noon of the day are too old."""


def at(hour: int) -> str:
    return f"2026-03-01T{hour:02}:00:00Z"


def again(pipeline: Pipeline, rules: Sequence[Rule], *names: str, window: Window = DAY, **limits: Any) -> None:
    """A backfill in which rules decide again; what it leaves passes the self-check."""
    pipeline.do(pipeline.options(window, decide_again=names, **limits), {"rules": list(rules)})
    assert check_database(url_of(pipeline.database_path), (*INVARIANTS, *AUDIT)).broken == ()


def expired(pipeline: Pipeline, rules: Sequence[Rule], *events: dict[str, Any]) -> None:
    """A backfill that comes too late for events before noon."""
    pipeline.land(list(events))
    pipeline.do(pipeline.options(DAY, max_event_age_hours=HOURS_TO_NOON), {"rules": list(rules)})


def test_a_new_rule_decides_events_of_the_window_that_were_decided_without_it(pipeline):
    run(pipeline, [rule("old")], [event("a", at=at(10)), event("b", at=at(13)), event("c", "link", at=at(11))])
    again(pipeline, [rule("old", mode="once_ever"), rule("new", template="N")], "new", window=MORNING)
    assert decisions(pipeline) == [("a", "new", "send"), ("a", "old", "send"), ("b", "old", "send")]


def test_no_rule_that_was_not_named_decides(pipeline):
    run(pipeline, [rule("old")], [event("a")])
    again(pipeline, [rule("other", template="O"), rule("new", template="N")], "new")
    assert decisions(pipeline) == [("a", "new", "send"), ("a", "old", "send")]


def test_a_rule_that_has_decided_does_so_no_second_time_whatever_it_asks_for_now(pipeline):
    run(pipeline, [rule("r"), rule("s", mode="once_ever", template="S")], [event("a"), event("b", at=at(13))])
    before = pipeline.everything()
    again(pipeline, [rule("r", template="OTHER"), rule("s", template="S")], "r", "s")
    assert pipeline.everything() == before


def test_an_expired_decision_is_replaced_and_kept(pipeline):
    expired(pipeline, [rule("r")], event("a", at=at(11)), event("b", at=at(13)))
    again(pipeline, [rule("r")], "r", max_event_age_hours=0)
    assert decisions(pipeline) == [("a", "r", "send"), ("b", "r", "send")]
    assert pipeline.rows(
        "SELECT message_id, suppression_reason, batch_id FROM former_suppressions f JOIN events e ON e.id = f.event_id"
    ) == [("a", "expired", 2)]


def test_an_expired_decision_that_would_expire_again_stays(pipeline):
    expired(pipeline, [rule("r")], event("a", at=at(11)))
    before = pipeline.rows("SELECT * FROM suppressions")
    again(pipeline, [rule("r")], "r", max_event_age_hours=HOURS_TO_NOON)
    assert pipeline.rows("SELECT * FROM suppressions") == before
    assert pipeline.former_suppressions() == []


def test_a_new_rule_is_held_to_the_limit_of_age_of_its_run_and_what_expires_so_may_be_decided_later(pipeline):
    run(pipeline, [rule("old")], [event("a", at=at(11)), event("b", at=at(13))])
    rules = [rule("old"), rule("new", template="N")]
    again(pipeline, rules, "new", max_event_age_hours=HOURS_TO_NOON)
    assert [row for row in decisions(pipeline) if row[1] == "new"] == [("a", "new", "expired"), ("b", "new", "send")]
    again(pipeline, rules, "new")
    assert [row for row in decisions(pipeline) if row[1] == "new"] == [("a", "new", "send"), ("b", "new", "send")]


def test_an_alert_is_decided_however_old_its_event_is(pipeline):
    run(pipeline, [rule("old")], [event("a", at=at(11))])
    again(pipeline, [rule("alert", channel="internal")], "alert", max_event_age_hours=1)
    assert ("a", "alert", "send") in decisions(pipeline)


def test_a_suppression_never_gets_the_id_of_one_that_was_replaced(pipeline):
    expired(pipeline, [rule("r", mode="once_ever")], event("a", at=at(10)), event("b", at=at(11)))
    again(pipeline, [rule("r", mode="once_ever")], "r")
    run(pipeline, [rule("r", mode="once_ever")], [event("c", at=at(20))])
    former = column(pipeline, "SELECT id FROM former_suppressions ORDER BY id")
    assert former == [1, 2]
    assert column(pipeline, "SELECT id FROM suppressions ORDER BY id") == [3, 4]


def test_the_once_of_earlier_sends_stands_also_where_their_events_happened_later(pipeline):
    expired(pipeline, [rule("r", mode="once_ever")], event("a", at=at(11)), event("b", at=at(13)))
    again(pipeline, [rule("r", mode="once_ever")], "r")
    assert decisions(pipeline) == [("a", "r", "once_ever"), ("b", "r", "send")]
    assert blockers(pipeline) == {"a r": "b r"}


def test_new_events_and_those_decided_again_are_decided_in_the_order_of_time(pipeline):
    run(pipeline, [rule("old")], [event("later", at=at(15))])
    pipeline.land([event("earlier", at=at(14))])
    again(pipeline, [rule("old"), rule("new", mode="once_ever", template="N")], "new")
    assert [row for row in decisions(pipeline) if row[1] == "new"] == [
        ("earlier", "new", "send"),
        ("later", "new", "once_ever"),
    ]


def test_a_rule_that_looks_back_finds_what_is_there_now(pipeline):
    run(pipeline, [rule("other", on="none")], [event("a", "link", at=at(12))], [event("b", "signup", at=at(11))])
    again(pipeline, [rule("nudge", prior("signup"), on="link")], "nudge")
    assert decisions(pipeline) == [("a", "nudge", "send")]


class TestAnExclusiveGroup:
    def test_that_has_decided_an_event_stays_as_it_is(self, pipeline):
        run(pipeline, [rule("first", exclusive_group="g")], [event("a")])
        again(pipeline, [rule("new", exclusive_group="g"), rule("first", exclusive_group="g")], "new")
        assert decisions(pipeline) == [("a", "first", "send")]

    def test_stays_also_where_the_rule_that_decided_has_left_it_or_joined_it_since(self, pipeline):
        run(
            pipeline,
            [rule("leaves", exclusive_group="g"), rule("joins", on="link")],
            [event("a"), event("b", "link")],
        )
        rules = [
            rule("leaves"),
            rule("joins", on="link", exclusive_group="g"),
            rule("new", exclusive_group="g"),
            rule("newer", on="link", exclusive_group="g"),
        ]
        again(pipeline, rules, "new", "newer")
        assert decisions(pipeline) == [("a", "leaves", "send"), ("b", "joins", "send")]

    def test_stays_also_where_another_rule_of_it_had_expired(self, pipeline):
        expired(pipeline, [rule("first", exclusive_group="g")], event("a", at=at(11)))
        again(pipeline, [rule("new", exclusive_group="g"), rule("first", exclusive_group="g")], "new")
        assert decisions(pipeline) == [("a", "first", "expired")]

    def test_lets_the_rule_decide_that_had_expired_itself(self, pipeline):
        expired(pipeline, [rule("first", exclusive_group="g")], event("a", at=at(11)))
        again(pipeline, [rule("new", exclusive_group="g"), rule("first", exclusive_group="g")], "new", "first")
        assert decisions(pipeline) == [("a", "first", "send")]

    def test_has_the_first_decide_of_those_that_match(self, pipeline):
        run(pipeline, [rule("other", on="none")], [event("a")])
        again(pipeline, [rule("one", exclusive_group="g"), rule("two", exclusive_group="g")], "two", "one")
        assert decisions(pipeline) == [("a", "one", "send")]

    def test_leaves_an_event_alone_that_a_rule_before_the_named_one_matches(self, pipeline):
        run(pipeline, [rule("other", on="none")], [event("a")])
        again(pipeline, [rule("one", exclusive_group="g"), rule("two", exclusive_group="g")], "two")
        assert decisions(pipeline) == []


class TestWhatWaits:
    def test_for_an_hourly_run_is_left_to_it(self, pipeline):
        run(pipeline, [rule("old")], [event("a", at=at(11))])
        pipeline.land([event("b")])
        pipeline.take()
        again(pipeline, [rule("old"), rule("new", template="N")], "new")
        assert [row[0] for row in decisions(pipeline)] == ["a", "a"]
        assert [waits for _, waits in pipeline.waiting()] == ["the next run"]

    def test_for_a_backfill_is_decided_by_every_rule_if_it_lies_in_the_window(self, pipeline):
        hold(pipeline, event("a", at=at(11)), event("b", at=at(13)))
        again(pipeline, [rule("old"), rule("new", template="N")], "new", window=MORNING)
        assert decisions(pipeline) == [("a", "new", "send"), ("a", "old", "send")]
        assert [waits for _, waits in pipeline.waiting()] == ["a backfill"]

    def test_for_its_time_waits_on(self, pipeline):
        pipeline.land([event("a", at=at(14))])
        early: dict[str, Any] = {"as_of": NOON, "max_event_ahead_hours": 1}
        pipeline.do(pipeline.options(**early), {"rules": [rule("old")]})
        again(pipeline, [rule("old"), rule("new", template="N")], "new", **early)
        assert decisions(pipeline) == []
        assert [waits for _, waits in pipeline.waiting()] == ["its time"]


def test_an_event_from_before_loads_were_recorded_is_left_alone(pipeline):
    pipeline.execute(
        "INSERT INTO events (message_id, user_id, event_type, event_timestamp, created_at) VALUES "
        "('old', 'ana', 'paid', '2026-03-01 12:00:00.000000', '2026-03-01 12:00:00.000000')"
    )
    pipeline.execute("INSERT INTO event_types VALUES ('paid', '2026-03-01 12:00:00.000000')")
    again(pipeline, [rule("new")], "new")
    assert decisions(pipeline) == []


@pytest.mark.slow
def test_done_twice_it_does_nothing_more(pipeline):
    expired(pipeline, [rule("r")], event("a", at=at(11)))
    again(pipeline, [rule("r"), rule("new", template="N")], "r", "new")
    before = pipeline.everything()
    again(pipeline, [rule("r"), rule("new", template="N")], "r", "new")
    assert pipeline.everything() == before
    assert pipeline.rows("SELECT id, again_count FROM batches") == [(1, 0), (2, 2), (3, 0)]


def test_the_result_tells_what_was_decided_again_apart_from_the_rest(pipeline):
    run(pipeline, [rule("old")], [event("a", at=at(11)), event("b", at=at(13))])
    hold(pipeline, event("c"))
    rules = [rule("old"), rule("new", template="N")]
    result = result_of(pipeline, pipeline.options(DAY, decide_again=["new"]), rules)
    assert [(each.rule_name, each.send_count) for each in result.again] == [("new", 2)]
    assert {each.rule_name: each.send_count for each in result.outcomes} == {"old": 1, "new": 1}
    assert result.event_count == 1


def hold(pipeline: Pipeline, *events: dict[str, Any]) -> None:
    """Load events that wait for a backfill."""
    pipeline.land(list(events))
    pipeline.do(pipeline.options(DAY, RunMode.LOAD_ONLY), {"rules": []})


def result_of(pipeline: Pipeline, options: RunOptions, rules: Sequence[Rule]) -> DecisionResult:
    """Decide as a run does, and return what deciding gave."""
    run_id = open_run(pipeline.engine, options)
    return decide_pending(pipeline.engine, written(pipeline, rules), decided_at=AS_OF, options=options, run_id=run_id)


class TestANameThatCannotBe:
    def refusal(self, pipeline: Pipeline, *names: str) -> str:
        pipeline.rules_path.write_text(
            json.dumps({"rules": [rule("welcome_email"), rule("off", enabled=False), rule("nudge")]}), encoding="utf-8"
        )
        with pytest.raises(ParameterError) as caught:
            named_rules(read_rules(pipeline.rules_path), names)
        return str(caught.value)

    def test_because_it_is_mistyped_is_reported_with_the_nearest(self, pipeline):
        assert self.refusal(pipeline, "nudge", "welcom_email") == (
            "decide_again names the rule welcom_email, which the rules file does not have; did you mean welcome_email? "
            "Nothing was decided."
        )

    def test_because_it_is_like_no_other_is_reported_with_all_there_are(self, pipeline):
        assert self.refusal(pipeline, "zzz").endswith(
            "does not have; the rules that are on: welcome_email, nudge. Nothing was decided."
        )

    def test_because_it_is_off_is_reported_as_such(self, pipeline):
        assert self.refusal(pipeline, "off") == (
            "decide_again names the rule off, which is off in the rules file; switch it on there, or leave it out. "
            "Nothing was decided."
        )

    def test_decides_nothing(self, pipeline):
        hold(pipeline, event("a"))
        with pytest.raises(ParameterError):
            result_of(pipeline, pipeline.options(DAY, decide_again=["gone"]), [rule("r")])
        assert decisions(pipeline) == []
        assert [waits for _, waits in pipeline.waiting()] == ["a backfill"]

    def test_and_a_run_without_a_window_are_refused(self, pipeline):
        with pytest.raises(ValueError, match="in a window"):
            result_of(pipeline, pipeline.options(decide_again=["r"]), [rule("r")])
