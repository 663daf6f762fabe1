"""The tests beside a rules file: how they are read, done, and what is said of those that fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.errors import RulesTestsError
from src.marketing_messaging_service.explaining import rules_tests_file
from src.marketing_messaging_service.explaining.rules_check import check_rules
from src.marketing_messaging_service.explaining.rules_tests import CaseResults, run_tests
from tests.decisions.helpers import rule

DATA = Path(__file__).parents[2] / "data"
SHIPPED = [DATA / "rules.yaml", *sorted(DATA.glob("examples/*/rules.yaml"))]


RULES = (rule(mode="once_ever"),)


class Beside:
    """A rules file and the tests beside it."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "rules.yaml"
        self.tests = rules_tests_file.tests_path(self.rules)

    def write(self, *tests: Any, rules: Any = RULES, **others: Any) -> None:
        self.rules.write_text(json.dumps({"rules": list(rules), **others}, indent=1), encoding="utf-8")
        self.tests.write_text(json.dumps({"tests": list(tests)}, indent=1), encoding="utf-8")

    def run(self, *tests: Any, **others: Any) -> CaseResults:
        self.write(*tests, **others)
        return run_tests(self.rules, self.tests)


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    return Beside(tmp_path)


def given(event_id: str = "a", at: str = "+0h", user: str = "ana", **keys: Any) -> dict[str, Any]:
    return {"id": event_id, "user": user, "type": "paid", "at": at, **keys}


def case(*events: Any, expect: Any, name: str = "case", as_of: Any = "+1d", **keys: Any) -> dict[str, Any]:
    times = {} if as_of is None else {"as_of": as_of}
    return {"name": name, "events": list(events), **times, **keys, "expect": expect}


def of(event: str, reason: str = "") -> dict[str, str]:
    return {"event": event, "rule": "r"} | ({"reason": reason} if reason else {})


SEND_OF_A = {"sends": [of("a")]}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_shipped_rules_have_tests_that_pass_and_cover_each(path: Path) -> None:
    assert run_tests(path, rules_tests_file.tests_path(path)).failed == ()
    assert check_rules(path).warnings == ()


def test_what_comes_out_as_expected_has_passed(beside: Beside) -> None:
    expect = {"sends": [of("a")], "suppressions": [of("b", "once_ever")]}
    results = beside.run(case(given(), given("b", "+1h"), expect=expect))
    assert results.failed == ()
    assert results.as_text() == f"{beside.tests}: 1 test, all passed."


def test_what_differs_is_shown_beside_what_was_expected_with_why(beside: Beside) -> None:
    expect = {"sends": [of("a"), of("b")], "alerts": [of("c")]}
    (failed,) = beside.run(case(given(), given("b", "+1h"), given("c", "+2h", type="left"), expect=expect)).failed
    assert [(each.event, each.expected, each.found, each.why) for each in failed.differences] == [
        ("b", "send", "suppressed: once_ever", "a was in the way"),
        ("c", "alert", "nothing", "the rule looks at paid, but the event is a left"),
    ]


def test_what_is_not_expected_at_all_is_a_difference_too(beside: Beside) -> None:
    text = beside.run(case(given(), expect={})).as_text()
    assert "FAILED in line 3: case" in text
    assert [line.split()[:4] for line in text.splitlines()][-2:] == [
        ["a", "r", "nothing", "send"],
        ["a,", "r:", "decided", "to"],
    ]


def test_what_differs_is_explained_with_each_condition_and_what_was_found(beside: Beside) -> None:
    rules = [rule("r", {"field": "properties.amount", "operator": "gte", "value": 20})]
    events = [given(properties={"amount": 5}), given("b", "+1h", properties={"amount": 30})]
    results = beside.run(case(*events, expect={"sends": [of("a"), of("b")]}), rules=rules)
    (difference,) = results.failed[0].differences
    assert difference.explanation == (
        "r: did not match; what failed: properties.amount is at least 20 [run of 2026-01-06 12:00]",
        "  ✗ properties.amount is at least 20 – found: 5.0",
    )
    assert "  a, r: did not match" in results.as_text()


@pytest.mark.parametrize(
    ("rules", "found", "why"),
    [
        (rule(enabled=False), "nothing", "the rule is off"),
        (
            rule("r", {"field": "properties.amount", "operator": "exists"}),
            "nothing",
            "the rule needs: properties",
        ),
        (rule(wait={"hours": 48}), "waits", "it waits 48 h; the last run is at 2026-01-06 12:00"),
    ],
)
def test_why_a_rule_did_not_send_is_said(beside: Beside, rules: Any, found: str, why: str) -> None:
    others = [rule("other", on="left")]
    (failed,) = beside.run(case(given(), expect=SEND_OF_A), rules=[rules, *others]).failed
    (difference,) = failed.differences
    assert (difference.expected, difference.found) == ("send", found)
    assert difference.why.startswith(why)


def test_an_event_comes_in_the_run_after_its_arrival(beside: Beside) -> None:
    once = rule(mode="once_per_calendar_day")
    late = case(
        given("noon"),
        given("morning", "2026-01-05T09:00:00+01:00", arrives="+2h"),
        runs=["+1h", "+2h"],
        as_of=None,
        expect={"sends": [of("noon")], "suppressions": [of("morning", "once_per_calendar_day")]},
    )
    in_time = case(
        given("noon"),
        given("morning", "2026-01-05T08:00:00Z"),
        expect={"sends": [of("morning")], "suppressions": [of("noon", "once_per_calendar_day")]},
    )
    assert beside.run(late, in_time, rules=[once]).failed == ()


def test_times_count_from_the_start_of_the_test(beside: Beside) -> None:
    night = case(
        given("before", "+59m59s"),
        given("after", "+1h"),
        start="2026-03-28T23:00:00Z",
        as_of="+1d2h",
        expect={"sends": [of("before"), of("after")]},
    )
    assert beside.run(night, rules=[rule(mode="once_per_calendar_day")]).failed == ()


def test_an_event_that_would_be_a_rejected_line_is_named(beside: Beside) -> None:
    (failed,) = beside.run(case(given("b"), given(properties={"amount": "much"}), expect=SEND_OF_A)).failed
    assert failed.problem.startswith("The event a would be rejected: properties.amount")


def test_an_event_that_arrives_after_the_last_run_is_named(beside: Beside) -> None:
    (failed,) = beside.run(case(given(at="+2d"), expect={})).failed
    assert failed.problem == "The event a arrives after the last run; let a run come later."


@pytest.mark.parametrize(
    ("test", "wrong"),
    [
        (case(given(at="soon"), expect={}), "events[0].at: expected a time after the start such as +2h"),
        (case(given(at="2026-01-05"), expect={}), "events[0].at: expected a time after the start such as +2h"),
        (
            case(given(at="+10d"), expect={}, start="9999-12-31T20:00:00Z"),
            "start: expected an instant before the year 9900",
        ),
        (case(given(), given(), expect={}), "events[1].id: expected an id that no other event of the test has"),
        (case(given(properties={"amout": 1}), expect={}), "(did you mean amount?): amount, attempt_number"),
        (case(given(), expect={"sends": [of("b")]}), "expect.sends[0].event: expected the id of an event of the test"),
        (case(given(), expect={"suppressions": [of("a")]}), "reason: the key is required and is missing"),
        (case(given(), expect={}, as_of=None), "as_of: expected either as_of, for one run, or runs"),
        (case(given(), expect={}, runs=["+1h"]), "as_of: expected either as_of, for one run, or runs"),
        (case(expect={}), "events: expected a list that is not empty"),
    ],
)
def test_what_is_wrong_with_a_test_is_named(beside: Beside, test: Any, wrong: str) -> None:
    with pytest.raises(RulesTestsError) as raised:
        beside.run(test)
    assert wrong in str(raised.value)
    assert "test case" in str(raised.value)
    assert "(line " in str(raised.value)


def test_a_test_of_a_rule_that_is_not_there_is_refused(beside: Beside) -> None:
    with pytest.raises(RulesTestsError, match="expects something of the rule r, which the rules file does not have"):
        beside.run(case(given(), expect=SEND_OF_A), rules=[rule("other")])


def test_a_rule_that_no_test_covers_is_a_warning_of_the_check(beside: Beside) -> None:
    beside.write(case(given(), expect=SEND_OF_A), rules=[rule(), rule("s"), rule("off", enabled=False)])
    (warning,) = check_rules(beside.rules).warnings
    assert warning.sentence == f"No test in {beside.tests} expects anything of the rule s"
    beside.tests.unlink()
    assert check_rules(beside.rules).warnings == ()


def test_a_file_of_tests_that_cannot_be_used_is_a_warning_of_the_check(beside: Beside) -> None:
    beside.write(case(given(), expect=SEND_OF_A))
    beside.tests.write_text("tests: [", encoding="utf-8")
    (warning,) = check_rules(beside.rules).warnings
    assert "not valid YAML for a file of tests" in warning.sentence
