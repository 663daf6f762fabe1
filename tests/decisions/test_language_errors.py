"""What the words of the language refuse: each error names the rule, block or limit, the key, and what was expected."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.vocabulary import Period
from tests.decisions.helpers import any_of, refusal
from tests.test_rule_language import Raw, field, happened, rule

AMOUNT = field("properties.amount", "exists")
LATEST = field("latest_traits.country", "exists")
SIGN = {"event_type": "no"}
HOURS = "a number of hours such as 24 or 0.5 (above 0, at most 87840, in whole seconds)"


def said(folder: Path, document: Raw) -> list[str]:
    """The sentences about a file that is refused."""
    headline, *sentences = refusal(folder, json.dumps({"rules": [], **document})).split("\n")
    assert headline == " cannot be used; nothing was decided."
    return [sentence.strip().replace("? (line 1).", "?").replace(" (line 1)", "") for sentence in sentences]


def alert(**keys: Any) -> Raw:
    return rule(channel="internal", **keys)


def nested(depth: int) -> Raw:
    """A comparison within so many others."""
    condition = AMOUNT
    for _ in range(depth):
        condition = {"not": condition}
    return condition


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            rule(wait=1, conditions=happened("b", since_trigger=True, within_hours=1)),
            "conditions.happened.since_trigger: expected either within_hours or since_trigger, not both, found true.",
        ),
        (
            rule(conditions={"all": [happened("b", since_trigger=True)]}),
            "conditions.all[0].happened.since_trigger: expected since_trigger only in a rule with wait: without wait "
            "there is no time in between, found true.",
        ),
        (
            rule(conditions=happened("b", at_least=3, at_most=2)),
            "conditions.happened.at_most: expected 3 or more, because at_least is 3, found 2.",
        ),
        (
            rule(conditions=happened("b", at_least=0)),
            "conditions.happened.at_least: expected 1 or more, or at_most as well: 0 times or more is always true, "
            "found 0.",
        ),
        (
            rule(conditions=happened("b", at_least=1.5)),
            "conditions.happened.at_least: expected a whole number from 0 to 1000000, found 1.5.",
        ),
        (
            rule(conditions=happened("b", at_most=-1)),
            "conditions.happened.at_most: expected a whole number from 0 to 1000000, found -1.",
        ),
        (
            rule(conditions=happened("b", within_hours=0)),
            f"conditions.happened.within_hours: expected {HOURS}, found 0.",
        ),
        (
            rule(conditions=happened("b", witin_hours=1)),
            "conditions.happened.witin_hours: unknown key; expected one of event_type, at_least, at_most, "
            "within_hours, since_trigger, where, same, found 'witin_hours'; did you mean within_hours?",
        ),
        (rule(conditions={"any": []}), "conditions.any: expected a list that is not empty, found []."),
        (
            rule(conditions={"not": [AMOUNT]}),
            f"conditions.not: expected all or any before a list of conditions, found {[AMOUNT]}.",
        ),
        (
            rule(conditions={"all": [], "any": [AMOUNT]}),
            "conditions.any: unknown key; expected one of all, found 'any'.",
        ),
        (
            rule(conditions={"not": AMOUNT, "field": "properties.amount"}),
            "conditions.field: unknown key; expected one of not, found 'field'.",
        ),
        (
            rule(conditions={"prior_event": {"event_type": "b", "hours": 1, "at_least": 2}}),
            "conditions.prior_event.at_least: unknown key; expected one of event_type, hours, found 'at_least'.",
        ),
        (
            rule(trigger={"event_type": "a", "where": [AMOUNT]}),
            "trigger.where: unknown key; expected one of event_type, found 'where'.",
        ),
        (rule(wait=0), f"wait.hours: expected {HOURS}, found 0."),
        (rule(wait=1 / 3), f"wait.hours: expected {HOURS}, found 0.3333333333333333."),
        (
            rule(wait=1, exclusive_group="g"),
            "exclusive_group: expected no exclusive_group together with wait, found 'g'.",
        ),
        (
            rule(suppression={"mode": "once_per_hours"}),
            "suppression.hours: expected hours with the mode once_per_hours, found nothing.",
        ),
        (
            rule(suppression={"mode": "once_ever", "hours": 1}),
            "suppression.hours: expected no hours with the mode once_ever, found 1.",
        ),
        (
            rule(suppression={"mode": "none", "per": ["properties.amount"]}),
            "suppression.per: expected no fields with the mode none, which never refuses a message, found "
            "['properties.amount'].",
        ),
        (
            rule(suppression={"mode": "once_ever", "per": []}),
            "suppression.per: expected a list that is not empty, found [].",
        ),
        (rule(expires_after_hours=0), f"expires_after_hours: expected {HOURS}, found 0."),
        (
            rule(exempt_from=["limit"]),
            "exempt_from[0]: expected 'blocks', 'holdout' or 'limits', found 'limit'; did you mean limits?",
        ),
        (
            alert(expires_after_hours=1),
            "expires_after_hours: expected no such key, because an alert never expires, found 1.",
        ),
        (
            alert(exempt_from=["limits"]),
            "exempt_from: expected no such key, because nothing can block an alert, found ['limits'].",
        ),
        (
            alert(suppression={"mode": "once_ever"}),
            "suppression.mode: expected none, because an alert is never suppressed, found 'once_ever'.",
        ),
    ],
)
def test_what_a_rule_cannot_say_is_refused(tmp_path: Path, written: Raw, told: str) -> None:
    assert said(tmp_path, {"rules": [written]}) == [f"rule r, {told}"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, ": expected either from (with until, or without an end) or while, found {'name': 'b'}."),
        (
            {"from": SIGN, "while": LATEST},
            ": expected either from (with until, or without an end) or while, found {'na",
        ),
        ({"while": LATEST, "until": SIGN}, ", until: expected no until without from, found {'event_type': 'no'}."),
        (
            {"while": {"all": [field("user_traits.country", "exists")]}},
            ", while.all[0].field: expected one of latest_traits in a block, found 'user_traits.country'.",
        ),
        (
            {"while": {"not": happened("b")}},
            ", while.not: expected a condition on latest_traits alone, found {'happened': {'event_type': 'b'}}.",
        ),
        (
            {"while": {"prior_event": {"event_type": "b", "hours": 1}}},
            ", while: expected a condition on latest_traits alone, found {'prior_event': ",
        ),
        ({"from": SIGN, "channels": []}, ", channels: expected a list that is not empty, found []."),
        ({"from": SIGN, "templates": ["T"]}, ", templates: unknown key; expected one of name, channels, from, until, "),
        ({"from": SIGN | {"hours": 1}}, ", from.hours: unknown key; expected one of event_type, where, found 'hours'."),
    ],
)
def test_what_a_block_cannot_say_is_refused(tmp_path: Path, written: Raw, told: str) -> None:
    (sentence,) = said(tmp_path, {"blocks": [{"name": "b", **written}]})
    assert sentence.startswith(f"block b{told}")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"at_most": 1}, "limit l: expected either hours or calendar, found "),
        ({"at_most": 1, "hours": 1, "calendar": "day"}, "limit l: expected either hours or calendar, found "),
        ({"at_most": 0, "hours": 1}, "limit l, at_most: expected a whole number from 1 to 1000000, found 0."),
        ({"at_most": True, "hours": 1}, "limit l, at_most: expected a whole number from 1 to 1000000, found true."),
        ({"hours": 1}, "limit l, at_most: the key is required and is missing."),
        ({"at_most": 1, "calendar": "year"}, f"limit l, calendar: expected {any_of(Period)}, found 'year'"),
        ({"at_most": 1, "hours": 0}, f"limit l, hours: expected {HOURS}, found 0."),
        (
            {"at_most": 1, "hours": 1, "templates": []},
            "limit l, templates: expected a list that is not empty, found [].",
        ),
    ],
)
def test_what_a_limit_cannot_say_is_refused(tmp_path: Path, written: Raw, told: str) -> None:
    (sentence,) = said(tmp_path, {"limits": [{"name": "l", **written}]})
    assert sentence.startswith(told)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"percent": 5, "salt": 2026}, "salt: expected text, found 2026."),
        ({"percent": 5}, "salt: the key is required and is missing."),
        ({"salt": "s"}, "percent: the key is required and is missing."),
        *(
            (
                {"percent": percent, "salt": "s"},
                f"percent: expected a number from 0 to 100 with at most two decimals, found {found}.",
            )
            for percent, found in ((5.005, "5.005"), (100.01, "100.01"), (-1, "-1"), ("5", "'5'"), (True, "true"))
        ),
        ({"percent": 5, "salt": "s", "seed": 1}, "seed: unknown key; expected one of percent, salt, found 'seed'."),
    ],
)
def test_what_a_holdout_cannot_be_is_refused(tmp_path: Path, written: Raw, told: str) -> None:
    assert said(tmp_path, {"holdout": written}) == [f"key holdout.{told}"]


def test_blocks_and_limits_have_names_of_their_own(tmp_path: Path) -> None:
    block, limit = {"name": "x", "from": SIGN}, {"name": "x", "at_most": 1, "hours": 1}
    parse_rules(json.dumps({"blocks": [block], "limits": [limit], "rules": [rule("x")]}), "x.yaml")
    assert said(tmp_path, {"blocks": [block, block], "limits": [limit, limit]}) == [
        "block x, name: expected a name that no other block has, found 'x'.",
        "limit x, name: expected a name that no other limit has, found 'x'.",
    ]


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_waiting_for_the_data_is_true_or_false(tmp_path: Path, value: Any) -> None:
    (sentence,) = said(tmp_path, {"wait_for_data": value})
    assert sentence.startswith("key wait_for_data: expected true or false, found ")


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("conditions.happened.where[0].field", {"conditions": happened("b", where=[LATEST])}),
        ("conditions.happened.same[0]", {"conditions": happened("b", same=["latest_traits.country"])}),
        ("suppression.per[0]", {"suppression": {"mode": "once_ever", "per": ["latest_traits.country"]}}),
    ],
)
def test_what_is_asked_of_one_event_is_not_what_is_known_of_its_user(tmp_path: Path, path: str, where: Raw) -> None:
    (sentence,) = said(tmp_path, {"rules": [rule(**where)]})
    assert sentence.startswith(f"rule r, {path}: expected 'properties.amount', ")
    assert sentence.endswith("found 'latest_traits.country'; did you mean user_traits.country?")


def test_where_is_a_list_of_comparisons(tmp_path: Path) -> None:
    negated = {"not": AMOUNT}
    known = "unknown key; expected one of field, operator, value, found 'not'."
    for place, document in (
        ("rule r, conditions.happened", {"rules": [rule(conditions=happened("b", where=[negated]))]}),
        ("block b, from", {"blocks": [{"name": "b", "from": SIGN | {"where": [negated]}}]}),
    ):
        assert said(tmp_path, document) == [
            f"{place}.where[0].field: the key is required and is missing.",
            f"{place}.where[0].operator: the key is required and is missing.",
            f"{place}.where[0].not: {known}",
        ]


def test_conditions_are_nested_ten_deep_and_no_deeper(tmp_path: Path) -> None:
    parse_rules(json.dumps({"rules": [rule(conditions=nested(10))]}), "x.yaml")
    (sentence,) = said(tmp_path, {"rules": [rule(conditions=nested(11))]})
    assert sentence.startswith(f"rule r, conditions{'.not' * 11}: expected conditions nested at most 10 deep, found ")


def test_a_rule_has_fifty_comparisons_those_with_other_events_among_them_and_no_more(tmp_path: Path) -> None:
    def with_comparisons(count: int) -> Raw:
        return rule(conditions={"all": [happened("b", where=[AMOUNT] * 25), {"any": [AMOUNT] * (count - 25)}]})

    parse_rules(json.dumps({"rules": [with_comparisons(50)]}), "x.yaml")
    (sentence,) = said(tmp_path, {"rules": [with_comparisons(51)]})
    assert sentence.startswith("rule r, conditions: expected at most 50 comparisons in a rule, not 51, found ")


@pytest.mark.parametrize(
    "written",
    [
        rule(conditions=happened("b", at_least=0, at_most=0)),
        rule(conditions=happened("b", at_least=2, at_most=2)),
        rule(conditions=happened("b", since_trigger=False, within_hours=1)),
        rule(conditions={"all": []}),
        rule(conditions={}),
        rule(suppression={"mode": "none"}),
        alert(suppression={"mode": "none"}),
        alert(wait=1),
        rule(exempt_from=[]),
    ],
)
def test_what_is_next_to_an_error_is_none(written: Raw) -> None:
    (read,) = parse_rules(json.dumps({"rules": [written]}), "x.yaml").rules
    assert read.name == "r"
