"""The reference itself, pinned to what a decision is by examples small enough to check by eye."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.reference import LoadCounts, Reference
from tests.strategies import (
    SHIPPED_RULES,
    RawEvent,
    RulesDocument,
    event_batches,
    on_time_day,
    partitions,
    rules_documents,
)

NOON = "2024-03-01T12:00:00Z"


def event(message_id: str | None, timestamp: str = NOON, event_type: str = "paid", **keys: Any) -> RawEvent:
    """A raw event, by default of user u."""
    return {
        "message_id": message_id,
        "user_id": "u",
        "event_type": event_type,
        "event_timestamp": timestamp,
        **keys,
    }


def rule(name: str, mode: str = "none", *conditions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A rule that sends template T on the events of type paid that meet the conditions."""
    return {
        "name": name,
        "trigger": {"event_type": "paid"},
        "conditions": {"all": list(conditions)},
        "action": {"type": "send", "template_name": "T", "delivery_method": "email"},
        "suppression": {"mode": mode},
        **keys,
    }


def rules(*rules: dict[str, Any]) -> RulesDocument:
    """A rules document."""
    return {"rules": list(rules)}


def decided(raw_events: list[RawEvent], *rules: dict[str, Any]) -> Reference:
    """A reference that has loaded the events as one file and decided them."""
    reference = Reference()
    reference.load(raw_events)
    reference.decide({"rules": list(rules)})
    return reference


def sends(reference: Reference) -> list[tuple[int, str]]:
    """The requests as (event key, rule name)."""
    return sorted((row[0], row[5]) for row in reference.send_requests())


def blocked(reference: Reference) -> list[tuple[int, str, tuple[int, str]]]:
    """The suppressions as (event key, rule name, blocking send)."""
    return sorted((row[0], row[4], row[6]) for row in reference.suppressions())


def test_the_same_message_is_one_event_however_it_is_written_and_a_contradiction_is_counted() -> None:
    reference = Reference()
    first = event("m", "2024-03-01T12:00:00Z", properties={"amount": 3, "attempt_number": "2"}, user_traits=None)
    same = event(
        "m",
        "2024-03-01T17:30:00.000+05:30",
        properties={"amount": "3.0", "attempt_number": 2, "x": 1},
        user_traits={},
    )
    other = event("m", "2024-03-01T12:00:00Z", properties={"amount": 4, "attempt_number": 2})

    assert reference.load([first, same]) == LoadCounts(inserted=1, duplicate=1, conflict=0)
    later = event("m", "2024-03-01T12:00:01Z", properties={"amount": 3, "attempt_number": 2})
    assert reference.load([other]) == LoadCounts(inserted=0, duplicate=0, conflict=0, collision=1)
    assert reference.load([later, other]) == LoadCounts(inserted=0, duplicate=2, conflict=1, collision=0)
    assert reference.events() == [("m", "u", "paid", "2024-03-01 12:00:00.000000")]
    assert reference.event_properties() == [(0, 3.0, 2, None, None, None)]
    assert reference.user_traits() == []


def test_an_event_without_a_message_id_is_known_by_its_content_unknown_keys_and_all() -> None:
    reference = Reference()
    bare = event(None)
    absent = {key: value for key, value in bare.items() if key != "message_id"}

    counts = reference.load([bare, absent, event(None, device="ios"), event(None, properties={"device": "ios"})])

    assert counts == LoadCounts(inserted=3, duplicate=1, conflict=0)
    assert reference.events() == [(None, "u", "paid", "2024-03-01 12:00:00.000000")] * 3


def test_no_comparison_holds_for_a_missing_value_but_not_exists() -> None:
    conditions = {
        operator: {
            "field": "properties.amount",
            "operator": operator,
            "value": [5] if operator == "in" else 5,
        }
        for operator in ("equals", "not_equals", "gt", "gte", "lt", "lte", "in", "exists", "not_exists")
    }
    by_operator = [rule(operator, "none", condition) for operator, condition in conditions.items()]

    missing = decided([event("m", properties={"amount": None})], *by_operator)
    five = decided([event("m", properties={"amount": "5.0"})], *by_operator)
    six = decided([event("m", properties={"amount": 6})], *by_operator)

    assert {name for _, name in sends(missing)} == {"not_exists"}
    assert {name for _, name in sends(five)} == {"equals", "gte", "lte", "in", "exists"}
    assert {name for _, name in sends(six)} == {"not_equals", "gt", "gte", "exists"}


def test_a_prior_event_counts_on_both_ends_of_its_window_and_not_a_microsecond_further() -> None:
    after_signup = rule("r", "none", {"prior_event": {"event_type": "signup", "hours": 24}})

    for timestamp, expected in (
        ("2024-02-29T12:00:00Z", [(0, "r")]),
        ("2024-02-29T11:59:59.999999Z", []),
        ("2024-03-01T12:00:00Z", [(0, "r")]),
        ("2024-03-01T12:00:00.000001Z", []),
    ):
        assert sends(decided([event("m"), event("p", timestamp, "signup")], after_signup)) == expected


def test_another_event_of_the_user_at_the_same_instant_is_a_prior_event_but_never_the_event_itself() -> None:
    again = rule("r", "none", {"prior_event": {"event_type": "paid", "hours": 1}})

    assert sends(decided([event("a")], again)) == []
    assert sends(decided([event("a"), event("b")], again)) == [(0, "r"), (1, "r")]
    assert sends(decided([event("a"), event("b", user_id="v")], again)) == []


def test_once_ever_sends_on_the_earliest_event_of_a_run_and_points_the_others_to_it() -> None:
    reference = decided(
        [event("late", "2024-03-01T12:00:00Z"), event("early", "2024-01-01T00:00:00Z")],
        rule("r", "once_ever"),
    )

    assert reference.send_requests() == [(1, "u", "T", "email", "rule:r", "r", "2024-01-01 00:00:00.000000")]
    assert reference.suppressions() == [(0, "u", "T", "once_ever", "r", "2024-03-01 12:00:00.000000", (1, "r"))]


def test_a_calendar_day_is_the_utc_date_whatever_offset_the_event_was_written_with() -> None:
    reference = decided(
        [
            event("a", "2024-02-29T23:59:59.999999Z"),
            event("b", "2024-02-29T16:00:00-08:00"),
            event("c", "2024-03-02T05:29:59.999999+05:30"),
        ],
        rule("r", "once_per_calendar_day"),
    )

    assert sends(reference) == [(0, "r"), (1, "r")]
    assert blocked(reference) == [(2, "r", (1, "r"))]


def test_an_earlier_event_that_arrives_late_gets_no_second_send_that_day() -> None:
    reference = decided([event("noon")], rule("r", "once_per_calendar_day"))
    reference.load([event("morning", "2024-03-01T00:00:00Z")])
    reference.decide(rules(rule("r", "once_per_calendar_day")))

    assert sends(reference) == [(0, "r")]
    assert blocked(reference) == [(1, "r", (0, "r"))]


def test_a_send_by_any_rule_of_any_mode_uses_up_the_once_and_a_suppression_does_not() -> None:
    by_sms = {"type": "send", "template_name": "T", "delivery_method": "sms"}
    reference = decided(
        [
            event("a", properties={"amount": 1}),
            event("b", "2024-03-01T13:00:00Z"),
            event("c", "2024-03-02T00:00:00Z"),
        ],
        rule("always", "none", {"field": "properties.amount", "operator": "exists"}, action=by_sms),
        rule("ever", "once_ever"),
        rule("daily", "once_per_calendar_day"),
    )

    assert sends(reference) == [(0, "always"), (2, "daily")]
    assert blocked(reference) == [
        (0, "daily", (0, "always")),
        (0, "ever", (0, "always")),
        (1, "daily", (0, "always")),
        (1, "ever", (0, "always")),
        (2, "ever", (0, "always")),
    ]


def test_the_blocking_send_is_the_earliest_in_time_and_of_equals_the_first_decided() -> None:
    reference = decided([event("noon")], rule("zeta"), rule("alpha"))
    reference.load([event("evening", "2024-03-01T20:00:00Z")])
    reference.decide(rules(rule("r", "once_ever")))
    reference.load([event("morning", "2024-03-01T08:00:00Z"), event("night", "2024-03-01T23:00:00Z")])
    reference.decide(rules(rule("always"), rule("r", "once_per_calendar_day")))

    assert blocked(reference) == [
        (1, "r", (0, "zeta")),
        (2, "r", (2, "always")),
        (3, "r", (2, "always")),
    ]


def test_an_alert_is_never_suppressed_and_never_counts_as_a_send() -> None:
    alert = rule("alert", action={"type": "alert", "template_name": "T", "delivery_method": "internal"})
    reference = decided([event("a"), event("b")], alert, rule("r", "once_ever"))

    assert sends(reference) == [(0, "alert"), (0, "r"), (1, "alert")]
    assert {(row[5], row[3]) for row in reference.send_requests()} == {("alert", "internal"), ("r", "email")}
    assert blocked(reference) == [(1, "r", (0, "r"))]


def test_of_a_group_the_first_rule_that_matches_decides_also_when_it_is_suppressed() -> None:
    big = {"field": "properties.amount", "operator": "gt", "value": 10}
    reference = decided(
        [
            event("small"),
            event("big", properties={"amount": 11}),
            event("big too", properties={"amount": 11}),
        ],
        rule("off", exclusive_group="g", enabled=False),
        rule("other", "none", exclusive_group="h", action={**rule("")["action"], "template_name": "OTHER"}),
        rule("big", "once_ever", big, exclusive_group="g"),
        rule("any", "none", exclusive_group="g"),
    )

    assert sends(reference) == [(0, "any"), (0, "other"), (1, "other"), (2, "other")]
    assert blocked(reference) == [(1, "big", (0, "any")), (2, "big", (0, "any"))]


def test_an_event_once_decided_is_not_looked_at_again_whatever_the_rules() -> None:
    on_others = {**rule("q"), "trigger": {"event_type": "other"}}
    reference = decided([event("link", event_type="link", user_id="v"), event("a")], on_others)
    reference.load([event("signup", "2024-03-01T11:00:00Z", "signup", user_id="v")])
    after_signup = rule("r", "none", {"prior_event": {"event_type": "signup", "hours": 24}})
    reference.decide(rules({**after_signup, "trigger": {"event_type": "link"}}, rule("s")))

    assert sends(reference) == []
    assert blocked(reference) == []


def test_without_an_enabled_rule_events_wait_for_one() -> None:
    reference = decided([event("a")], {**rule("q"), "enabled": False})
    assert reference.waiting() == [(0, "the next run")]
    reference.decide(rules(rule("r")))
    assert sends(reference) == [(0, "r")]


def test_a_rule_without_its_optional_keys_is_on_and_always_sends() -> None:
    bare = {key: value for key, value in rule("r").items() if key not in ("conditions", "suppression")}

    assert sends(decided([event("a"), event("b")], bare)) == [(0, "r"), (1, "r")]


def test_the_shipped_rules_decide_as_their_descriptions_say() -> None:
    reference = Reference()
    opted_in = {"marketing_opt_in": True}
    failed = {"failure_reason": "INSUFFICIENT_FUNDS", "attempt_number": 3}
    reference.load(
        [
            event("1", "2024-03-01T10:00:00Z", "signup_completed", user_traits=opted_in),
            event("2", "2024-03-02T10:00:00Z", "link_bank_success"),
            event("3", "2024-03-02T11:00:00Z", "payment_failed", properties=failed),
            event("4", "2024-03-02T12:00:00Z", "payment_failed", properties=failed),
        ]
    )
    reference.decide(SHIPPED_RULES)

    assert sends(reference) == [
        (0, "welcome_email"),
        (1, "bank_link_nudge"),
        (2, "high_risk_alert"),
        (2, "insufficient_funds_email"),
        (3, "high_risk_alert"),
    ]
    assert blocked(reference) == [(3, "insufficient_funds_email", (2, "insufficient_funds_email"))]


@given(data=st.data(), events=on_time_day(days=2), document=rules_documents())
def test_the_same_on_time_events_end_in_the_same_decisions_in_one_run_or_in_many(
    data: st.DataObject, events: list[RawEvent], document: RulesDocument
) -> None:
    whole = Reference()
    whole.load(events)
    whole.decide(document)
    parts = Reference()
    for part in data.draw(partitions(events)):
        parts.load(part)
        parts.decide(document)

    assert parts.send_requests() == whole.send_requests()
    assert parts.suppressions() == whole.suppressions()


@given(files=event_batches(), document=rules_documents())
def test_a_second_delivery_of_every_file_changes_nothing(files: list[list[RawEvent]], document: RulesDocument) -> None:
    reference = Reference()
    for file in files:
        reference.load(file)
        reference.decide(document)
    before = copy.deepcopy(reference)
    for file in files:
        assert reference.load(file).inserted == 0
    reference.decide(document)

    assert reference.events() == before.events()
    assert reference.send_requests() == before.send_requests()
    assert reference.suppressions() == before.suppressions()
