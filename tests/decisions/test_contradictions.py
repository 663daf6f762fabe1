"""Whether anything can fulfil the conditions of a rule."""

from typing import Any

import pytest
from hypothesis import given

from src.marketing_messaging_service.decisions.contradictions import can_match
from src.marketing_messaging_service.decisions.rules import Rule
from tests.decisions.helpers import rule
from tests.language_strategies import language_documents


def compare(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "operator": operator} | ({} if value is None else {"value": value})


def attempts(operator: str, value: Any = None) -> dict[str, Any]:
    return compare("properties.attempt_number", operator, value)


def country(operator: str, value: Any = None) -> dict[str, Any]:
    return compare("user_traits.country", operator, value)


def opted_in(value: bool) -> dict[str, Any]:
    return compare("user_traits.marketing_opt_in", "equals", value)


def paid(**counts: int) -> dict[str, Any]:
    return {"happened": {"event_type": "paid", "within_hours": 24, **counts}}


def of(condition: Any) -> Any:
    return Rule.model_validate({**rule("r"), "conditions": condition}).conditions


@pytest.mark.parametrize(
    "condition",
    [
        {"all": [attempts("gt", 2), attempts("lt", 3)]},
        {"all": [attempts("gte", 3), {"not": attempts("gt", 2)}]},
        {"all": [attempts("equals", 1), {"any": [attempts("equals", 2), attempts("not_exists")]}]},
        {"all": [country("equals", "DE"), country("equals", "FR")]},
        {"all": [country("in", ["DE", "AT"]), country("starts_with", "F")]},
        {"all": [country("not_exists"), country("contains", "D")]},
        {"all": [country("exists"), country("not_exists")]},
        {"all": [{"not": country("exists")}, country("not_equals", "DE")]},
        {"all": [opted_in(True), opted_in(False)]},
        {"all": [compare("properties.amount", "gt", 1.5), compare("properties.amount", "lte", 1.5)]},
        {"all": [paid(at_least=2), paid(at_most=1)]},
        {"all": [paid(at_least=1), {"not": paid(at_least=1)}]},
        {"not": {"all": []}},
    ],
)
def test_what_nothing_can_fulfil_is_found(condition: Any) -> None:
    assert not can_match(of(condition))


@pytest.mark.parametrize(
    "condition",
    [
        {},
        attempts("gt", 2),
        {"all": [attempts("gt", 2), attempts("lt", 4)]},
        {"all": [attempts("not_equals", 2), attempts("gte", 2)]},
        {"any": [attempts("lt", 2), attempts("gt", 4)]},
        {"not": {"all": [attempts("gt", 2), attempts("lt", 3)]}},
        # One is of the event, the other the latest of the user.
        {"all": [country("equals", "DE"), compare("latest_traits.country", "equals", "FR")]},
        {"all": [country("starts_with", "D"), country("ends_with", "E"), country("not_equals", "DE")]},
        {"all": [{"not": country("equals", "DE")}, country("not_exists")]},
        {"all": [compare("properties.amount", "gt", 1.5), compare("properties.amount", "lt", 1.5000001)]},
        {"all": [paid(at_least=2), paid(at_most=2)]},
        {"all": [paid(at_least=1), {"happened": {"event_type": "paid", "within_hours": 25, "at_most": 0}}]},
    ],
)
def test_what_something_can_fulfil_is_let_be(condition: Any) -> None:
    assert can_match(of(condition))


def test_of_more_ways_than_can_be_looked_at_one_is_taken_to_be_possible() -> None:
    either = {"any": [attempts("equals", 1), attempts("equals", 2)]}
    assert can_match(of({"all": [either] * 12 + [attempts("equals", 3)]}))


@given(language_documents())
def test_it_has_an_answer_for_every_rule_and_its_contrary(document: dict[str, Any]) -> None:
    for each in document["rules"]:
        contrary = {**each, "conditions": {"not": each.get("conditions", {"all": []})}}
        assert any(can_match(Rule.model_validate(one).conditions) for one in (each, contrary))
