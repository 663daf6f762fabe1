"""What a rules file says, in sentences."""

import json
from typing import Any

from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.explaining.rules_words import rules_in_words
from tests.decisions.helpers import rule


def said(*rules: Any, **others: Any) -> list[str]:
    return list(rules_in_words(parse_rules(json.dumps({"rules": list(rules), **others}), "rules.yaml").whole))


def test_a_rule_is_one_sentence() -> None:
    amount = {"field": "properties.amount", "operator": "gte", "value": 20}
    assert said(rule("r", amount, mode="once_ever")) == [
        "r: On each paid, if properties.amount is at least 20, send T by email, once in a lifetime."
    ]
    assert said(rule("r", channel="internal")) == ["r: On each paid, alert our own people with T."]


def test_it_names_the_wait_the_scope_of_the_once_and_what_else_stands_there() -> None:
    once = {"mode": "once_per_hours", "hours": 12, "per": ["properties.order_id"]}
    more: dict[str, Any] = {
        "wait": {"hours": 0.5},
        "expires_after_hours": 2,
        "exempt_from": ["limits"],
        "enabled": False,
    }
    off = {**rule("r"), "suppression": once, **more, "enabled": False}
    assert said(off) == [
        "r: Off. 0.5 h after each paid, send T by email, once in 12 h for each properties.order_id. "
        "At most 2 h late. Exempt from limits."
    ]
    assert said(rule("r", exclusive_group="g")) == [
        "r: On each paid, send T by email. In the group g, only the first rule that matches decides."
    ]


def test_blocks_limits_and_the_holdout_are_a_sentence_each() -> None:
    opted_out = {"field": "latest_traits.marketing_opt_in", "operator": "equals", "value": False}
    spam = {"field": "properties.failure_reason", "operator": "equals", "value": "spam"}
    _, *others = said(
        rule(),
        blocks=[
            {"name": "gone", "from": {"event_type": "left", "where": [spam]}, "channels": ["email", "sms"]},
            {"name": "away", "from": {"event_type": "left"}, "until": {"event_type": "back"}},
            {"name": "no", "while": opted_out},
        ],
        limits=[
            {"name": "one", "at_most": 1, "hours": 168, "templates": ["T"]},
            {"name": "few", "at_most": 2, "calendar": "week", "channels": ["email"]},
        ],
        holdout={"percent": 2.5, "salt": "x"},
    )
    assert others == [
        "gone: A user gets no message by email or sms from the event left with properties.failure_reason is spam on.",
        "away: A user gets no message from the event left until the event back.",
        "no: A user gets no message while latest_traits.marketing_opt_in is false.",
        "one: A user gets at most 1 message of T in any 168 h.",
        "few: A user gets at most 2 messages by email per calendar week.",
        "holdout: 2.5 % of the users, always the same ones, get no messages.",
    ]
