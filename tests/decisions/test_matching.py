"""Which events a rule matches."""

from typing import Any

import pytest

from tests.decisions.helpers import Condition, column, decisions, event, prior, rule, run, sent

TRICK = "x'); DROP TABLE events; --"

Table = list[tuple[str, Any, set[str]]]
"""Operators, what they compare with (None for nothing), and the events that match, named by their value."""

WORDS = {"BR": "BR", "br": "br", "DE": "DE", "051": "051", "O'B": "O'B", "' OR 1=1": "' OR 1=1"}
OPT_INS = {"yes": True, "no": False}

LACKING: dict[str, dict[str, Any]] = {
    "null": {
        "properties": {"amount": None, "attempt_number": None, "failure_reason": None},
        "user_traits": {"email": None, "country": None, "marketing_opt_in": None, "risk_segment": None},
    },
    "empty": {"properties": {}, "user_traits": {}},
    "unknown only": {"properties": {"unknown": 1}, "user_traits": {"unknown": 1}},
    "absent": {},
}
"""Events without a value in any known field."""

NUMBER_TABLE: Table = [
    ("equals", 2, {"2"}),
    ("equals", 7, set()),
    ("not_equals", 2, {"0", "3"}),
    ("gt", 2, {"3"}),
    ("gte", 2, {"2", "3"}),
    ("lt", 2, {"0"}),
    ("lte", 2, {"0", "2"}),
    ("lt", 0, set()),
    ("in", [0], {"0"}),
    ("in", [0, 3, 7, 2**63 - 1], {"0", "3"}),
    ("exists", None, {"0", "2", "3"}),
    ("not_exists", None, set(LACKING)),
]
DECIMAL_TABLE: Table = [
    ("equals", 2.0, {"2"}),
    ("equals", 9.99, {"9.99"}),
    ("equals", 9.990001, set()),
    ("in", [9.99, -5.25, 1e299], {"9.99", "-5.25"}),
    ("lt", 1e300, {"9.99", "-5.25", "2"}),
    ("equals", 1e300, {"huge"}),
]
TEXT_TABLE: Table = [
    ("equals", "BR", {"BR"}),
    ("equals", "Br", set()),
    ("equals", "051", {"051"}),
    ("equals", "51", set()),
    ("equals", "O'B", {"O'B"}),
    ("equals", "' OR 1=1", {"' OR 1=1"}),
    ("equals", "x' OR '1'='1", set()),
    ("equals", ":value %s ? {x} \\", set()),
    ("not_equals", "BR", set(WORDS) - {"BR"}),
    ("not_equals", "", set(WORDS)),
    ("in", ["BR", "DE", "de"], {"BR", "DE"}),
    ("in", ["x') OR ('1'='1"], set()),
    ("exists", None, set(WORDS)),
    ("not_exists", None, set(LACKING)),
]
OPT_IN_TABLE: Table = [
    ("equals", True, {"yes"}),
    ("equals", False, {"no"}),
    ("not_equals", True, {"no"}),
    ("not_equals", False, {"yes"}),
    ("in", [True], {"yes"}),
    ("in", [True, False], {"yes", "no"}),
    ("exists", None, {"yes", "no"}),
    ("not_exists", None, set(LACKING)),
]


def field(name: str, operator: str, *value: Any) -> Condition:
    return {"field": name, "operator": operator} | ({"value": value[0]} if value else {})


@pytest.mark.parametrize(
    ("name", "values", "table"),
    [
        ("properties.amount", {"0": 0, "2": 2, "3": 3}, NUMBER_TABLE),
        ("properties.amount", {"9.99": 9.99, "-5.25": -5.25, "2": 2, "huge": 1e300}, DECIMAL_TABLE),
        ("properties.attempt_number", {"0": 0, "2": 2, "3": 3}, NUMBER_TABLE),
        ("properties.attempt_number", {"huge": 2**63 - 1, "2": 2}, [("equals", 2**63 - 1, {"huge"})]),
        ("properties.failure_reason", WORDS, TEXT_TABLE),
        ("user_traits.email", WORDS, TEXT_TABLE),
        ("user_traits.country", WORDS, TEXT_TABLE),
        ("user_traits.risk_segment", WORDS, TEXT_TABLE),
        ("user_traits.marketing_opt_in", OPT_INS, OPT_IN_TABLE),
    ],
)
def test_each_operator_matches_each_field_by_its_type_and_never_a_missing_value(pipeline, name, values, table):
    parent, _, key = name.partition(".")
    events = [event(message_id) | {parent: {key: value}} for message_id, value in values.items()]
    rules = [
        rule(str(number), field(name, operator, *([] if value is None else [value])))
        for number, (operator, value, _) in enumerate(table)
    ]
    run(pipeline, rules, [*events, *(event(message_id) | parts for message_id, parts in LACKING.items())])

    matched: dict[str, set[str]] = {rule["name"]: set() for rule in rules}
    for message_id, rule_name, _ in decisions(pipeline):
        matched[rule_name].add(message_id)
    assert [(operator, value, matched[str(number)]) for number, (operator, value, _) in enumerate(table)] == table


@pytest.mark.parametrize("operator", ["exists", "not_exists"])
def test_a_value_beside_the_one_asked_for_does_not_stand_in_for_it(pipeline, operator):
    run(
        pipeline,
        [rule("r", field("properties.failure_reason", operator))],
        [
            event("amount only", properties={"amount": 1}),
            event("reason too", properties={"amount": 1, "failure_reason": "CARD_EXPIRED"}),
        ],
    )

    assert sent(pipeline) == (["reason too"] if operator == "exists" else ["amount only"])


def test_a_rule_without_conditions_matches_every_event_of_its_type(pipeline):
    run(
        pipeline,
        [rule("r")],
        [event("bare"), event("full", properties={"amount": 1}), event("other", "opened"), event("case", "Paid")],
    )

    assert sent(pipeline) == ["bare", "full"]


def test_all_conditions_must_hold(pipeline):
    conditions = [
        field("properties.amount", "gte", 10),
        field("properties.amount", "lt", 20),
        field("user_traits.country", "equals", "BR"),
    ]
    brazil = {"country": "BR"}
    run(
        pipeline,
        [rule("r", *conditions)],
        [
            event("all", properties={"amount": 10}, user_traits=brazil),
            event("too much", properties={"amount": 20}, user_traits=brazil),
            event("elsewhere", properties={"amount": 10}, user_traits={"country": "DE"}),
            event("nowhere", properties={"amount": 10}),
            event("no amount", user_traits=brazil),
        ],
    )

    assert sent(pipeline) == ["all"]


def test_conditions_look_at_the_event_itself_and_not_at_what_the_user_said_before(pipeline):
    opted_in = {"marketing_opt_in": True}
    run(
        pipeline,
        [rule("r", field("user_traits.marketing_opt_in", "equals", True))],
        [event("before", user_traits=opted_in), event("without", at="2026-03-01T13:00:00Z")],
    )

    assert sent(pipeline) == ["before"]


@pytest.mark.parametrize(
    ("user_id", "event_type", "at", "is_found"),
    [
        ("ana", "signed_up", "2026-02-28T12:00:00Z", True),
        ("ana", "signed_up", "2026-02-28T11:59:59.999999Z", False),
        ("ana", "signed_up", "2026-02-28T12:00:00.000001Z", True),
        ("ana", "signed_up", "2026-03-01T11:59:59.999999Z", True),
        ("ana", "signed_up", "2026-03-01T12:00:00Z", True),
        ("ana", "signed_up", "2026-03-01T12:00:00.000001Z", False),
        ("ana", "signed_up", "2026-03-01T13:00:00+01:00", True),
        ("ana", "signed_up", "2026-03-01T12:00:00-01:00", False),
        ("Ana", "signed_up", "2026-03-01T11:00:00Z", False),
        ("bob", "signed_up", "2026-03-01T11:00:00Z", False),
        ("ana", "Signed_up", "2026-03-01T11:00:00Z", False),
        ("ana", "opened", "2026-03-01T11:00:00Z", False),
    ],
)
def test_a_prior_event_is_of_the_type_by_the_same_user_in_the_24_hours_before(
    pipeline, user_id, event_type, at, is_found
):
    run(pipeline, [rule("r", prior("signed_up"))], [event("now"), event("prior", event_type, at, user_id)])

    assert sent(pipeline) == ["now"] * is_found


@pytest.mark.parametrize(
    ("hours", "at", "is_found"),
    [
        (0.5, "2026-03-01T11:30:00Z", True),
        (0.5, "2026-03-01T11:29:59.999999Z", False),
        (1.1, "2026-03-01T10:54:00Z", True),
        (1.1, "2026-03-01T10:53:59.999999Z", False),
        (48, "2026-02-27T12:00:00Z", True),
        (48, "2026-02-27T11:59:59.999999Z", False),
        (87840, "2016-02-22T12:00:00Z", True),
        (87840, "2016-02-22T11:59:59.999999Z", False),
    ],
)
def test_a_window_is_as_long_as_its_hours(pipeline, hours, at, is_found):
    run(pipeline, [rule("r", prior("signed_up", hours))], [event("now"), event("prior", "signed_up", at)])

    assert sent(pipeline) == ["now"] * is_found


def test_a_window_may_begin_before_year_1(pipeline):
    run(
        pipeline,
        [rule("r", prior("signed_up", 87840))],
        [event("now", at="0001-01-01T05:00:00Z"), event("prior", "signed_up", "0001-01-01T00:00:00Z")],
    )

    assert sent(pipeline) == ["now"]


def test_an_event_is_no_prior_event_of_itself(pipeline):
    run(pipeline, [rule("r", prior("paid"))], [event("alone")])

    assert sent(pipeline) == []


def test_two_events_at_one_instant_are_prior_events_of_each_other(pipeline):
    run(pipeline, [rule("r", prior("paid"))], [event("one"), event("two")])

    assert sent(pipeline) == ["one", "two"]


def test_the_same_event_delivered_twice_is_no_prior_event_of_itself(pipeline):
    run(pipeline, [rule("r", prior("paid"))], [event("one"), event("one")], [event("one"), event("one") | {"x": 1}])

    assert sent(pipeline) == []


def test_each_of_several_prior_events_must_have_come(pipeline):
    both = rule("r", prior("signed_up"), prior("linked", 1))
    run(
        pipeline,
        [both],
        [
            event("now"),
            event("a", "signed_up", "2026-03-01T10:00:00Z"),
            event("b", "linked", "2026-03-01T11:00:00Z"),
            event("now bob", user_id="bob"),
            event("c", "signed_up", "2026-03-01T10:00:00Z", "bob"),
            event("d", "linked", "2026-03-01T10:59:59Z", "bob"),
        ],
    )

    assert sent(pipeline) == ["now"]


PRIOR = event("prior", "signed_up", "2026-03-01T11:00:00Z")


@pytest.mark.parametrize(
    "files",
    [
        [[PRIOR, event("now")]],
        [[event("now"), PRIOR]],
        [[PRIOR], [event("now")]],
        [[event("now")], [PRIOR]],
    ],
    ids=["before it in its file", "after it in its file", "in an earlier file", "in a later file"],
)
def test_a_prior_event_of_the_same_run_is_found_wherever_it_is(pipeline, files):
    run(pipeline, [rule("r", prior("signed_up"))], *files)

    assert sent(pipeline) == ["now"]


def test_a_prior_event_of_an_earlier_run_is_found(pipeline):
    rules = [rule("r", prior("signed_up"))]
    run(pipeline, rules, [PRIOR])
    run(pipeline, rules, [event("now")])

    assert sent(pipeline) == ["now"]


def test_a_prior_event_that_comes_after_the_decision_changes_nothing(pipeline):
    rules = [rule("r", prior("signed_up"))]
    run(pipeline, rules, [event("now")])
    run(pipeline, rules, [PRIOR])

    assert sent(pipeline) == []


def test_a_disabled_rule_matches_nothing(pipeline):
    run(pipeline, [rule("off", enabled=False), rule("on")], [event("e")])

    assert decisions(pipeline) == [("e", "on", "send")]


def test_every_rule_that_matches_decides(pipeline):
    run(pipeline, [rule("a"), rule("b", template="U"), rule("other", on="opened")], [event("e")])

    assert decisions(pipeline) == [("e", "a", "send"), ("e", "b", "send")]


GROUPED = [
    rule("large", field("properties.amount", "gte", 100), exclusive_group="g"),
    rule("free"),
    rule("free too"),
    rule("small", field("properties.amount", "gte", 1), exclusive_group="g"),
    rule("any", exclusive_group="g"),
    rule("other", exclusive_group="G"),
    rule("another", exclusive_group="G"),
]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (100, {"large", "free", "free too", "other"}),
        (10, {"small", "free", "free too", "other"}),
        (None, {"any", "free", "free too", "other"}),
    ],
)
def test_of_each_exclusive_group_the_first_rule_that_matches_decides_alone(pipeline, amount, expected):
    run(pipeline, GROUPED, [event("e", properties={"amount": amount})])

    assert {rule_name for _, rule_name, _ in decisions(pipeline)} == expected


def test_the_first_of_a_group_decides_alone_also_when_it_is_suppressed(pipeline):
    rules = [
        rule("first", mode="once_ever", exclusive_group="g"),
        rule("second", template="U", exclusive_group="g"),
    ]
    run(pipeline, rules, [event("a"), event("b")])

    assert decisions(pipeline) == [("a", "first", "send"), ("b", "first", "once_ever")]


def test_a_disabled_rule_of_a_group_leaves_the_decision_to_the_next(pipeline):
    run(
        pipeline,
        [rule("first", enabled=False, exclusive_group="g"), rule("second", exclusive_group="g")],
        [event("e")],
    )

    assert decisions(pipeline) == [("e", "second", "send")]


def test_a_group_of_one_rule_is_like_no_group(pipeline):
    run(pipeline, [rule("a", exclusive_group="g"), rule("b")], [event("e")])

    assert decisions(pipeline) == [("e", "a", "send"), ("e", "b", "send")]


def test_a_group_may_hold_an_alert(pipeline):
    run(pipeline, [rule("a", channel="internal", exclusive_group="g"), rule("b", exclusive_group="g")], [event("e")])

    assert decisions(pipeline) == [("e", "a", "send")]


def test_words_that_look_like_sql_are_words(pipeline):
    trick = TRICK
    rules = [
        rule(trick, prior(trick), on=trick, template=trick, mode="once_ever", exclusive_group=trick),
        rule("other", on=trick, exclusive_group=trick),
    ]
    run(
        pipeline,
        rules,
        [event("first", trick, user_id=trick), event("second", trick, user_id=trick), event("bob", trick, user_id="b")],
    )

    assert decisions(pipeline) == [
        ("bob", "other", "send"),
        ("first", trick, "send"),
        ("second", trick, "once_ever"),
    ]
    assert column(pipeline, "SELECT DISTINCT reason FROM send_requests ORDER BY 1") == ["rule:other", f"rule:{trick}"]


@pytest.mark.slow
def test_as_many_rules_and_conditions_as_a_file_may_hold_can_be_decided(pipeline):
    countries = [f"c{number}" for number in range(999)] + ["BR"]
    heavy = rule(
        "heavy",
        *[prior("signed_up")] * 24,
        *[field("properties.amount", "exists")] * 25,
        field("user_traits.country", "in", countries),
    )
    light = [rule(str(number), template=str(number), mode="once_ever") for number in range(299)]
    now = event("now", properties={"amount": 1}, user_traits={"country": "BR"})
    run(pipeline, [heavy, *light], [PRIOR, now])

    assert len(sent(pipeline)) == 300
