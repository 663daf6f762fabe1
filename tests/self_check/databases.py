"""A small database in which every promise has something to be broken at, and the means to break it by hand."""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from src.marketing_messaging_service.self_check.results import CheckReport, Finding
from src.marketing_messaging_service.vocabulary import Invariant
from tests.pipeline import Pipeline

EVERYTHING = (*INVARIANTS, *AUDIT)

EVER = {"mode": "once_ever"}
DAILY = {"mode": "once_per_calendar_day"}


def rule(name: str, event_type: str, *conditions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A rule whose template is its name in capitals, by default sent by email as often as it matches."""
    template_name = keys.pop("template_name", name.upper())
    return {
        "name": name,
        "trigger": {"event_type": event_type},
        "conditions": {"all": list(conditions)},
        "action": {"type": "send", "template_name": template_name, "delivery_method": "email"},
        **keys,
    }


def event(message_id: str, user_id: str, event_type: str, time: str, **keys: Any) -> dict[str, Any]:
    """A raw event of 1 March 2026, at a time such as 10:00."""
    return {
        "message_id": message_id,
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": f"2026-03-01T{time}:00Z",
        **keys,
    }


OPT_IN = {"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}
THIRD_ATTEMPT = {"field": "properties.attempt_number", "operator": "gte", "value": 3}
IN_NORWAY = {"field": "user_traits.country", "operator": "equals", "value": "NO"}

RULES = {
    "rules": [
        rule("welcome", "signup", OPT_IN, suppression=EVER),
        rule("welcome_back", "returned", template_name="WELCOME"),
        rule("nudge", "link", {"prior_event": {"event_type": "signup", "hours": 24}}, suppression=EVER),
        rule("funds", "payment_failed", suppression=DAILY),
        rule("funds_again", "payment_retried", template_name="FUNDS"),
        rule("risk", "payment_failed", THIRD_ATTEMPT)
        | {"action": {"type": "alert", "template_name": "FUNDS", "delivery_method": "internal"}},
        rule("hei", "app_opened", IN_NORWAY, exclusive_group="greeting"),
        rule("hello", "app_opened", exclusive_group="greeting"),
        rule("off", "signup", enabled=False),
    ]
}

LATER_RULES = {"rules": [rule("welcome", "signup", OPT_IN, suppression=EVER)]}

OPTED_IN = {"user_traits": {"marketing_opt_in": True, "country": "NO"}}
"""What makes a signup earn a welcome."""

FIRST_FILE = [
    event("m1", "ada", "signup", "10:00", **OPTED_IN),
    event("m2", "ada", "link", "11:00"),
    event("m3", "ada", "payment_failed", "12:00", properties={"attempt_number": 3, "amount": 5}),
    event("m4", "ada", "payment_failed", "13:00"),
    event("m5", "ada", "payment_retried", "14:00"),
    event("m6", "ada", "app_opened", "15:00", user_traits={"country": "NO"}),
    event("m7", "bob", "app_opened", "15:00"),
    event("m8", "bob", "nothing_of_note", "16:00", properties={"coupon": 1}),
    event("m9", "bob", "payment_retried", "16:30"),
    {"no": "event"},
]
SECOND_FILE = [
    event("m10", "ada", "signup", "18:00", **OPTED_IN),
    event("m1", "ada", "signup", "10:30", **OPTED_IN),
    event("m11", "bob", "signup", "18:30", user_traits={"marketing_opt_in": False}),
    event("m12", "bob", "payment_failed", "19:00"),
    event("m13", "eve", "returned", "19:10"),
    event("m14", "eve", "signup", "19:20", **OPTED_IN),
]
AGAIN_RULES = {
    "rules": [
        *RULES["rules"],
        rule("late", "returned", exclusive_group="back"),
        rule("later", "returned", exclusive_group="back"),
    ]
}
LATER_FILE = [event("m15", "zoe", "signup", "20:00", **OPTED_IN)]
HELD_FILE = [event("m18", "kim", "signup", "22:00", **OPTED_IN), event("m19", "lou", "signup", "23:00", **OPTED_IN)]
OLD_FILE = [event("m20", "mia", "signup", "21:50", **OPTED_IN), event("m21", "ned", "signup", "22:20", **OPTED_IN)]
WAITING_FILE = [event("m16", "zoe", "signup", "21:00", **OPTED_IN), event("m17", "zoe", "link", "21:30")]


def build(folder: Path, migrated_template: Path) -> Path:
    """Return the path of a database after runs of every kind, while the next one has the lease.

    Two runs by two rulesets and a load that waits for the next, then a backfill that loads only, and one that comes
    too late for the first of its events and leaves the second, for which another comes too early. At the end two
    rules decide again: a new one, and one by which an event had expired.
    """
    pipeline = Pipeline(folder, migrated_template)
    pipeline.run([FIRST_FILE, SECOND_FILE], RULES)
    pipeline.run([LATER_FILE], LATER_RULES)
    pipeline.land(WAITING_FILE)
    pipeline.take()
    pipeline.land(HELD_FILE)
    ten, half_past, midnight = (datetime(2026, 3, 1, 22, tzinfo=UTC) + timedelta(hours=h) for h in (0, 0.5, 2))
    pipeline.do(pipeline.options(Window(ten, midnight), RunMode.LOAD_ONLY), RULES)
    pipeline.do(pipeline.options(Window(ten, half_past), max_event_age_hours=72), RULES)
    nine = ten - timedelta(hours=1)
    pipeline.do(pipeline.options(Window(half_past, midnight), as_of=nine, max_event_ahead_hours=1), RULES)
    pipeline.land(OLD_FILE)
    pipeline.do(pipeline.options(Window(nine, half_past), max_event_age_hours=72), RULES)
    window = Window(ten - timedelta(hours=3), ten)
    pipeline.do(pipeline.options(window, decide_again=["late", "welcome"], max_event_age_hours=0), AGAIN_RULES)
    pipeline.engine.dispose()
    execute(pipeline.database_path, LEASE)
    return pipeline.database_path


LEASE = (
    "INSERT INTO run_leases VALUES (1, 'id', 'hourly', NULL, 'here', 1, '2026-11-23 10:00:00.000000', "
    "'2026-11-23 10:00:00.000000', '2026-11-23 10:01:00.000000')"
)


@contextmanager
def by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that heeds neither foreign keys nor CHECK constraints."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        yield connection


def execute(path: Path, *statements: str) -> None:
    """Execute statements that the pipeline never would."""
    with by_hand(path) as connection:
        for statement in statements:
            connection.execute(statement)


def drop_constraint(path: Path, table: str, constraint: str) -> None:
    """Build a table again without one of its constraints, as a migration gone wrong would."""
    with by_hand(path) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
        indexes = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", [table]
        ).fetchall()
        kept = [line for line in sql.splitlines() if f"CONSTRAINT {constraint} " not in line]
        assert len(kept) == len(sql.splitlines()) - 1
        lighter = re.sub(r",\s*\)$", ")", "\n".join(kept))
        for statement in (
            # Without this the foreign keys of other tables would follow the name.
            "PRAGMA legacy_alter_table=ON",
            re.sub(rf'^CREATE TABLE "?{table}"?', "CREATE TABLE rebuilt", lighter),
            f"INSERT INTO rebuilt SELECT * FROM {table}",
            f"DROP TABLE {table}",
            f"ALTER TABLE rebuilt RENAME TO {table}",
            *(index for (index,) in indexes),
        ):
            connection.execute(statement)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with by_hand(path) as connection:
        return connection.execute(sql).fetchall()


def check(path: Path) -> CheckReport:
    """Check everything."""
    return check_database(url_of(path), EVERYTHING)


def broken(database: Path | str, invariants: Iterable[Invariant] = EVERYTHING) -> dict[str, Finding]:
    """What a check finds broken, by name; the database is a file, or that of a URL."""
    url = url_of(database) if isinstance(database, Path) else database
    return {finding.invariant: finding for finding in check_database(url, invariants).broken}
