"""How the database finds rows: through the new events and the composite indexes, whatever the history holds."""

import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import ClauseElement

from src.marketing_messaging_service.decisions import again, decide_pending, outcomes, read_rules
from src.marketing_messaging_service.decisions.looks import looks_directly
from src.marketing_messaging_service.decisions.matching import Asked, every_match, matches, together
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.truth import Looks
from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.run_options import Window
from tests.decisions.helpers import prior, rule

DECIDED_AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
DAY = Window(DECIDED_AT - timedelta(days=1), DECIDED_AT)
WRITTEN_BESIDE = outcomes.Batch(ruleset_id=1, decided_at=DECIDED_AT, run_id=1)
SHIPPED = Path(__file__).parents[2] / "data" / "rules.yaml"
POSTGRESQL: Any = postgresql.dialect()  # type: ignore[no-untyped-call]

SMALL = 10_000
LARGE = 200_000
BATCH = 500
USERS = 400
"""Few users and many types of event: with statistics, reading all history by type is what SQLite likes best."""

HISTORY = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO events (message_id, user_id, event_type, event_timestamp, load_id)
SELECT :load || '-' || n, 'u' || (n * 7919 % 1000003 % :users),
    CASE n % 10 WHEN 0 THEN 'signup_completed' WHEN 1 THEN 'link_bank_success' WHEN 2 THEN 'payment_failed'
        ELSE 'type ' || (n / 10 % 60) END,
    strftime('%Y-%m-%d %H:%M:%S.000000', '2020-01-01', ((:start + n) * 30) || ' seconds'), :load
FROM numbers
"""
CHILDREN = (
    "INSERT INTO event_properties (event_id, amount, attempt_number, failure_reason) "
    "SELECT id, id % 90, id % 5, iif(id % 3 = 0, 'INSUFFICIENT_FUNDS', 'CARD_EXPIRED') "
    "FROM events WHERE load_id = :load AND event_type NOT LIKE 'type%'",
    "INSERT INTO user_traits (event_id, email, country, marketing_opt_in) "
    "SELECT id, 'u@example.com', 'BR', id / 7 % 2 FROM events WHERE load_id = :load AND id % 5 < 4",
)
SENDS = """
INSERT OR IGNORE INTO send_requests
    (user_id, event_id, template_name, channel, reason, rule_name, event_timestamp, dedupe_key, decided_at)
SELECT user_id, id, CASE event_type WHEN 'payment_failed' THEN 'INSUFFICIENT_FUNDS_EMAIL'
        WHEN 'signup_completed' THEN 'WELCOME_EMAIL' ELSE 'BANK_LINK_NUDGE_SMS' END,
    'email', 'rule:x', 'x', event_timestamp,
    CASE event_type WHEN 'payment_failed' THEN 'day:' || substr(event_timestamp, 1, 10) ELSE 'event:' || id END,
    event_timestamp
FROM events WHERE load_id = :load AND event_type NOT LIKE 'type%' AND id / 3 % 2 = 0
"""

EVERY_CONDITION = [
    rule("plain", on="payment_failed"),
    rule(
        "absent",
        {"field": "properties.amount", "operator": "not_exists"},
        {"field": "user_traits.country", "operator": "not_exists"},
        on="payment_failed",
        template="WELCOME_EMAIL",
        mode="once_ever",
    ),
    rule(
        "both",
        {"field": "properties.amount", "operator": "gt", "value": 3},
        {"field": "user_traits.country", "operator": "in", "value": ["BR", "DE"]},
        on="payment_failed",
        template="WELCOME_EMAIL",
        mode="once_per_calendar_day",
        exclusive_group="g",
    ),
    rule(
        "priors",
        prior("signup_completed"),
        prior("payment_failed", 87840),
        on="type 7",
        template="WELCOME_EMAIL",
        mode="once_ever",
        exclusive_group="g",
    ),
    rule("alert", prior("never"), on="link_bank_success", channel="internal"),
]


def build(path: Path, migrated_template: Path, history: int) -> Path:
    """A database with so many decided events and a small batch that waits."""
    shutil.copyfile(migrated_template, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for load, start, count, state in ((1, 0, history, "decided"), (2, history, BATCH, "loaded")):
            values = {"load": load, "start": start, "count": count, "users": USERS, "state": state}
            connection.execute(
                "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at) "
                "VALUES (:load, :load, 'a', 1, '', '', '')",
                values,
            )
            connection.execute(
                "INSERT INTO loads (id, source_file_id, as_of, loaded_at, state, read_count, inserted_count, "
                "duplicate_count, conflict_count, rejected_count, blank_count, first_event_id, last_event_id) "
                "VALUES (:load, :load, '', '', :state, :count, :count, 0, 0, 0, 0, :start + 1, :start + :count)",
                values,
            )
            for statement in (HISTORY, *CHILDREN):
                connection.execute(statement, values)
            if state == "decided":
                connection.execute(SENDS, values)
    return path


@pytest.fixture(scope="session")
def small_history(tmp_path_factory: pytest.TempPathFactory, migrated_template: Path) -> Path:
    return build(tmp_path_factory.mktemp("history") / "small.db", migrated_template, SMALL)


@pytest.fixture(scope="session")
def large_history(tmp_path_factory: pytest.TempPathFactory, migrated_template: Path) -> Path:
    return build(tmp_path_factory.mktemp("history") / "large.db", migrated_template, LARGE)


@pytest.fixture(params=["shipped", "every condition"])
def rules_file(request: pytest.FixtureRequest, tmp_path: Path) -> RulesFile:
    if request.param == "shipped":
        return read_rules(SHIPPED)
    path = tmp_path / "rules.yaml"
    path.write_text(str({"rules": EVERY_CONDITION}), encoding="utf-8")
    return read_rules(path)


def with_statistics(source: Path, path: Path, statistics: str, small_history: Path) -> Path:
    """A copy of a database with the statistics of ANALYZE: none, those of today, or of when it was small."""
    shutil.copyfile(source, path)
    with closing(sqlite3.connect(path)) as connection:
        if statistics != "none":
            connection.execute("ANALYZE")
        if statistics == "stale":
            young = path.with_suffix(".young")
            shutil.copyfile(small_history, young)
            connection.execute("ATTACH ? AS young", (str(young),))
            connection.execute("ANALYZE young")
            connection.execute("DELETE FROM main.sqlite_stat1")
            connection.execute("INSERT INTO main.sqlite_stat1 SELECT * FROM young.sqlite_stat1")
        connection.commit()
    return path


def explained(engine: Engine) -> list[str]:
    """A list that fills with the plan's lines of every statement the engine is about to run."""
    lines: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(
        _connection: Any, cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            one = parameters[0] if many else parameters
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", one)
            lines.extend(detail for *_, detail in plan)

    return lines


BY_USER = "ix_events_user_id_event_type_event_timestamp"
BY_KEY = "INDEX sqlite_autoindex_send_requests (template_name=? AND dedupe_key=? AND user_id=?"
BY_DAY_KEYS = "INDEX sqlite_autoindex_send_requests (template_name=? AND dedupe_key>? AND dedupe_key<?"
BY_TIME = "INDEX ix_send_requests_other_keys (user_id=? AND template_name=?"
WINDOW = "event_timestamp>? AND event_timestamp<?"

NEW_EVENTS = {
    "SEARCH events",  # max(id), read off the end of the primary key
    "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)",
    "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)",  # from a child of the new range of ids
    *(
        f"SEARCH {table} USING INDEX sqlite_autoindex_{table}_1 (event_id{comparison}?)"
        for table in ("event_properties", "user_traits")
        for comparison in "=>"
    ),
}
PRIOR = f"SEARCH prior USING INDEX {BY_USER} (user_id=? AND event_type=? AND {WINDOW})"
DECISIONS = {
    f"SEARCH {table}{how}"
    for table in ("send_requests", "suppressions")
    # max(id), read off the end of the primary key; and the rows behind it, which are those of the batch
    for how in ("", " USING INTEGER PRIMARY KEY (rowid>?)")
}
SENT = {f"SEARCH send_requests USING {place})" for place in (BY_KEY, BY_DAY_KEYS, BY_TIME, f"{BY_TIME} AND {WINDOW}")}
BLOCKING = {f"SEARCH blocking USING {place})" for place in (BY_KEY, BY_TIME, f"{BY_TIME} AND {WINDOW}")}


def of_history(lines: Iterable[str]) -> set[str]:
    """The lines about tables that grow with the history, however the versions of SQLite word them."""
    # SQLite numbers the indexes of a table's constraints, which migrations give in no certain order.
    plain = {re.sub(r" (EXISTS|LEFT-JOIN)\b|COVERING |(?<=_send_requests)_\d", "", line.strip()) for line in lines}
    pattern = r"(SCAN|SEARCH) (events|event_properties|user_traits|prior|send_requests|blocking|suppressions|every)\b"
    return {re.sub(r" +", " ", line) for line in plain if re.match(pattern, re.sub(r" +", " ", line))}


@pytest.mark.parametrize("statistics", ["none", "current", "stale"])
def test_history_is_reached_by_the_new_ids_and_the_composite_indexes_alone(
    tmp_path, large_history, small_history, rules_file, statistics
):
    path = with_statistics(large_history, tmp_path / "history.db", statistics, small_history)
    # Without foreign keys, whose checks show in plans as scans that never run.
    engine = create_database_engine(f"sqlite:///{path}", foreign_keys=False)
    lines = explained(engine)
    assert decide_pending(engine, rules_file, decided_at=DECIDED_AT).event_count == BATCH

    found = of_history(lines)
    assert found - NEW_EVENTS == {PRIOR, *DECISIONS, *SENT, *BLOCKING}
    assert found & NEW_EVENTS
    assert not [line for line in lines if "ANY(" in line or "AUTOMATIC" in line]


def steps_of_deciding(path: Path, rules_file: RulesFile) -> int:
    """How many hundreds of instructions SQLite's virtual machine takes to decide the batch."""
    engine = create_database_engine(f"sqlite:///{path}")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    @event.listens_for(engine, "connect")
    def watch(dbapi_connection: sqlite3.Connection, _record: Any) -> None:
        dbapi_connection.set_progress_handler(count, 100)

    assert decide_pending(engine, rules_file, decided_at=DECIDED_AT).event_count == BATCH
    return steps


@pytest.mark.parametrize("statistics", ["none", "current", "stale"])
def test_the_work_follows_the_new_events_and_not_the_history(
    tmp_path, small_history, large_history, rules_file, statistics
):
    small, large = (
        steps_of_deciding(with_statistics(history, tmp_path / f"{number}.db", statistics, small_history), rules_file)
        for number, history in enumerate((small_history, large_history))
    )

    assert small > 100  # or nothing was counted
    assert large < 1.5 * small  # with 20 times the history


def statements(rules_file: RulesFile) -> list[ClauseElement]:
    rules = rules_file.enabled_rules
    named = positions = dict(enumerate(rules))
    # No rule here looks at latest traits.
    asked = Asked(Looks(looks_directly, lambda trait, _: trait.column), DECIDED_AT)
    return [
        outcomes.insert_matches([matches(together(every_match(positions, Event.id >= 1, asked)), positions)]),
        *outcomes.suppress(rules),
        outcomes.insert_send_requests(0, WRITTEN_BESIDE, positions, has_verdicts=True),
        outcomes.insert_daily_sends_of_batch(rules, 0),
        outcomes.insert_suppressions(0, 0, WRITTEN_BESIDE, has_refusals=True, has_verdicts=True),
        again.insert_events_again(named, DAY, DECIDED_AT),
        outcomes.insert_matches([again.matches_again(positions, named, 1, DECIDED_AT, asked)]),
        again.keep_former_suppressions(1),
        again.delete_former_suppressions(1),
    ]


def test_the_same_statements_are_sql_for_postgresql(rules_file):
    compiled = [str(statement.compile(dialect=POSTGRESQL)) for statement in statements(rules_file)]

    everything = "\n".join(compiled)
    assert len(compiled) == 11
    assert "AS interval)" in everything
    assert "date_trunc('day'" in everything
    assert "strftime" not in everything
    assert "+events" not in everything


def test_the_rules_together_look_through_the_pending_events_once_where_that_is_asked(rules_file):
    positions = dict(enumerate(rules_file.enabled_rules))
    asked = Asked(Looks(looks_directly, lambda trait, _: trait.column), DECIDED_AT)
    for reads_once, times in ((False, len(positions)), (True, 1)):
        queries = every_match(positions, Event.id >= 1, asked, read_once=reads_once)
        sql = str(outcomes.insert_matches([matches(together(queries), positions)]).compile(dialect=POSTGRESQL))
        assert len(re.findall(r"FROM events\b(?! AS prior)", sql)) == times, sql


def test_earlier_sends_with_other_keys_are_not_looked_for_where_there_are_none(rules_file):
    for has_other_keys in (True, False):
        statements = outcomes.suppress(rules_file.enabled_rules, has_other_keys=has_other_keys)
        sql = "\n".join(str(statement.compile(dialect=POSTGRESQL)) for statement in statements)
        assert ("substr(dedupe_key" in sql) == has_other_keys
        assert "send_requests.dedupe_key = " in sql


def test_no_value_of_a_rule_is_written_into_the_sql(rules_file):
    for statement in statements(rules_file):
        sql = str(statement.compile(dialect=POSTGRESQL))
        for rule_read in rules_file.rules:
            for word in (rule_read.name, rule_read.trigger.event_type, rule_read.action.template_name):
                assert f"'{word}'" not in sql
