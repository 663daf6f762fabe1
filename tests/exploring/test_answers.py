"""What the questions answer where an easy answer would be a false one."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.exploring import read_queries
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.vocabulary import SuppressionMode, SuppressionReason
from tests.pipeline import Pipeline
from tests.self_check.databases import rule

QUERIES = {query.name: query for query in read_queries()}
MARCH = datetime(2026, 3, 1, tzinfo=UTC)

OPT_IN = {"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}
SIGNED_UP = {"prior_event": {"event_type": "signup", "hours": 24}}
EVER, DAILY = {"mode": "once_ever"}, {"mode": "once_per_calendar_day"}
ALERT = {"action": {"type": "alert", "template_name": "RISK", "delivery_method": "internal"}}

FIRST_RULES = {
    "rules": [
        rule("welcome", "signup", OPT_IN, suppression=EVER),
        rule("off", "signup", enabled=False),
        rule("nudge", "link", SIGNED_UP, suppression=EVER),
        rule("vip", "opened", OPT_IN, exclusive_group="greeting"),
        rule("hello", "opened", exclusive_group="greeting"),
        rule("funds", "failed", suppression=DAILY),
        rule("funds_again", "retried", template_name="FUNDS", suppression=DAILY),
        rule("risk", "failed") | ALERT,
        rule("moved", "before"),
    ]
}
LATER_RULES = {
    "rules": [rule("welcome", "signup", OPT_IN, suppression=EVER), rule("moved", "after"), rule("new", "failed")]
}
YES = {"user_traits": {"marketing_opt_in": True}}

STRANGE_IDS = ["o'hara; --", 'a "quoted" id', " blank ", "zoë 🙂", "%", "x" * 64]


def event(user_id: Any, event_type: str, hours: float, **parts: Any) -> dict[str, Any]:
    """A raw event so many hours after the beginning of March 2026."""
    at = (MARCH + timedelta(hours=hours)).isoformat()
    return {
        "message_id": f"{user_id}-{event_type}-{hours}",
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": at,
        **parts,
    }


@pytest.fixture(scope="module")
def pipeline(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Loads and decisions of every kind, and what was never decided."""
    pipeline = Pipeline(tmp_path_factory.mktemp("answers") / "run", migrated_template)
    pipeline.execute(
        "INSERT INTO events (id, message_id, user_id, event_type, event_timestamp, created_at) VALUES "
        "(1, 'old', 'old', 'signup', '2025-01-01 00:00:00.000000', '2025-01-01 00:00:00.000000')"
    )
    pipeline.land(
        [
            event("ada", "signup", 10, **YES),
            event("ada", "signup", 11, **YES),
            event("ada", "failed", 12),
            event("ada", "failed", 13),
            event("ada", "retried", 14),
            event("bob", "signup", 10, user_traits={"marketing_opt_in": False}),
            event("bob", "opened", 11, **YES),
            event("cleo", "opened", 11),
            event("dan", "link", 12),
            event("eve", "nothing of note", 12),
            event("moved", "before", 12),
            *(event(user_id, "signup", 10, **YES) for user_id in STRANGE_IDS),
            event("fay", "signup", 10, properties={"attempt_number": -1}),
            event(42, "signup", 10, **YES),
            event("future", "failed", 24 * 365 * 10),
        ]
    )
    (pipeline.landing / "0001.jsonl").write_text('{"user_id": "gil", "event_type": "signup"\n[1]\n"gil"\n')
    pipeline.do(pipeline.options(max_event_ahead_hours=1), FIRST_RULES)
    # What comes later: the signup that dan's link looked back at, and other rules.
    pipeline.land([event("dan", "signup", 11, **YES), event("ian", "signup", 11, **YES), event("moved", "before", 13)])
    pipeline.do(pipeline.options(max_event_ahead_hours=1), LATER_RULES)
    window = Window(MARCH + timedelta(days=2), MARCH + timedelta(days=3))
    pipeline.land([event("kim", "signup", 49, **YES), event("lou", "signup", 70, **YES)])
    pipeline.do(pipeline.options(window, RunMode.LOAD_ONLY), FIRST_RULES)
    expiring = pipeline.options(Window(window.start, MARCH + timedelta(hours=60)), max_event_age_hours=72)
    pipeline.do(expiring, FIRST_RULES)
    pipeline.land([event("max", "signup", 12, **YES)])
    pipeline.take()
    return pipeline


@pytest.fixture
def connection(pipeline: Pipeline) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{pipeline.database_path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def answer(connection: sqlite3.Connection, name: str, **given: Any) -> list[dict[str, Any]]:
    """The rows of a query; a parameter that is not given is empty, as in Datasette."""
    parameters = dict.fromkeys(QUERIES[name].parameters, "") | given
    return [dict(row) for row in connection.execute(QUERIES[name].sql, parameters)]


def why(connection: sqlite3.Connection, user_id: str, rule_name: str = "") -> list[tuple[str, str]]:
    """The outcomes and explanations of a user's events and a rule."""
    rows = answer(connection, "why-no-message", user_id=user_id, rule_name=rule_name)
    return [(row["outcome"], row["explanation"]) for row in rows]


class TestWhyAUserGotNothing:
    def test_what_was_sent_and_what_stood_in_its_way_is_named_with_its_rule(self, connection):
        rows = answer(connection, "why-no-message", user_id="ada", rule_name="FUNDS")
        assert [(row["rule_name"], row["outcome"], row["blocked_by_rule_name"]) for row in rows] == [
            ("funds", "sent", None),
            ("funds", "suppressed: once_per_calendar_day", "funds"),
            ("funds_again", "suppressed: once_per_calendar_day", "funds"),
        ]
        assert [outcome for outcome, _ in why(connection, "ada", "welcome")] == ["sent", "suppressed: once_ever"]

    def test_every_reason_there_is_has_a_sentence(self):
        modes = [mode for mode in SuppressionMode if mode is not SuppressionMode.NONE]
        reasons = [reason for reason in SuppressionReason if reason is not SuppressionReason.ONCE]
        sql = QUERIES["why-no-message"].sql
        assert [each for each in (*modes, *reasons) if f"WHEN 'suppressed: {each}'" not in sql] == []

    def test_without_a_rule_every_rule_answers(self, connection):
        rows = answer(connection, "why-no-message", user_id="bob")
        assert [(row["rule_name"], row["outcome"]) for row in rows] == [
            ("off", "rule switched off"),
            ("welcome", "a condition of the rule did not hold"),
            ("hello", "another rule decided"),
            ("vip", "sent"),
        ]

    def test_the_loser_of_an_exclusive_group_lost_to_the_rule_that_is_named(self, connection):
        assert why(connection, "bob", "hello") == [
            (
                "another rule decided",
                "The rule vip, which comes before it in the exclusive group greeting, decided on the event.",
            )
        ]
        assert [outcome for outcome, _ in why(connection, "cleo", "vip")] == ["a condition of the rule did not hold"]
        assert [outcome for outcome, _ in why(connection, "cleo", "hello")] == ["sent"]

    def test_an_alert_is_no_message(self, connection):
        assert set(why(connection, "ada", "risk")) == {
            ("alerted", "The rule alerts our own people; it sends the user nothing.")
        }

    def test_a_condition_that_holds_only_by_what_arrived_later_did_not_hold(self, connection):
        ((outcome, explanation),) = why(connection, "dan", "nudge")
        assert outcome == "a condition of the rule did not hold"
        assert explanation.endswith("and what arrived later does not count: a signup in the 24 h before.")

    @pytest.mark.parametrize(
        ("user_id", "rule_name", "outcome"),
        [
            ("max", "welcome", "waits"),
            ("lou", "welcome", "held"),
            ("future", "funds", "waits for its time"),
            ("kim", "welcome", "suppressed: expired"),
            ("bob", "off", "rule switched off"),
            ("ian", "off", "no such rule then"),
            ("ada", "new", "no such rule then"),
            ("old", "welcome", "not recorded"),
        ],
    )
    def test_each_state_has_its_own_answer(self, connection, user_id, rule_name, outcome):
        assert {found for found, _ in why(connection, user_id, rule_name)} == {outcome}

    def test_a_rule_that_looked_at_other_events_then_says_so(self, connection):
        assert why(connection, "moved", "moved") == [
            ("sent", "The message was decided."),
            ("other event type then", "The rule looked at after in the version that decided the event."),
        ]

    @pytest.mark.parametrize("user_id", STRANGE_IDS)
    def test_an_id_may_hold_anything(self, connection, user_id):
        assert why(connection, user_id, "welcome") == [("sent", "The message was decided.")]

    def test_a_line_that_was_rejected_is_the_answer(self, connection):
        ((outcome, explanation),) = why(connection, "fay", "welcome")
        assert outcome == "rejected"
        assert explanation.startswith("Line 18 of 0000.jsonl did not become an event: properties.attempt_number ")
        assert [found for found, _ in why(connection, "fay", "nudge")] == ["unknown user"]
        assert [found for found, _ in why(connection, "42", "welcome")] == ["rejected"]
        ((outcome, explanation),) = why(connection, "gil")
        assert (outcome, explanation.partition(":")[0]) == (
            "rejected",
            "Line 1 of 0001.jsonl did not become an event",
        )

    def test_a_rule_or_user_that_there_is_not_is_named_as_such(self, connection):
        ((outcome, explanation),) = why(connection, "ada", "welcom")
        assert outcome == "unknown rule"
        assert "Rules used so far: " in explanation
        assert ", welcome" in explanation
        assert why(connection, "nobody") == [("unknown user", "No event of a user with this id has arrived.")]
        assert why(connection, "ADA ") == [
            ("unknown user", "No event of a user with this id has arrived; there is one of ada.")
        ]

    def test_a_user_without_such_an_event_is_distinguished_from_one_without_any(self, connection):
        assert why(connection, "eve", "welcome") == [
            ("no such event", "None of the 1 events of this user is of a type that the rule looks at: signup.")
        ]
        assert why(connection, "eve") == [
            ("no such event", "None of the 1 events of this user is of a type that any rule looks at.")
        ]

    def test_a_decision_that_is_missing_cannot_be_known(self, pipeline, tmp_path):
        copy = tmp_path / "copy.db"
        with closing(sqlite3.connect(pipeline.database_path)) as live, closing(sqlite3.connect(copy)) as copied:
            live.backup(copied)
            copied.row_factory = sqlite3.Row
            copied.execute("DELETE FROM send_requests WHERE rule_name = 'hello'")
            ((outcome, explanation),) = why(copied, "cleo", "hello")
        assert (outcome, explanation.rpartition(": ")[2]) == ("cannot be told", "run the self-check.")


@pytest.fixture(scope="module")
def again(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events decided without the rules, or expired, and a backfill in which the rules decide them again."""
    pipeline = Pipeline(tmp_path_factory.mktemp("again") / "run", migrated_template)
    day = Window(MARCH, MARCH + timedelta(days=1))
    pipeline.land([event("ada", "signup", 10, **YES), event("bob", "signup", 11), event("cy", "opened", 12, **YES)])
    first = {"rules": [rule("welcome", "signup", OPT_IN), rule("hello", "opened", exclusive_group="greeting")]}
    pipeline.do(pipeline.options(day, max_event_age_hours=72), first)
    second = {
        "rules": [
            rule("vip", "opened", exclusive_group="greeting"),
            rule("big", "signup", OPT_IN, exclusive_group="size"),
            rule("small", "signup", exclusive_group="size"),
            rule("welcome", "signup", OPT_IN),
            rule("news", "signup", OPT_IN),
        ]
    }
    named = ["vip", "small", "welcome", "news"]
    pipeline.do(pipeline.options(day, as_of=MARCH + timedelta(days=2), decide_again=named), second)
    return pipeline.database_path


class TestWhyARuleThatDecidedAgainSaysNothing:
    @pytest.mark.parametrize(
        ("user_id", "rule_name", "outcome", "explanation"),
        [
            (
                "ada",
                "welcome",
                "sent",
                "The message was decided by a backfill with decide_again; at first its event was too old.",
            ),
            ("ada", "news", "sent", "The message was decided."),
            (
                "bob",
                "news",
                "a condition of the rule did not hold",
                "Not all of this held when the event was decided again, and what arrived later does not count: "
                "user_traits.marketing_opt_in is true.",
            ),
            (
                "cy",
                "vip",
                "another rule decided",
                "The rule hello of the exclusive group greeting had decided on the event before.",
            ),
            (
                "ada",
                "small",
                "another rule of the group matched, or a condition did not hold",
                "When the rule decided again, a rule before it in the exclusive group size matched as well.",
            ),
            ("bob", "small", "sent", "The message was decided."),
            (
                "ada",
                "big",
                "no such rule then",
                "The version of rules.yaml that decided the event had no rule of this name.",
            ),
        ],
    )
    def test_is_explained_by_the_rules_of_that_backfill(self, again, user_id, rule_name, outcome, explanation):
        with closing(sqlite3.connect(again)) as connection:
            connection.row_factory = sqlite3.Row
            assert why(connection, user_id, rule_name) == [(outcome, explanation)]


NO_USER = "No event of a user with this id has arrived: ids are compared exactly."


@pytest.mark.parametrize("name", ["messages-of-user", "timeline-of-user", "traits-of-user"])
def test_a_user_who_is_not_known_is_distinguished_from_one_who_got_nothing(connection, name):
    assert [row["remark"] for row in answer(connection, name, user_id="nobody")] == [NO_USER]
    assert NO_USER not in [row["remark"] for row in answer(connection, name, user_id="eve")]


def test_a_user_of_whom_no_trait_is_known_is_reported_so(connection):
    assert [row["remark"] for row in answer(connection, "traits-of-user", user_id="eve")] == [
        "No event of this user says any trait."
    ]


def test_an_event_far_in_the_future_moves_no_day(connection):
    assert {row["event_date"] for row in answer(connection, "funnel-of-day")} == {"2026-03-03"}
    assert answer(connection, "messages-of-user", user_id="ada")
    assert answer(connection, "messages-by-day")[0]["event_date"] == "2026-03-03"


def test_what_waits_is_counted_beside_the_funnel_of_its_day(connection):
    rows = answer(connection, "funnel-of-day", event_date="2026-03-01")
    assert rows[-1]["remark"] == "1 events of the day wait to be decided."
    welcome = next(row for row in rows if row["rule_name"] == "welcome")
    assert (welcome["triggered_count"], welcome["matched_count"], welcome["sent_count"]) == (11, 10, 9)
    assert answer(connection, "funnel-of-day", event_date="2026-03-03")[-1]["remark"].startswith("1 events")


def test_what_waits_is_reported_by_what_it_waits_for(connection):
    rows = answer(connection, "what-waits")
    assert sorted((row["waits_for"], row["event_type"], row["event_count"]) for row in rows) == [
        ("a backfill", "signup", 1),
        ("its time", "failed", 1),
        ("the next run", "signup", 1),
    ]


def test_a_message_that_waits_is_reported_with_its_day_and_that_none_waits_is_said(
    connection, migrated_template, tmp_path
):
    (row,) = answer(connection, "waiting-messages")
    assert row["remark"] == "No message waits."
    waiting = Pipeline(tmp_path / "run", migrated_template)
    waiting.land([event("ada", "cart", 20), event("ada", "cart", 21), event("bob", "cart", 23)])
    waiting.do(
        waiting.options(as_of=MARCH + timedelta(hours=21)), {"rules": [rule("remind", "cart") | {"wait": {"hours": 2}}]}
    )
    with closing(sqlite3.connect(waiting.database_path)) as copied:
        copied.row_factory = sqlite3.Row
        rows = answer(copied, "waiting-messages")
    assert [(row["rule_name"], row["decide_date"], row["message_count"], row["user_count"]) for row in rows] == [
        ("remind", "2026-03-01", 2, 1),
        ("remind", "2026-03-02", 1, 1),
    ]


def test_who_hits_the_daily_cap_is_counted_from_a_day_on(connection):
    (row,) = answer(connection, "users-at-daily-cap", since_date="2026-03-01")
    assert (row["user_id"], row["suppression_count"], row["day_count"]) == ("ada", 2, 1)
    assert answer(connection, "users-at-daily-cap", since_date="2026-03-02") == []


def test_in_a_timeline_what_waits_says_so(connection):
    remarks = {
        user_id: [row["remark"] for row in answer(connection, "timeline-of-user", user_id=user_id)]
        for user_id in ("max", "lou", "future", "ada")
    }
    assert remarks["max"] == ["Waits for the next run."]
    assert remarks["future"] == ["Waits for its time."]
    assert remarks["lou"] == ["Held: waits for a backfill."]
    assert set(remarks["ada"]) == {None}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("messages-of-user", "until_date"),
        ("messages-by-day", "until_date"),
        ("funnel-of-day", "event_date"),
        ("most-suppressing-rule", "event_date"),
        ("users-at-daily-cap", "since_date"),
    ],
)
@pytest.mark.parametrize("value", ["1.3.2026", "2026-3-1", "yesterday", "2026-02-30x"])
def test_a_day_that_is_none_is_said_to_be_none(connection, name, parameter, value):
    given = {"user_id": "ada"} if "user_id" in QUERIES[name].parameters else {}
    (row,) = answer(connection, name, **given, **{parameter: value})
    assert row["remark"] == f"Write {parameter} like 2026-11-23."


def test_a_day_may_stand_between_blanks(connection):
    assert answer(connection, "funnel-of-day", event_date=" 2026-03-01 ")[0]["rule_name"] is not None


def test_a_day_without_a_suppression_is_distinguished_from_a_wrong_one(connection):
    (row,) = answer(connection, "most-suppressing-rule", event_date="2026-03-02")
    assert row["remark"] == "Nothing was suppressed on this day."


def test_what_has_expired_was_blocked_by_no_rule(connection):
    (row,) = answer(connection, "most-suppressing-rule", event_date="2026-03-03")
    assert (row["rule_name"], row["suppression_reason"], row["blocked_by_rule_name"]) == ("welcome", "expired", None)


def test_a_load_that_rejected_nothing_is_distinguished_from_one_that_is_not_there(connection):
    clean = connection.execute("SELECT min(id) FROM loads WHERE rejected_count = 0").fetchone()[0]
    (row,) = answer(connection, "rejected-by-load", load_id=str(clean))
    assert row["explanation"] == "This load rejected nothing."
    (row,) = answer(connection, "rejected-by-load", load_id="99")
    assert row["explanation"] == "There is no load of this number."
    assert len(answer(connection, "rejected-by-load")) == 3


def test_a_file_that_could_not_be_taken_at_all_is_among_those_with_trouble(pipeline, tmp_path):
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(pipeline.database_path)) as live, closing(sqlite3.connect(copy)) as copied:
        live.backup(copied)
        copied.row_factory = sqlite3.Row
        copied.execute("INSERT INTO run_remarks VALUES (1, 1, 'problem', 'odd.jsonl', 'It is no text.', 1)")
        copied.execute("INSERT INTO run_remarks VALUES (1, 2, 'ignored', 'notes.md', '', 1)")
        rows = answer(copied, "loads-with-trouble")
    assert [row["path"] for row in rows if row["load_id"] is None] == ["odd.jsonl"]
    assert {row["rejected_count"] for row in rows if row["load_id"] is not None} == {2, 3}


def test_a_key_that_has_been_declared_since_is_marked(pipeline, tmp_path):
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(pipeline.database_path)) as live, closing(sqlite3.connect(copy)) as copied:
        live.backup(copied)
        copied.row_factory = sqlite3.Row
        copied.execute("INSERT INTO unknown_keys VALUES (1, 'properties.amount', 1), (1, 'amount', 1)")
        marked = {row["key_path"]: row["remark"] for row in answer(copied, "unknown-keys")}
    assert marked == {"properties.amount": "Known by now.", "amount": None}


def test_a_rejected_line_that_was_replayed_is_reported_beside_what_came_of_its_event(pipeline, tmp_path):
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(pipeline.database_path)) as live, closing(sqlite3.connect(copy)) as copied:
        live.backup(copied)
        copied.row_factory = sqlite3.Row
        before = dict(why(copied, "fay"))
        copied.execute(
            "UPDATE rejected_rows SET replayed_load_id = 1 WHERE raw_line LIKE '%fay%'",
        )
        after = dict(why(copied, "fay"))
        load_id = str(copied.execute("SELECT load_id FROM rejected_rows WHERE replayed_load_id = 1").fetchone()[0])
        replayed = [row["replayed_at"] for row in answer(copied, "rejected-by-load", load_id=load_id)]
    assert list(before) == ["rejected"]
    assert list(after) == ["rejected, then replayed"]
    assert " A replay took it at 20" in after["rejected, then replayed"]
    assert after["rejected, then replayed"].startswith(before["rejected"])
    assert sum(each is not None for each in replayed) == 1


def test_no_query_is_left_out_here():
    here = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in QUERIES if not re.search(rf'answer\(\w+, "{name}"', here)] == []
