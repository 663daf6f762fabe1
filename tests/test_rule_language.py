"""The rule language sentence by sentence: small stories, and what must come of them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from src.marketing_messaging_service.decisions import AUDIT, decide_pending, read_rules
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import Window
from tests.pipeline import AS_OF, Pipeline
from tests.self_check.databases import broken

Raw = dict[str, Any]
TRAITS = ("email", "country", "marketing_opt_in", "risk_segment")

OUTCOMES = """
SELECT event.message_id, send.rule_name, 'sent', NULL
FROM send_requests AS send JOIN events AS event ON event.id = send.event_id
UNION ALL
SELECT event.message_id, refused.rule_name, refused.suppression_reason, coalesce(sent.message_id, said.message_id)
FROM suppressions AS refused JOIN events AS event ON event.id = refused.event_id
LEFT JOIN send_requests AS blocker ON blocker.id = refused.blocked_by_send_request_id
LEFT JOIN events AS sent ON sent.id = blocker.event_id
LEFT JOIN events AS said ON said.id = refused.blocked_by_event_id
UNION ALL
SELECT event.message_id, waiting.rule_name, 'waits', NULL
FROM waiting_matches AS waiting JOIN events AS event ON event.id = waiting.event_id
UNION ALL
SELECT event.message_id, ended.rule_name, ended.outcome, NULL
FROM ended_waits AS ended JOIN events AS event ON event.id = ended.event_id WHERE ended.outcome <> 'decided'
"""


def audited(folder: Path, migrated_template: Path) -> Iterator[Pipeline]:
    """Yield runs on a fresh migrated database, and see afterwards that the self-check finds no decision wrong."""
    made = Pipeline(folder, migrated_template)
    yield made
    made.engine.dispose()
    found = broken(made.database_path, AUDIT)
    assert {name: finding.examples or finding.problem for name, finding in found.items()} == {}


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Iterator[Pipeline]:
    yield from audited(tmp_path, migrated_template)


def instant(at: str) -> str:
    """An instant of November 2026 in short: a day with a time, in UTC unless an offset follows."""
    full = at if at.startswith("20") else f"2026-11-{at}"
    return full if full.endswith("Z") or "+" in full else f"{full}Z"


def event(message_id: str, event_type: str, at: str, user_id: str = "u", **values: Any) -> Raw:
    """A raw event whose values are traits where they have the name of one, and properties else."""
    raw: Raw = {"message_id": message_id, "user_id": user_id, "event_type": event_type, "event_timestamp": instant(at)}
    for name, value in values.items():
        raw.setdefault("user_traits" if name in TRAITS else "properties", {})[name] = value
    return raw


def rule(name: str = "r", on: str = "a", template: str = "T", channel: str = "email", **keys: Any) -> Raw:
    """A rule that sends, or on the channel internal alerts; `wait` is in hours."""
    kind = "alert" if channel == "internal" else "send"
    action = {"type": kind, "template_name": template, "delivery_method": channel}
    if "wait" in keys:
        keys["wait"] = {"hours": keys["wait"]}
    return {"name": name, "trigger": {"event_type": on}, "action": action, **keys}


def field(name: str, operator: str, *value: Any) -> Raw:
    return {"field": name, "operator": operator, **({"value": value[0]} if value else {})}


def happened(event_type: str, **keys: Any) -> Raw:
    return {"happened": {"event_type": event_type, **keys}}


def run(pipeline: Pipeline, rules: Mapping[str, Any] | Sequence[Raw], as_of: str, *events: Raw, **keys: Any) -> None:
    """Land events as one file and do an hourly run by the rules, or by a whole file."""
    if events:
        pipeline.land(events)
    order = pipeline.options(as_of=datetime.fromisoformat(instant(as_of)), **keys)
    pipeline.do(order, rules if isinstance(rules, Mapping) else {"rules": list(rules)})


def outcomes(pipeline: Pipeline) -> set[str]:
    """The outcome of each match: message_id, rule, outcome and, if something stopped it, the event of that."""
    return {" ".join(str(part) for part in row if part is not None) for row in pipeline.rows(OUTCOMES)}


def sent(pipeline: Pipeline) -> set[str]:
    """The message_ids of the events that earned a message."""
    return {outcome.split()[0] for outcome in outcomes(pipeline) if outcome.endswith(" sent")}


class TestConditions:
    def matching(self, pipeline: Pipeline, condition: Raw, *events: Raw) -> set[str]:
        run(pipeline, [rule(conditions=condition)], "23T12:00:00", *events)
        return sent(pipeline)

    @pytest.mark.parametrize(
        ("condition", "wanted"),
        [
            (field("properties.amount", "gt", 5), {"6"}),
            (field("properties.amount", "lte", 5), {"5"}),
            ({"not": field("properties.amount", "gt", 5)}, {"5", "none"}),
            ({"not": {"not": field("properties.amount", "gt", 5)}}, {"6"}),
            ({"not": field("properties.amount", "not_equals", 5)}, {"5", "none"}),
            ({"not": field("properties.amount", "not_in", [5])}, {"5", "none"}),
            ({"not": field("properties.amount", "exists")}, {"none"}),
            ({"not": field("properties.amount", "not_exists")}, {"5", "6"}),
            (
                {"not": {"any": [field("properties.amount", "gt", 5), field("properties.amount", "lt", 5)]}},
                {"5", "none"},
            ),
            (
                {"not": {"all": [field("properties.amount", "gt", 5), field("properties.amount", "lt", 9)]}},
                {"5", "none"},
            ),
            ({"not": {"all": []}}, set()),
            ({"any": [{"not": field("properties.amount", "gte", 0)}, {"all": []}]}, {"5", "6", "none"}),
        ],
    )
    def test_truth_has_two_values(self, pipeline: Pipeline, condition: Raw, wanted: set[str]) -> None:
        events = event("5", "a", "23T10:00:00", amount=5), event("6", "a", "23T10:00:00", amount=6)
        assert self.matching(pipeline, condition, *events, event("none", "a", "23T10:00:00")) == wanted

    @pytest.mark.parametrize(
        ("operator", "value", "wanted"),
        [
            ("contains", "_", {"x_%"}),
            ("contains", "%", {"x_%"}),
            ("contains", "", {"x_%", "X", "é\U0001f642", ""}),
            ("starts_with", "x", {"x_%"}),
            ("starts_with", "é", {"é\U0001f642"}),
            ("ends_with", "\U0001f642", {"é\U0001f642"}),
            ("ends_with", "xx_%", set()),
            ("ends_with", "", {"x_%", "X", "é\U0001f642", ""}),
            ("equals", "", {""}),
            ("in", ["X", "x"], {"X"}),
            ("not_in", ["X", ""], {"x_%", "é\U0001f642"}),
        ],
    )
    def test_text_compares_by_character(self, pipeline: Pipeline, operator: str, value: Any, wanted: set[str]) -> None:
        texts = ("x_%", "X", "é\U0001f642", "")
        events = [event(f"m{place}", "a", "23T10:00:00", order_id=each) for place, each in enumerate(texts)]
        found = self.matching(
            pipeline, field("properties.order_id", operator, value), *events, event("n", "a", "23T10:00:00")
        )
        assert {texts[int(each[1:])] for each in found} == wanted

    @pytest.mark.parametrize("filtered", [{}, {"where": [field("properties.amount", "not_exists")]}], ids=["", "where"])
    def test_a_window_has_both_its_ends_to_the_second(self, pipeline: Pipeline, filtered: Raw) -> None:
        events = [
            event("at_once", "a", "23T10:00:00", "v"),
            event("b0", "b", "23T10:00:00", "v"),
            event("at_the_end", "a", "23T10:00:00"),
            event("b1", "b", "23T09:00:00"),
            event("beyond", "a", "23T10:00:00.000001", "w"),
            event("b2", "b", "23T09:00:00", "w"),
            event("after", "a", "23T10:00:00", "x"),
            event("b3", "b", "23T10:00:00.000001", "x"),
        ]
        assert self.matching(pipeline, happened("b", within_hours=1, **filtered), *events) == {"at_once", "at_the_end"}

    @pytest.mark.parametrize("window", [{}, {"within_hours": 1}], ids=["ever", "hours"])
    @pytest.mark.parametrize("filtered", [{}, {"where": [field("properties.amount", "not_exists")]}], ids=["", "where"])
    def test_the_trigger_itself_is_left_out_and_another_of_its_instant_is_not(
        self, pipeline: Pipeline, filtered: Raw, window: Raw
    ) -> None:
        events = [
            event("alone", "a", "23T10:00:00"),
            event("one", "a", "23T10:00:00", "v"),
            event("two", "a", "23T10:00:00", "v"),
        ]
        assert self.matching(pipeline, happened("a", **filtered, **window), *events) == {"one", "two"}

    @pytest.mark.parametrize(
        ("counts", "wanted"),
        [
            ({}, {"1", "2", "3"}),
            ({"at_least": 2}, {"2", "3"}),
            ({"at_most": 1}, {"0", "1"}),
            ({"at_most": 0}, {"0"}),
            ({"at_least": 1, "at_most": 2}, {"1", "2"}),
            ({"at_least": 0, "at_most": 1}, {"0", "1"}),
        ],
    )
    @pytest.mark.parametrize("filtered", [{}, {"where": [field("properties.amount", "lt", 50)]}], ids=["", "where"])
    def test_counts_hold_between_their_borders(
        self, pipeline: Pipeline, counts: Raw, wanted: set[str], filtered: Raw
    ) -> None:
        events = []
        for count in range(4):
            events += [event(f"b{count}{n}", "b", "23T08:00:00", f"u{count}", amount=n) for n in range(count)]
            events += [event(f"c{count}", "b", "23T08:00:00", f"u{count}", amount=50)] if filtered else []
            events.append(event(str(count), "a", "23T10:00:00", f"u{count}"))
        assert self.matching(pipeline, happened("b", **counts, **filtered), *events) == wanted

    def test_what_is_the_same_must_be_there_and_of_the_same_letters(self, pipeline: Pipeline) -> None:
        events = [
            event("b1", "b", "23T08:00:00", order_id="x", country="FR"),
            event("b2", "b", "23T08:00:00", country="FR"),
            event("b3", "b", "23T08:00:00", order_id="y"),
            event("both", "a", "23T10:00:00", order_id="x", country="FR"),
            event("other", "a", "23T10:00:00", order_id="X", country="FR"),
            event("crossed", "a", "23T10:00:00", order_id="y", country="FR"),
            event("missing here", "a", "23T10:00:00", country="FR"),
        ]
        condition = happened("b", same=["properties.order_id", "user_traits.country"])
        assert self.matching(pipeline, condition, *events) == {"both"}

    def test_the_latest_trait_is_that_of_the_last_event_by_time_then_id_and_null_is_none(
        self, pipeline: Pipeline
    ) -> None:
        events = [
            event("t1", "t", "23T08:00:00", country="DE"),
            event("t2", "t", "23T08:00:00", country="FR"),
            event("t3", "t", "23T09:00:00", country=None, email="e"),
            event("french", "a", "23T10:00:00"),
            event("t4", "t", "23T10:00:00.000001", country="IT"),
            event("own", "a", "23T10:00:00.000001", country="FR"),
            event("before", "a", "23T07:59:59"),
            event("itself", "a", "23T10:00:00", "v", country="FR"),
        ]
        assert self.matching(pipeline, field("latest_traits.country", "equals", "FR"), *events) == {
            "french",
            "own",
            "itself",
        }

    @pytest.mark.parametrize("wait", [{}, {"wait": 1}], ids=["at once", "after a wait"])
    def test_the_latest_trait_is_found_however_far_back_and_between_the_matches_of_one_run(
        self, pipeline: Pipeline, wait: Raw
    ) -> None:
        events = [
            *(event("far", "t", "01T08:00:00", "far", country="FR"), event("silent", "t", "23T08:00:00", "far")),
            *(
                event("null", "t", "23T09:00:00", "far", country=None, email="e"),
                event("a_far", "a", "23T10:00:00", "far"),
            ),
            *(event("older", "t", "22T08:00:00", "near", country="DE"), event("a_near", "a", "23T10:00:00", "near")),
            event("newest", "t", "23T08:00:00", "near", country="FR"),
            *(event("a_first", "a", "22T10:00:00", "two"), event("between", "t", "22T12:00:00", "two", country="FR")),
            *(event("a_second", "a", "23T10:00:00", "two"), event("after", "t", "23T12:00:00", "two", country="DE")),
            *(
                event("before", "t", "21T10:00:00", "both", country="FR"),
                event("a_1_of_both", "a", "22T10:00:00", "both"),
            ),
            *(
                event("no more", "t", "22T12:00:00", "both", country="DE"),
                event("a_2_of_both", "a", "23T10:00:00", "both"),
            ),
            *(event("a_tied", "a", "23T10:00:00", "tied"), event("tie", "t", "23T10:00:00", "tied", country="FR")),
            *(
                event("tied before", "t", "23T09:00:00", "said", country="DE"),
                event("a_said", "a", "23T10:00:00", "said"),
            ),
            event("said again", "t", "23T09:00:00", "said", country="FR"),
            event("a_nobody", "a", "23T10:00:00", "nobody"),
        ]
        rules = [rule(conditions=field("latest_traits.country", "equals", "FR"), **wait)]
        run(pipeline, rules, "23T20:00:00", *events)
        assert sent(pipeline) == {"a_far", "a_near", "a_second", "a_1_of_both", "a_tied", "a_said"}

    def test_not_of_a_latest_trait_that_nobody_knows_holds(self, pipeline: Pipeline) -> None:
        condition = {"not": field("latest_traits.marketing_opt_in", "equals", False)}
        events = event("unknown", "a", "23T10:00:00"), event("no", "a", "23T10:00:00", "v", marketing_opt_in=False)
        assert self.matching(pipeline, condition, *events) == {"unknown"}


class TestWaiting:
    def test_a_rule_that_waits_decides_in_the_first_run_after_its_time(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2)]
        run(pipeline, rules, "23T10:00:00", event("o", "a", "23T09:00:00"))
        run(pipeline, rules, "23T11:00:00")
        assert outcomes(pipeline) == {"o r waits"}
        run(pipeline, rules, "23T11:00:00.000001")
        assert outcomes(pipeline) == {"o r sent"}

    @pytest.mark.parametrize(
        ("at", "outcome"),
        [
            ("08:59:59.999999", "sent"),
            ("09:00:00", "no match"),
            ("11:00:00", "no match"),
            ("11:00:00.000001", "sent"),
        ],
    )
    def test_since_the_trigger_has_both_its_ends(self, pipeline: Pipeline, at: str, outcome: str) -> None:
        rules = [rule(wait=2, conditions={"not": happened("b", since_trigger=True)})]
        events = event("o", "a", "23T09:00:00"), event("b", "b", f"23T{at}")
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {f"o r {outcome}"}

    @pytest.mark.parametrize("filtered", [{}, {"where": [field("properties.amount", "not_exists")]}], ids=["", "where"])
    def test_the_trigger_is_left_out_of_what_happened_since_it(self, pipeline: Pipeline, filtered: Raw) -> None:
        rules = [rule(wait=2, conditions=happened("a", since_trigger=True, **filtered))]
        run(pipeline, rules, "23T12:00:00", event("alone", "a", "23T09:00:00"))
        assert outcomes(pipeline) == {"alone r no match"}

    def test_only_what_the_event_itself_leaves_open_waits(self, pipeline: Pipeline) -> None:
        large, unpaid = field("properties.amount", "gte", 20), {"not": happened("b")}
        some = [
            rule("all", wait=1, conditions={"all": [large, unpaid]}),
            rule("any", wait=1, conditions={"any": [large, unpaid]}),
            rule("not_any", wait=1, conditions={"not": {"any": [{"not": large}, happened("b")]}}),
            rule("not_all", wait=1, conditions={"not": {"all": [large, happened("b")]}}),
            rule("latest", wait=1, conditions={"all": [large, field("latest_traits.country", "not_exists")]}),
        ]
        run(pipeline, some, "23T09:00:00", event("o", "a", "23T09:00:00", amount=5))
        assert outcomes(pipeline) == {"o any waits", "o not_all waits"}

    def test_the_rule_of_that_name_in_the_file_of_then_decides_as_a_whole(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=2), rule("s", wait=2)], "23T10:00:00", event("o", "a", "23T09:00:00", amount=5))
        changed = [
            rule(wait=200, template="OTHER", channel="sms", suppression={"mode": "once_ever"}),
            rule("s", wait=1, conditions=field("properties.amount", "gt", 5)),
            rule("new", wait=1),
        ]
        run(pipeline, changed, "23T12:00:00")
        assert outcomes(pipeline) == {"o r sent", "o s no match"}
        assert pipeline.rows("SELECT template_name, channel, decision_time FROM send_requests") == [
            ("OTHER", "sms", "2026-11-23 11:00:00.000000")
        ]

    @pytest.mark.parametrize(
        "changed", [rule("renamed", wait=2), rule(wait=2, enabled=False), rule(), rule(wait=2, on="b")]
    )
    def test_a_match_lapses_that_no_rule_takes_over(self, pipeline: Pipeline, changed: Raw) -> None:
        run(pipeline, [rule(wait=2)], "23T10:00:00", event("o", "a", "23T09:00:00"))
        run(pipeline, [changed, rule("other", on="z")], "23T11:00:00")
        assert outcomes(pipeline) == {"o r waits"}
        run(pipeline, [changed, rule("other", on="z")], "23T12:00:00")
        assert outcomes(pipeline) == {"o r lapsed"}
        run(pipeline, [rule(wait=2)], "23T13:00:00")
        assert outcomes(pipeline) == {"o r lapsed"}

    def test_a_rule_that_comes_back_before_the_time_takes_over(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=2)], "23T10:00:00", event("o", "a", "23T09:00:00"))
        run(pipeline, [rule("other")], "23T11:00:00")
        run(pipeline, [rule(wait=5)], "23T12:00:00")
        assert outcomes(pipeline) == {"o r sent"}

    def test_with_wait_for_data_the_data_must_have_come_so_far(self, pipeline: Pipeline) -> None:
        whole = {"wait_for_data": True, "rules": [rule(wait=1)]}
        run(pipeline, whole, "23T10:00:00", event("o", "a", "23T09:00:00"))
        run(pipeline, whole, "23T11:00:00")
        run(pipeline, whole, "23T12:00:00", event("late", "x", "23T09:59:59.999999", "v"))
        assert outcomes(pipeline) == {"o r waits"}
        run(pipeline, whole, "23T13:00:00", event("enough", "x", "23T10:00:00", "v"))
        assert outcomes(pipeline) == {"o r sent"}

    def test_an_event_with_a_clock_ahead_brings_the_data_as_far_as_its_run(self, pipeline: Pipeline) -> None:
        whole = {"wait_for_data": True, "rules": [rule(wait=2)]}
        run(pipeline, whole, "23T10:00:00", event("o", "a", "23T09:00:00"))
        ahead = event("ahead", "x", "25T00:00:00", "v")
        run(pipeline, whole, "23T10:30:00", ahead, max_event_ahead_hours=1)
        run(pipeline, whole, "23T12:00:00")
        assert outcomes(pipeline) == {"o r waits"}
        run(pipeline, whole, "23T13:00:00", event("ahead 2", "x", "25T00:00:00", "v"), max_event_ahead_hours=1)
        assert outcomes(pipeline) == {"o r sent"}

    def test_what_is_too_old_is_so_for_the_run_that_first_decided(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2)]
        events = event("old", "a", "23T08:59:59"), event("young", "a", "23T09:00:00", "v")
        run(pipeline, rules, "23T10:00:00", *events, max_event_age_hours=1)
        run(pipeline, rules, "25T10:00:00", max_event_age_hours=1)
        assert outcomes(pipeline) == {"old r expired", "young r sent"}


class TestOnce:
    def refused(self, pipeline: Pipeline, mode: Raw, first: str, second: str, zone: str = "UTC") -> bool:
        whole = {"timezone": zone, "rules": [rule(suppression=mode)]}
        run(pipeline, whole, "2026-12-31T00:00:00", event("1", "a", first), event("2", "a", second))
        assert "1 r sent" in outcomes(pipeline)
        return outcomes(pipeline) == {"1 r sent", f"2 r {mode['mode']} 1"}

    @pytest.mark.parametrize(
        ("mode", "zone", "first", "second", "is_refused"),
        [
            ("day", "UTC", "23T00:00:00", "23T23:59:59.999999", True),
            ("day", "UTC", "23T23:59:59.999999", "24T00:00:00", False),
            # 23 hours on the last Sunday of March in Paris, 25 on that of October.
            ("day", "Europe/Paris", "2026-03-28T23:00:00", "2026-03-29T21:59:59", True),
            ("day", "Europe/Paris", "2026-03-28T23:00:00", "2026-03-29T22:00:00", False),
            ("day", "Europe/Paris", "2026-10-24T22:00:00", "2026-10-25T22:59:59", True),
            ("day", "Europe/Paris", "2026-10-24T22:00:00", "2026-10-25T23:00:00", False),
            ("day", "Asia/Kathmandu", "23T18:14:59", "23T18:15:00", False),
            # Midnight does not exist: the day begins at 01:00.
            ("day", "America/Santiago", "2026-09-06T03:59:59", "2026-09-06T04:00:00", False),
            # 30 December 2011 was skipped.
            ("day", "Pacific/Apia", "2011-12-30T09:59:59", "2011-12-30T10:00:00", False),
            ("week", "UTC", "23T00:00:00", "29T23:59:59", True),
            ("week", "UTC", "22T23:59:59", "23T00:00:00", False),
            ("week", "UTC", "2025-12-29T00:00:00", "2026-01-04T23:59:59", True),
            ("week", "Europe/Paris", "22T22:59:59", "22T23:00:00", False),
            ("month", "UTC", "01T00:00:00", "30T23:59:59", True),
            ("month", "America/Sao_Paulo", "2026-10-31T23:59:59", "2026-11-01T02:59:59", True),
            ("month", "America/Sao_Paulo", "2026-11-01T02:59:59", "2026-11-01T03:00:00", False),
            ("month", "UTC", "2025-11-30T10:00:00", "30T10:00:00", False),
        ],
    )
    def test_a_period_is_one_of_the_wall_calendar(
        self, pipeline: Pipeline, mode: str, zone: str, first: str, second: str, is_refused: bool
    ) -> None:
        assert self.refused(pipeline, {"mode": f"once_per_calendar_{mode}"}, first, second, zone) == is_refused

    @pytest.mark.parametrize(
        ("second", "is_refused"), [("24T10:00:00", False), ("24T09:59:59.999999", True), ("23T10:00:00", True)]
    )
    def test_so_many_hours_apart_is_enough(self, pipeline: Pipeline, second: str, is_refused: bool) -> None:
        mode = {"mode": "once_per_hours", "hours": 24}
        assert self.refused(pipeline, mode, "23T10:00:00", second) == is_refused

    def test_hours_reach_before_an_event_that_comes_late(self, pipeline: Pipeline) -> None:
        rules = [rule(suppression={"mode": "once_per_hours", "hours": 2})]
        run(pipeline, rules, "23T12:00:00", event("1", "a", "23T11:00:00"))
        run(pipeline, rules, "23T13:00:00", event("2", "a", "23T09:00:00.000001"))
        run(pipeline, rules, "23T14:00:00", event("3", "a", "23T09:00:00"))
        assert outcomes(pipeline) == {"1 r sent", "2 r once_per_hours 1", "3 r sent"}

    def test_each_rule_looks_with_its_own_reach_at_the_sends_of_all(self, pipeline: Pipeline) -> None:
        rules = [
            rule("ever", suppression={"mode": "once_ever"}),
            rule("always", on="b"),
            rule("hourly", on="c", suppression={"mode": "once_per_hours", "hours": 1}),
            rule("alert", on="c", channel="internal"),
        ]
        run(
            pipeline,
            rules,
            "23T12:00:00",
            event("c0", "c", "23T07:00:00", "v"),
            event("b1", "b", "23T08:00:00"),
            event("b2", "b", "23T08:10:00"),
            event("c1", "c", "23T09:30:00"),
            event("c2", "c", "23T09:40:00"),
            event("a1", "a", "23T11:00:00"),
            event("a2", "a", "23T11:00:00", "v"),
        )
        assert outcomes(pipeline) == {
            *("c0 alert sent", "c1 alert sent", "c2 alert sent", "c0 hourly sent"),
            *("b1 always sent", "b2 always sent", "c1 hourly sent", "c2 hourly once_per_hours c1"),
            *("a1 ever once_ever b1", "a2 ever once_ever c0"),
        }

    def test_an_alert_does_not_use_up_the_once_of_a_template(self, pipeline: Pipeline) -> None:
        rules = [rule("alert", channel="internal"), rule(suppression={"mode": "once_ever"})]
        run(pipeline, rules, "23T12:00:00", event("1", "a", "23T09:00:00"), event("2", "a", "23T10:00:00"))
        assert outcomes(pipeline) == {"1 alert sent", "2 alert sent", "1 r sent", "2 r once_ever 1"}

    def test_per_takes_a_missing_value_for_the_same_as_a_missing_one(self, pipeline: Pipeline) -> None:
        rules = [
            rule(suppression={"mode": "once_per_calendar_day", "per": ["properties.order_id", "user_traits.country"]})
        ]
        events = [
            event("x", "a", "23T08:00:00", order_id="x"),
            event("x again", "a", "23T08:01:00", order_id="x"),
            event("x fr", "a", "23T08:02:00", order_id="x", country="FR"),
            event("none", "a", "23T08:03:00"),
            event("none again", "a", "23T08:04:00", amount=1),
            event("empty", "a", "23T08:05:00", order_id=""),
            event("x next day", "a", "24T08:00:00", order_id="x"),
        ]
        run(pipeline, rules, "25T00:00:00", *events[:1])
        run(pipeline, rules, "25T01:00:00", *events[1:])
        mode = "once_per_calendar_day"
        assert outcomes(pipeline) == {
            *("x r sent", f"x again r {mode} x", "x fr r sent", "none r sent", f"none again r {mode} none"),
            *("empty r sent", "x next day r sent"),
        }

    def test_once_ever_for_each_value_is_once_for_each(self, pipeline: Pipeline) -> None:
        rules = [rule(suppression={"mode": "once_ever", "per": ["properties.order_id"]})]
        events = [event(str(n), "a", f"23T0{n}:00:00", order_id=each) for n, each in enumerate("xyx")]
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"0 r sent", "1 r sent", "2 r once_ever 0"}

    def test_days_of_one_date_in_two_zones_are_two(self, pipeline: Pipeline) -> None:
        rules = [rule(suppression={"mode": "once_per_calendar_day"})]
        paris, new_york = ({"timezone": zone, "rules": rules} for zone in ("Europe/Paris", "America/New_York"))
        run(pipeline, paris, "24T00:00:00", event("1", "a", "23T23:30:00"))
        run(pipeline, new_york, "25T00:00:00", event("2", "a", "24T12:00:00"))
        assert outcomes(pipeline) == {"1 r sent", "2 r sent"}

    def test_a_reach_is_measured_between_decision_times(self, pipeline: Pipeline) -> None:
        rules = [rule("waits", wait=2, suppression={"mode": "once_per_calendar_day"})]
        events = event("1", "a", "23T21:59:59"), event("2", "a", "23T22:00:00"), event("3", "a", "24T00:00:00")
        run(pipeline, rules, "25T00:00:00", *events)
        assert outcomes(pipeline) == {"1 waits sent", "2 waits sent", "3 waits once_per_calendar_day 2"}

    def test_a_send_of_a_rule_that_waited_counts_on_the_day_on_which_its_wait_was_over(
        self, pipeline: Pipeline
    ) -> None:
        run(pipeline, [rule(wait=2)], "24T06:00:00", event("1", "a", "23T22:30:00"))
        rules = [rule(suppression={"mode": "once_per_calendar_day"})]
        run(pipeline, rules, "24T12:00:00", event("2", "a", "24T10:00:00"), event("3", "a", "23T10:00:00"))
        assert outcomes(pipeline) == {"1 r sent", "2 r once_per_calendar_day 1", "3 r sent"}

    def test_a_send_of_the_first_of_the_month_stands_in_the_way_on_the_last(self, pipeline: Pipeline) -> None:
        rules = [rule(suppression={"mode": "once_per_calendar_month"})]
        run(pipeline, rules, "02T00:00:00", event("1", "a", "01T00:00:00"))
        run(pipeline, rules, "2026-12-01T00:00:00", event("2", "a", "30T23:59:59"))
        assert outcomes(pipeline) == {"1 r sent", "2 r once_per_calendar_month 1"}

    def test_of_an_exclusive_group_the_first_that_matches_decides_alone_also_when_it_is_refused(
        self, pipeline: Pipeline
    ) -> None:
        large: Raw = {"conditions": field("properties.amount", "gt", 5), "suppression": {"mode": "once_ever"}}
        rules = [
            rule("first", template="F", exclusive_group="g", **large),
            rule("second", template="S", exclusive_group="g"),
            rule("third", template="U", exclusive_group="g"),
            rule("other", template="V", exclusive_group="h"),
        ]
        events = [event("small", "a", "23T09:00:00", amount=5)]
        events += [event(f"large {n}", "a", f"23T1{n}:00:00", amount=6) for n in (0, 1)]
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {
            *("small second sent", "large 0 first sent", "large 1 first once_ever large 0"),
            *("small other sent", "large 0 other sent", "large 1 other sent"),
        }

    def test_a_late_event_meets_the_sends_of_its_whole_day(self, pipeline: Pipeline) -> None:
        rules = [rule(suppression={"mode": "once_per_calendar_day"})]
        run(pipeline, rules, "23T22:00:00", event("2", "a", "23T20:00:00"))
        run(pipeline, rules, "23T23:00:00", event("1", "a", "23T01:00:00"), event("2", "a", "23T20:00:00"))
        assert outcomes(pipeline) == {"2 r sent", "1 r once_per_calendar_day 2"}

    def test_the_blocker_is_the_earliest_by_decision_time_then_event(self, pipeline: Pipeline) -> None:
        day = rule("daily", on="d", suppression={"mode": "once_per_calendar_day"})
        always, ever = rule("always", on="b"), rule("ever", suppression={"mode": "once_ever"})
        window = Window(datetime.fromisoformat(instant("23T00:00:00")), datetime.fromisoformat(instant("24T00:00:00")))
        pipeline.land([event("held", "b", "23T08:00:00")])
        pipeline.do(pipeline.options(window, RunMode.LOAD_ONLY), {})
        events = event("1", "d", "23T08:00:00"), event("2", "b", "23T09:00:00")
        run(pipeline, [day, always, ever], "23T12:00:00", *events)
        pipeline.do(pipeline.options(window), {"rules": [day, always, ever]})
        run(pipeline, [day, always, ever], "23T14:00:00", event("3", "a", "23T07:00:00"))
        run(pipeline, [{**ever, "wait": {"hours": 1}}], "23T14:00:00", event("4", "a", "23T07:00:00"))
        assert outcomes(pipeline) == {
            *("held always sent", "1 daily sent", "2 always sent", "3 ever once_ever held", "4 ever once_ever held")
        }

    def test_a_changed_zone_or_mode_fails_no_run_and_holds_against_the_sends_that_stand(
        self, pipeline: Pipeline
    ) -> None:
        day = {"mode": "once_per_calendar_day"}
        run(pipeline, {"rules": [rule(suppression=day)]}, "23T12:00:00", event("1", "a", "22T23:30:00"))
        kiev = {"timezone": "Europe/Paris", "rules": [rule(suppression=day)]}
        run(pipeline, kiev, "24T00:00:00", event("2", "a", "23T01:00:00"), event("3", "a", "23T23:30:00"))
        per = {"mode": "once_ever", "per": ["properties.order_id"]}
        run(pipeline, [rule(suppression=per)], "25T00:00:00", event("4", "a", "24T01:00:00", order_id="x"))
        run(pipeline, [rule(suppression={"mode": "none"})], "26T00:00:00", event("5", "a", "24T01:00:00"))
        run(pipeline, [rule(suppression=day)], "27T00:00:00", event("6", "a", "24T02:00:00"))
        assert outcomes(pipeline) == {
            *("1 r sent", "2 r once_per_calendar_day 1", "3 r sent", "4 r sent", "5 r sent"),
            "6 r once_per_calendar_day 4",
        }


class TestBlocks:
    WHOLE: ClassVar[Raw] = {
        "blocks": [
            {"name": "left", "channels": ["email"], "from": {"event_type": "no"}, "until": {"event_type": "yes"}},
            {"name": "opted_out", "while": field("latest_traits.marketing_opt_in", "equals", False)},
        ],
        "rules": [
            rule(),
            rule("text", template="S", channel="sms"),
            rule("free", template="F", exempt_from=["blocks"]),
            rule("alert", template="A", channel="internal"),
        ],
    }

    def test_a_block_looks_at_the_run_and_not_at_the_decision_time(self, pipeline: Pipeline) -> None:
        events = event("1", "a", "23T08:00:00"), event("no", "no", "23T11:59:59")
        run(pipeline, self.WHOLE, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"1 r blocked:left no", "1 text sent", "1 free sent", "1 alert sent"}

    @pytest.mark.parametrize(
        ("no", "yes", "is_blocked"),
        [
            ("23T09:00:00", "23T09:00:00", True),
            ("23T09:00:00", "23T09:00:00.000001", False),
            ("23T09:00:01", "23T09:00:00", True),
            # Both clocks run ahead: each counts from its run, and a tie blocks.
            ("23T13:00:00", "23T14:00:00", True),
            # A yes of the future counts from its run, which is later than the no.
            ("23T11:00:00", "23T14:00:00", False),
        ],
    )
    def test_the_later_of_no_and_yes_by_effective_time_counts(
        self, pipeline: Pipeline, no: str, yes: str, is_blocked: bool
    ) -> None:
        events = event("yes", "yes", yes), event("no", "no", no), event("1", "a", "23T08:00:00")
        run(pipeline, self.WHOLE, "23T12:00:00", *events, max_event_ahead_hours=1)
        assert ("1 r blocked:left no" in outcomes(pipeline)) == is_blocked
        assert ("1 r sent" in outcomes(pipeline)) != is_blocked

    def test_a_no_by_a_clock_ahead_does_not_outlast_a_later_yes(self, pipeline: Pipeline) -> None:
        run(pipeline, self.WHOLE, "23T12:00:00", event("no", "no", "29T00:00:00"), max_event_ahead_hours=1)
        run(pipeline, self.WHOLE, "23T13:00:00", event("1", "a", "23T12:10:00"), max_event_ahead_hours=1)
        yes = event("yes", "yes", "23T13:30:00"), event("2", "a", "23T13:20:00")
        run(pipeline, self.WHOLE, "23T14:00:00", *yes, max_event_ahead_hours=1)
        assert {"1 r blocked:left no", "2 r sent"} <= outcomes(pipeline)

    def test_a_yes_that_lies_after_the_logical_time_does_not_count_yet(self, pipeline: Pipeline) -> None:
        run(pipeline, self.WHOLE, "24T12:00:00", event("no", "no", "23T08:00:00"), event("yes", "yes", "24T11:00:00"))
        late = event("1", "a", "23T09:00:00"), event("2", "a", "24T10:00:00", "v")
        pipeline.land(late)
        window = Window(datetime.fromisoformat(instant("23T00:00:00")), datetime.fromisoformat(instant("24T00:00:00")))
        order = pipeline.options(window, as_of=datetime.fromisoformat(instant("23T12:00:00")))
        pipeline.do(order, self.WHOLE)
        assert "1 r blocked:left no" in outcomes(pipeline)

    def test_a_trait_blocks_by_its_latest_value_with_the_event_that_gave_it(self, pipeline: Pipeline) -> None:
        events = [
            event("no", "t", "23T08:00:00", marketing_opt_in=False),
            event("nothing", "t", "23T09:00:00", marketing_opt_in=None, country="FR"),
            event("1", "a", "23T07:00:00"),
            event("2", "a", "23T07:00:00", "v"),
        ]
        run(pipeline, self.WHOLE, "23T12:00:00", *events)
        assert {"1 r blocked:opted_out no", "1 text blocked:opted_out no", "1 free sent", "2 r sent"} <= outcomes(
            pipeline
        )

    def test_a_trait_after_the_logical_time_does_not_count_yet(self, pipeline: Pipeline) -> None:
        events = (
            event("no", "t", "23T08:00:00", marketing_opt_in=False),
            event("y", "t", "24T11:00:00", marketing_opt_in=True),
        )
        run(pipeline, self.WHOLE, "24T12:00:00", *events)
        pipeline.land([event("1", "a", "23T09:00:00")])
        window = Window(datetime.fromisoformat(instant("23T00:00:00")), datetime.fromisoformat(instant("24T00:00:00")))
        pipeline.do(pipeline.options(window, as_of=datetime.fromisoformat(instant("23T12:00:00"))), self.WHOLE)
        assert "1 text blocked:opted_out no" in outcomes(pipeline)

    def test_the_order_of_signs_is_by_effective_time_then_their_own_then_their_number(self, pipeline: Pipeline) -> None:
        events = [
            event("ahead most", "no", "23T15:00:00"),
            event("ahead", "no", "23T14:00:00"),
            event("same 1", "no", "23T11:00:00", "v"),
            event("same 2", "no", "23T11:00:00", "v"),
            event("a1", "a", "23T10:00:00"),
            event("a2", "a", "23T10:00:00", "v"),
        ]
        run(pipeline, self.WHOLE, "23T12:00:00", *events, max_event_ahead_hours=1)
        assert {"a1 r blocked:left ahead most", "a2 r blocked:left same 2"} <= outcomes(pipeline)

    def test_the_first_block_in_the_file_is_named_and_those_of_other_channels_pass_by(self, pipeline: Pipeline) -> None:
        events = [
            event("no", "no", "23T08:00:00"),
            event("opt", "t", "23T08:00:00", marketing_opt_in=False),
            event("1", "a", "23T09:00:00"),
        ]
        run(pipeline, self.WHOLE, "23T12:00:00", *events)
        assert {"1 r blocked:left no", "1 text blocked:opted_out opt", "1 free sent"} <= outcomes(pipeline)

    def test_where_says_which_events_begin_a_block(self, pipeline: Pipeline) -> None:
        sign = {"event_type": "no", "where": [field("properties.failure_reason", "not_equals", "SPAM")]}
        whole = {"blocks": [{"name": "n", "from": sign}], "rules": [rule()]}
        events = [
            event("n1", "no", "23T08:00:00", failure_reason="SPAM"),
            event("n2", "no", "23T08:00:00", "v"),
            event("n3", "no", "23T08:00:00", "w", failure_reason="NO"),
            *(event(f"a{user}", "a", "23T09:00:00", user) for user in "uvw"),
        ]
        run(pipeline, whole, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"au r sent", "av r sent", "aw r blocked:n n3"}


class TestLimitsAndTheRest:
    def test_a_limit_counts_in_every_window_that_holds_the_match(self, pipeline: Pipeline) -> None:
        whole = {"limits": [{"name": "two", "at_most": 2, "hours": 2}], "rules": [rule()]}
        run(
            pipeline,
            whole,
            "23T20:00:00",
            event("1", "a", "23T10:00:00"),
            event("2", "a", "23T12:00:00"),
            event("3", "a", "23T13:00:00"),
        )
        late = [
            event("window before", "a", "23T11:59:59", "u"),
            event("full", "a", "23T12:30:00"),
            event("full too", "a", "23T11:30:00"),
        ]
        run(pipeline, whole, "23T21:00:00", *late)
        # (11:00, 13:00] holds two already, and so does any later one with a match of 11:30 up to 13:29:59.
        assert outcomes(pipeline) == {
            *("1 r sent", "2 r sent", "3 r sent"),
            *("full too r limit:two 1", "window before r limit:two 1", "full r limit:two 2"),
        }

    def test_the_zone_of_a_limit_is_that_of_the_file(self, pipeline: Pipeline) -> None:
        whole = {
            "timezone": "Europe/Paris",
            "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
            "rules": [rule()],
        }
        events = event("1", "a", "23T10:00:00"), event("2", "a", "23T22:59:59"), event("3", "a", "23T23:00:00")
        run(pipeline, whole, "24T12:00:00", *events)
        assert outcomes(pipeline) == {"1 r sent", "2 r limit:one 1", "3 r sent"}

    def test_exactly_so_many_hours_later_a_send_counts_no_more(self, pipeline: Pipeline) -> None:
        whole = {"limits": [{"name": "one", "at_most": 1, "hours": 2}], "rules": [rule()]}
        events = event("1", "a", "23T10:00:00"), event("2", "a", "23T11:59:59"), event("3", "a", "23T12:00:00")
        run(pipeline, whole, "23T20:00:00", *events)
        assert outcomes(pipeline) == {"1 r sent", "2 r limit:one 1", "3 r sent"}

    def test_a_send_at_the_open_end_of_a_window_is_not_in_it(self, pipeline: Pipeline) -> None:
        whole = {"limits": [{"name": "two", "at_most": 2, "hours": 2}], "rules": [rule()]}
        events = [event(str(hour), "a", f"23T{hour}:00:00") for hour in (10, 11, 12)]
        run(pipeline, whole, "23T20:00:00", *events)
        assert outcomes(pipeline) == {"10 r sent", "11 r sent", "12 r sent"}

    def test_limits_count_their_channels_and_templates_but_not_the_exempt_and_alerts(self, pipeline: Pipeline) -> None:
        whole = {
            "limits": [
                {"name": "emails", "channels": ["email", "push"], "at_most": 2, "calendar": "day"},
                {"name": "offers", "templates": ["O"], "at_most": 1, "calendar": "week"},
            ],
            "rules": [
                rule("alert", on="e", template="O", channel="internal"),
                rule("receipt", on="e", template="O", exempt_from=["limits"]),
                rule("offer", on="o", template="O", channel="sms"),
                rule("mail", on="m", template="M"),
                rule("push", on="p", template="P", channel="push"),
            ],
        }
        events = [
            event("e", "e", "23T01:00:00"),
            event("o1", "o", "23T02:00:00"),
            event("o2", "o", "23T03:00:00"),
            event("m1", "m", "23T04:00:00"),
            event("p1", "p", "23T05:00:00"),
            event("m2", "m", "23T06:00:00"),
            event("m3", "m", "24T00:00:00"),
        ]
        run(pipeline, whole, "25T00:00:00", *events)
        assert outcomes(pipeline) == {
            *("e alert sent", "e receipt sent", "o1 offer sent", "o2 offer limit:offers o1"),
            *("m1 mail sent", "p1 push sent", "m2 mail limit:emails m1", "m3 mail sent"),
        }

    def test_whether_a_send_was_exempt_is_as_it_was_decided(self, pipeline: Pipeline) -> None:
        limits = {"limits": [{"name": "one", "at_most": 1, "calendar": "month"}]}
        exempt = {**limits, "rules": [rule(exempt_from=["limits"])]}
        run(pipeline, exempt, "23T12:00:00", event("1", "a", "23T10:00:00"))
        run(pipeline, {**limits, "rules": [rule()]}, "24T12:00:00", event("2", "a", "24T10:00:00"))
        run(pipeline, {**limits, "rules": [rule()]}, "25T12:00:00", event("3", "a", "25T10:00:00"))
        assert outcomes(pipeline) == {"1 r sent", "2 r sent", "3 r limit:one 2"}

    def test_the_first_full_limit_in_the_file_is_named(self, pipeline: Pipeline) -> None:
        limits = [
            {"name": "wide", "at_most": 2, "calendar": "month"},
            {"name": "b", "at_most": 1, "hours": 24},
            {"name": "c", "at_most": 1, "calendar": "day"},
        ]
        events = event("1", "a", "23T10:00:00"), event("2", "a", "23T11:00:00")
        run(pipeline, {"limits": limits, "rules": [rule()]}, "24T12:00:00", *events)
        assert outcomes(pipeline) == {"1 r sent", "2 r limit:b 1"}

    def test_expiry_begins_after_its_hours_and_uses_nothing_up(self, pipeline: Pipeline) -> None:
        whole = {
            "limits": [{"name": "one", "at_most": 1, "calendar": "month"}],
            "rules": [rule(expires_after_hours=2, suppression={"mode": "once_ever"}), rule("other", on="b")],
        }
        events = [
            event("late", "a", "23T09:59:59.999999"),
            event("in time", "a", "23T10:00:00"),
            event("again", "a", "23T08:00:00", "v"),
            event("b", "b", "23T09:00:00", "v"),
        ]
        run(pipeline, whole, "23T12:00:00", *events)
        assert outcomes(pipeline) == {"late r expired", "in time r sent", "again r expired", "b other sent"}

    def test_expiry_is_measured_from_the_end_of_the_wait(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2, expires_after_hours=1)]
        run(pipeline, rules, "23T09:00:00", event("1", "a", "23T08:00:00"), event("2", "a", "23T08:00:01", "v"))
        run(pipeline, rules, "23T11:00:01")
        assert outcomes(pipeline) == {"1 r expired", "2 r sent"}

    def test_of_all_reasons_the_first_is_written_down(self, pipeline: Pipeline) -> None:
        def whole(*exempt: str, mode: str = "once_ever", holdout: int = 100, hours: float = 1) -> Raw:
            other = rule("first", template="U", on="b", exempt_from=["blocks", "holdout"])
            own = rule("own", on="b", exempt_from=["blocks", "holdout", "limits"])
            keys: Raw = {"exempt_from": list(exempt)} if exempt else {}
            return {
                "blocks": [{"name": "no", "from": {"event_type": "no"}}],
                "holdout": {"percent": holdout, "salt": "s"},
                "limits": [{"name": "one", "at_most": 1, "calendar": "month"}],
                "rules": [other, own, rule(suppression={"mode": mode}, expires_after_hours=hours, **keys)],
            }

        run(pipeline, whole(), "23T12:00:00", event("b", "b", "23T08:00:00"), event("no", "no", "23T08:00:00"))
        stories = [
            whole(),
            whole(mode="none"),
            whole("blocks", mode="none"),
            whole("blocks", "holdout", mode="none"),
            whole("blocks", "holdout", "limits", mode="none"),
            whole("blocks", "limits", mode="none", holdout=0, hours=2),
        ]
        for number, each in enumerate(stories):
            run(pipeline, each, "23T12:00:00", event(str(number), "a", "23T10:00:00"))
        assert outcomes(pipeline) - {"b first sent", "b own sent"} == {
            *("0 r once_ever b", "1 r blocked:no no", "2 r holdout", "3 r limit:one b", "4 r expired", "5 r sent"),
        }

    def test_the_holdout_is_compared_exactly(self, pipeline: Pipeline) -> None:
        # By their hashes u9 has the number 8725 of 10,000 and u11241 the number 1.
        events = event("in", "a", "23T10:00:00", "u9"), event("low", "a", "23T10:00:00", "u11241")
        for number, percent in enumerate((87.25, 87.26, 0.01, 0.02)):
            whole = {"holdout": {"percent": percent, "salt": "s"}, "rules": [rule(f"r{number}", f"t{number}")]}
            raw = [
                {**each, "event_type": f"t{number}", "message_id": f"{each['user_id']}-{percent}"} for each in events
            ]
            run(pipeline, whole, "23T12:00:00", *raw)
        assert {outcome for outcome in outcomes(pipeline) if outcome.endswith("holdout")} == {
            "u9-87.26 r1 holdout",
            "u11241-87.25 r0 holdout",
            "u11241-87.26 r1 holdout",
            "u11241-0.02 r3 holdout",
        }

    def test_who_is_exempt_from_the_holdout_gets_the_message(self, pipeline: Pipeline) -> None:
        rules = [rule(), rule("receipt", template="R", exempt_from=["holdout"])]
        run(
            pipeline,
            {"holdout": {"percent": 100, "salt": ""}, "rules": rules},
            "23T12:00:00",
            event("1", "a", "23T09:00:00"),
        )
        assert outcomes(pipeline) == {"1 r holdout", "1 receipt sent"}

    def test_matches_are_taken_in_the_order_of_their_decision_times(self, pipeline: Pipeline) -> None:
        rules = [rule("waits", wait=2), rule("at_once", on="b")]
        whole = {"limits": [{"name": "one", "at_most": 1, "calendar": "day"}], "rules": rules}
        run(pipeline, whole, "23T20:00:00", event("a", "a", "23T09:00:00"), event("b", "b", "23T10:00:00"))
        assert outcomes(pipeline) == {"b at_once sent", "a waits limit:one b"}

    def test_at_the_same_instant_the_event_and_then_the_rule_that_came_first_wins(self, pipeline: Pipeline) -> None:
        rules = [
            rule("second", template="S", wait=1),
            rule("first", on="b"),
            rule("third", template="U", wait=1),
        ]
        whole = {"limits": [{"name": "one", "at_most": 1, "calendar": "day"}], "rules": rules}
        run(pipeline, whole, "23T20:00:00", event("a", "a", "23T09:00:00"), event("b", "b", "23T10:00:00"))
        assert outcomes(pipeline) == {"a second sent", "a third limit:one a", "b first limit:one a"}


def test_the_view_of_what_waits_says_for_what(pipeline: Pipeline) -> None:
    def waits() -> list[Any]:
        return pipeline.rows("SELECT rule_name, template_name, waits_for FROM waiting_messages ORDER BY rule_name")

    rules = [rule("long", wait=5), rule(wait=1)]
    whole = {"wait_for_data": True, "rules": rules}
    run(pipeline, whole, "23T10:00:00", event("o", "a", "23T09:30:00"))
    assert waits() == [("long", "T", "its time"), ("r", "T", "its time")]
    run(pipeline, whole, "23T11:00:00")
    assert waits() == [("long", "T", "its time"), ("r", "T", "the data")]
    run(pipeline, {"wait_for_data": True, "rules": [rule("other")]}, "23T12:00:00", event("x", "x", "23T09:31:00"))
    assert waits() == [("long", None, "nothing"), ("r", None, "nothing")]


def test_quoted_text_stays_text(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "quoted.yaml"
    path.write_text(
        """
        rules:
          - name: r
            trigger: {event_type: a}
            conditions:
              {field: properties.order_id, operator: in, value: ["007", 'no', "2026-11-23", "1e3", "null", "' "]}
            action: {type: send, template_name: "T", delivery_method: email}
        """,
        encoding="utf-8",
    )
    texts = "007", "7", "no", "2026-11-23", "1e3", "1000", "null", "' ", "'"
    pipeline.land([event(text, "a", "23T10:00:00", order_id=text) for text in texts])
    pipeline.take()
    decide_pending(pipeline.engine, read_rules(path), decided_at=AS_OF)
    assert [
        row[0] for row in pipeline.rows("SELECT message_id FROM send_requests AS s JOIN events e ON e.id = s.event_id")
    ] == sorted(["007", "no", "2026-11-23", "1e3", "null", "' "])
