"""What a rule may say, and how the rest is refused: with the rule, the key, what was found and what was expected."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.decisions.conditions import (
    EVERYTHING,
    FieldCondition,
    PriorEventCondition,
    parts_of,
)
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.vocabulary import PAYLOAD, Operand, Operator, SuppressionMode
from tests.decisions.helpers import Condition, any_of, prior, refusal, rule, with_value

SHIPPED = Path(__file__).parents[2] / "data" / "rules.yaml"

TEXT_FIELDS = tuple(field.path for field in PAYLOAD.fields if field.length)
NUMBER_FIELDS = ("properties.amount", "properties.attempt_number")
VALUES = {
    "properties.amount": 9.99,
    "properties.attempt_number": 3,
    "user_traits.marketing_opt_in": True,
    **dict.fromkeys(TEXT_FIELDS, "x"),
}
"""A valid value of each field."""

HOURS = "a number of hours such as 24 or 0.5 (above 0, at most 87840, in whole seconds)"
NUMBER = "a finite number of at most 64 bits"
WHOLE_NUMBER = "a whole number of at most 64 bits"
MODES = any_of(SuppressionMode)
STORABLE = "text of whole characters without NUL"


def field(name: str, operator: str, *value: Any) -> Condition:
    return {"field": name, "operator": operator} | ({"value": value[0]} if value else {})


def said(folder: Path, *rules: Any) -> list[str]:
    """The sentences about rules that are refused."""
    headline, *sentences = refusal(folder, json.dumps({"rules": list(rules)})).split("\n")
    assert headline == " cannot be used; nothing was decided."
    return [sentence.strip().replace(" (line 1)", "") for sentence in sentences]


def accepted(folder: Path, *rules: Any) -> tuple[Rule, ...]:
    path = folder / "rules.yaml"
    path.write_text(json.dumps({"rules": list(rules)}), encoding="utf-8")
    return read_rules(path).rules


def test_the_shipped_file_holds_the_four_rules_of_the_design():
    rules = read_rules(SHIPPED).rules

    opted_in = {"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}
    no_funds = {"field": "properties.failure_reason", "operator": "equals", "value": "INSUFFICIENT_FUNDS"}
    third_attempt = {"field": "properties.attempt_number", "operator": "gte", "value": 3}
    assert [rule.model_dump(mode="json", exclude={"description"}, exclude_unset=True) for rule in rules] == [
        {
            "name": "welcome_email",
            "enabled": True,
            "trigger": {"event_type": "signup_completed"},
            "conditions": {"all": [opted_in]},
            "action": {"type": "send", "template_name": "WELCOME_EMAIL", "delivery_method": "email"},
            "suppression": {"mode": "once_ever"},
        },
        {
            "name": "bank_link_nudge",
            "enabled": True,
            "trigger": {"event_type": "link_bank_success"},
            "conditions": {"all": [{"prior_event": {"event_type": "signup_completed", "hours": 24}}]},
            "action": {"type": "send", "template_name": "BANK_LINK_NUDGE_SMS", "delivery_method": "sms"},
            "suppression": {"mode": "once_ever"},
        },
        {
            "name": "insufficient_funds_email",
            "enabled": True,
            "trigger": {"event_type": "payment_failed"},
            "conditions": {"all": [no_funds]},
            "action": {"type": "send", "template_name": "INSUFFICIENT_FUNDS_EMAIL", "delivery_method": "email"},
            "suppression": {"mode": "once_per_calendar_day"},
        },
        {
            "name": "high_risk_alert",
            "enabled": True,
            "trigger": {"event_type": "payment_failed"},
            "conditions": {"all": [third_attempt]},
            "action": {"type": "alert", "template_name": "HIGH_RISK_ALERT", "delivery_method": "internal"},
            "suppression": {"mode": "none"},
        },
    ]
    assert all(rule.description for rule in rules)


def test_what_a_rule_leaves_out_is_no_condition_no_suppression_and_enabled(tmp_path):
    [found] = accepted(
        tmp_path,
        {
            "name": "r",
            "trigger": {"event_type": "paid"},
            "action": {"type": "send", "template_name": "T", "delivery_method": "email"},
        },
    )

    assert found.enabled
    assert found.description == ""
    assert found.exclusive_group is None
    assert found.conditions == EVERYTHING
    assert found.suppression.mode is SuppressionMode.NONE


def test_a_rule_cannot_be_changed_once_read():
    with pytest.raises(ValueError, match="frozen"):
        read_rules(SHIPPED).rules[0].name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            "bogus",
            "name, description, enabled, exclusive_group, trigger, wait, conditions, action, suppression, "
            "expires_after_hours, exempt_from",
        ),
        ("trigger.bogus", "event_type"),
        ("conditions.bogus", "all"),
        ("action.bogus", "type, template_name, delivery_method"),
        ("suppression.bogus", "mode, hours, per"),
    ],
)
def test_an_unknown_key_is_refused_with_the_keys_that_are_known_there(tmp_path, keys, expected):
    broken = with_value(rule("nudge"), keys, 1)

    assert said(tmp_path, broken) == [f"rule nudge, {keys}: unknown key; expected one of {expected}, found 'bogus'."]


def test_a_misspelt_kind_of_condition_is_refused_with_the_nearest_one(tmp_path):
    told = said(tmp_path, rule("nudge", {"happend": {"event_type": "paid"}}))

    assert told[-1].startswith("rule nudge, conditions.all[0].happend: unknown key; expected one of happened, ")
    assert "did you mean happened?" in told[-1]
    assert "field" not in "".join(told)


@pytest.mark.parametrize(
    ("condition", "place", "expected"),
    [
        (field("properties.amount", "exists") | {"bogus": 1}, "bogus", "field, operator, value"),
        (prior("paid") | {"bogus": 1}, "bogus", "prior_event"),
        (prior("paid") | {"field": "properties.amount"}, "field", "prior_event"),
        (with_value(prior("paid"), "prior_event.bogus", 1), "prior_event.bogus", "event_type, hours"),
    ],
)
def test_an_unknown_key_of_a_condition_is_refused_with_the_keys_of_that_kind(tmp_path, condition, place, expected):
    broken = rule("nudge", prior("signed_up"), condition)

    assert said(tmp_path, broken) == [
        f"rule nudge, conditions.all[1].{place}: unknown key; expected one of {expected}, "
        f"found '{place.rpartition('.')[2]}'."
    ]


@pytest.mark.parametrize("key", [1, 1.5, None, True])
def test_a_key_that_is_not_text_is_refused(tmp_path, key):
    text = json.dumps({"rules": [rule("nudge")]}).replace('"trigger"', f"{json.dumps(key)}: 0, " + '"trigger"')

    assert "expected a key that is text" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "keys", ["name", "trigger", "trigger.event_type", "action", "action.type", "action.template_name"]
)
def test_a_missing_key_is_named(tmp_path, keys):
    parent, _, key = keys.rpartition(".")
    broken = rule("nudge")
    (broken[parent] if parent else broken).pop(key)
    name = "number 1" if keys == "name" else "nudge"

    assert said(tmp_path, broken) == [f"rule {name}, {keys}: the key is required and is missing."]


@pytest.mark.parametrize(
    ("condition", "missing"),
    [
        ({"operator": "exists"}, "field"),
        ({"field": "properties.amount"}, "operator"),
        ({"prior_event": {"hours": 24}}, "prior_event.event_type"),
        ({"prior_event": {"event_type": "paid"}}, "prior_event.hours"),
    ],
)
def test_a_missing_key_of_a_condition_is_named(tmp_path, condition, missing):
    assert said(tmp_path, rule("nudge", condition)) == [
        f"rule nudge, conditions.all[0].{missing}: the key is required and is missing."
    ]


@pytest.mark.parametrize(
    ("keys", "value", "expected", "found"),
    [
        ("description", 5, "text", "5"),
        ("description", None, "text", "nothing"),
        ("enabled", "yes", "true or false", "'yes'"),
        ("enabled", 1, "true or false", "1"),
        ("enabled", None, "true or false", "nothing"),
        ("exclusive_group", ["g"], "text", "['g']"),
        ("exclusive_group", "", "text that is not empty", "''"),
        ("exclusive_group", "g" * 65, "at most 64 characters", "'gggg"),
        ("trigger", "paid", "keys with values (event_type)", "'paid'"),
        ("trigger", None, "keys with values (event_type)", "nothing"),
        ("trigger.event_type", 5, "text", "5"),
        ("trigger.event_type", True, "text", "true"),
        ("trigger.event_type", "", "text that is not empty", "''"),
        ("trigger.event_type", "e" * 65, "at most 64 characters", "'eeee"),
        ("conditions", [], "all or any before a list of conditions", "[]"),
        ("conditions", None, "keys with values", "nothing"),
        ("conditions.all", {"a": 1}, "a list", "{'a': 1}"),
        ("conditions.all", "x", "a list", "'x'"),
        ("conditions.all", None, "a list", "nothing"),
        ("action", "send", "keys with values (type, template_name, delivery_method)", "'send'"),
        ("action.type", "email", "'send' or 'alert'", "'email'"),
        ("action.type", "Send", "'send' or 'alert'", "'Send'"),
        ("action.type", None, "'send' or 'alert'", "nothing"),
        ("action.template_name", 5, "text", "5"),
        ("action.template_name", "", "text that is not empty", "''"),
        ("action.template_name", "t" * 65, "at most 64 characters", "'tttt"),
        ("action.delivery_method", 5, "text", "5"),
        ("action.delivery_method", "", "a lower-case word such as email or in_app", "''"),
        ("action.delivery_method", "Email", "a lower-case word such as email or in_app", "'Email'"),
        ("action.delivery_method", "e mail", "a lower-case word such as email or in_app", "'e mail'"),
        ("action.delivery_method", "email\n", "a lower-case word such as email or in_app", r"'email\n'"),
        ("action.delivery_method", "e" * 33, "at most 32 characters", "'eeee"),
        ("suppression", "once_ever", "keys with values (mode, hours, per)", "'once_ever'"),
        ("suppression", None, "keys with values (mode, hours, per)", "nothing"),
        ("suppression.mode", "once", MODES, "'once'"),
        ("suppression.mode", None, MODES, "nothing"),
        ("suppression.mode", False, MODES, "false"),
    ],
)
def test_a_wrong_type_or_an_unknown_word_is_refused(tmp_path, keys, value, expected, found):
    [sentence] = said(tmp_path, with_value(rule("nudge"), keys, value))

    assert sentence.startswith(f"rule nudge, {keys}: expected {expected}, found {found}")


@pytest.mark.parametrize(
    ("value", "expected", "found"),
    [(None, "text", "nothing"), (7, "text", "7"), ("", "text that is not empty", "''")],
)
def test_a_rule_without_a_usable_name_is_reported_by_its_number(tmp_path, value, expected, found):
    assert said(tmp_path, rule("first"), with_value(rule(), "name", value)) == [
        f"rule number 2, name: expected {expected}, found {found}."
    ]


def test_a_name_of_64_characters_fits_and_one_more_does_not(tmp_path):
    assert accepted(tmp_path, rule("é" * 64))[0].name == "é" * 64
    [sentence] = said(tmp_path, rule("é" * 65))
    assert "expected at most 64 characters" in sentence


@pytest.mark.parametrize("unstorable", ["\ud800", "a\udfffb", "a\0b"])
@pytest.mark.parametrize(
    "keys", ["name", "description", "exclusive_group", "trigger.event_type", "action.template_name"]
)
def test_text_that_no_database_can_hold_is_refused_in_words_that_can_be_printed(tmp_path, keys, unstorable):
    [sentence] = said(tmp_path, with_value(rule("nudge"), keys, unstorable))

    assert f"{keys}: expected {STORABLE}, found {unstorable!r}" in sentence
    assert sentence.isprintable()


@pytest.mark.parametrize(
    ("value", "found"), [("Rule", "'Rule'"), (5, "5"), (None, "nothing"), ([], "[]"), (True, "true")]
)
def test_a_rule_that_is_not_a_mapping_is_reported_by_its_number(tmp_path, value, found):
    assert said(tmp_path, rule("first"), value) == [f"rule number 2: expected keys with values, found {found}."]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("amount", "; did you mean properties.amount?"),
        ("properties", ""),
        ("properties.coupon", ""),
        ("user_traits.Country", "; did you mean user_traits.country?"),
        ("latest_traits.contry", "; did you mean latest_traits.country?"),
        ("latest_traits.amount", ""),
        ("user_id", ""),
    ],
)
def test_an_unknown_field_is_refused_with_the_fields_that_are_known(tmp_path, name, nearest):
    expected = any_of([*PAYLOAD.by_path, *(f"latest_traits.{trait.name}" for trait in PAYLOAD.traits)])

    [sentence] = said(tmp_path, rule("nudge", field(name, "exists")))
    assert sentence.startswith(f"rule nudge, conditions.all[0].field: expected {expected}, found '{name}'")
    assert nearest in sentence


@pytest.mark.parametrize(
    ("name", "nearest"), [("==", ""), ("EQUALS", ""), ("contain", "; did you mean contains?"), ("eq", ""), ("", "")]
)
def test_an_unknown_operator_is_refused_with_the_operators_that_are_known(tmp_path, name, nearest):
    *known, last = (
        each if each.replace("_", " ") == each.words else f"{each.value} ({each.words})" for each in Operator
    )
    assert known[:2] == ["equals (is)", "not_equals (is not)"]
    assert said(tmp_path, rule("nudge", field("properties.amount", name, 1))) == [
        f"rule nudge, conditions.all[0].operator: expected {', '.join(known)} or {last}, found '{name}'{nearest}."
    ]


@pytest.mark.parametrize("name", PAYLOAD.by_path)
@pytest.mark.parametrize("operator", Operator)
def test_each_operator_takes_the_fields_of_its_kinds(tmp_path, name, operator):
    operands: dict[Operand, list[Any]] = {
        Operand.NOTHING: [],
        Operand.LIST: [[VALUES[name]]],
        Operand.VALUE: [VALUES[name]],
    }
    operand = operands[operator.operand]
    condition = field(name, operator, *operand)

    if not operator.takes.suits(PAYLOAD.by_path[name].kind):
        [sentence] = said(tmp_path, rule("nudge", condition))
        held = PAYLOAD.by_path[name].kind.holds
        assert sentence.startswith("rule nudge, conditions.all[0].operator: expected one of equals, not_equals, ")
        assert sentence.endswith(f", exists, not_exists, because {name} holds {held}, found '{operator}'.")
    else:
        [found] = accepted(tmp_path, rule("nudge", condition))
        assert parts_of(found.conditions) == (FieldCondition(**condition),)


@pytest.mark.parametrize(
    "zone", ["", ".", "../../etc/passwd", "/etc/localtime", "\0", "Europe", "localtime", "UTC+1", 5]
)
def test_a_time_zone_that_is_none_or_differs_by_machine_is_refused(tmp_path, zone):
    sentence = refusal(tmp_path, json.dumps({"timezone": zone, "rules": []}))
    assert "key timezone: expected an IANA time zone such as Europe/Paris, found " in sentence


def test_an_order_is_for_numbers_and_a_part_of_the_characters_for_text():
    taken = {
        operator: {name for name, field in PAYLOAD.by_path.items() if operator.takes.suits(field.kind)}
        for operator in Operator
    }
    assert {taken[operator] == set(NUMBER_FIELDS) for operator in (Operator.GT, Operator.LTE)} == {True}
    assert {taken[operator] == set(TEXT_FIELDS) for operator in (Operator.CONTAINS, Operator.ENDS_WITH)} == {True}
    assert taken[Operator.NOT_IN] == set(PAYLOAD.by_path)


@pytest.mark.parametrize(
    ("name", "value", "expected", "found"),
    [
        *(
            (name, value, "text in quotes", shown)
            for name in TEXT_FIELDS
            for value, shown in [(5, "5"), (True, "true")]
        ),
        *((name, None, "text", "nothing") for name in TEXT_FIELDS),
        ("properties.amount", "9.99", NUMBER, "'9.99'"),
        ("properties.amount", True, NUMBER, "true"),
        ("properties.amount", None, NUMBER, "nothing"),
        ("properties.amount", 2**63, NUMBER, "9223372036854775808"),
        ("properties.amount", 10**400, NUMBER, "1000000"),
        ("properties.attempt_number", "3", WHOLE_NUMBER, "'3'"),
        ("properties.attempt_number", 2.5, WHOLE_NUMBER, "2.5"),
        ("properties.attempt_number", False, WHOLE_NUMBER, "false"),
        ("properties.attempt_number", -(2**63) - 1, WHOLE_NUMBER, "-9223372036854775809"),
        ("user_traits.marketing_opt_in", "true", "true or false", "'true'"),
        ("user_traits.marketing_opt_in", 1, "true or false", "1"),
        ("user_traits.marketing_opt_in", None, "true or false", "nothing"),
    ],
)
def test_a_value_of_the_wrong_type_for_its_field_is_refused(tmp_path, name, value, expected, found):
    [alone] = said(tmp_path, rule("nudge", field(name, "equals", value)))
    [in_list] = said(tmp_path, rule("nudge", field(name, "in", [VALUES[name], value])))

    told = f"expected {expected} to compare {name} with, found {found}"
    assert alone.startswith(f"rule nudge, conditions.all[0].value: {told}")
    assert in_list.startswith(f"rule nudge, conditions.all[0].value[1]: {told}")


def test_a_list_of_values_beside_an_operator_for_one_is_refused(tmp_path):
    assert said(tmp_path, rule("nudge", field("user_traits.country", "equals", ["FR"]))) == [
        "rule nudge, conditions.all[0].value: expected one value with the operator equals (in and not_in take a list), "
        "found ['FR']."
    ]


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize("name", NUMBER_FIELDS)
def test_a_value_that_is_not_a_finite_number_is_refused(tmp_path, name, written):
    text = json.dumps({"rules": [rule("nudge", field(name, "equals", 12345))]}).replace("12345", written)

    assert f"to compare {name} with, found {written.replace('.', '')}" in refusal(tmp_path, text)


@pytest.mark.parametrize("value", ["\ud800", "a\0b", ["ok", "\udc00"]])
def test_a_value_that_no_database_can_hold_is_refused(tmp_path, value):
    operator = "in" if isinstance(value, list) else "equals"
    place = "value[1]" if isinstance(value, list) else "value"

    [sentence] = said(tmp_path, rule("nudge", field("user_traits.email", operator, value)))
    assert sentence.startswith(f"rule nudge, conditions.all[0].{place}: expected {STORABLE}, found ")
    assert sentence.isprintable()


@pytest.mark.parametrize(("value", "found"), [("x", "'x'"), ([], "[]"), ({"a": 1}, "{'a': 1}"), (None, "nothing")])
def test_the_operator_in_without_a_list_of_values_is_refused(tmp_path, value, found):
    assert said(tmp_path, rule("nudge", field("user_traits.country", "in", value))) == [
        f"rule nudge, conditions.all[0].value: expected a list of 1 to 1000 values, found {found}."
    ]


@pytest.mark.parametrize("operator", ["exists", "not_exists"])
@pytest.mark.parametrize(("value", "found"), [("x", "'x'"), (None, "nothing"), (True, "true")])
def test_a_value_beside_a_question_of_presence_is_refused(tmp_path, operator, value, found):
    assert said(tmp_path, rule("nudge", field("user_traits.country", operator, value))) == [
        f"rule nudge, conditions.all[0].value: expected no value with the operator {operator}, found {found}."
    ]


@pytest.mark.parametrize("operator", ["equals", "not_equals", "in", "gt"])
def test_a_comparison_without_a_value_is_refused(tmp_path, operator):
    assert said(tmp_path, rule("nudge", field("properties.amount", operator))) == [
        f"rule nudge, conditions.all[0].value: expected a value with the operator {operator}, found nothing."
    ]


@pytest.mark.parametrize(
    ("condition", "expected", "found"),
    [
        ("x", "keys with values", "'x'"),
        (None, "keys with values", "nothing"),
        (["field", "exists"], "all or any before a list of conditions", "['field', 'exists']"),
    ],
)
def test_a_condition_that_is_not_a_mapping_is_refused(tmp_path, condition, expected, found):
    assert said(tmp_path, rule("nudge", condition)) == [
        f"rule nudge, conditions.all[0]: expected {expected}, found {found}."
    ]


@pytest.mark.parametrize(
    ("hours", "found"),
    [
        (0, "0"),
        (-24, "-24"),
        ("24", "'24'"),
        ("a day", "'a day'"),
        (True, "true"),
        (None, "nothing"),
        ([24], "[24]"),
        (1e9, "1000000000.0"),
        (87840.5, "87840.5"),
        (10**400, "10000"),
        (0.0001, "0.0001"),
        (1 / 3, "0.3333333333333333"),
    ],
)
def test_hours_that_are_no_window_of_whole_seconds_are_refused(tmp_path, hours, found):
    [sentence] = said(tmp_path, rule("nudge", prior("paid", hours)))

    assert sentence.startswith(f"rule nudge, conditions.all[0].prior_event.hours: expected {HOURS}, found {found}")


@pytest.mark.parametrize("written", [".nan", ".inf"])
def test_hours_that_are_no_number_are_refused(tmp_path, written):
    text = json.dumps({"rules": [rule("nudge", prior("paid", 12345))]}).replace("12345", written)

    assert f"prior_event.hours: expected {HOURS}, found {written[1:]}" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("hours", "seconds"),
    [(24, 86400), (0.5, 1800), (1.1, 3960), (0.7, 2520), (0.01, 36), (4.35, 15660), (1.005, 3618), (87840, 316224000)],
)
def test_hours_with_decimals_that_make_whole_seconds_are_taken_exactly(tmp_path, hours, seconds):
    [found] = accepted(tmp_path, rule("nudge", prior("paid", hours)))

    [condition] = parts_of(found.conditions)
    assert isinstance(condition, PriorEventCondition)
    assert seconds_of(condition.prior_event.hours) == seconds


@pytest.mark.parametrize("mode", ["once_ever", "once_per_calendar_day"])
def test_an_alert_with_a_suppression_is_refused(tmp_path, mode):
    assert said(tmp_path, rule("nudge", channel="internal", mode=mode)) == [
        f"rule nudge, suppression.mode: expected none, because an alert is never suppressed, found '{mode}'."
    ]


def test_an_alert_on_a_channel_to_users_is_refused(tmp_path):
    broken = with_value(rule("nudge", channel="internal"), "action.delivery_method", "email")

    assert said(tmp_path, broken) == [
        "rule nudge, action.delivery_method: expected internal, because the type is alert, found 'email'."
    ]


def test_a_send_on_the_channel_of_alerts_is_refused(tmp_path):
    broken = with_value(rule("nudge"), "action.delivery_method", "internal")

    assert said(tmp_path, broken) == [
        "rule nudge, action.delivery_method: expected a channel such as email (internal is only for alerts), because "
        "the type is send, found 'internal'."
    ]


def test_every_wrong_place_is_reported_at_once(tmp_path):
    broken = with_value(rule("one", field("amount", "exists"), prior("paid", 0)), "enabled", "no")
    found = said(tmp_path, broken, with_value(rule("two"), "bogus", 1))

    assert [sentence.split(":")[0] for sentence in found] == [
        "rule one, enabled",
        "rule one, conditions.all[0].field",
        "rule one, conditions.all[1].prior_event.hours",
        "rule two, bogus",
    ]


def test_names_that_stand_more_than_once_are_reported_once_each(tmp_path):
    assert said(tmp_path, rule("a"), rule("b"), rule("a"), rule("a"), rule("b"), rule("c")) == [
        "rule a, name: expected a name that no other rule has, found 'a'.",
        "rule b, name: expected a name that no other rule has, found 'b'.",
    ]


def test_names_that_differ_in_case_are_different_names(tmp_path):
    assert [found.name for found in accepted(tmp_path, rule("a"), rule("A"))] == ["a", "A"]


def test_a_name_that_cannot_be_printed_on_a_line_is_reported_escaped(tmp_path):
    assert said(tmp_path, with_value(rule("two\nlines"), "enabled", 1)) == [
        r"rule 'two\nlines', enabled: expected true or false, found 1."
    ]


def test_a_long_value_is_reported_by_its_beginning(tmp_path):
    [sentence] = said(tmp_path, with_value(rule("nudge"), "enabled", "x" * 100_000))

    assert sentence.endswith("xxx....")
    assert len(sentence) < 200


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([rule(str(number)) for number in range(301)], "key rules: expected at most 300 entries"),
        ([rule("r", *[prior("paid")] * 51)], "rule r, conditions.all: expected at most 50 entries"),
        (
            [rule("r", field("properties.amount", "in", list(range(1001))))],
            "rule r, conditions.all[0].value: expected a list of 1 to 1000 values",
        ),
    ],
)
def test_more_than_one_statement_can_hold_is_refused(tmp_path, rules, told):
    [sentence] = said(tmp_path, *rules)

    assert sentence.startswith(told)
