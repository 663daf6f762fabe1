"""What is odd about a rules file by itself."""

import json
from typing import Any

from src.marketing_messaging_service.decisions.odd_rules import odd_rules
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from tests.decisions.helpers import prior, rule

LIMIT = {"name": "one", "at_most": 1, "hours": 1}


def odd(*rules: Any, **others: Any) -> list[str]:
    whole = parse_rules(json.dumps({"rules": list(rules), **others}), "rules.yaml").whole
    return [found.sentence for found in odd_rules(whole)]


def test_a_file_without_anything_odd_is_passed_over_in_silence():
    assert odd(rule("a"), rule("b", prior("paid")), limits=[LIMIT]) == []


def test_blanks_at_an_end_and_curly_quotes_are_named_where_they_stand():
    compared = {"field": "user_traits.country", "operator": "in", "value": ["FR", "\u201cDE\u201d"]}
    assert odd(rule("r", compared, on="paid ")) == [
        "The rule r has blanks at the start or end of trigger.event_type, 'paid '. Remove them if not meant.",
        "The rule r has curly quotes in a value to compare user_traits.country with, '\u201cDE\u201d'. "
        "Did you mean straight ones?",
    ]
    assert odd(rule("r", on="paid ", enabled=False)) == []


def test_texts_of_blocks_and_limits_are_looked_at_too():
    where = [{"field": "properties.failure_reason", "operator": "equals", "value": "\u2019x"}]
    blocks = [{"name": "b", "from": {"event_type": " no", "where": where}}]
    found = odd(rule("r"), blocks=blocks, limits=[LIMIT, {**LIMIT, "name": "t", "templates": ["T", "T "]}])
    assert [sentence.split(",")[0] for sentence in found] == [
        "The block b has blanks at the start or end of an event_type",
        "The block b has curly quotes in a value to compare properties.failure_reason with",
        "The limit t has blanks at the start or end of its templates",
    ]


def test_a_rule_that_another_one_of_its_group_always_hides_is_named():
    [sentence] = odd(rule("all", exclusive_group="g"), rule("some", prior("paid"), exclusive_group="g"))
    assert sentence.startswith("The rule some never decides: all, which comes before it in the group g")
    assert odd(rule("some", prior("paid"), exclusive_group="g"), rule("all", exclusive_group="g")) == []
    assert odd(rule("all", exclusive_group="g", on="a"), rule("some", prior("paid"), exclusive_group="g", on="b")) == []


def test_a_limit_that_counts_what_no_rule_sends_is_named():
    [sentence] = odd(rule("r"), limits=[LIMIT | {"channels": ["pigeon"]}])
    assert sentence.startswith("The limit one can never be reached")
    [sentence] = odd({**rule("r"), "exempt_from": ["limits"]}, limits=[LIMIT])
    assert sentence.startswith("The limit one can never be reached")


def failed(**counts: int) -> dict[str, Any]:
    return {"happened": {"event_type": "payment_failed", **counts}}


def test_a_rule_whose_conditions_contradict_each_other_is_named():
    more, less = ({"field": "properties.amount", "operator": way, "value": 5} for way in ("gt", "lt"))
    (sentence,) = odd(rule("r", more, less))
    assert sentence.startswith("The rule r can never match: its conditions contradict each other")


def test_a_count_that_every_event_past_it_fulfils_is_named_where_no_once_stands_behind_it():
    (sentence,) = odd(rule("r", failed(at_least=3), on="payment_failed"))
    assert sentence == (
        "The rule r decides on every payment_failed from number 4 on, and nothing limits it to one. "
        "Set at_most to 3 too, or give it a suppression."
    )
    assert odd(rule("r", failed(at_least=3, at_most=3), on="payment_failed")) == []
    assert odd(rule("r", failed(at_least=3), on="payment_failed", mode="once_per_calendar_day")) == []
    assert odd(rule("r", failed(at_least=3), on="signed_up")) == []
