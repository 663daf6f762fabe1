"""What docs/rules.md promises in one half of a sentence: small stories, one for each, worked out by hand."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from src.marketing_messaging_service.infrastructure.database import preview_engine
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.vocabulary import PAYLOAD, Operand, Operator, SuppressionMode
from tests.pipeline import Pipeline
from tests.test_rule_language import Raw, audited, event, field, happened, instant, outcomes, rule, run

TEXT, TRAIT, LATEST = "properties.failure_reason", "user_traits.country", "latest_traits.country"
NUMBER = "properties.amount"


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Iterator[Pipeline]:
    yield from audited(tmp_path, migrated_template)


def backfill(pipeline: Pipeline, document: Raw, as_of: str, *events: Raw) -> None:
    """Land events and do a run over the 23rd at an earlier logical time than that of other runs."""
    pipeline.land(events)
    window = Window(datetime.fromisoformat(instant("23T00:00:00")), datetime.fromisoformat(instant("24T00:00:00")))
    pipeline.do(pipeline.options(window, as_of=datetime.fromisoformat(instant(as_of))), document)


def asked(path: str, operator: Operator, value: Any) -> Raw:
    """A comparison with a fitting operand."""
    operands: dict[Operand, tuple[Any, ...]] = {
        Operand.NOTHING: (),
        Operand.LIST: ([value],),
        Operand.VALUE: (value,),
    }
    return field(path, operator.value, *operands[operator.operand])


class TestAMissingValue:
    @pytest.mark.parametrize(
        ("path", "value"),
        [(TEXT, "x"), (TEXT, ""), (TRAIT, "FR"), (LATEST, "FR"), (NUMBER, 0), ("user_traits.marketing_opt_in", False)],
    )
    def test_meets_no_operator_but_not_exists_and_not_of_it_holds(
        self, pipeline: Pipeline, path: str, value: Any
    ) -> None:
        kind = PAYLOAD.by_path[path.replace("latest_traits", "user_traits")].kind
        operators = [operator for operator in Operator if operator.takes.suits(kind)]
        rules = []
        for operator in operators:
            condition = asked(path, operator, value)
            rules.append(rule(operator.value, template=operator.value, conditions=condition))
            for way, turned in (("not", {"not": condition}), ("not_any", {"not": {"any": [condition, condition]}})):
                name = f"{way} {operator.value}"
                rules.append(rule(name, template=name, conditions=turned))
        # One event has nothing at all, one has other fields beside the missing one, one says null.
        events = [
            event("bare", "a", "23T10:00:00", "u"),
            event("other", "a", "23T10:00:00", "v", order_id="o", email="e"),
            event("null", "a", "23T10:00:00", "w", **{path.partition(".")[2]: None}, order_id="o", email="e"),
        ]
        run(pipeline, rules, "23T12:00:00", *events)
        holding = {name for each in operators for name in (f"not {each.value}", f"not_any {each.value}")} - {
            "not not_exists",
            "not_any not_exists",
        } | {"not_exists"}
        assert outcomes(pipeline) == {
            f"{message_id} {name} sent" for message_id in ("bare", "other", "null") for name in holding
        }

    def test_of_another_event_meets_none_in_where_either(self, pipeline: Pipeline) -> None:
        operators = [each for each in Operator if each.value not in ("gt", "gte", "lt", "lte")]
        rules = [
            rule(each.value, template=each.value, conditions=happened("b", where=[asked(TEXT, each, "x")]))
            for each in operators
        ]
        rules += [
            rule(
                f"no {each.value}",
                template=f"no {each.value}",
                conditions=happened("b", at_most=0, where=[asked(TEXT, each, "x")]),
            )
            for each in operators
        ]
        run(pipeline, rules, "23T12:00:00", event("b", "b", "23T09:00:00", amount=1), event("a", "a", "23T10:00:00"))
        names = {f"no {each.value}" for each in operators} - {"no not_exists"} | {"not_exists"}
        assert outcomes(pipeline) == {f"a {name} sent" for name in names}

    def test_keeps_waiting_only_what_its_two_valued_truth_leaves_open(self, pipeline: Pipeline) -> None:
        large, paid = field(NUMBER, "gte", 20), happened("b")
        small = field(NUMBER, "lt", 20)
        rules = [
            rule("all", wait=1, conditions={"all": [large, paid]}),
            rule("not large", wait=1, conditions={"not": large}),
            rule("not small", wait=1, conditions={"all": [{"not": small}, {"not": paid}]}),
            rule("not not", wait=1, conditions={"not": {"not": large}}),
            rule("not any", wait=1, conditions={"not": {"any": [{"not": large}, paid]}}),
            rule("not all", wait=1, conditions={"not": {"all": [large, paid]}}),
            rule("prior", wait=1, conditions={"not": {"prior_event": {"event_type": "b", "hours": 1}}}),
            rule("known", wait=1, conditions={"any": [large, field(LATEST, "exists")]}),
        ]
        run(pipeline, rules, "23T09:00:00", event("o", "a", "23T09:00:00"))
        assert outcomes(pipeline) == {
            f"o {name} waits" for name in ("not large", "not small", "not all", "prior", "known")
        }


class TestWhatHappened:
    @pytest.mark.parametrize("filtered", [{}, {"where": [field(NUMBER, "not_exists")]}], ids=["", "where"])
    def test_without_a_window_is_everything_up_to_the_decision_time_and_nothing_after_it(
        self, pipeline: Pipeline, filtered: Raw
    ) -> None:
        rules = [
            rule("at once", conditions=happened("b", **filtered)),
            rule("waits", template="W", wait=1, conditions=happened("b", **filtered)),
        ]
        times = {"long ago": "2001-01-01T00:00:00", "at": "23T10:00:00", "after": "23T10:00:00.000001"}
        times |= {"at the end": "23T11:00:00", "beyond": "23T11:00:00.000001"}
        for user, at in times.items():
            pipeline.land([event(f"b {user}", "b", at, user), event(user, "a", "23T10:00:00", user)])
        run(pipeline, rules, "23T12:00:00")
        assert outcomes(pipeline) == {
            *("long ago at once sent", "at at once sent"),
            *(f"{user} waits sent" for user in ("long ago", "at", "after", "at the end")),
            "beyond waits no match",
        }

    def test_is_of_the_same_user_and_of_the_type_letter_by_letter(self, pipeline: Pipeline) -> None:
        rules = [rule(conditions=happened("b")), rule("none", template="N", conditions=happened("b", at_most=0))]
        others = event("1", "b", "23T09:00:00", "v"), event("2", "B", "23T09:00:00"), event("3", "b ", "23T09:00:00")
        events = event("a", "a", "23T10:00:00"), event("A", "A", "23T10:00:00")
        run(pipeline, rules, "23T12:00:00", *others, *events)
        assert outcomes(pipeline) == {"a none sent"}

    def test_meets_every_comparison_of_where_by_one_event(self, pipeline: Pipeline) -> None:
        where = [field(NUMBER, "gte", 20), field(TRAIT, "in", ["FR", "DE"])]
        events = [
            event("1", "b", "23T08:00:00", amount=20, country="IT"),
            event("2", "b", "23T09:00:00", amount=19.99, country="FR"),
            event("split", "a", "23T10:00:00"),
            event("3", "b", "23T09:00:00", "v", amount=20, country="DE"),
            event("one", "a", "23T10:00:00", "v"),
        ]
        run(pipeline, [rule(conditions=happened("b", where=where))], "23T12:00:00", *events)
        assert outcomes(pipeline) == {"one r sent"}

    def test_looks_in_where_at_the_other_event_and_not_at_the_triggering_one(self, pipeline: Pipeline) -> None:
        rules = [rule(conditions=happened("a", where=[field(NUMBER, "gte", 20), field(TRAIT, "equals", "FR")]))]
        events = event("1", "a", "23T09:00:00", amount=20, country="FR"), event("2", "a", "23T10:00:00")
        run(pipeline, rules, "23T12:00:00", *events, event("3", "a", "23T10:00:00", "v", amount=20, country="FR"))
        assert outcomes(pipeline) == {"2 r sent"}

    def test_the_same_empty_text_and_the_same_number_are_the_same(self, pipeline: Pipeline) -> None:
        rules = [
            rule("text", conditions=happened("b", same=["properties.order_id"])),
            rule("number", template="N", conditions=happened("b", same=[NUMBER])),
            rule("none", template="O", conditions=happened("b", at_most=0, same=["properties.order_id"])),
        ]
        run(
            pipeline,
            rules,
            "23T12:00:00",
            event("b", "b", "23T09:00:00", order_id="", amount=2),
            event("empty", "a", "23T10:00:00", order_id=""),
            event("blank", "a", "23T10:00:00", order_id=" "),
            event("two", "a", "23T10:00:00", amount=2.0),
        )
        assert outcomes(pipeline) == {"empty text sent", "two number sent", "blank none sent", "two none sent"}

    def test_since_the_trigger_asks_where_and_same_and_a_count_too(self, pipeline: Pipeline) -> None:
        wanted = happened(
            "b", since_trigger=True, at_least=2, same=["properties.order_id"], where=[field(NUMBER, "gt", 0)]
        )
        rules = [rule(wait=2, conditions=wanted)]
        events = [event(f"a {user}", "a", "23T09:00:00", user, order_id="x") for user in "uvwx"]
        for user, places in {"u": (9, 10), "v": (8, 10), "w": (9, 12), "x": (9, 10)}.items():
            amount = 0 if user == "x" else 1
            events += [
                event(f"b {user} {n}", "b", f"23T{n:02}:30:00", user, order_id="x", amount=1) for n in places[:1]
            ]
            events += [
                event(f"b {user} {n}", "b", f"23T{n:02}:30:00", user, order_id="x", amount=amount) for n in places[1:]
            ]
        run(pipeline, rules, "23T14:00:00", *events)
        assert outcomes(pipeline) == {"a u r sent", *(f"a {user} r no match" for user in "vwx")}

    def test_the_triggering_event_before_the_window_is_not_taken_off_what_is_in_it(self, pipeline: Pipeline) -> None:
        wanted = {"within_hours": 1, "where": [field(NUMBER, "not_exists")]}
        rules = [
            rule("waits", wait=2, conditions=happened("a", **wanted)),
            rule("plain", template="P", wait=2, conditions=happened("a", within_hours=1)),
        ]
        run(pipeline, rules, "23T13:30:00", event("1", "a", "23T09:00:00"), event("2", "a", "23T10:30:00"))
        assert outcomes(pipeline) == {
            *("1 waits sent", "1 plain sent", "2 waits no match", "2 plain no match"),
        }

    @pytest.mark.parametrize("filtered", [{}, {"where": [field(NUMBER, "not_exists")]}], ids=["", "where"])
    def test_is_counted_exactly_however_many_there_are(self, pipeline: Pipeline, filtered: Raw) -> None:
        wanted = [{"at_least": least} for least in (9, 10, 11, 12)] + [{"at_most": most} for most in (8, 9, 10, 11)]
        rules = [
            rule(
                "".join(f"{key}={value}" for key, value in each.items()),
                template=str(each),
                conditions=happened("a", **each, **filtered),
            )
            for each in wanted
        ]
        events = []
        for count in (9, 10, 11):
            events += [event(f"{count}.{n}", "a", f"23T09:{n:02}:00", f"u{count}") for n in range(count)]
            events.append(event(str(count), "a", "23T10:00:00", f"u{count}"))
        run(pipeline, rules, "23T12:00:00", *events)
        assert {each for each in outcomes(pipeline) if each.split()[0] in ("9", "10", "11")} == {
            *(f"{count} at_least={least} sent" for count in (9, 10, 11) for least in (9, 10, 11, 12) if least <= count),
            *(f"{count} at_most={most} sent" for count in (9, 10, 11) for most in (8, 9, 10, 11) if count <= most),
        }

    def test_a_prior_event_is_looked_for_from_the_end_of_a_wait(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2, conditions={"prior_event": {"event_type": "b", "hours": 1}})]
        for user, at in {"u": "09:59:59.999999", "v": "10:00:00", "w": "11:00:00", "x": "11:00:00.000001"}.items():
            pipeline.land([event(f"a {user}", "a", "23T09:00:00", user), event(f"b {user}", "b", f"23T{at}", user)])
        run(pipeline, rules, "23T12:00:00")
        assert {each for each in outcomes(pipeline) if each.endswith("sent")} == {"a v r sent", "a w r sent"}


class TestTheCalendar:
    @pytest.mark.parametrize(
        ("period", "zone", "first", "last", "next_one"),
        [
            # Weeks and months in which the clocks change: an hour shorter, an hour longer.
            ("week", "Europe/Paris", "2026-03-22T23:00:00", "2026-03-29T21:59:59.999999", "2026-03-29T22:00:00"),
            ("week", "Europe/Paris", "2026-10-18T22:00:00", "2026-10-25T22:59:59.999999", "2026-10-25T23:00:00"),
            ("month", "Europe/Paris", "2026-02-28T23:00:00", "2026-03-31T21:59:59.999999", "2026-03-31T22:00:00"),
            ("month", "Europe/Paris", "2026-09-30T22:00:00", "2026-10-31T22:59:59.999999", "2026-10-31T23:00:00"),
            # A day that begins at 01:00, of 23 hours.
            ("day", "America/Santiago", "2026-09-06T04:00:00", "2026-09-07T02:59:59.999999", "2026-09-07T03:00:00"),
            # The clock goes back at midnight: the day of 25 hours has its last hour twice.
            ("day", "America/Santiago", "2026-04-04T03:00:00", "2026-04-05T03:59:59.999999", "2026-04-05T04:00:00"),
            # Half an hour of summer time.
            ("day", "Australia/Lord_Howe", "2026-10-03T13:30:00", "2026-10-04T12:59:59.999999", "2026-10-04T13:00:00"),
            # Of the week from Monday, 26 December 2011, Friday was skipped.
            ("week", "Pacific/Apia", "2011-12-26T10:00:00", "2012-01-01T09:59:59.999999", "2012-01-01T10:00:00"),
            ("month", "Pacific/Apia", "2011-12-01T10:00:00", "2011-12-31T09:59:59.999999", "2011-12-31T10:00:00"),
            ("week", "Asia/Kathmandu", "22T18:15:00", "29T18:14:59.999999", "29T18:15:00"),
        ],
    )
    def test_a_period_lasts_from_its_first_instant_to_its_last_for_a_once_and_for_a_limit(
        self, pipeline: Pipeline, period: str, zone: str, first: str, last: str, next_one: str
    ) -> None:
        whole = {
            "timezone": zone,
            "limits": [{"name": "one", "templates": ["L"], "at_most": 1, "calendar": period}],
            "rules": [rule("once", suppression={"mode": f"once_per_calendar_{period}"}), rule("limit", template="L")],
        }
        events = [event(str(number), "a", at) for number, at in enumerate((first, last, next_one))]
        before = datetime.fromisoformat(instant(first)) - timedelta(microseconds=1)
        events.append(event("before", "a", before.isoformat()))
        run(pipeline, whole, "2026-12-31T00:00:00", *events)
        assert outcomes(pipeline) == {
            *("before once sent", "before limit sent"),
            *("0 once sent", f"1 once once_per_calendar_{period} 0", "2 once sent"),
            *("0 limit sent", "1 limit limit:one 0", "2 limit sent"),
        }

    def test_that_counts_is_the_one_of_the_file_of_the_run_that_decides(self, pipeline: Pipeline) -> None:
        limit = {"limits": [{"name": "one", "at_most": 1, "calendar": "day"}], "rules": [rule()]}
        run(pipeline, limit, "23T23:45:00", event("1", "a", "23T23:30:00"))
        # In Paris that send is of the 24th, in UTC of the 23rd.
        run(pipeline, limit | {"timezone": "Europe/Paris"}, "24T12:00:00", event("2", "a", "24T10:00:00"))
        run(pipeline, limit, "24T13:00:00", event("3", "a", "24T10:00:00"))
        assert outcomes(pipeline) == {"1 r sent", "2 r limit:one 1", "3 r sent"}

    def test_without_a_zone_is_that_of_utc(self, pipeline: Pipeline) -> None:
        modes = ("day", "week", "month")
        rules = [rule(mode, template=mode, suppression={"mode": f"once_per_calendar_{mode}"}) for mode in modes]
        # A Sunday that is the last of May, and the Monday after it.
        events = event("1", "a", "2026-05-31T23:59:59.999999"), event("2", "a", "2026-06-01T00:00:00")
        run(pipeline, rules, "23T12:00:00", *events)
        assert outcomes(pipeline) == {f"{number} {mode} sent" for number in (1, 2) for mode in modes}


class TestOnce:
    HOURS: ClassVar[Raw] = {"mode": "once_per_hours", "hours": 24}
    MODES: ClassVar[dict[str, Raw]] = {
        **{mode: {"mode": mode} for mode in SuppressionMode if mode != "once_per_hours"},
        "once_per_hours": HOURS,
        "once_ever per": {"mode": "once_ever", "per": ["properties.order_id"]},
        "once_per_calendar_day per": {"mode": "once_per_calendar_day", "per": ["properties.order_id"]},
        "once_per_hours per": {**HOURS, "per": ["properties.order_id"]},
    }

    @pytest.mark.parametrize(("before", "after"), [("Europe/Paris", "UTC"), ("UTC", "Europe/Paris"), ("UTC", "UTC")])
    def test_after_a_changed_mode_looks_with_the_new_reach_at_the_sends_of_the_old_one(
        self, pipeline: Pipeline, before: str, after: str
    ) -> None:
        def whole(zone: str, which: int) -> Raw:
            pairs = [(first, second) for first in self.MODES for second in self.MODES]
            names = [f"{first}/{second}".replace(" ", "+") for first, second in pairs]
            modes = [self.MODES[pair[which]] for pair in pairs]
            rules = [rule(name, template=name, suppression=mode) for name, mode in zip(names, modes, strict=True)]
            return {"timezone": zone, "rules": rules}

        run(pipeline, whole(before, 0), "16T12:00:00", event("1", "a", "16T10:00:00"))
        later = [
            event("same day", "a", "16T11:00:00"),
            event("order", "a", "16T11:30:00", order_id="x"),
            event("next week", "a", "23T11:00:00"),
            event("next month", "a", "2026-12-05T11:00:00"),
        ]
        run(pipeline, whole(after, 1), "2026-12-06T12:00:00", *later)
        expected = set()
        for first in self.MODES:
            for second, mode in self.MODES.items():
                name = f"{first}/{second}".replace(" ", "+")
                expected.add(f"1 {name} sent")
                refused = {
                    "none": (),
                    "once_ever": ("same day", "order", "next week", "next month"),
                    "once_per_calendar_day": ("same day", "order"),
                    "once_per_calendar_week": ("same day", "order"),
                    "once_per_calendar_month": ("same day", "order", "next week"),
                    "once_per_hours": ("same day", "order"),
                    "once_ever per": ("same day", "next week", "next month"),
                    "once_per_calendar_day per": ("same day",),
                    "once_per_hours per": ("same day",),
                }[second]
                for each in ("same day", "order", "next week", "next month"):
                    expected.add(f"{each} {name} {mode['mode']} 1" if each in refused else f"{each} {name} sent")
        assert outcomes(pipeline) == expected

    @pytest.mark.parametrize("limits", [[], [{"name": "many", "at_most": 9, "hours": 1}]], ids=["as a set", "in order"])
    def test_is_used_up_by_none_that_a_block_or_the_holdout_holds_back(
        self, pipeline: Pipeline, limits: list[Raw]
    ) -> None:
        ever = {"mode": "once_ever"}
        whole = {
            "blocks": [{"name": "no", "channels": ["sms"], "from": {"event_type": "no"}}],
            "holdout": {"percent": 100, "salt": "s"},
            "limits": limits,
            "rules": [
                rule("text", channel="sms", suppression=ever),
                rule("held", suppression=ever),
                rule("goes", on="b", suppression=ever, exempt_from=["holdout"]),
            ],
        }
        events = [
            event("no", "no", "23T08:00:00"),
            event("1", "a", "23T09:00:00"),
            event("2", "b", "23T10:00:00"),
            event("3", "a", "23T11:00:00"),
        ]
        run(pipeline, whole, "23T12:00:00", *events)
        run(pipeline, whole, "23T13:00:00", event("0", "a", "23T07:00:00"))
        assert outcomes(pipeline) == {
            *("1 text blocked:no no", "1 held holdout", "2 goes sent", "3 text once_ever 2", "3 held once_ever 2"),
            *("0 text once_ever 2", "0 held once_ever 2"),
        }


class TestWaiting:
    def test_the_wait_that_was_fixed_is_not_that_of_the_file_of_then(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=5)], "23T10:00:00", event("a", "a", "23T09:00:00"))
        run(pipeline, [rule(wait=1)], "23T14:00:00")
        assert outcomes(pipeline) == {"a r waits"}
        run(pipeline, [rule(wait=1)], "23T14:00:01")
        assert outcomes(pipeline) == {"a r sent"}

    def test_a_rule_that_is_another_in_all_but_its_name_decides_in_its_own_way(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=2)], "23T10:00:00", event("a", "a", "23T09:00:00", amount=1))
        changed = {
            "timezone": "Asia/Kathmandu",
            "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
            "rules": [rule("other", on="b"), rule(wait=9, conditions=happened("b", since_trigger=True))],
        }
        # The sends of one day in Kathmandu; what happened is counted up to the decision time that was fixed.
        run(pipeline, changed, "23T10:30:00", event("b", "b", "23T10:10:00"))
        run(pipeline, changed, "23T12:00:00", event("late", "b", "23T11:00:00.000001", "v"))
        assert outcomes(pipeline) == {"b other sent", "late other sent", "a r limit:one b"}

    def test_what_is_known_when_the_wait_begins_leaves_everything_open(self, pipeline: Pipeline) -> None:
        rules = [
            rule("french", wait=1, conditions=field(LATEST, "equals", "FR")),
            rule("silent", template="S", wait=1, conditions=field(LATEST, "not_exists")),
            rule("first", template="F", wait=1, conditions={"not": happened("b")}),
            rule("again", template="A", wait=1, conditions=happened("a")),
        ]
        run(
            pipeline, rules, "23T09:30:00", event("b", "b", "23T08:00:00", country="DE"), event("o", "a", "23T09:00:00")
        )
        assert outcomes(pipeline) == {f"o {name} waits" for name in ("french", "silent", "first", "again")}
        run(pipeline, rules, "23T10:30:00", event("t", "t", "23T10:00:00", country="FR"))
        assert outcomes(pipeline) == {
            *("o french sent", "o silent no match", "o first no match", "o again no match"),
        }

    def test_a_rule_that_became_an_alert_alerts(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=2, expires_after_hours=1)], "23T10:00:00", event("a", "a", "23T09:00:00"))
        run(pipeline, [rule(wait=2, channel="internal")], "25T12:00:00")
        assert outcomes(pipeline) == {"a r sent"}
        assert pipeline.rows("SELECT channel FROM send_requests") == [("internal",)]

    def test_a_rule_that_was_off_when_its_event_was_decided_waits_for_nothing(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule("on"), rule(wait=2, enabled=False)], "23T10:00:00", event("a", "a", "23T09:00:00"))
        run(pipeline, [rule("on"), rule(wait=2)], "23T12:00:00")
        assert outcomes(pipeline) == {"a on sent"}

    @pytest.mark.parametrize("wait_for_data", [False, True])
    def test_whether_data_are_waited_for_is_as_the_file_of_that_run_says(
        self, pipeline: Pipeline, wait_for_data: bool
    ) -> None:
        run(
            pipeline,
            {"wait_for_data": not wait_for_data, "rules": [rule(wait=2)]},
            "23T10:00:00",
            event("a", "a", "23T09:00:00"),
        )
        run(pipeline, {"wait_for_data": wait_for_data, "rules": [rule(wait=2)]}, "23T12:00:00")
        assert outcomes(pipeline) == {f"a r {'waits' if wait_for_data else 'sent'}"}

    def test_what_waits_for_the_data_is_decided_on_what_came_with_them(self, pipeline: Pipeline) -> None:
        unpaid = {"not": happened("b", since_trigger=True)}
        whole = {
            "wait_for_data": True,
            "rules": [
                rule(wait=2, conditions=unpaid),
                rule("known", template="K", wait=2, conditions=field(LATEST, "equals", "FR")),
            ],
        }
        run(pipeline, whole, "23T10:00:00", event("a", "a", "23T09:00:00"))
        run(pipeline, whole, "23T12:00:00")
        came = event("b", "b", "23T10:30:00", country="FR"), event("x", "x", "23T11:00:00", "v")
        run(pipeline, whole, "23T15:00:00", *came, event("t", "x", "23T11:00:00.000001", country="DE"))
        assert outcomes(pipeline) == {"a r no match", "a known sent"}

    def test_any_run_that_decides_takes_what_is_due_and_one_that_loads_only_does_not(self, pipeline: Pipeline) -> None:
        document = {"rules": [rule(wait=2)]}
        run(pipeline, document, "23T10:00:00", event("a", "a", "23T09:00:00"))
        days = [datetime.fromisoformat(instant(f"0{day}T00:00:00")) for day in (1, 2)]
        for mode, outcome in ((RunMode.LOAD_ONLY, "waits"), (RunMode.LOAD_AND_DECIDE, "sent")):
            as_of = datetime.fromisoformat(instant("23T12:00:00"))
            pipeline.do(pipeline.options(Window(*days), mode, as_of=as_of), document)
            assert outcomes(pipeline) == {f"a r {outcome}"}

    def test_a_preview_shows_what_would_come_of_what_is_due_and_keeps_nothing(self, pipeline: Pipeline) -> None:
        waiting, gone = rule(wait=2), rule("gone", template="G", wait=2)
        run(pipeline, [waiting, gone], "23T10:00:00", event("a", "a", "23T09:00:00"))
        real = pipeline.engine
        with preview_engine(pipeline.database_url) as scratch:
            pipeline.engine = scratch
            days = [datetime.fromisoformat(instant(f"0{day}T00:00:00")) for day in (1, 2)]
            as_of = datetime.fromisoformat(instant("23T12:00:00"))
            pipeline.do(pipeline.options(Window(*days), RunMode.PREVIEW, as_of=as_of), {"rules": [waiting]})
            assert outcomes(pipeline) == {"a r sent", "a gone lapsed"}
        pipeline.engine = real
        assert outcomes(pipeline) == {"a r waits", "a gone waits"}

    def test_nothing_lapses_while_no_rule_is_on(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=2)], "23T10:00:00", event("a", "a", "23T09:00:00"))
        run(pipeline, [rule(wait=2, enabled=False)], "23T12:00:00", event("b", "a", "23T11:00:00", "v"))
        assert outcomes(pipeline) == {"a r waits"}
        run(pipeline, [rule(wait=2)], "23T13:30:00")
        assert outcomes(pipeline) == {"a r sent", "b r sent"}

    def test_that_ended_in_a_decision_says_so_also_where_it_is_a_refusal(self, pipeline: Pipeline) -> None:
        rules = [rule(wait=2, suppression={"mode": "once_ever"})]
        run(pipeline, rules, "23T12:00:00", event("1", "a", "23T09:00:00"), event("2", "a", "23T09:30:00"))
        assert outcomes(pipeline) == {"1 r sent", "2 r once_ever 1"}
        assert pipeline.rows("SELECT decide_at, outcome FROM ended_waits ORDER BY event_id") == [
            ("2026-11-23 11:00:00.000000", "decided"),
            ("2026-11-23 11:30:00.000000", "decided"),
        ]
        assert pipeline.rows("SELECT * FROM waiting_matches") == []

    def test_a_match_lapses_only_when_the_data_have_come_too(self, pipeline: Pipeline) -> None:
        run(pipeline, [rule(wait=1)], "23T10:00:00", event("a", "a", "23T09:00:00"))
        gone = {"wait_for_data": True, "rules": [rule("other", on="z")]}
        run(pipeline, gone, "23T12:00:00")
        assert outcomes(pipeline) == {"a r waits"}
        run(pipeline, gone, "23T13:00:00", event("x", "x", "23T10:00:00", "v"))
        assert outcomes(pipeline) == {"a r lapsed"}


class TestWhatStandsAgainstAMatch:
    def test_nothing_stands_against_an_alert(self, pipeline: Pipeline) -> None:
        whole = {
            "blocks": [{"name": "no", "from": {"event_type": "no"}}],
            "holdout": {"percent": 100, "salt": "s"},
            "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
            "rules": [
                rule("free", template="F", on="b", exempt_from=["blocks", "holdout"]),
                rule(),
                rule("alert", channel="internal"),
                rule("late alert", channel="internal", wait=1),
            ],
        }
        events = event("no", "no", "23T08:00:00"), event("b", "b", "23T09:00:00"), event("a", "a", "23T10:00:00")
        run(pipeline, whole, "23T20:00:00", *events, max_event_age_hours=1)
        assert outcomes(pipeline) == {"b free expired", "a r blocked:no no", "a alert sent", "a late alert sent"}

    def test_what_is_refused_takes_neither_a_place_in_a_limit_nor_the_once(self, pipeline: Pipeline) -> None:
        whole = {
            "limits": [{"name": "two", "at_most": 2, "calendar": "day"}],
            "rules": [rule(suppression={"mode": "once_ever"}), rule("other", on="b", template="O")],
        }
        events = [
            event("1", "a", "23T08:00:00"),
            event("2", "a", "23T09:00:00"),  # its once mode stops it, so no limit counts it
            event("3", "b", "23T10:00:00"),
            event("4", "b", "23T11:00:00"),
            event("5", "b", "23T12:00:00", "v"),
            event("6", "b", "23T13:00:00", "v"),
            event("7", "a", "23T14:00:00", "v"),  # the limit stops it, so it does not use up a once
            event("8", "a", "24T08:00:00", "v"),
        ]
        run(pipeline, whole, "24T12:00:00", *events)
        assert outcomes(pipeline) == {
            *("1 r sent", "2 r once_ever 1", "3 other sent", "4 other limit:two 1"),
            *("5 other sent", "6 other sent", "7 r limit:two 5", "8 r sent"),
        }

    def test_a_no_that_a_later_run_loaded_holds_for_an_earlier_logical_time(self, pipeline: Pipeline) -> None:
        sign = {"name": "no", "from": {"event_type": "no"}, "until": {"event_type": "yes"}}
        whole = {"blocks": [sign], "rules": [rule()]}
        events = event("yes", "yes", "23T08:00:00"), event("no", "no", "24T11:00:00")
        run(pipeline, whole, "24T12:00:00", *events)
        backfill(pipeline, whole, "23T12:00:00", event("a", "a", "23T09:00:00"))
        assert outcomes(pipeline) == {"a r blocked:no no"}

    def test_a_trait_by_a_clock_that_runs_ahead_blocks_from_its_run_on_and_does_not_outlast_a_later_one(
        self, pipeline: Pipeline
    ) -> None:
        opted_out = field("latest_traits.marketing_opt_in", "equals", False)
        whole = {"blocks": [{"name": "out", "while": opted_out}], "rules": [rule()]}
        said = event("no", "x", "29T00:00:00", marketing_opt_in=False)
        run(pipeline, whole, "23T12:00:00", said, event("1", "a", "23T11:00:00"), max_event_ahead_hours=1)
        later = event("yes", "x", "23T12:30:00", marketing_opt_in=True), event("2", "a", "23T12:40:00")
        run(pipeline, whole, "23T13:00:00", *later, max_event_ahead_hours=1)
        assert outcomes(pipeline) == {"1 r blocked:out no", "2 r sent"}

    def test_traits_that_block_are_in_the_order_of_effective_time_then_their_own_then_their_number(
        self, pipeline: Pipeline
    ) -> None:
        out = {"name": "out", "while": field("latest_traits.marketing_opt_in", "equals", False)}

        def said(message_id: str, at: str, user: str, opt_in: bool) -> Raw:
            return event(message_id, "x", f"23T{at}", user, marketing_opt_in=opt_in)

        events = [
            *(said("1", "15:00:00", "by own time", False), said("2", "14:00:00", "by own time", True)),
            *(said("3", "11:00:00", "by number", True), said("4", "11:00:00", "by number", False)),
            *(said("5", "11:00:00", "by number too", False), said("6", "11:00:00", "by number too", True)),
            # What a clock that runs ahead said counts from this run; so does what was said at its very instant.
            *(said("7", "12:30:00", "ahead", False), said("8", "12:00:00", "ahead", True)),
        ]
        users = ("by own time", "by number", "by number too", "ahead")
        whole = {"blocks": [out], "rules": [rule()]}
        run(pipeline, whole, "23T12:00:00", *events, *(event(user, "a", "23T09:00:00", user) for user in users))
        # 12:10 is before 12:30, but after the run from which what was said with the clock ahead counts.
        again = event("ahead again", "a", "23T12:50:00", "ahead"), said("9", "12:10:00", "ahead", True)
        run(pipeline, whole, "23T13:00:00", *again)
        assert outcomes(pipeline) == {
            *("by own time r blocked:out 1", "by number r blocked:out 4", "by number too r sent"),
            *("ahead r blocked:out 7", "ahead again r sent"),
        }

    def test_where_says_which_events_end_a_block(self, pipeline: Pipeline) -> None:
        where = [field(TEXT, "equals", "YES"), field(TRAIT, "not_equals", "DE")]
        block = {"name": "n", "from": {"event_type": "s"}, "until": {"event_type": "s", "where": where}}
        events = []
        for user, traits in {"u": {"country": "FR"}, "v": {"country": "DE"}, "w": {}}.items():
            events.append(event(f"no {user}", "s", "23T08:00:00", user, failure_reason="NO"))
            events.append(event(f"yes {user}", "s", "23T09:00:00", user, failure_reason="YES", **traits))
            events.append(event(user, "a", "23T10:00:00", user))
        run(pipeline, {"blocks": [block], "rules": [rule()]}, "23T12:00:00", *events)
        # The ending is a beginning too, as that one asks for nothing: a tie blocks.
        assert outcomes(pipeline) == {f"{user} r blocked:n yes {user}" for user in "uvw"}
        begins = {"event_type": "s", "where": [field(TEXT, "equals", "NO")]}
        later = [event(f"{user} later", "a", "23T11:00:00", user) for user in "uvw"]
        whole = {"blocks": [block | {"from": begins}], "rules": [rule("later", template="L")]}
        run(pipeline, whole, "23T13:00:00", *later)
        assert {each for each in outcomes(pipeline) if "later" in each.split()} == {
            *("u later later sent", "v later later blocked:n no v", "w later later blocked:n no w"),
        }

    def test_a_block_on_what_is_known_of_the_user_may_be_put_together_and_names_the_last_that_gave_any_of_it(
        self, pipeline: Pipeline
    ) -> None:
        said_yes = field("latest_traits.marketing_opt_in", "equals", True)
        condition = {"any": [{"not": said_yes}, {"all": [field(LATEST, "in", ["DE"]), said_yes]}]}
        whole = {"blocks": [{"name": "out", "while": condition}], "rules": [rule()]}
        events = [
            event("1", "x", "23T08:00:00", "yes", marketing_opt_in=True),
            event("2", "x", "23T09:00:00", "german", country="DE"),
            event("3", "x", "23T10:00:00", "german", marketing_opt_in=True),
            event("4", "x", "23T08:00:00", "no", marketing_opt_in=False),
            event("5", "x", "23T09:00:00", "no", country="FR"),
            event("6", "x", "23T09:30:00", "no", email="e"),
        ]
        users = ("yes", "german", "no", "unknown")
        run(pipeline, whole, "23T12:00:00", *events, *(event(user, "a", "23T07:00:00", user) for user in users))
        assert outcomes(pipeline) == {
            *("yes r sent", "german r blocked:out 3", "no r blocked:out 5", "unknown r blocked:out"),
        }

    def test_a_block_reads_event_types_letter_by_letter(self, pipeline: Pipeline) -> None:
        whole = {"blocks": [{"name": "no", "from": {"event_type": "no"}}], "rules": [rule()]}
        run(pipeline, whole, "23T12:00:00", event("1", "No", "23T08:00:00"), event("a", "a", "23T09:00:00"))
        assert outcomes(pipeline) == {"a r sent"}

    @pytest.mark.parametrize(
        ("percent", "salt"), [(0, "2026"), (12.34, ""), (50, "winter:ü"), (99.99, "\U0001f642 "), (100, "2026")]
    )
    def test_the_holdout_is_who_the_hash_of_salt_and_user_says(
        self, pipeline: Pipeline, percent: float, salt: str
    ) -> None:
        users = [*(f"user {number}" for number in range(30)), "é", "e\u0301", "\U0001f642", "a:b", "%", "'"]
        whole = {"holdout": {"percent": percent, "salt": salt}, "rules": [rule()]}
        run(pipeline, whole, "23T12:00:00", *(event(f"m{n}", "a", "23T10:00:00", u) for n, u in enumerate(users)))
        hashes = [hashlib.md5(f"{salt}:{user}".encode(), usedforsecurity=False).hexdigest() for user in users]
        assert outcomes(pipeline) == {
            f"m{number} r {'holdout' if int(each[:8], 16) % 10000 < round(percent * 100) else 'sent'}"
            for number, each in enumerate(hashes)
        }

    @pytest.mark.parametrize("percent", ["0.29", "0.57", "1.15"])
    def test_the_share_of_the_holdout_is_the_number_that_is_written(self, pipeline: Pipeline, percent: str) -> None:
        # As floats each is a little less than so many ten-thousandths: 0.29 * 100 is 28.999…
        border = int(Decimal(percent) * 100)
        assert int(float(percent) * 100) == border - 1
        numbers = {
            int(hashlib.md5(f"s:u{number}".encode(), usedforsecurity=False).hexdigest()[:8], 16) % 10000: f"u{number}"
            for number in range(100_000)
        }
        document = {"holdout": {"percent": float(percent), "salt": "s"}, "rules": [rule()]}
        users = {"last": numbers[border - 1], "next": numbers[border]}
        run(pipeline, document, "23T12:00:00", *(event(name, "a", "23T10:00:00", user) for name, user in users.items()))
        assert outcomes(pipeline) == {"last r holdout", "next r sent"}

    def test_names_may_hold_anything_and_a_list_may_say_a_thing_twice(self, pipeline: Pipeline) -> None:
        name = ("\U0001f642'%:\"; _\\" * 8)[:64]
        hourly = {"mode": "once_per_hours", "hours": 0.25, "per": ["properties.order_id", "properties.order_id"]}
        looks = happened("a", same=["properties.order_id", "properties.order_id"], where=[field(NUMBER, "in", [5, 5])])
        whole = {
            "blocks": [{"name": name, "channels": ["sms"], "while": {"all": []}}],
            "limits": [{"name": name, "channels": ["email", "email"], "at_most": 1, "hours": 0.5}],
            "rules": [
                rule(name, template=name, channel="sms"),
                rule("mail", template=name, exempt_from=["blocks", "blocks"], suppression=hourly),
                rule("looks", on="b", template="S", conditions=looks),
            ],
        }
        events = [event(str(n), "a", f"23T09:{n}0:00", order_id="x", amount=5 * n) for n in (1, 2, 3)]
        run(pipeline, whole, "23T12:00:00", *events, event("4", "b", "23T09:40:00", order_id="x"))
        assert outcomes(pipeline) == {
            *(f"{n} {name} blocked:{name}" for n in (1, 2, 3)),
            *("1 mail sent", "2 mail once_per_hours 1", f"3 mail limit:{name} 1", "4 looks sent"),
        }

    def test_exempt_from_one_thing_is_not_exempt_from_another(self, pipeline: Pipeline) -> None:
        parts = ("blocks", "holdout", "limits")
        whole = {
            "holdout": {"percent": 100, "salt": "s"},
            "limits": [{"name": "one", "templates": ["FULL"], "at_most": 1, "calendar": "month"}],
            "rules": [
                rule("fills", on="f", template="FULL", exempt_from=["blocks", "holdout"]),
                *(rule(f"only {part}", template="FULL", exempt_from=[part]) for part in parts),
                rule("without blocks and holdout", template="FULL", exempt_from=["blocks", "holdout"]),
                rule("without blocks and limits", template="FULL", exempt_from=["blocks", "limits"]),
                rule("without all", template="FULL", exempt_from=list(parts), suppression={"mode": "once_ever"}),
            ],
            "blocks": [{"name": "no", "from": {"event_type": "no"}}],
        }
        events = event("f", "f", "23T08:00:00"), event("no", "no", "23T09:00:00"), event("a", "a", "23T10:00:00")
        run(pipeline, whole, "23T12:00:00", *events)
        assert outcomes(pipeline) == {
            *("f fills sent", "a only blocks holdout", "a only holdout blocked:no no", "a only limits blocked:no no"),
            *("a without blocks and holdout limit:one f", "a without blocks and limits holdout"),
            # Its own once holds it back whatever it is exempt from.
            "a without all once_ever f",
        }

    def test_a_limit_with_channels_and_templates_is_about_what_has_both(self, pipeline: Pipeline) -> None:
        limit = {"name": "one", "channels": ["email"], "templates": ["O"], "at_most": 1, "calendar": "day"}
        rules = [
            rule("text", on="t", template="O", channel="sms"),
            rule("news", on="n", template="N"),
            rule("offer", on="o", template="O"),
        ]
        events = [event(f"{kind}{hour}", kind, f"23T{hour:02}:00:00") for hour in (8, 9) for kind in "tno"]
        run(pipeline, {"limits": [limit], "rules": rules}, "23T12:00:00", *events)
        assert outcomes(pipeline) == {
            *("t8 text sent", "t9 text sent", "n8 news sent", "n9 news sent", "o8 offer sent", "o9 offer limit:one o8"),
        }

    def test_an_expired_match_that_something_stands_against_keeps_that_reason(self, pipeline: Pipeline) -> None:
        whole = {
            "holdout": {"percent": 100, "salt": "s"},
            "rules": [rule(expires_after_hours=1), rule("free", template="F", exempt_from=["holdout"])],
        }
        run(pipeline, whole, "23T12:00:00", event("a", "a", "23T08:00:00"), max_event_age_hours=2)
        assert outcomes(pipeline) == {"a r holdout", "a free expired"}

    def test_the_key_of_a_send_holds_no_value_and_fits(self, pipeline: Pipeline) -> None:
        per = ["user_traits.email", "properties.order_id"]
        modes = ("once_ever", "once_per_calendar_day", "once_per_calendar_week", "once_per_calendar_month")
        rules = [
            rule(f"r{number}", template=f"{mode} {number}", suppression={"mode": mode, "per": each})
            for mode in modes
            for number, each in enumerate((per, per[:1]), start=10 * modes.index(mode))
        ]
        zone = "America/Argentina/ComodRivadavia"
        events = [event(f"{n}", "a", f"23T1{n}:00:00", email="zoe@example.org", order_id=str(n) * 60) for n in (0, 1)]
        run(pipeline, {"timezone": zone, "rules": rules}, "23T12:00:00", *events)
        keys = [key for (key,) in pipeline.rows("SELECT dedupe_key FROM send_requests")]
        assert len(keys) == 3 * len(modes)
        assert [key for key in keys if "zoe" in key or "example" in key or "0000000000" in key or len(key) > 128] == []

    def test_a_key_never_refuses_what_the_reach_permits_in_another_order_of_per(self, pipeline: Pipeline) -> None:
        def whole(*per: str, zone: str = "UTC", period: str = "day") -> Raw:
            mode = {"mode": f"once_per_calendar_{period}", "per": [f"properties.{each}" for each in per]}
            return {"timezone": zone, "rules": [rule(suppression=mode)]}

        # order_id "x" with currency "y", then the other way round.
        run(
            pipeline,
            whole("order_id", "currency"),
            "23T12:00:00",
            event("1", "a", "23T09:00:00", order_id="x", currency="y"),
        )
        run(
            pipeline,
            whole("currency", "order_id"),
            "23T13:00:00",
            event("2", "a", "23T10:00:00", order_id="y", currency="x"),
        )
        run(pipeline, whole("currency"), "23T14:00:00", event("3", "a", "23T11:00:00", currency="x"))
        run(pipeline, whole("currency", period="month"), "23T15:00:00", event("4", "a", "23T11:00:00", currency="z"))
        assert outcomes(pipeline) == {
            *("1 r sent", "2 r sent", "3 r once_per_calendar_day 2", "4 r sent"),
        }


def test_hours_with_decimals_are_exact_wherever_they_stand(pipeline: Pipeline) -> None:
    # 0.7 hours are 42 minutes; as a float they are 2,519.9999… seconds.
    whole = {
        "limits": [{"name": "one", "templates": ["L"], "at_most": 1, "hours": 0.7}],
        "rules": [
            rule("wait", on="w", template="W", wait=0.7),
            rule("expiry", on="x", template="X", expires_after_hours=0.7),
            rule("hourly", on="h", template="H", suppression={"mode": "once_per_hours", "hours": 0.7}),
            rule("limit", on="l", template="L"),
        ],
    }
    events = [event("w", "w", "23T09:00:00")]
    events += [event(f"x {at}", "x", f"23T11:{at}") for at in ("17:59.999999", "18:00")]
    for kind in "hl":
        events += [event(f"{kind} {at}", kind, f"23T{at}") for at in ("10:00:00", "10:41:59.999999", "10:42:00")]
    run(pipeline, whole, "23T12:00:00", *events)
    assert outcomes(pipeline) == {
        *("w wait sent", "x 17:59.999999 expiry expired", "x 18:00 expiry sent"),
        *("h 10:00:00 hourly sent", "h 10:41:59.999999 hourly once_per_hours h 10:00:00", "h 10:42:00 hourly sent"),
        *("l 10:00:00 limit sent", "l 10:41:59.999999 limit limit:one l 10:00:00", "l 10:42:00 limit sent"),
    }
    assert pipeline.rows("SELECT decide_at FROM ended_waits") == [("2026-11-23 09:42:00.000000",)]


def test_an_event_later_than_the_logical_time_is_decided_by_the_run_that_loads_it(pipeline: Pipeline) -> None:
    rules = [rule(expires_after_hours=1), rule("waits", template="W", wait=1)]
    run(pipeline, rules, "23T12:00:00", event("a", "a", "29T10:00:00"))
    assert outcomes(pipeline) == {"a r sent", "a waits waits"}


def test_an_event_that_is_only_loaded_is_history_but_begins_no_wait(pipeline: Pipeline) -> None:
    window = Window(datetime.fromisoformat(instant("23T00:00:00")), datetime.fromisoformat(instant("24T00:00:00")))
    pipeline.land([event("b", "b", "23T08:00:00"), event("o", "a", "23T08:00:00", "v")])
    pipeline.do(pipeline.options(window, RunMode.LOAD_ONLY), {})
    rules = [rule(wait=1, conditions=happened("b"))]
    run(pipeline, rules, "23T12:00:00", event("a", "a", "23T09:00:00"))
    assert outcomes(pipeline) == {"a r sent"}
