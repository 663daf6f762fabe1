"""What a run says of matches that wait, and what the self-check finds in what rules of the language leave."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.errors import LostRowsError
from src.marketing_messaging_service.infrastructure.database import read_transaction
from src.marketing_messaging_service.loading import open_run
from src.marketing_messaging_service.reporting import headline, read_run_report
from tests.exploring.test_answers import answer
from tests.pipeline import AS_OF, Pipeline
from tests.self_check.databases import broken

ORDER = {
    "message_id": "1",
    "user_id": "u",
    "event_type": "order_created",
    "event_timestamp": "2026-11-23T09:00:00Z",
}
REMINDER: dict[str, Any] = {
    "name": "reminder",
    "trigger": {"event_type": "order_created"},
    "wait": {"hours": 2},
    "action": {"type": "send", "template_name": "REMINDER", "delivery_method": "email"},
}
OTHER: dict[str, Any] = {**REMINDER, "name": "other"}


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Iterator[Pipeline]:
    made = Pipeline(tmp_path, migrated_template)
    yield made
    made.engine.dispose()


def at(hour: int) -> datetime:
    return datetime(2026, 11, 23, hour, tzinfo=UTC)


def said_of_last_run(pipeline: Pipeline) -> str:
    with read_transaction(pipeline.engine) as connection:
        run_id = connection.execute(text("SELECT max(id) FROM runs")).scalar_one()
        return headline(read_run_report(connection, run_id))


def test_a_run_says_what_begins_to_wait_and_the_next_what_came_of_it(pipeline: Pipeline) -> None:
    pipeline.land([ORDER])
    pipeline.do(pipeline.options(as_of=at(10)), {"rules": [REMINDER]})
    assert "Matches of rules with wait: 1 began to wait, 1 wait now." in said_of_last_run(pipeline)

    pipeline.do(pipeline.options(as_of=at(12)), {"rules": [REMINDER]})
    said = said_of_last_run(pipeline)
    assert "0 events decided: 1 send, 0 suppressions, 0 alerts." in said
    assert "Matches of rules with wait: 1 had waited long enough (1 decided), 0 wait now." in said
    assert "all taken before" not in said


def test_a_run_names_the_rules_for_which_matches_lapse_and_warns_before(pipeline: Pipeline) -> None:
    pipeline.land([ORDER])
    pipeline.do(pipeline.options(as_of=at(10)), {"rules": [REMINDER]})
    pipeline.land([{**ORDER, "message_id": "2", "user_id": "v"}])
    order = pipeline.options(as_of=at(11))
    pipeline.take()
    pipeline.rules_path.write_text(str({"rules": [OTHER]}), encoding="utf-8")
    result = decide_pending(
        pipeline.engine,
        read_rules(pipeline.rules_path),
        decided_at=AS_OF,
        options=order,
        run_id=open_run(pipeline.engine, order),
    )
    assert [warning for warning in result.warnings if warning.startswith("Matches wait for the rule reminder (1)")]

    pipeline.do(pipeline.options(as_of=at(12)), {"rules": [OTHER]})
    assert "lapsed because no rule takes them over: reminder 1" in said_of_last_run(pipeline)


def test_the_question_of_what_waits_is_answered_by_rule_and_day(pipeline: Pipeline) -> None:
    pipeline.land([ORDER, {**ORDER, "message_id": "2", "user_id": "v"}])
    pipeline.do(pipeline.options(as_of=at(10)), {"rules": [REMINDER]})
    with closing(sqlite3.connect(pipeline.database_path)) as connection:
        connection.row_factory = sqlite3.Row
        (row,) = answer(connection, "waiting-messages")
    assert (row["rule_name"], row["waits_for"], row["decide_date"], row["message_count"]) == (
        *("reminder", "its time", "2026-11-23"),
        2,
    )


def test_a_rule_that_has_another_trigger_now_is_warned_of_as_well(pipeline: Pipeline) -> None:
    pipeline.land([ORDER])
    pipeline.do(pipeline.options(as_of=at(10)), {"rules": [REMINDER]})
    moved = {**REMINDER, "trigger": {"event_type": "order_paid"}}
    pipeline.rules_path.write_text(str({"rules": [moved]}), encoding="utf-8")
    order = pipeline.options(as_of=at(12))
    run_id = open_run(pipeline.engine, order)
    result = decide_pending(
        pipeline.engine, read_rules(pipeline.rules_path), decided_at=AS_OF, options=order, run_id=run_id
    )
    assert result.warnings[1:] == (
        "Matches wait for the rule reminder (1), but no rule of the file would decide them. They lapse when their time "
        "comes; to keep them, put the rule back as it was.",
    )
    assert pipeline.rows("SELECT outcome FROM ended_waits") == [("lapsed",)]


@pytest.mark.parametrize(
    "changed",
    [{key: value for key, value in REMINDER.items() if key != "wait"}, REMINDER | {"enabled": False}],
    ids=["without wait", "off"],
)
def test_a_rule_that_waits_no_more_or_is_off_is_warned_of_as_well(pipeline: Pipeline, changed: dict[str, Any]) -> None:
    pipeline.land([ORDER])
    pipeline.do(pipeline.options(as_of=at(10)), {"rules": [REMINDER, OTHER]})
    pipeline.rules_path.write_text(json.dumps({"rules": [changed, OTHER]}), encoding="utf-8")
    order = pipeline.options(as_of=at(12))
    run_id = open_run(pipeline.engine, order)
    result = decide_pending(
        pipeline.engine, read_rules(pipeline.rules_path), decided_at=AS_OF, options=order, run_id=run_id
    )
    assert result.warnings == (
        "Matches wait for the rule reminder (1), but no rule of the file would decide them. They lapse when their time "
        "comes; to keep them, put the rule back as it was.",
    )
    ended = pipeline.rows("SELECT rule_name, outcome FROM ended_waits")
    assert set(ended) == {("reminder", "lapsed"), ("other", "decided")}


def test_a_run_says_what_waits_for_the_data_alone_also_where_it_decides_nothing(pipeline: Pipeline) -> None:
    document = {"wait_for_data": True, "rules": [REMINDER]}
    pipeline.land([ORDER])
    for hour in (10, 12):
        pipeline.do(pipeline.options(as_of=at(hour)), document)
    said = said_of_last_run(pipeline)
    assert "Matches of rules with wait: 1 wait now (1 of them only for later data)." in said

    pipeline.land([{**ORDER, "message_id": "2", "event_type": "opened", "event_timestamp": "2026-11-23T11:30:00Z"}])
    pipeline.do(pipeline.options(as_of=at(13)), document)
    assert "1 had waited long enough (1 decided), 0 wait now." in said_of_last_run(pipeline)


@pytest.mark.parametrize(
    ("table", "when"), [("waiting_matches", "INSERT"), ("ended_waits", "INSERT"), ("waiting_matches", "DELETE")]
)
def test_a_trigger_that_loses_what_waits_fails_the_run_and_loses_nothing(
    pipeline: Pipeline, table: str, when: str
) -> None:
    pipeline.land([ORDER])
    begins = (table, when) == ("waiting_matches", "INSERT")
    if not begins:
        pipeline.do(pipeline.options(as_of=at(10)), {"rules": [REMINDER]})
    pipeline.execute(f"CREATE TRIGGER theirs BEFORE {when} ON {table} BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(LostRowsError, match=table):
        pipeline.do(pipeline.options(as_of=at(10 if begins else 12)), {"rules": [REMINDER]})

    pipeline.execute("DROP TRIGGER theirs")
    pipeline.do(pipeline.options(as_of=at(13)), {"rules": [REMINDER]})
    assert pipeline.rows("SELECT user_id, rule_name FROM send_requests") == [("u", "reminder")]


def test_the_self_check_finds_nothing_wrong_with_waits_blocks_limits_and_the_holdout(pipeline: Pipeline) -> None:
    document = {
        "timezone": "Europe/Paris",
        "holdout": {"percent": 50, "salt": "s"},
        "blocks": [{"name": "no", "from": {"event_type": "unsubscribed"}}],
        "limits": [{"name": "one", "at_most": 1, "calendar": "day"}],
        "rules": [
            REMINDER,
            {
                "name": "paid",
                "trigger": {"event_type": "order_paid"},
                "action": {"type": "send", "template_name": "PAID", "delivery_method": "email"},
                "suppression": {"mode": "once_per_calendar_day"},
                "expires_after_hours": 1,
            },
        ],
    }
    types = ("order_created", "order_paid", "order_paid", "unsubscribed")
    pipeline.land(
        [
            {
                "message_id": f"{user}-{place}",
                "user_id": f"u{user}",
                "event_type": event_type,
                "event_timestamp": f"2026-11-23T09:{place:02}:00Z",
            }
            for user in range(12)
            for place, event_type in enumerate(types[: 3 + user % 2])
        ]
    )
    for hour in (10, 12):
        pipeline.do(pipeline.options(as_of=at(hour)), document)
    reasons = pipeline.rows("SELECT DISTINCT suppression_reason FROM suppressions")
    assert {"blocked:no", "holdout"} <= {row[0] for row in reasons}
    pipeline.engine.dispose()
    found = broken(pipeline.database_path)
    assert {name: finding.examples for name, finding in found.items()} == {}


def test_why_a_user_got_no_message_is_answered_for_waits_blocks_and_limits(pipeline: Pipeline) -> None:
    document = {
        "blocks": [{"name": "no", "from": {"event_type": "unsubscribed"}}],
        "limits": [{"name": "one", "at_most": 1, "hours": 24}],
        "rules": [
            REMINDER | {"conditions": {"not": {"happened": {"event_type": "order_paid", "since_trigger": True}}}},
            {
                "name": "thanks",
                "trigger": {"event_type": "order_paid"},
                "action": {"type": "send", "template_name": "THANKS", "delivery_method": "email"},
            },
        ],
    }
    paid = {**ORDER, "event_type": "order_paid"}
    pipeline.land(
        [
            {**paid, "message_id": "2"},
            {**paid, "message_id": "3"},
            {**paid, "message_id": "4", "user_id": "v", "event_timestamp": "2026-11-23T09:30:00Z"},
            {**ORDER, "message_id": "5", "user_id": "v", "event_type": "unsubscribed"},
            {**ORDER, "message_id": "6", "user_id": "w", "event_timestamp": "2026-11-23T11:00:00Z"},
            ORDER,
        ]
    )
    for hour in (10, 12):
        pipeline.do(pipeline.options(as_of=at(hour)), document)
    pipeline.engine.dispose()
    with closing(sqlite3.connect(pipeline.database_path)) as connection:
        connection.row_factory = sqlite3.Row
        found = {
            (row["rule_name"], row["outcome"], row["explanation"])
            for user in "uvw"
            for row in answer(connection, "why-no-message", user_id=user)
        }
    assert {(rule_name, outcome) for rule_name, outcome, _ in found} == {
        ("thanks", "sent"),
        ("thanks", "suppressed: limit:one"),
        ("thanks", "suppressed: blocked:no"),
        ("reminder", "a condition of the rule did not hold"),
        ("reminder", "waits for the rule"),
    }
    said = " ".join(explanation for *_, explanation in found)
    assert "because of the event unsubscribed at 2026-11-23 09:00:00.000000" in said
    assert "The limit one was full" in said
    assert "the first run whose as_of is after 2026-11-23 13:00:00.000000 decides" in said
