"""Where implementations of such a language go wrong: borders, ties, late and odd values; each worked out by hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline import Pipeline
from tests.test_rule_language import Raw, audited, event, field, happened, outcomes, rule, run, sent


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Iterator[Pipeline]:
    yield from audited(tmp_path, migrated_template)


def matching(pipeline: Pipeline, path: str, cases: Sequence[tuple[str, Any]], *events: Raw) -> list[set[str]]:
    """Return for each operator and value the events that it holds for, all of them asked in one run."""
    rules = [
        rule(f"r{number}", template=f"T{number}", conditions=field(path, operator, value))
        for number, (operator, value) in enumerate(cases)
    ]
    run(pipeline, rules, "23T12:00:00", *events)
    found = [each.split() for each in outcomes(pipeline)]
    return [{message_id for message_id, name, _ in found if name == f"r{number}"} for number in range(len(cases))]


NEAR_2_TO_53 = 2**53


class TestValues:
    def test_whole_numbers_that_no_float_holds_are_distinguished(self, pipeline: Pipeline) -> None:
        wanted: list[tuple[str, Any, set[str]]] = [
            ("equals", NEAR_2_TO_53 + 1, {"1"}),
            ("gt", NEAR_2_TO_53, {"1", "2"}),
            ("lt", NEAR_2_TO_53 + 1, {"0"}),
            ("in", [NEAR_2_TO_53, NEAR_2_TO_53 + 2], {"0", "2"}),
            ("not_in", [NEAR_2_TO_53 + 1], {"0", "2"}),
            ("lte", 2**63 - 1, {"0", "1", "2"}),
        ]
        events = [event(str(n), "a", "23T10:00:00", attempt_number=NEAR_2_TO_53 + n) for n in range(3)]
        cases = [case[:2] for case in wanted]
        assert matching(pipeline, "properties.attempt_number", cases, *events) == [case[2] for case in wanted]

    def test_whole_numbers_that_no_float_holds_are_not_the_same(self, pipeline: Pipeline) -> None:
        events = [
            event("b", "b", "23T09:00:00", attempt_number=NEAR_2_TO_53),
            event("one more", "a", "23T10:00:00", attempt_number=NEAR_2_TO_53 + 1),
            event("it", "a", "23T10:00:00", attempt_number=NEAR_2_TO_53),
        ]
        same = happened("b", same=["properties.attempt_number"])
        per = {"mode": "once_ever", "per": ["properties.attempt_number"]}
        rules = [rule("looks", conditions=same), rule("once", template="O", suppression=per)]
        run(pipeline, rules, "23T12:00:00", *events, event("again", "a", "23T11:00:00", attempt_number=NEAR_2_TO_53))
        assert outcomes(pipeline) == {
            *("it looks sent", "again looks sent", "one more once sent", "it once sent", "again once once_ever it"),
        }

    def test_zero_is_zero_with_either_sign(self, pipeline: Pipeline) -> None:
        per = {"mode": "once_ever", "per": ["properties.amount"]}
        rules = [
            rule("same", conditions=happened("b", same=["properties.amount"])),
            rule("equals", template="E", conditions=field("properties.amount", "equals", -0.0)),
            rule("less", template="L", conditions=field("properties.amount", "lt", 0)),
            rule("once", template="O", suppression=per),
        ]
        events = event("b", "b", "23T09:00:00", amount=-0.0), event("plus", "a", "23T10:00:00", amount=0.0)
        run(pipeline, rules, "23T12:00:00", *events)
        run(pipeline, rules, "23T13:00:00", event("minus", "a", "23T10:30:00", amount=-0.0))
        assert outcomes(pipeline) == {
            *("plus same sent", "plus equals sent", "plus once sent"),
            *("minus same sent", "minus equals sent", "minus once once_ever plus"),
        }

    def test_text_is_compared_code_point_by_code_point(self, pipeline: Pipeline) -> None:
        texts = {
            "composed": "é",
            "decomposed": "e\u0301",
            "family": "\U0001f468\u200d\U0001f469\u200d\U0001f466",
            "dotless": "I",
            "dotted": "İ",
            "sharp": "ß",
        }
        wanted: list[tuple[str, Any, set[str]]] = [
            ("equals", "é", {"composed"}),
            ("starts_with", "e", {"decomposed"}),
            ("contains", "\u0301", {"decomposed"}),
            ("ends_with", "\U0001f468", set()),
            ("ends_with", "\U0001f466", {"family"}),
            ("contains", "\u200d", {"family"}),
            ("equals", "I", {"dotless"}),
            ("in", ["i", "İ"], {"dotted"}),
            ("contains", "ss", set()),
            ("not_equals", "ß", texts.keys() - {"sharp"}),
            ("contains", "%", set()),
            ("equals", "é ", set()),
        ]
        events = [event(name, "a", "23T10:00:00", failure_reason=text) for name, text in texts.items()]
        cases = [case[:2] for case in wanted]
        assert matching(pipeline, "properties.failure_reason", cases, *events) == [case[2] for case in wanted]

    def test_a_missing_value_is_no_empty_text_and_no_zero(self, pipeline: Pipeline) -> None:
        rules = [
            rule("empty", conditions=field("properties.failure_reason", "equals", "")),
            rule("there", template="T", conditions=field("properties.failure_reason", "exists")),
            rule("low", template="L", conditions=field("properties.amount", "lte", 0)),
            rule("not_low", template="N", conditions={"not": field("properties.amount", "gt", 0)}),
        ]
        events = [
            event("null", "a", "23T10:00:00", failure_reason=None, amount=None),
            event("empty", "a", "23T10:00:00", failure_reason="", amount=0),
            event("absent", "a", "23T10:00:00"),
        ]
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {
            *("empty empty sent", "empty there sent", "empty low sent", "empty not_low sent"),
            *("null not_low sent", "absent not_low sent"),
        }

    def test_what_the_other_event_does_not_say_meets_no_comparison(self, pipeline: Pipeline) -> None:
        not_in = field("properties.failure_reason", "not_in", ["X"])
        rules = [
            rule("some", conditions=happened("b", where=[not_in])),
            rule("none", template="N", conditions=happened("b", at_most=0, where=[not_in])),
            rule("silent", template="S", conditions=happened("b", where=[field("properties.amount", "not_exists")])),
        ]
        run(pipeline, rules, "23T12:00:00", event("b", "b", "23T09:00:00"), event("a", "a", "23T10:00:00"))
        assert outcomes(pipeline) == {"a none sent", "a silent sent"}


class TestTime:
    def test_the_first_and_the_last_instants_fail_no_run(self, pipeline: Pipeline) -> None:
        look = happened("b", at_most=0, within_hours=87840)
        rules = [
            rule(
                "waits",
                wait=87840,
                template="W",
                conditions=look,
                suppression={"mode": "once_per_hours", "hours": 87840},
            ),
            rule("looks", conditions=look, suppression={"mode": "once_per_calendar_month"}, expires_after_hours=87840),
        ]
        limits = [{"name": "one", "at_most": 1, "hours": 87840}, {"name": "week", "at_most": 1, "calendar": "week"}]
        whole = {"timezone": "America/Los_Angeles", "limits": limits, "rules": rules}
        first = event("first", "a", "23T10:00:00") | {"event_timestamp": "0001-01-01T00:00:00Z"}
        events = first, event("last", "a", "23T10:00:00", "v") | {"event_timestamp": "9999-12-31T23:59:59.999999Z"}
        run(pipeline, whole, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"first looks expired", "first waits sent", "last looks sent", "last waits waits"}

    def test_an_instant_is_one_in_whatever_zone_it_is_written(self, pipeline: Pipeline) -> None:
        times = {"z": "23T10:00:00Z", "kathmandu": "23T15:45:00+05:45", "apia": "23T23:00:00+13:00"}
        rules = [rule(conditions=happened("b", within_hours=1))]
        events = event("b", "b", "23T09:00:00"), *(event(name, "a", at) for name, at in times.items())
        run(pipeline, rules, "23T12:00:00", *events)
        assert sent(pipeline) == set(times)

    def test_hours_are_decimals_and_exact_to_the_second(self, pipeline: Pipeline) -> None:
        # 0.1 h is 360 s; as a float 0.7 h is 2,519.9999… s.
        rules = [
            rule("tenth", conditions=happened("b", within_hours=0.1)),
            rule("seven", template="S", conditions=happened("c", within_hours=0.7)),
        ]
        events = [
            event("b", "b", "23T09:54:00"),
            event("c", "c", "23T09:18:00"),
            event("a", "a", "23T10:00:00"),
            event("late", "a", "23T10:00:00.000001"),
        ]
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"a tenth sent", "a seven sent"}

    def test_within_hours_of_a_rule_that_waits_ends_at_the_end_of_the_wait(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2, conditions=happened("b", within_hours=1))]
        events = [
            *(event("a1", "a", "23T08:00:00", "u"), event("b1", "b", "23T09:00:00", "u")),
            *(event("a2", "a", "23T08:00:00", "v"), event("b2", "b", "23T08:59:59.999999", "v")),
            *(event("a3", "a", "23T08:00:00", "w"), event("b3", "b", "23T10:00:00", "w")),
            *(event("a4", "a", "23T08:00:00", "x"), event("b4", "b", "23T10:00:00.000001", "x")),
        ]
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"a1 r sent", "a2 r no match", "a3 r sent", "a4 r no match"}

    def test_what_comes_late_during_the_wait_counts_and_what_comes_after_it_does_not(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2, conditions={"not": happened("b", since_trigger=True)})]
        run(pipeline, rules, "23T10:00:00", event("a1", "a", "23T09:00:00"), event("a2", "a", "23T09:00:00", "v"))
        run(pipeline, rules, "23T11:30:00", event("b1", "b", "23T09:30:00"))
        run(pipeline, rules, "23T12:30:00", event("b2", "b", "23T09:30:00", "v"))
        assert outcomes(pipeline) == {"a1 r no match", "a2 r sent"}

    def test_an_event_that_is_late_by_more_than_its_wait_is_decided_at_once_and_in_its_place(
        self, pipeline: Pipeline
    ) -> None:
        whole = {"limits": [{"name": "one", "at_most": 1, "calendar": "day"}], "rules": [rule(wait=1), rule("n", "b")]}
        events = event("b", "b", "23T10:30:00"), event("a", "a", "23T09:00:00")
        run(pipeline, whole, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"a r sent", "b n limit:one a"}

    def test_a_redelivery_begins_no_second_wait(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2)]
        for hour in ("10", "10", "11", "12", "13"):
            run(pipeline, rules, f"23T{hour}:00:00", event("a", "a", "23T09:00:00"))
        assert outcomes(pipeline) == {"a r sent"}
        assert pipeline.rows("SELECT count(*) FROM send_requests") == [(1,)]
        assert pipeline.rows("SELECT count(*) FROM ended_waits") == [(1,)]

    def test_two_waits_of_one_event_end_each_at_its_time(self, pipeline: Pipeline) -> None:
        rules = [rule("one", wait=1), rule("two", template="U", wait=2, conditions=happened("b", since_trigger=True))]
        run(pipeline, rules, "23T09:30:00", event("a", "a", "23T09:00:00"))
        run(pipeline, rules, "23T10:30:00", event("b", "b", "23T10:10:00"))
        assert outcomes(pipeline) == {"a one sent", "a two waits"}
        run(pipeline, rules, "23T11:30:00")
        assert outcomes(pipeline) == {"a one sent", "a two sent"}


class TestTies:
    def test_of_one_instant_everything_is_within_and_the_latest_is_the_last_loaded(self, pipeline: Pipeline) -> None:
        rules = [
            rule("look", conditions=happened("b", within_hours=0.5, at_least=2)),
            rule("trait", template="T", conditions=field("latest_traits.country", "equals", "FR")),
        ]
        events = [
            event("b1", "b", "23T10:00:00", country="DE"),
            event("a", "a", "23T10:00:00"),
            event("b2", "b", "23T10:00:00", country="FR"),
        ]
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"a look sent", "a trait sent"}

    def test_a_trait_that_comes_late_is_latest_by_its_own_time(self, pipeline: Pipeline) -> None:
        french = field("latest_traits.country", "equals", "FR")
        run(pipeline, [rule(conditions=french)], "23T11:00:00", event("t1", "x", "23T10:00:00", country="FR"))
        late = event("t2", "x", "23T09:00:00", country="DE"), event("a", "a", "23T10:30:00")
        run(pipeline, [rule(conditions=french)], "23T12:00:00", *late, event("early", "a", "23T09:30:00"))
        assert outcomes(pipeline) == {"a r sent"}

    def test_at_the_end_of_a_wait_what_is_of_that_instant_counts(self, pipeline: Pipeline) -> None:
        rules = [
            rule("unpaid", wait=1, conditions={"not": happened("b", since_trigger=True)}),
            rule("known", template="K", wait=1, conditions=field("latest_traits.country", "exists")),
        ]
        run(pipeline, rules, "23T10:00:00", event("a", "a", "23T09:00:00"))
        run(pipeline, rules, "23T11:00:00", event("b", "b", "23T10:00:00", country="FR"))
        assert outcomes(pipeline) == {"a unpaid no match", "a known sent"}

    def test_of_two_sends_of_one_event_the_first_decided_is_named_in_the_same_run_as_in_a_later_one(
        self, pipeline: Pipeline
    ) -> None:
        rules = [
            rule("first", suppression={"mode": "once_ever", "per": ["properties.order_id"]}),
            rule("second"),
            rule("ever", on="b", suppression={"mode": "once_ever"}),
        ]
        run(pipeline, rules, "23T12:00:00", event("a", "a", "23T10:00:00"), event("b1", "b", "23T11:00:00"))
        run(pipeline, rules, "23T14:00:00", event("b2", "b", "23T13:00:00"))
        blockers = "SELECT s.rule_name FROM suppressions JOIN send_requests AS s ON s.id = blocked_by_send_request_id"
        assert pipeline.rows(blockers) == [("first",), ("first",)]
        assert outcomes(pipeline) == {"a first sent", "a second sent", *(f"b{n} ever once_ever a" for n in (1, 2))}

    def test_two_events_of_one_instant_that_compete_are_taken_as_they_were_loaded(self, pipeline: Pipeline) -> None:
        rules = [rule(suppression={"mode": "once_per_hours", "hours": 1})]
        run(pipeline, rules, "23T12:00:00", *(event(name, "a", "23T10:00:00") for name in "zya"))
        assert outcomes(pipeline) == {"z r sent", "y r once_per_hours z", "a r once_per_hours z"}


class TestWhatStandsInTheWay:
    def test_a_window_of_a_limit_reaches_over_the_borders_of_runs(self, pipeline: Pipeline) -> None:
        whole = {"limits": [{"name": "two", "at_most": 2, "hours": 3}], "rules": [rule()]}
        for hour in (9, 10, 11, 12, 13):
            run(pipeline, whole, f"23T{hour + 1}:00:00", event(str(hour), "a", f"23T{hour:02}:00:00"))
        assert outcomes(pipeline) == {"9 r sent", "10 r sent", "11 r limit:two 9", "12 r sent", "13 r sent"}

    def test_a_late_event_does_not_make_a_window_overfull_that_later_sends_fill(self, pipeline: Pipeline) -> None:
        whole = {"limits": [{"name": "two", "at_most": 2, "hours": 3}], "rules": [rule()]}
        run(pipeline, whole, "23T14:00:00", event("11", "a", "23T11:00:00"), event("12", "a", "23T12:00:00"))
        run(
            pipeline,
            whole,
            "23T15:00:00",
            event("9", "a", "23T09:00:00"),
            event("9:01", "a", "23T09:00:01"),
            event("13:59", "a", "23T13:59:59"),
            event("14", "a", "23T14:00:00"),
        )
        assert outcomes(pipeline) == {
            # (9:00, 12:00] holds two without the send at 9:00 itself, and with one at 9:00:01 it would hold three.
            *("11 r sent", "12 r sent", "9 r sent", "9:01 r limit:two 9"),
            *("13:59 r limit:two 11", "14 r sent"),
        }

    def test_a_send_of_the_same_batch_stands_in_the_way_of_the_next_and_a_refused_one_does_not(
        self, pipeline: Pipeline
    ) -> None:
        whole = {
            "blocks": [{"name": "no", "channels": ["sms"], "from": {"event_type": "no"}}],
            "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
            "rules": [rule("text", on="a", channel="sms"), rule("mail", on="b")],
        }
        events = [
            event("no", "no", "23T08:00:00"),
            event("a", "a", "23T09:00:00"),
            event("b", "b", "23T10:00:00"),
            event("b2", "b", "23T11:00:00"),
        ]
        run(pipeline, whole, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"a text blocked:no no", "b mail sent", "b2 mail limit:one b"}

    def test_expired_comes_after_once_and_uses_up_neither_once_nor_limit(self, pipeline: Pipeline) -> None:
        whole = {
            "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
            "rules": [rule(suppression={"mode": "once_ever"}, expires_after_hours=2)],
        }
        events = [event(str(hour), "a", f"23T{hour}:00:00") for hour in ("08", "10", "11")]
        run(pipeline, whole, "23T12:00:00", *events)
        run(pipeline, whole, "23T20:00:00", event("12", "a", "23T12:00:00"))
        assert outcomes(pipeline) == {"08 r expired", "10 r sent", "11 r once_ever 10", "12 r once_ever 10"}

    def test_what_was_sent_by_text_counts_for_the_once_of_the_same_template_by_mail(self, pipeline: Pipeline) -> None:
        ever = {"mode": "once_ever"}
        rules = [rule("text", channel="sms", suppression=ever), rule("mail", on="b", suppression=ever)]
        run(pipeline, rules, "23T12:00:00", event("a", "a", "23T09:00:00"), event("b", "b", "23T10:00:00"))
        assert outcomes(pipeline) == {"a text sent", "b mail once_ever a"}

    def test_per_looks_at_the_values_of_the_event_that_was_sent_for(self, pipeline: Pipeline) -> None:
        per = {"mode": "once_ever", "per": ["properties.order_id"]}
        always = rule("always", on="b")
        events = [
            event("b", "b", "23T08:00:00", order_id="x"),
            event("none", "b", "23T08:00:00"),
            event("x", "a", "23T09:00:00", order_id="x"),
            event("y", "a", "23T09:00:00", order_id="y"),
            event("absent", "a", "23T09:00:00"),
        ]
        run(pipeline, [always, rule(suppression=per)], "23T12:00:00", *events)
        assert outcomes(pipeline) == {
            *("b always sent", "none always sent", "x r once_ever b", "y r sent", "absent r once_ever none"),
        }

    def test_the_holdout_is_the_same_in_every_run_and_grows_with_its_share(self, pipeline: Pipeline) -> None:
        users = [f"user-{number}" for number in range(60)]
        held: list[set[str]] = []
        for number, percent in enumerate((20, 20, 40)):
            whole = {"holdout": {"percent": percent, "salt": "2026"}, "rules": [rule(f"r{number}", on=f"t{number}")]}
            events = [event(f"{number} {user}", f"t{number}", "23T10:00:00", user) for user in users]
            run(pipeline, whole, "23T12:00:00", *events)
            held.append({each.split()[1] for each in outcomes(pipeline) if each.endswith(f"r{number} holdout")})
        assert held[0] == held[1] < held[2]
        assert 4 < len(held[0]) < 24

    def test_users_are_distinguished_by_every_letter(self, pipeline: Pipeline) -> None:
        whole = {
            "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
            "rules": [rule(suppression={"mode": "once_ever"}, conditions={"not": happened("b")})],
        }
        names = ("ann", "Ann", "ann ", "a\u006en", "ånn", "001", "1")
        raw: list[Raw] = [event(f"m{number}", "a", "23T10:00:00", name) for number, name in enumerate(names)]
        run(pipeline, whole, "23T12:00:00", event("b", "b", "23T09:00:00", "Ann"), *raw)
        assert outcomes(pipeline) == {
            *("m0 r sent", "m2 r sent", "m3 r once_ever m0", "m4 r sent", "m5 r sent", "m6 r sent"),
        }
