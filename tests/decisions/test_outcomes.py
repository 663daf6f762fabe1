"""What becomes of a match: a send, an alert or a suppression, and what the row says."""

import pytest

from tests.decisions.helpers import NOON, Event, Rule, blockers, column, decisions, event, rule, run, sent

MORNING = "2026-03-01T09:00:00Z"
EVENING = "2026-03-01T20:00:00Z"
NEXT_DAY = "2026-03-02T09:00:00Z"

EVER = rule("ever", mode="once_ever")
DAILY = rule("daily", mode="once_per_calendar_day")
ALWAYS = rule("always")
ALERT = rule("alert", channel="internal")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", ["a", "b", "c", "next day"]),
        ("once_ever", ["a"]),
        ("once_per_calendar_day", ["a", "next day"]),
    ],
)
@pytest.mark.parametrize("in_one_run", [True, False])
def test_a_message_goes_out_as_often_as_its_mode_allows(pipeline, mode, expected, in_one_run):
    events = [event("a"), event("b"), event("c", at=EVENING), event("next day", at=NEXT_DAY)]
    files = [[each] for each in events]
    for run_files in [files] if in_one_run else [[file] for file in files]:
        run(pipeline, [rule("r", mode=mode)], *run_files)

    assert sent(pipeline) == expected
    assert {outcome for _, _, outcome in decisions(pipeline)} <= {"send", mode}


@pytest.mark.parametrize("mode", ["once_ever", "once_per_calendar_day"])
def test_other_users_and_other_templates_have_a_once_of_their_own(pipeline, mode):
    run(
        pipeline,
        [rule("r", mode=mode), rule("s", template="t", mode=mode)],
        [event("ana"), event("Ana", user_id="Ana"), event("bob", user_id="bob")],
    )

    assert {outcome for _, _, outcome in decisions(pipeline)} == {"send"}
    assert len(decisions(pipeline)) == 6


@pytest.mark.parametrize(
    ("first", "second", "is_same_day"),
    [
        ("2026-03-01T00:00:00Z", "2026-03-01T23:59:59.999999Z", True),
        ("2026-03-01T23:59:59.999999Z", "2026-03-02T00:00:00Z", False),
        ("2026-03-01T23:30:00-08:00", "2026-03-02T07:45:00Z", True),
        ("2026-03-01T12:00:00-08:00", "2026-03-01T23:30:00-08:00", False),
        ("2026-03-02T01:00:00+05:30", "2026-03-01T10:00:00Z", True),
        ("0001-01-01T00:00:00Z", "0001-01-01T23:59:59Z", True),
        ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z", True),
    ],
)
@pytest.mark.parametrize("in_one_run", [True, False])
def test_the_day_is_the_utc_date_of_the_event(pipeline, first, second, is_same_day, in_one_run):
    files = [[event("one", at=first)], [event("two", at=second)]]
    for run_files in [files] if in_one_run else [[file] for file in files]:
        run(pipeline, [DAILY], *run_files)

    outcomes = [outcome for _, _, outcome in decisions(pipeline)]
    assert sorted(outcomes) == (["once_per_calendar_day", "send"] if is_same_day else ["send", "send"])


def test_of_one_run_the_earlier_event_goes_first_whatever_file_it_came_in(pipeline):
    run(pipeline, [EVER], [event("noon")], [event("evening", at=EVENING), event("morning", at=MORNING)])

    assert sent(pipeline) == ["morning"]


def test_of_events_at_one_instant_the_one_taken_first_goes_first(pipeline):
    run(pipeline, [EVER], [event("z"), event("b")], [event("a")])

    assert sent(pipeline) == ["z"]


def test_of_rules_on_one_event_the_one_that_stands_first_in_the_file_goes_first(pipeline):
    run(pipeline, [rule("z", mode="once_ever"), rule("a", mode="once_ever")], [event("e")])

    assert decisions(pipeline) == [("e", "a", "once_ever"), ("e", "z", "send")]


@pytest.mark.parametrize("mode", ["once_ever", "once_per_calendar_day"])
def test_an_earlier_event_that_comes_late_gets_no_second_send(pipeline, mode):
    rules = [rule("r", mode=mode)]
    run(pipeline, rules, [event("noon")])
    run(pipeline, rules, [event("late", at=MORNING)])

    assert decisions(pipeline) == [("late", "r", mode), ("noon", "r", "send")]
    assert blockers(pipeline) == {"late r": "noon r"}


def test_a_late_event_of_another_day_has_that_day_to_itself(pipeline):
    run(pipeline, [DAILY], [event("next day", at=NEXT_DAY)])
    run(pipeline, [DAILY], [event("late"), event("later", at=EVENING)])

    assert sent(pipeline) == ["late", "next day"]


def test_a_late_event_of_an_earlier_day_gets_no_second_send_of_what_goes_out_once_ever(pipeline):
    run(pipeline, [EVER], [event("next day", at=NEXT_DAY)])
    run(pipeline, [EVER], [event("late")])

    assert sent(pipeline) == ["next day"]


Story = list[tuple[str, str, str]]
"""Events as (message_id, event type, instant), in the order in which they are taken."""

RULES_BY_TYPE = {
    "ever": rule("ever", on="ever", mode="once_ever"),
    "daily": rule("daily", on="daily", mode="once_per_calendar_day"),
    "always": rule("always", on="always"),
    "alert": rule("alert", on="alert", channel="internal"),
}


@pytest.mark.parametrize("in_one_run", [True, False], ids=["one run", "a run an event"])
@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([("1", "always", MORNING), ("2", "ever", NOON)], ["1"]),
        ([("1", "always", MORNING), ("2", "daily", NOON)], ["1"]),
        ([("1", "always", MORNING), ("2", "daily", NEXT_DAY)], ["1", "2"]),
        ([("1", "daily", MORNING), ("2", "ever", NEXT_DAY)], ["1"]),
        ([("1", "ever", MORNING), ("2", "daily", NOON)], ["1"]),
        ([("1", "ever", MORNING), ("2", "daily", NEXT_DAY)], ["1", "2"]),
        ([("1", "ever", MORNING), ("2", "always", NOON)], ["1", "2"]),
        # A suppression uses nothing up.
        ([("1", "daily", MORNING), ("2", "ever", NEXT_DAY), ("3", "daily", NEXT_DAY)], ["1", "3"]),
        ([("1", "ever", MORNING), ("2", "ever", NEXT_DAY), ("3", "daily", NEXT_DAY)], ["1", "3"]),
        (
            [("1", "daily", MORNING), ("2", "daily", NOON), ("3", "daily", EVENING), ("4", "daily", NEXT_DAY)],
            ["1", "4"],
        ),
        # Nor does an alert, and nothing stops it.
        ([("1", "alert", MORNING), ("2", "ever", NOON), ("3", "daily", NEXT_DAY)], ["1", "2", "3"]),
        ([("1", "alert", MORNING), ("2", "daily", NOON), ("3", "daily", EVENING)], ["1", "2"]),
        ([("1", "ever", MORNING), ("2", "alert", NOON), ("3", "alert", EVENING)], ["1", "2", "3"]),
    ],
)
def test_rules_that_share_a_template_share_its_once(pipeline, story: Story, expected, in_one_run):
    events = [event(message_id, event_type, at) for message_id, event_type, at in story]
    for run_events in [events] if in_one_run else [[each] for each in events]:
        run(pipeline, list(RULES_BY_TYPE.values()), run_events)

    assert sent(pipeline) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([EVER, DAILY], {"e ever": "send", "e daily": "once_per_calendar_day"}),
        ([DAILY, EVER], {"e ever": "once_ever", "e daily": "send"}),
        ([EVER, ALWAYS, DAILY], {"e ever": "send", "e always": "send", "e daily": "once_per_calendar_day"}),
        ([ALERT, EVER], {"e alert": "send", "e ever": "send"}),
        ([EVER, ALERT], {"e alert": "send", "e ever": "send"}),
    ],
)
def test_rules_that_share_a_template_share_its_once_on_one_event_too(pipeline, rules: list[Rule], expected):
    run(pipeline, rules, [event("e")])

    assert {f"{message_id} {name}": outcome for message_id, name, outcome in decisions(pipeline)} == expected


def test_one_template_on_two_channels_is_one_message(pipeline):
    run(pipeline, [rule("mail", mode="once_ever"), rule("text", mode="once_ever", channel="sms")], [event("e")])

    assert decisions(pipeline) == [("e", "mail", "send"), ("e", "text", "once_ever")]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        # The first send of them, not the last.
        ([[("1", "always", MORNING), ("2", "always", NOON), ("3", "ever", EVENING)]], {"3 ever": "1 always"}),
        # One of the same run that goes out on other terms.
        ([[("1", "daily", MORNING), ("2", "daily", NEXT_DAY), ("3", "ever", NEXT_DAY)]], {"3 ever": "1 daily"}),
        # The first in event time, though it was decided last.
        ([[("1", "always", NOON)], [("2", "always", MORNING)], [("3", "ever", EVENING)]], {"3 ever": "2 always"}),
        # That of the day, not the one before.
        (
            [[("1", "always", MORNING), ("2", "always", NEXT_DAY), ("3", "daily", "2026-03-02T10:00:00Z")]],
            {"3 daily": "2 always"},
        ),
        # One after it in event time, when it came late.
        ([[("1", "always", NOON), ("2", "always", EVENING)], [("3", "ever", MORNING)]], {"3 ever": "1 always"}),
        ([[("1", "always", NEXT_DAY), ("2", "always", EVENING)], [("3", "daily", MORNING)]], {"3 daily": "2 always"}),
        # Not an alert, and not a suppressed message.
        (
            [[("1", "alert", MORNING), ("2", "ever", NOON), ("3", "ever", NOON), ("4", "ever", EVENING)]],
            {"3 ever": "2 ever", "4 ever": "2 ever"},
        ),
        # Not one that was decided after it, though earlier in event time.
        ([[("1", "ever", EVENING)], [("2", "ever", MORNING), ("3", "always", NOON)]], {"2 ever": "1 ever"}),
    ],
)
def test_a_suppression_names_the_earliest_send_that_stood_in_its_way(pipeline, runs: list[Story], expected):
    for story in runs:
        run(pipeline, list(RULES_BY_TYPE.values()), [event(*each) for each in story])

    assert blockers(pipeline) == expected


def test_what_now_goes_out_once_ever_has_gone_out_on_the_days_when_it_went_out_daily(pipeline):
    story = [event("1"), event("2", at=NEXT_DAY), event("of bob", user_id="bob")]
    run(pipeline, [rule("r", mode="once_per_calendar_day")], story)
    run(pipeline, [rule("r", mode="once_ever")], [event("3", at="2026-03-05T09:00:00Z"), event("4", user_id="eve")])

    assert sent(pipeline) == ["1", "2", "4", "of bob"]
    assert blockers(pipeline) == {"3 r": "1 r"}


def test_a_send_by_a_rule_further_down_on_the_same_event_stands_in_nobodys_way(pipeline):
    run(pipeline, [EVER, DAILY, ALWAYS], [event("e"), event("f")])

    assert blockers(pipeline) == {
        "e daily": "e ever",
        "f ever": "e ever",
        "f daily": "e ever",
    }


TWO: list[Event] = [event("one", at="2026-03-01T23:30:00.5-01:00"), event("two", at="2026-03-02T01:00:00Z")]


@pytest.mark.parametrize(
    ("rule_written", "dedupe_key"),
    [
        (EVER, "ever"),
        (DAILY, "day:2026-03-02"),
        (ALWAYS, "event:1:always"),
        (ALERT, "event:1:alert"),
    ],
)
def test_a_send_request_says_who_gets_what_and_why(pipeline, rule_written, dedupe_key):
    run(pipeline, [rule_written], TWO)

    [row, *_] = pipeline.rows(
        "SELECT event_id, user_id, template_name, channel, reason, rule_name, ruleset_id, event_timestamp, "
        "dedupe_key, decided_at FROM send_requests ORDER BY id"
    )
    name = rule_written["name"]
    assert row == (
        1,
        "ana",
        "T",
        rule_written["action"]["delivery_method"],
        f"rule:{name}",
        name,
        1,
        "2026-03-02 00:30:00.500000",
        dedupe_key,
        "2026-11-23 10:00:00.000000",
    )


@pytest.mark.parametrize("rule_written", [EVER, DAILY])
def test_a_suppression_says_who_does_not_get_what_and_why(pipeline, rule_written):
    run(pipeline, [rule_written], TWO)

    assert pipeline.rows(
        "SELECT event_id, user_id, template_name, suppression_reason, rule_name, ruleset_id, event_timestamp, "
        "blocked_by_send_request_id, decided_at FROM suppressions"
    ) == [
        (
            2,
            "ana",
            "T",
            rule_written["suppression"]["mode"],
            rule_written["name"],
            1,
            "2026-03-02 01:00:00.000000",
            1,
            "2026-11-23 10:00:00.000000",
        )
    ]


def test_a_smaller_id_means_an_earlier_decision(pipeline):
    for events in [[event("b"), event("a", at=MORNING)], [event("d", at=MORNING), event("c", at=EVENING)]]:
        run(pipeline, [rule("z"), rule("y", template="U", mode="once_ever")], events)

    assert column(pipeline, "SELECT count(*) FROM send_requests") == [5]
    assert [
        f"{message_id} {rule_name}"
        for _, message_id, rule_name in pipeline.rows(
            "SELECT s.id, message_id, rule_name FROM send_requests s JOIN events e ON e.id = event_id"
        )
    ] == ["a z", "a y", "b z", "d z", "c z"]
