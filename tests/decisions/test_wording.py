"""What a condition asks for, in words."""

import json
from typing import Any

import pytest

from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.decisions.wording import condition_text
from tests.test_rule_language import Raw, field, happened, rule

AMOUNT, ORDER = "properties.amount", "properties.order_id"
LARGE, FRENCH = field(AMOUNT, "gte", 20), field("latest_traits.country", "in", ["FR", "BE"])


def said(condition: Raw) -> str:
    (read,) = parse_rules(json.dumps({"rules": [rule(wait=2, conditions=condition)]}), "rules.yaml").rules
    return condition_text(read)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "at least 1 b"),
        ({"at_least": 3}, "at least 3 b"),
        ({"at_most": 0}, "no b"),
        ({"at_most": 2}, "at most 2 b"),
        ({"at_least": 0, "at_most": 2}, "at most 2 b"),
        ({"at_least": 1, "at_most": 2}, "1 to 2 b"),
        ({"at_least": 2, "at_most": 2}, "exactly 2 b"),
    ],
)
@pytest.mark.parametrize(
    ("window", "when"),
    [({}, "so far"), ({"within_hours": 0.5}, "in the 0.5 h before"), ({"since_trigger": True}, "since then")],
)
def test_what_happened_is_counted_and_placed(counts: Raw, words: str, window: Raw, when: str) -> None:
    assert said(happened("b", **counts, **window)) == f"{words} {when}"


def test_what_happened_is_reported_with_what_was_asked_of_it() -> None:
    assert said(happened("b", where=[LARGE, field(ORDER, "exists")], same=[ORDER, "user_traits.country"])) == (
        "at least 1 b so far with properties.amount is at least 20 and properties.order_id is there and the same "
        "properties.order_id and user_traits.country"
    )
    assert said({"prior_event": {"event_type": "b", "hours": 24}}) == "a b in the 24 h before"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"all": [LARGE]}, "properties.amount is at least 20"),
        ({"all": [LARGE, FRENCH]}, "properties.amount is at least 20 and latest_traits.country is one of FR, BE"),
        (
            {"all": [LARGE, {"any": [FRENCH, {"not": LARGE}]}]},
            "properties.amount is at least 20 and (latest_traits.country is one of FR, BE or not (properties.amount is "
            "at least 20))",
        ),
        (
            {"any": [{"all": [LARGE, FRENCH]}, FRENCH]},
            "(properties.amount is at least 20 and latest_traits.country is one of FR, BE) or latest_traits.country is "
            "one of FR, BE",
        ),
        (
            {"not": {"any": [LARGE, LARGE]}},
            "not (properties.amount is at least 20 or properties.amount is at least 20)",
        ),
        ({"all": []}, ""),
        ({}, ""),
        ({"not": {"all": []}}, "not (anything)"),
        ({"not": happened("b", since_trigger=True)}, "no b since then"),
        ({"not": happened("b", at_least=2)}, "not (at least 2 b so far)"),
        ({"any": [LARGE, {"all": []}]}, "properties.amount is at least 20 or anything"),
    ],
)
def test_what_is_nested_is_put_in_brackets(condition: Raw, words: str) -> None:
    assert said(condition) == words


@pytest.mark.parametrize(
    ("operator", "value", "words"),
    [
        ("equals", "x y", "is x y"),
        ("equals", "", "is ''"),
        ("ends_with", " x", "ends with ' x'"),
        ("in", ["a", "", " "], "is one of a, '', ' '"),
    ],
)
def test_text_that_could_not_be_seen_is_in_quotes(operator: str, value: Any, words: str) -> None:
    assert said(field(ORDER, operator, value)) == f"properties.order_id {words}"


def test_truth_is_written_as_in_the_file() -> None:
    assert said(field("user_traits.marketing_opt_in", "equals", False)) == "user_traits.marketing_opt_in is false"
