"""What blocks, the holdout, limits and expiry promise is broken by hand, and reported."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from src.marketing_messaging_service.decisions import AUDIT
from tests.pipeline import Pipeline
from tests.self_check.databases import broken
from tests.test_rule_language import event, field, outcomes, rule, run

RULES = {
    "holdout": {"percent": 50, "salt": "s"},
    "blocks": [
        {"name": "left", "channels": ["email"], "from": {"event_type": "no"}, "until": {"event_type": "yes"}},
        {"name": "opted_out", "while": field("latest_traits.marketing_opt_in", "equals", False)},
    ],
    "limits": [
        {"name": "two", "channels": ["email"], "at_most": 2, "hours": 24},
        {"name": "one", "channels": ["sms"], "at_most": 1, "calendar": "day"},
    ],
    "rules": [
        rule("mail", on="m", template="M", expires_after_hours=12),
        rule("text", on="t", template="T", channel="sms", exempt_from=["holdout"]),
        rule("late", on="l", template="L", wait=1, expires_after_hours=1),
        rule("free", on="f", template="F", exempt_from=["blocks", "holdout", "limits"]),
    ],
}


def user(number: int) -> str:
    return f"u{number}"


def is_held_out(user_id: str) -> bool:
    return int(hashlib.md5(f"s:{user_id}".encode(), usedforsecurity=False).hexdigest()[:8], 16) % 10_000 < 5_000


INSIDE = next(user(number) for number in range(99) if is_held_out(user(number)))
ANA, BEN, CLEO, DAN, EVE = [user(number) for number in range(99) if not is_held_out(user(number))][:5]


@pytest.fixture(scope="module")
def decided(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which every kind of refusal happened."""
    pipeline = Pipeline(tmp_path_factory.mktemp("decided"), migrated_template)
    run(
        pipeline,
        RULES,
        "23T12:00:00",
        *(event(f"m{hour}", "m", f"23T0{hour}:00:00", ANA) for hour in (5, 6, 7)),
        *(event(f"t{hour}", "t", f"23T0{hour}:00:00", ANA) for hour in (5, 6)),
        event("no 1", "no", "23T05:00:00", BEN),
        event("no 2", "no", "23T06:00:00", BEN),
        event("m ben", "m", "23T05:00:00", BEN),
        event("f ben", "f", "23T05:00:00", BEN),
        event("opt", "x", "23T05:00:00", CLEO, marketing_opt_in=False),
        event("t cleo", "t", "23T05:00:00", CLEO),
        event("m in", "m", "23T05:00:00", INSIDE),
        event("t in", "t", "23T05:00:00", INSIDE),
        event("m dan", "m", "22T23:00:00", DAN),
        event("l dan", "l", "23T09:59:59", DAN),
        event("l eve", "l", "23T10:00:00", EVE),
        event("m eve", "m", "23T11:00:00", EVE),
    )
    run(
        pipeline,
        RULES,
        "23T14:00:00",
        event("yes", "yes", "23T12:30:00", BEN),
        event("m ben 2", "m", "23T13:00:00", BEN),
        event("z", "z", "23T13:00:00", ANA),
    )
    assert outcomes(pipeline) == {
        *("m5 mail sent", "m6 mail sent", "m7 mail limit:two m5", "t5 text sent", "t6 text limit:one t5"),
        *("m ben mail blocked:left no 2", "f ben free sent", "m ben 2 mail sent", "t cleo text blocked:opted_out opt"),
        *("m in mail holdout", "t in text sent", "m dan mail expired", "l dan late expired", "l eve late sent"),
        "m eve mail sent",
    }
    pipeline.engine.dispose()
    assert broken(pipeline.database_path) == {}
    return pipeline.database_path


@pytest.fixture
def copy(decided: Path, tmp_path: Path) -> Path:
    shutil.copyfile(decided, tmp_path / "copy.db")
    return tmp_path / "copy.db"


def of(message_id: str) -> str:
    return f"event_id = (SELECT id FROM events WHERE message_id = '{message_id}')"


def send_of(message_id: str) -> str:
    return f"(SELECT id FROM send_requests WHERE {of(message_id)})"


def as_send(message_id: str, channel: str = "email") -> tuple[str, str]:
    """Statements that make a send of a suppression."""
    columns = (
        "user_id, event_id, template_name, decided_at, rule_name, ruleset_id, run_id, event_timestamp, decision_time"
    )
    return (
        f"INSERT INTO send_requests ({columns}, channel, reason, dedupe_key) SELECT {columns}, '{channel}', 'rule:' || "
        f"rule_name, 'event:' || event_id || ':' || rule_name FROM suppressions WHERE {of(message_id)}",
        f"DELETE FROM suppressions WHERE {of(message_id)}",
    )


def as_suppression(message_id: str, reason: str, **others: str) -> tuple[str, str]:
    """Statements that make a suppression of a send."""
    columns = (
        "user_id, event_id, template_name, decided_at, rule_name, ruleset_id, run_id, event_timestamp, decision_time"
    )
    more = "".join(f", {name}" for name in others)
    values = "".join(f", {value}" for value in others.values())
    return (
        f"INSERT INTO suppressions ({columns}, suppression_reason{more}) SELECT {columns}, '{reason}'{values} "
        f"FROM send_requests WHERE {of(message_id)}",
        f"DELETE FROM send_requests WHERE {of(message_id)}",
    )


def changed(message_id: str, assignment: str) -> tuple[str]:
    return (f"UPDATE suppressions SET {assignment} WHERE {of(message_id)}",)


BREACHES: list[tuple[str, tuple[str, ...]]] = [
    ("reasons_of_the_file", changed("m7", "suppression_reason = 'limit:one'")),
    ("reasons_of_the_file", changed("m7", "suppression_reason = 'limit:three'")),
    ("reasons_of_the_file", changed("t cleo", "suppression_reason = 'blocked:left'")),
    ("reasons_of_the_file", changed("t6", "suppression_reason = 'holdout', blocked_by_send_request_id = NULL")),
    ("holdout_is_its_share", changed("m ben", "suppression_reason = 'holdout', blocked_by_event_id = NULL")),
    ("holdout_is_its_share", as_send("m in")),
    ("blocks_held", changed("m ben", "blocked_by_event_id = (SELECT id FROM events WHERE message_id = 'no 1')")),
    ("blocks_held", changed("m ben", "blocked_by_event_id = NULL")),
    ("blocks_held", changed("t cleo", "blocked_by_event_id = (SELECT id FROM events WHERE message_id = 't cleo')")),
    (
        "blocks_held",
        as_suppression(
            "m ben 2", "blocked:left", blocked_by_event_id="(SELECT id FROM events WHERE message_id = 'no 2')"
        ),
    ),
    (
        "blocks_held",
        as_suppression(
            "m eve", "blocked:left", blocked_by_event_id=send_of("m eve").replace("SELECT id", "SELECT event_id")
        ),
    ),
    ("blocks_held", as_send("m ben")),
    ("blocks_held", as_send("t cleo", "sms")),
    ("limits_held", as_suppression("m6", "limit:two", blocked_by_send_request_id=send_of("m5"))),
    ("limits_held", changed("m7", f"blocked_by_send_request_id = {send_of('m6')}")),
    ("limits_held", as_send("m7")),
    ("limits_held", as_send("t6", "sms")),
    ("late_is_expired", as_suppression("m eve", "expired")),
    ("late_is_expired", as_suppression("l eve", "expired")),
    ("late_is_expired", as_send("m dan")),
    ("late_is_expired", as_send("l dan")),
]


@pytest.mark.parametrize(("invariant", "statements"), BREACHES)
def test_a_breach_is_reported(copy: Path, invariant: str, statements: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount == 1
    assert invariant in broken(copy, AUDIT)


def test_what_came_later_does_not_count_against_a_decision(copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE events SET event_type = 'no', event_timestamp = '2026-11-23 05:00:00.000000' WHERE message_id = 'z'"
        )
    assert "blocks_held" not in broken(copy, AUDIT)
