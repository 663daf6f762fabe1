"""What is odd about a version of the rules, although it can be used."""

from itertools import count
from pathlib import Path

import pytest

from src.marketing_messaging_service.decisions import recorded_rules_warnings
from src.marketing_messaging_service.decisions.rule_warnings import lost_rules
from src.marketing_messaging_service.infrastructure.database import read_transaction
from tests.decisions.helpers import event, prior, rule
from tests.pipeline import Pipeline


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    return Pipeline(tmp_path / "run", migrated_template)


def warnings(pipeline: Pipeline, *rules: dict[str, object]) -> tuple[str, ...]:
    pipeline.take()
    return pipeline.decide({"rules": list(rules)}).warnings


def test_a_rule_on_a_type_that_nobody_ever_sent_is_named_with_the_nearest_type(pipeline):
    pipeline.land([event("a", "payment_failed"), event("b", "signup_completed")])
    (warning,) = warnings(pipeline, rule("r", on="payment_failed"), rule("mistyped", on="payment_faild"))
    assert warning == (
        "The rule mistyped decides on events of the type payment_faild, and none has ever been loaded; did you mean "
        "payment_failed? Once the rule is corrected, a backfill with decide_again decides what it missed."
    )


def test_a_rule_that_looks_back_at_such_a_type_is_named_too(pipeline):
    pipeline.land([event("a", "link"), event("b", "signup_completed")])
    (warning,) = warnings(pipeline, rule("nudge", prior("signup_complete"), on="link"))
    assert "The rule nudge looks back at events of the type signup_complete" in warning
    assert "did you mean signup_completed?" in warning


def test_a_type_that_begins_or_ends_a_block_and_that_nobody_ever_sent_is_named(pipeline):
    block = {"name": "left", "from": {"event_type": "unsubscribd"}, "until": {"event_type": "zzz"}}
    document = {"blocks": [block], "rules": [rule("r", on="unsubscribed")]}
    assert pipeline.decide(document).warnings == ()
    pipeline.land([event("a", "unsubscribed")])
    pipeline.take()
    assert pipeline.decide(document).warnings == (
        "The block left begins with events of the type unsubscribd, and none has ever been loaded; did you mean "
        "unsubscribed?",
        "The block left ends with events of the type zzz, and none has ever been loaded. Check how the type is "
        "written.",
    )


def test_a_type_unlike_any_other_is_named_without_a_guess(pipeline):
    pipeline.land([event("a", "link")])
    (warning,) = warnings(pipeline, rule("r", on="zzz"))
    assert "none has ever been loaded. Check how the type is written." in warning


def test_a_type_is_known_for_ever_once_an_event_of_it_was_loaded_and_a_rejected_or_outside_one_does_not_count(pipeline):
    pipeline.land([event("a", "link"), {**event("b", "signup"), "event_timestamp": "never"}])
    assert len(warnings(pipeline, rule("r", on="link"), rule("s", on="signup"))) == 1
    pipeline.land([event("c", "signup")])
    assert warnings(pipeline, rule("r", on="link"), rule("s", on="signup")) == ()
    assert pipeline.rows("SELECT event_type FROM event_types") == [("link",), ("signup",)]


def test_before_any_event_and_of_a_rule_that_is_off_nothing_is_said(pipeline):
    assert warnings(pipeline, rule("r", on="zzz")) == ()
    pipeline.land([event("a", "link")])
    assert warnings(pipeline, rule("on", on="link"), rule("off", on="zzz", enabled=False)) == ()


def test_losing_more_than_half_of_the_rules_is_named_when_events_are_decided_without_them(pipeline):
    four = [rule(name, on="link") for name in ("a", "b", "c", "d")]

    numbers = count()

    def decided_by(*rules: dict[str, object]) -> tuple[str, ...]:
        pipeline.land([event(str(next(numbers)), "link")])
        return warnings(pipeline, *rules)

    assert decided_by(*four) == ()
    assert decided_by(*four[:2]) == ()
    assert decided_by(*four) == ()
    off = [{**each, "enabled": False} for each in four[1:]]
    (warning,) = decided_by(four[0], *off)
    assert warning == (
        "Of the 4 rules that decided last, 3 are gone or off: b, c, d. If that is not intended, put them back."
    )
    assert decided_by(four[0]) == ()


def test_an_hour_without_an_event_says_nothing_again(pipeline):
    pipeline.land([event("a", "link")])
    assert len(warnings(pipeline, rule("r", on="lnik"))) == 1
    assert warnings(pipeline, rule("r", on="lnik")) == ()


def test_a_version_of_the_rules_is_warned_of_once(pipeline):
    pipeline.land([event("a", "link")])
    assert len(warnings(pipeline, rule("r", on="lnik"))) == 1
    pipeline.land([event("b", "link")])
    assert warnings(pipeline, rule("r", on="lnik")) == ()
    pipeline.land([event("c", "link")])
    assert len(warnings(pipeline, rule("r", on="lnkk"))) == 1


AMOUNT = {"field": "properties.amount", "operator": "not_exists"}
SAME_ORDER = {"happened": {"event_type": "link", "same": ["properties.order_id"]}}
LATEST = {"field": "latest_traits.country", "operator": "equals", "value": "FR"}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (AMOUNT, "properties.amount of events of the type paid, but none of the 2 newest has it"),
        ({"not": LATEST}, "user_traits.country of events of any type, but none of the 3 newest has it"),
        (SAME_ORDER, "properties.order_id of events of the type link, but none of the 1 newest has it"),
        (
            {"happened": {"event_type": "link", "where": [{**AMOUNT, "field": "properties.currency"}]}},
            "properties.currency of events of the type link, but none",
        ),
    ],
)
def test_a_field_that_no_event_of_the_type_has_is_named(pipeline, condition, said):
    properties = {"order_id": "x", "currency": "EUR"}
    others = event("p", "paid", properties=properties), event("q", "paid")
    pipeline.land([*others, event("l", "link", properties={"amount": 3}, user_traits={"risk_segment": "low"})])
    (warning,) = warnings(pipeline, rule("r", condition))
    assert f"The rule r looks at {said}" in warning


def test_a_field_that_some_event_of_the_type_has_is_not_named_nor_one_of_a_type_that_is_unknown(pipeline):
    pipeline.land([event("p", properties={"amount": 3}), event("q"), event("l", "link", user_traits={"country": "FR"})])
    happened = {"happened": {"event_type": "unknown", "where": [AMOUNT]}}
    found = warnings(pipeline, rule("r", AMOUNT, LATEST, happened))
    assert ["unknown" in warning for warning in found] == [True]


def test_fields_that_a_block_and_a_once_look_at_are_named_too(pipeline):
    pipeline.land([event("p"), event("n", "no")])
    pipeline.take()
    blocks = [
        {"name": "left", "from": {"event_type": "no", "where": [AMOUNT]}},
        {"name": "quiet", "while": {"not": LATEST}},
    ]
    per = {"mode": "once_ever", "per": ["properties.order_id"]}
    found = pipeline.decide({"blocks": blocks, "rules": [{**rule("r"), "suppression": per}]}).warnings
    assert [warning.partition(" looks at ")[::2][0] for warning in found] == [
        "The rule r",
        "The block left",
        "The block quiet",
    ]


def test_many_lost_rules_are_counted_and_the_first_of_them_named():
    warning = lost_rules([f"r{number}" for number in range(30)], [])
    assert "30 are gone or off: r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 and 20 more." in warning


def test_the_rules_that_decided_last_can_be_asked_about_later(pipeline):
    pipeline.land([event("a", "link")])
    warnings(pipeline, rule("r", on="lnik"))
    with read_transaction(pipeline.engine) as connection:
        (warning,) = recorded_rules_warnings(connection)
    assert "did you mean link?" in warning
    pipeline.execute("UPDATE rulesets SET yaml_text = 'damaged'")
    with read_transaction(pipeline.engine) as connection:
        assert recorded_rules_warnings(connection) == ()


def test_a_database_without_a_decision_has_nothing_to_be_asked_about(pipeline):
    with read_transaction(pipeline.engine) as connection:
        assert recorded_rules_warnings(connection) == ()
