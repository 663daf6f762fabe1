"""The schema's history: every step, both ways, on a database that holds rows."""

import configparser
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, Inspector, inspect

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure import migrations
from src.marketing_messaging_service.infrastructure.database import Base, create_database_engine, read_transaction
from src.marketing_messaging_service.infrastructure.migrations import alembic_config, upgrade_to_head
from src.marketing_messaging_service.self_check.batches import BATCH_INVARIANTS
from src.marketing_messaging_service.self_check.check import check_database
from src.marketing_messaging_service.self_check.structure import timestamp_columns

REPOSITORY = Path(__file__).resolve().parents[2]
ALEMBIC_INI = REPOSITORY / "alembic.ini"

REVISIONS = [script.revision for script in ScriptDirectory(str(REPOSITORY / "alembic")).walk_revisions()][::-1]
STEPS = list(pairwise(REVISIONS))

SEED_TABLES = ("events", "event_properties", "user_traits", "send_requests", "suppressions")

NOT_DATA = ("alembic_version", "data_dictionary")
"""Tables that hold what the code says of itself, written by the newest revision alone."""

Row = dict[str, Any]
Tables = dict[str, list[Row]]

TIME = "2026-03-01 10:00:00.250000"

ROWS_BEFORE_LEDGER: Tables = {
    "events": [
        {"id": 1, "user_id": "001", "event_type": "signup_completed", "event_timestamp": TIME},
        {"id": 2, "user_id": "001", "event_type": "payment_failed", "event_timestamp": "2026-03-01 11:00:00"},
        {"id": 7, "user_id": "zoë", "event_type": "app_opened", "event_timestamp": TIME, "created_at": TIME},
    ],
    "event_properties": [
        {"id": 1, "event_id": 2, "amount": 9.5, "attempt_number": 3, "failure_reason": "INSUFFICIENT_FUNDS"}
    ],
    "user_traits": [
        {"id": 1, "event_id": 1, "email": "a@b.c", "country": "BR", "marketing_opt_in": 1, "risk_segment": "low"},
        {"id": 2, "event_id": 2, "email": None, "country": None, "marketing_opt_in": 0, "risk_segment": None},
    ],
    "send_requests": [
        {
            "id": number,
            "user_id": "001",
            "event_id": event_id,
            "template_name": "T",
            "channel": "email",
            "reason": reason,
        }
        for number, event_id, reason in [
            (1, 1, "rule:welcome_email"),
            (2, 1, "rule:welcome_email"),
            (3, 1, "RULE:welcome_email"),
            (4, None, "rule:welcome_email"),
            (5, None, "rule:welcome_email"),
            (6, 2, "by hand"),
            (7, 2, "rule:" + "long" * 17),
        ]
    ],
    "suppressions": [
        {"id": number, "user_id": "001", "event_id": event_id, "template_name": "T", "suppression_reason": "once_ever"}
        for number, event_id in [(1, 2), (2, 2), (3, None)]
    ],
}

ROWS_WITH_LEDGER: Tables = {
    "rulesets": [{"id": 1, "content_hash": "r", "yaml_text": "rules: []", "first_used_at": TIME}],
    "source_files": [
        {"id": 1, "content_hash": "f", "path": "a.jsonl", "size_bytes": 1, "modified_at": TIME, "file_signature": "s"}
        | {"taken_at": TIME}
    ],
    "loads": [
        {"id": 1, "source_file_id": 1, "as_of": TIME, "flow_run_id": None, "state": "decided", "loaded_at": TIME}
        | {"read_count": 4, "inserted_count": 1, "duplicate_count": 1, "conflict_count": 1, "rejected_count": 1}
        | {"blank_count": 1, "first_event_id": 9, "last_event_id": 9, "decided_at": TIME, "ruleset_id": 1}
    ],
    "events": [
        {"id": 9, "user_id": "u", "event_type": "app_opened", "event_timestamp": TIME, "created_at": TIME}
        | {"message_id": "m9", "load_id": 1}
    ],
    "event_properties": [{"id": 9, "event_id": 9, "amount": 1.0, "attempt_number": None, "failure_reason": None}],
    "user_traits": [
        {"id": 9, "event_id": 9, "email": None, "country": "NO", "marketing_opt_in": None, "risk_segment": None}
    ],
    "rejected_rows": [
        {"id": 1, "load_id": 1, "line_number": 3, "raw_line": "{", "raw_bytes": b"{\xff", "reason_code": "invalid_json"}
        | {"field_name": None, "explanation": "is not JSON"}
    ],
    "conflicts": [{"load_id": 1, "line_number": 2, "event_id": 9, "differing_fields": "amount"}],
    "unknown_keys": [{"load_id": 1, "key_path": "properties.coupon", "occurrence_count": 2}],
}

ROWS_WITH_EXPLANATION: Tables = {
    "send_requests": [
        {"id": 9, "user_id": "u", "event_id": 9, "template_name": "T", "channel": "email", "reason": "rule:welcome"}
        | {"decided_at": TIME, "rule_name": "welcome", "ruleset_id": 1, "event_timestamp": TIME, "dedupe_key": "ever"}
    ],
    "suppressions": [
        {"id": 9, "user_id": "u", "event_id": 9, "template_name": "T", "suppression_reason": "once_ever"}
        | {"decided_at": TIME, "rule_name": "welcome", "ruleset_id": 1, "event_timestamp": TIME}
        | {"blocked_by_send_request_id": 9}
    ],
}

ROWS_ABOUT_RULES: Tables = {
    "ruleset_rules": [
        {"ruleset_id": 1, "rule_name": "welcome", "rule_position": 1, "description": "", "is_enabled": 1}
        | {
            "trigger_event_type": "app_opened",
            "template_name": "T",
            "channel": "email",
            "suppression_mode": "once_ever",
        }
    ],
}

ROWS_ABOUT_RUNS: Tables = {
    "runs": [
        {
            "id": number,
            "flow_name": "backfill",
            "mode": mode,
            "as_of": TIME,
            "window_start_at": TIME,
            "window_end_at": TIME,
        }
        | {"source": "archive", "max_event_age_hours": 72, "oldest_event_at": TIME, "max_rejected_percent": 5.0}
        | {"flow_run_id": "r", "flow_run_name": "backfill", "started_at": TIME, "ended_at": TIME, "state": "completed"}
        | {"message": "done", "known_file_count": 0, "outside_file_count": 0, "decided_count": 1, "decide_seconds": 0.1}
        | {"ruleset_id": ruleset_id}
        for number, mode, ruleset_id in [(1, "load only", None), (2, "load and decide", 1)]
    ],
    "run_remarks": [
        {"run_id": 1, "remark_position": 1, "kind": "waiting", "subject": "b.jsonl", "explanation": "is being written"}
    ],
    "source_files": [
        {"id": 2, "content_hash": "g", "path": "b.jsonl", "size_bytes": 1, "modified_at": TIME, "file_signature": "t"}
        | {"taken_at": TIME}
    ],
    "loads": [
        {"id": number, "source_file_id": 2, "as_of": TIME, "flow_run_id": "r", "state": "decided", "loaded_at": TIME}
        | {"read_count": 1, "inserted_count": 1, "duplicate_count": 0, "conflict_count": 0, "rejected_count": 0}
        | {"blank_count": 0, "outside_count": 0, "first_event_id": event_id, "last_event_id": event_id}
        | {"decided_at": TIME, "ruleset_id": ruleset_id, "run_id": 1, "load_seconds": 0.1}
        for number, event_id, ruleset_id in [(2, 10, 1)]
    ],
    "events": [
        {"id": number, "user_id": "u", "event_type": "app_opened", "event_timestamp": TIME, "created_at": TIME}
        | {"message_id": f"m{number}", "load_id": load_id}
        for number, load_id in [(10, 2)]
    ],
    "held_events": [{"event_id": 10, "run_id": 2}],
    "run_leases": [
        {"lease_position": 1, "holder_id": "h", "holder_name": "hourly", "flow_run_id": "r", "host_name": "here"}
        | {"process_number": 1, "acquired_at": TIME, "renewed_at": TIME, "expires_at": TIME}
    ],
}

ROWS_DECIDED_AGAIN: Tables = {
    "batch_rules": [{"batch_id": 1, "rule_name": "welcome"}],
    "former_suppressions": [
        {"id": 8, "user_id": "u", "event_id": 9, "template_name": "T", "suppression_reason": "expired"}
        | {"decided_at": TIME, "rule_name": "nudge", "ruleset_id": 1, "run_id": 2, "event_timestamp": TIME}
        | {"batch_id": 1}
    ],
}

ROWS_ABOUT_LEFT_OUT_VALUES: Tables = {
    "left_out_values": [
        {"load_id": 1, "line_number": 1, "field_path": "user_traits.country", "event_id": 9, "explanation": "too long"}
    ],
}

ROWS_ABOUT_REPLAYS: Tables = {
    "replay_counts": [{"run_id": 2, "reason_code": "invalid_json", "outcome": "taken", "line_count": 1}],
}
ROWS_ABOUT_SHARDS: Tables = {
    "batch_shards": [
        {"batch_id": 1, "shard_number": number, "last_load_id": 2, "decided_at": TIME, "decide_seconds": 0.1}
        | {"send_request_count": 1, "suppression_count": 0}
        for number in (1, 2)
    ],
}


ROWS_FROM = {
    "0001": ROWS_BEFORE_LEDGER,
    "0002": ROWS_WITH_LEDGER,
    "0003": ROWS_WITH_EXPLANATION,
    "0004": ROWS_ABOUT_RULES,
    "0005": ROWS_ABOUT_RUNS,
    "0016": ROWS_DECIDED_AGAIN,
    "0017": ROWS_ABOUT_LEFT_OUT_VALUES,
    "0020": ROWS_ABOUT_REPLAYS,
    "0023": ROWS_ABOUT_SHARDS,
}
"""The rows that each revision made room for; a revision that makes none is not here."""

NO_WAY_BACK = ("waiting_matches", "ended_waits")
"""Tables whose rows refuse a downgrade, so that these tests have none on their way; see what the refusal says."""

ROWS_AT = {
    revision: [ROWS_FROM.get(earlier, {}) for earlier in REVISIONS[: number + 1]]
    for number, revision in enumerate(REVISIONS)
}
"""What to put in a database of each revision; a row from before a revision is put in before it is applied."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a database that does not exist yet."""
    return tmp_path / "history.db"


def url_of(path: Path) -> str:
    """The URL of a database file."""
    return f"sqlite:///{path}"


def upgrade(path: Path, revision: str) -> None:
    """Upgrade to a revision."""
    command.upgrade(alembic_config(url_of(path)), revision)


def downgrade(path: Path, revision: str) -> None:
    """Downgrade to a revision."""
    command.downgrade(alembic_config(url_of(path)), revision)


def revision_of(path: Path) -> list[str]:
    """The revisions that a database file says it is at."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]


def insert_rows(path: Path, tables: Tables) -> None:
    """Insert rows by their column names, in the order given; what is left out takes the column's default."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=ON")
        for table, rows in tables.items():
            for row in rows:
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values()))


def populate(path: Path, revision: str) -> None:
    """Create a database at a revision, with rows put in at every revision on the way."""
    path.write_bytes(_populated(revision))


@cache
def _populated(revision: str) -> bytes:
    """The file of such a database, made once out of that of the revision before it."""
    position = REVISIONS.index(revision)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        if position > 0:
            populate(path, REVISIONS[position - 1])
        upgrade(path, revision)
        insert_rows(path, ROWS_AT[revision][position])
        assert files_beside(path) == []
        return path.read_bytes()


def rows_of(path: Path) -> Tables:
    """Every row of every table, in the order of the primary key."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")]
            for name in names
            if name not in NOT_DATA
        }


def with_six_decimals(value: Any) -> Any:
    """A value, but a timestamp of whole seconds with the decimals that the one format has."""
    is_short = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value)
    return f"{value}.000000" if is_short else value


def assert_kept(before: Tables, after: Tables) -> None:
    """Assert that every table in both has its rows still, equal in every column that it has still."""
    for table in before.keys() & after.keys():
        assert len(after[table]) == len(before[table]), table
        for old, new in zip(before[table], after[table], strict=True):
            shared = old.keys() & new.keys()
            assert {name: with_six_decimals(old[name]) for name in shared} == {
                name: with_six_decimals(new[name]) for name in shared
            }


def assert_sound(path: Path) -> None:
    """Assert that the file is whole and every row's parent is there."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class TestTheHistory:
    def test_has_one_head_and_one_base(self):
        script = ScriptDirectory(str(REPOSITORY / "alembic"))
        assert script.get_heads() == [REVISIONS[-1]]
        assert script.get_bases() == [REVISIONS[0]]

    def test_has_every_revision_that_these_tests_have_rows_for(self):
        assert ROWS_FROM.keys() <= set(REVISIONS)

    @pytest.mark.slow
    def test_goes_up_and_down_and_up_again(self, path):
        assert upgrade_to_head(url_of(path)) == REVISIONS
        schema = schema_of(create_database_engine(url_of(path)))
        downgrade(path, "base")
        assert rows_of(path) == {}
        assert revision_of(path) == []
        assert upgrade_to_head(url_of(path)) == REVISIONS
        assert schema_of(create_database_engine(url_of(path))) == schema

    @pytest.mark.parametrize(("lower", "upper"), STEPS)
    def test_each_downgrade_restores_the_schema_it_came_from(self, path, lower, upper):
        upgrade(path, lower)
        schema = schema_of(create_database_engine(url_of(path)))
        upgrade(path, upper)
        downgrade(path, lower)
        assert schema_of(create_database_engine(url_of(path))) == schema

    def test_at_its_head_finds_nothing_to_do(self, path):
        upgrade_to_head(url_of(path))
        before = path.read_bytes()
        assert upgrade_to_head(url_of(path)) == []
        assert path.read_bytes() == before


def schema_of(engine: Engine) -> dict[str, Any]:
    """All that the database knows of its tables, names of constraints included, in a form to compare."""
    with read_transaction(engine) as connection:
        inspector = inspect(connection)
        return {name: _table_of(inspector, name) for name in inspector.get_table_names() if name != "alembic_version"}


def _table_of(inspector: Inspector, name: str) -> dict[str, Any]:
    return {
        "columns": {
            column["name"]: (str(column["type"]), column["nullable"], column["default"])
            for column in inspector.get_columns(name)
        },
        "primary key": inspector.get_pk_constraint(name),
        "foreign keys": sorted(inspector.get_foreign_keys(name), key=str),
        "unique": sorted(inspector.get_unique_constraints(name), key=str),
        "checks": sorted(inspector.get_check_constraints(name), key=str),
        "indexes": sorted(
            (index["name"], index["column_names"], str(index["dialect_options"].get("sqlite_where")))
            for index in inspector.get_indexes(name)
        ),
    }


class TestModelsAndMigrations:
    def test_do_not_differ_by_alembics_own_comparison(self, engine):
        with read_transaction(engine) as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []

    def test_do_not_differ_in_any_column_default_check_or_index(self, engine, tmp_path):
        from_models = create_database_engine(f"sqlite:///{tmp_path}/models.db", create=True)
        Base.metadata.create_all(from_models)
        assert schema_of(engine) == schema_of(from_models)

    def test_both_have_the_checks_and_the_partial_index_of_loads(self, engine):
        loads = schema_of(engine)["loads"]
        checks = {"ck_loads_conflicts_are_duplicates", "ck_loads_counts_add_up", "ck_loads_state"}
        assert {check["name"] for check in loads["checks"]} == checks
        assert ("ix_loads_undecided", ["id"], "state = 'loaded'") in loads["indexes"]


class TestTheFirstRevision:
    @pytest.fixture
    def schema(self, path: Path) -> dict[str, Any]:
        """The schema at the first revision."""
        upgrade(path, REVISIONS[0])
        return schema_of(create_database_engine(url_of(path)))

    def test_creates_exactly_the_five_tables_of_the_seed(self, schema):
        assert sorted(schema) == sorted(SEED_TABLES)
        assert {name: list(table["columns"]) for name, table in schema.items()} == {
            "events": ["id", "user_id", "event_type", "event_timestamp", "created_at"],
            "event_properties": ["id", "event_id", "amount", "attempt_number", "failure_reason"],
            "user_traits": ["id", "event_id", "email", "country", "marketing_opt_in", "risk_segment"],
            "send_requests": ["id", "user_id", "event_id", "template_name", "channel", "reason", "decided_at"],
            "suppressions": ["id", "user_id", "event_id", "template_name", "suppression_reason", "decided_at"],
        }

    def test_lets_the_database_set_the_time_of_creation_and_decision(self, schema):
        defaults = {
            (table, name): default
            for table, parts in schema.items()
            for name, (_, _, default) in parts["columns"].items()
            if default is not None
        }
        assert defaults == {
            ("events", "created_at"): "CURRENT_TIMESTAMP",
            ("send_requests", "decided_at"): "CURRENT_TIMESTAMP",
            ("suppressions", "decided_at"): "CURRENT_TIMESTAMP",
        }

    def test_allows_an_event_one_row_of_properties_and_one_of_traits(self, schema):
        for table in ("event_properties", "user_traits"):
            assert [unique["column_names"] for unique in schema[table]["unique"]] == [["event_id"]]

    def test_links_children_to_their_event_and_decisions_loosely(self, schema):
        assert {
            name: [(key["referred_table"], key["options"]["ondelete"]) for key in table["foreign keys"]]
            for name, table in schema.items()
        } == {
            "events": [],
            "event_properties": [("events", "CASCADE")],
            "user_traits": [("events", "CASCADE")],
            "send_requests": [("events", "SET NULL")],
            "suppressions": [("events", "SET NULL")],
        }


@pytest.mark.slow
class TestAPopulatedDatabase:
    @pytest.mark.parametrize("revision", REVISIONS)
    def test_loses_no_row_on_its_way_to_head(self, path, revision):
        populate(path, revision)
        before = rows_of(path)
        upgrade_to_head(url_of(path))
        after = rows_of(path)
        assert set(SEED_TABLES) <= before.keys() <= after.keys()
        assert all(before[table] for table in before if table not in NO_WAY_BACK)
        assert_kept(before, after)
        assert_sound(path)

    @pytest.mark.parametrize(("lower", "upper"), STEPS)
    def test_loses_no_row_in_one_step_up(self, path, lower, upper):
        populate(path, lower)
        before = rows_of(path)
        upgrade(path, upper)
        after = rows_of(path)
        assert before.keys() <= after.keys()
        assert_kept(before, after)
        assert_sound(path)

    @pytest.mark.parametrize(("lower", "upper"), STEPS)
    def test_loses_no_row_of_the_tables_that_stay_in_one_step_down_and_up_again(self, path, lower, upper):
        populate(path, upper)
        before = rows_of(path)
        downgrade(path, lower)
        below = rows_of(path)
        assert set(SEED_TABLES) <= below.keys()
        assert_kept(before, below)
        assert_sound(path)
        upgrade(path, upper)
        assert_kept(below, rows_of(path))
        assert_sound(path)

    @pytest.mark.parametrize("revision", REVISIONS)
    def test_goes_down_to_base(self, path, revision):
        populate(path, revision)
        downgrade(path, "base")
        assert rows_of(path) == {}

    @pytest.mark.parametrize("revision", REVISIONS)
    def test_ends_with_every_timestamp_in_the_one_format(self, path, revision):
        populate(path, revision)
        upgrade_to_head(url_of(path))
        times: dict[str, list[str]] = defaultdict(list)
        for column in timestamp_columns():
            times[column.table.name].append(column.name)
        timestamps = [
            row[column]
            for table, rows in rows_of(path).items()
            for row in rows
            for column in times[table]
            if row[column] is not None
        ]
        assert len(timestamps) >= 20
        for timestamp in timestamps:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", timestamp)

    def test_keeps_every_send_of_an_event_that_was_sent_again_and_names_the_rule_of_the_first(self, path):
        populate(path, "0001")
        upgrade_to_head(url_of(path))
        names = {row["id"]: row["rule_name"] for row in rows_of(path)["send_requests"]}
        without_event = {4: "welcome_email", 5: "welcome_email"}
        assert names == {1: "welcome_email", 2: None, 3: None, 6: None, 7: None} | without_event

    def test_gives_earlier_decisions_the_time_of_their_event_or_else_of_the_decision(self, path):
        populate(path, "0001")
        upgrade_to_head(url_of(path))
        rows = rows_of(path)
        for table in ("send_requests", "suppressions"):
            for row in rows[table]:
                of_event = {1: TIME, 2: "2026-03-01 11:00:00.000000", None: row["decided_at"]}
                assert row["event_timestamp"] == of_event[row["event_id"]]

    def test_gives_earlier_events_and_sends_an_identity_that_no_new_one_can_have(self, path):
        populate(path, "0001")
        upgrade_to_head(url_of(path))
        rows = rows_of(path)
        assert [(row["message_id"], row["load_id"]) for row in rows["events"]] == [
            ("before-ledger:1", None),
            ("before-ledger:2", None),
            ("before-ledger:7", None),
        ]
        assert {row["dedupe_key"] for row in rows["send_requests"]} == {f"before-ledger:{id_}" for id_ in range(1, 8)}


RULES_BEFORE = """
rules:
  - {name: a, trigger: {event_type: e}, action: {type: send, template_name: A, delivery_method: sms}}
  - name: b
    description: Because
    enabled: false
    trigger: {event_type: f}
    action: {type: send, template_name: B, delivery_method: email}
    suppression: {mode: once_ever}
"""


class TestTheRevisionThatExplainsTheFile:
    def test_tells_the_rules_of_rulesets_from_before(self, path):
        upgrade(path, "0003")
        insert_rows(
            path, {"rulesets": [{"id": 4, "content_hash": "r", "yaml_text": RULES_BEFORE, "first_used_at": TIME}]}
        )
        upgrade_to_head(url_of(path))
        rules = [list(row.values())[:9] for row in rows_of(path)["ruleset_rules"]]
        assert rules == [
            [4, "a", 1, "", 1, "e", "A", "sms", "none"],
            [4, "b", 2, "Because", 0, "f", "B", "email", "once_ever"],
        ]

    def test_leaves_views_under_which_a_table_can_be_rebuilt(self, path):
        upgrade_to_head(url_of(path))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA legacy_alter_table=ON")
            connection.execute("CREATE TABLE rebuilt AS SELECT * FROM events")
            connection.execute("DROP TABLE events")
            connection.execute("ALTER TABLE rebuilt RENAME TO events")
            assert connection.execute("SELECT count(*) FROM user_timeline").fetchone() == (0,)


RULES_WITH_CONDITIONS = """
rules:
  - name: a
    exclusive_group: g
    trigger: {event_type: e}
    conditions:
      all:
        - {field: properties.attempt_number, operator: gte, value: 3}
        - {field: user_traits.marketing_opt_in, operator: equals, value: true}
        - {field: user_traits.country, operator: in, value: [FR, "NO"]}
        - {field: user_traits.email, operator: exists}
        - {prior_event: {event_type: signup_completed, hours: 24}}
    action: {type: send, template_name: A, delivery_method: sms}
"""


@pytest.mark.slow
class TestTheRevisionThatRecordsRuns:
    def part(self, number: int, **values: Any) -> Row:
        return (
            {"id": number, "source_file_id": 1, "as_of": TIME, "state": "decided", "loaded_at": TIME, "read_count": 5}
            | {"inserted_count": 1, "duplicate_count": 0, "conflict_count": 0, "rejected_count": 0, "blank_count": 1}
            | {"outside_count": 3, "first_event_id": number, "last_event_id": number}
            | values
        )

    def in_two_parts(self, path: Path, **values: Any) -> None:
        upgrade(path, "0005")
        insert_rows(
            path,
            {
                "rulesets": [{"id": 1, "content_hash": "r", "yaml_text": "rules: []", "first_used_at": TIME}],
                "runs": ROWS_ABOUT_RUNS["runs"],
                "source_files": ROWS_WITH_LEDGER["source_files"],
                "loads": [self.part(1), self.part(2, **values)],
                "events": [
                    {"id": number, "user_id": "u", "event_type": "e", "event_timestamp": TIME, "created_at": TIME}
                    | {"message_id": f"m{number}", "load_id": number}
                    for number in (1, 2)
                ],
            },
        )

    def test_tells_the_conditions_of_rulesets_from_before(self, path):
        upgrade(path, "0003")
        insert_rows(
            path,
            {"rulesets": [{"id": 4, "content_hash": "r", "yaml_text": RULES_WITH_CONDITIONS, "first_used_at": TIME}]},
        )
        upgrade_to_head(url_of(path))
        (rule,) = rows_of(path)["ruleset_rules"]
        assert (rule["condition_text"], rule["exclusive_group"]) == (
            "properties.attempt_number is at least 3 and user_traits.marketing_opt_in is true and user_traits.country "
            "is one of FR, NO and user_traits.email is there and a signup_completed in the 24 h before",
            "g",
        )

    @pytest.mark.parametrize("damaged", ["{", "7", "no_rules: []"])
    def test_passes_over_a_ruleset_whose_text_is_damaged(self, path, damaged):
        upgrade(path, "0004")
        insert_rows(path, {"rulesets": [{"id": 4, "content_hash": "r", "yaml_text": damaged, "first_used_at": TIME}]})
        upgrade_to_head(url_of(path))
        assert rows_of(path)["ruleset_rules"] == []

    def test_going_down_makes_one_load_of_the_parts_of_a_file(self, path):
        self.in_two_parts(path)
        insert_rows(path, {"held_events": [{"event_id": 1, "run_id": 2}]})
        downgrade(path, "0004")
        (load,) = rows_of(path)["loads"]
        names = ("read_count", "inserted_count", "blank_count", "first_event_id", "last_event_id", "ruleset_id")
        assert [load[name] for name in names] == [4, 2, 2, 1, 2, 1]
        assert [event["load_id"] for event in rows_of(path)["events"]] == [1, 1]
        assert_sound(path)

    def test_going_down_takes_a_file_again_that_was_not_taken_to_the_end(self, path):
        self.in_two_parts(path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM events WHERE load_id = 2")
            connection.execute("DELETE FROM loads WHERE id = 2")
        downgrade(path, "0004")
        (load,) = rows_of(path)["loads"]
        assert (load["read_count"], load["inserted_count"], load["blank_count"]) == (2, 1, 1)
        (file,) = rows_of(path)["source_files"]
        assert (file["content_hash"], file["file_signature"]) == ("part:1:f", "part")

    def test_going_down_keeps_a_file_known_that_was_taken_to_the_end(self, path):
        self.in_two_parts(path, read_count=2, outside_count=0)
        downgrade(path, "0004")
        (file,) = rows_of(path)["source_files"]
        assert (file["content_hash"], file["file_signature"]) == ("f", "s")

    def test_going_down_does_not_look_through_every_event_for_each_load(self, path):
        upgrade(path, "0005")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            connection.execute(
                f"{numbers} INSERT INTO source_files SELECT i, 'h' || i, 'p', 1, '{TIME}', 's', '{TIME}' FROM n"
            )
            connection.execute(
                f"{numbers} INSERT INTO loads (source_file_id, as_of, state, read_count, inserted_count, "
                "duplicate_count, conflict_count, rejected_count, blank_count, outside_count, first_event_id, "
                "last_event_id, loaded_at) "
                f"SELECT i, '{TIME}', 'decided', 2, 1, 0, 0, 0, 0, 1, i, i, '{TIME}' FROM n"
            )
            connection.execute(
                f"{numbers} INSERT INTO events (id, message_id, user_id, event_type, event_timestamp, load_id) "
                f"SELECT i, 'm' || i, 'u', 'e', '{TIME}', i FROM n"
            )
            connection.execute(f"{numbers} INSERT INTO held_events SELECT i, NULL FROM n")
            connection.execute(
                "INSERT INTO runs (id, flow_name, mode, as_of, source, max_rejected_percent, started_at, state) "
                f"VALUES (1, 'backfill', 'load and decide', '{TIME}', '', 5, '{TIME}', 'completed')"
            )
            connection.execute("UPDATE held_events SET run_id = 1")
        began = time.monotonic()
        downgrade(path, "0004")
        assert time.monotonic() - began < 5

    def test_going_down_is_refused_while_held_events_wait(self, path):
        self.in_two_parts(path, state="held")
        insert_rows(path, {"held_events": [{"event_id": 2, "run_id": None}]})
        before = rows_of(path)
        with pytest.raises(DatabaseError, match="1 events wait in held_events"):
            downgrade(path, "0004")
        assert rows_of(path) == before

    def test_going_down_is_refused_while_a_part_of_a_file_waits(self, path):
        self.in_two_parts(path, state="loaded")
        with pytest.raises(DatabaseError, match="1 loads of a part of a file wait for a decision"):
            downgrade(path, "0004")


class TestTheRevisionThatRecordsBatches:
    """Batches of the past, put together of loads, held events, runs and decisions."""

    def at(self, minute: int) -> str:
        return f"2026-03-01 10:{minute:02}:00.000000"

    def run(self, number: int, minute: int, ruleset_id: int | None = 1, **values: Any) -> Row:
        return (
            {"id": number, "flow_name": "hourly", "mode": "load and decide", "as_of": self.at(minute), "source": "s"}
            | {"max_rejected_percent": 5.0, "started_at": self.at(minute), "state": "completed"}
            | {"decide_seconds": 0.5, "ruleset_id": ruleset_id}
            | values
        )

    def load(self, number: int, decided_minute: int | None, ruleset_id: int | None = 1, **values: Any) -> Row:
        decided_at = None if decided_minute is None else self.at(decided_minute)
        return (
            {"id": number, "source_file_id": number, "as_of": TIME, "loaded_at": TIME, "read_count": 2}
            | {"inserted_count": 2, "duplicate_count": 0, "conflict_count": 0, "rejected_count": 0, "blank_count": 0}
            | {"state": "decided" if decided_at else "loaded", "decided_at": decided_at, "ruleset_id": ruleset_id}
            | values
        )

    def upgraded(self, path: Path, loads: list[Row], runs: list[Row] = [], **tables: list[Row]) -> Tables:  # noqa: B006
        upgrade(path, "0007")
        ruleset = {"yaml_text": "", "first_used_at": TIME}
        file = {"path": "p", "size_bytes": 1, "modified_at": TIME, "file_signature": "s", "taken_at": TIME}
        insert_rows(
            path,
            {
                "rulesets": [{"id": number, "content_hash": f"r{number}"} | ruleset for number in (1, 2)],
                "runs": runs,
                "source_files": [{"id": load["id"], "content_hash": f"f{load['id']}"} | file for load in loads],
                "loads": loads,
                **tables,
            },
        )
        upgrade(path, "0008")
        return rows_of(path)

    def test_loads_decided_at_one_moment_are_one_batch_of_the_run_that_was_at_work(self, path):
        loads = [self.load(1, 5), self.load(2, 5), self.load(3, 15, 2), self.load(4, None, None)]
        rows = self.upgraded(path, loads, [self.run(1, 0), self.run(2, 10, 2, oldest_event_at=TIME)])
        assert [(b["run_id"], b["as_of"], b["ruleset_id"], b["event_count"]) for b in rows["batches"]] == [
            (1, self.at(0), 1, 4),
            (2, self.at(10), 2, 2),
        ]
        assert [batch["oldest_event_at"] for batch in rows["batches"]] == [None, TIME]
        assert [(batch["decided_at"], batch["decide_seconds"]) for batch in rows["batches"]] == [
            (self.at(5), 0.5),
            (self.at(15), 0.5),
        ]
        assert [load["batch_id"] for load in rows["loads"]] == [1, 1, 2, None]

    def test_a_batch_from_before_runs_were_recorded_knows_none(self, path):
        rows = self.upgraded(path, [self.load(1, 5), self.load(2, 6, 2)], [self.run(1, 6, 1)])
        assert [(batch["run_id"], batch["as_of"], batch["decide_seconds"]) for batch in rows["batches"]] == [
            (None, None, None),
            (None, None, None),
        ]

    def test_the_run_that_decisions_name_counts_more_than_the_clock(self, path):
        decision = {"user_id": "u", "template_name": "T", "channel": "email", "reason": "rule:r", "rule_name": "r"}
        event = {"id": 1, "message_id": "m", "user_id": "u", "event_type": "e", "event_timestamp": TIME, "load_id": 1}
        rows = self.upgraded(
            path,
            [self.load(1, 5), self.load(2, 7)],
            [self.run(1, 0), self.run(2, 6)],
            events=[event | {"created_at": TIME}],
            send_requests=[
                decision
                | {"event_id": 1, "event_timestamp": TIME, "dedupe_key": "ever", "decided_at": self.at(7)}
                | {"run_id": 1, "ruleset_id": 1}
            ],
        )
        assert [(batch["decided_at"], batch["run_id"]) for batch in rows["batches"]] == [
            (self.at(5), None),
            (self.at(7), 1),
        ]

    def test_two_runs_that_decided_at_one_moment_have_a_batch_each_and_the_check_holds(self, path):
        in_time: Row = {"started_at": self.at(5), "ended_at": self.at(5)}
        rows = self.upgraded(
            path,
            [self.load(1, 5, run_id=1), self.load(2, 5, run_id=2), self.load(3, 5, run_id=1)],
            [self.run(1, 5, decided_count=4, **in_time), self.run(2, 5, decided_count=2, **in_time)],
        )
        assert [(batch["run_id"], batch["event_count"]) for batch in rows["batches"]] == [(1, 4), (2, 2)]
        assert [load["batch_id"] for load in rows["loads"]] == [1, 2, 1]

        upgrade_to_head(url_of(path))
        of_batches = [each for each in BATCH_INVARIANTS if each.name in ("batch_of_the_run", "named_batch")]
        assert [each.breach_count for each in check_database(url_of(path), of_batches).findings] == [0, 0]

    def test_held_events_are_of_the_batch_of_their_run_together_with_its_loads(self, path):
        events = [
            {"id": number, "message_id": f"m{number}", "user_id": "u", "event_type": "e", "event_timestamp": TIME}
            | {"created_at": TIME, "load_id": 1}
            for number in (1, 2, 3)
        ]
        rows = self.upgraded(
            path,
            [self.load(1, None, None, state="held"), self.load(2, 15)],
            [self.run(1, 0), self.run(2, 10)],
            events=events,
            held_events=[{"event_id": 1, "run_id": 1}, {"event_id": 2, "run_id": 2}, {"event_id": 3, "run_id": None}],
        )
        assert [(b["run_id"], b["event_count"], b["held_count"], b["decided_at"]) for b in rows["batches"]] == [
            (1, 1, 1, None),
            (2, 3, 1, self.at(15)),
        ]
        assert [held["batch_id"] for held in rows["held_events"]] == [1, 2, None]


class TestTheRevisionThatComparesTimesAsText:
    QUESTION = (
        "SELECT sum(event_timestamp >= '2026'), sum(event_timestamp < '2026'), sum(event_timestamp > '2027') FROM "
    )

    def answers(self, path: Path) -> list[tuple[int, int, int]]:
        with closing(sqlite3.connect(path)) as connection:
            return [connection.execute(self.QUESTION + table).fetchone() for table in TIMED]

    def test_lets_every_time_be_compared_with_text(self, path):
        populate(path, "0009")
        with closing(sqlite3.connect(path)) as connection, connection:
            for table in TIMED:
                connection.execute(f"UPDATE {table} SET event_timestamp = '2025-12-31 23:59:59.999999' WHERE id = 1")
        assert all(before == 0 for _, before, _ in self.answers(path))
        upgrade_to_head(url_of(path))
        answers = self.answers(path)
        assert [before for _, before, _ in answers] == [1, 1, 1]
        assert all(since > 0 and later == 0 for since, _, later in answers)

    def test_changes_no_row(self, path):
        populate(path, "0009")
        before = rows_of(path)
        upgrade(path, "0010")
        assert rows_of(path) == before
        downgrade(path, "0009")
        assert rows_of(path) == before
        assert_sound(path)

    def test_leaves_no_time_that_sqlite_takes_for_a_kind_of_number(self, path):
        upgrade_to_head(url_of(path))
        with closing(sqlite3.connect(path)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            types = {kind for table in tables for _, _, kind, *_ in connection.execute(f"PRAGMA table_info({table})")}
        assert not {kind for kind in types if "DATE" in kind or "TIME" in kind}


TIMED = ("events", "send_requests", "suppressions")


class TestTheRevisionThatReadsRefusedFilesAgain:
    LOAD = (
        "INSERT INTO loads (id, source_file_id, as_of, state, read_count, inserted_count, duplicate_count, "
        f"conflict_count, rejected_count, blank_count, loaded_at) SELECT {{0}}, {{1}}, '{TIME}', 'decided', "
        f"{{2}} + {{3}} + {{4}}, {{2}}, {{3}}, 0, {{4}}, 0, '{TIME}'"
    )
    FILE = (
        "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at) "
        f"VALUES ({{0}}, 'h{{0}}', 'p', 1, '{TIME}', 's', '{TIME}')"
    )
    LINE = (
        "INSERT INTO rejected_rows (load_id, line_number, raw_line, reason_code, explanation) "
        "VALUES ({}, {}, '{{', '{}', '')"
    )

    def execute(self, path: Path, *statements: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def question(self, path: Path, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(sql).fetchall()

    def test_finds_the_files_of_which_no_line_could_be_read(self, path):
        upgrade(path, "0012")
        # Inserted, duplicate and rejected lines of each file.
        for file_id, counts in enumerate([(0, 0, 2), (1, 0, 1), (0, 1, 1), (0, 0, 0)], start=1):
            self.execute(path, self.FILE.format(file_id), self.LOAD.format(file_id, file_id, *counts))
        self.execute(path, self.LINE.format(1, 2, "invalid_json"), self.LINE.format(1, 1, "invalid_utf8"))
        self.execute(path, self.LINE.format(2, 1, "invalid_json"), self.LINE.format(3, 1, "invalid_json"))
        upgrade(path, "0013")
        assert self.question(path, "SELECT id, refused_code, reader_number, read_at FROM source_files") == [
            (1, "invalid_utf8", 0, None),
            (2, None, 0, None),
            (3, None, 0, None),
            (4, None, 0, None),
        ]

    def test_lets_such_a_file_be_taken_by_another_load_and_no_other_file(self, path):
        upgrade(path, "0013")
        self.execute(path, self.FILE.format(1), self.LOAD.format(1, 1, 0, 0, 1), self.LOAD.format(2, 1, 1, 0, 0))
        with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: loads\.source_file_id"):
            self.execute(path, self.LOAD.format(3, 1, 0, 1, 1))

    def test_going_back_forgets_the_load_in_vain_of_a_file_that_was_taken_later_and_no_other(self, path):
        upgrade(path, "0013")
        for file_id in (1, 2):
            self.execute(path, self.FILE.format(file_id), self.LOAD.format(file_id, file_id, 0, 0, 1))
            self.execute(path, self.LINE.format(file_id, 1, "utf_16"))
        self.execute(path, self.LOAD.format(3, 1, 1, 0, 0))
        downgrade(path, "0012")
        assert self.question(path, "SELECT id FROM loads") == [(2,), (3,)]
        assert self.question(path, "SELECT load_id FROM rejected_rows") == [(2,)]
        assert_sound(path)

    def test_counts_one_file_for_each_remark_of_before_and_keeps_every_kind_on_the_way_back(self, path):
        populate(path, "0012")
        upgrade(path, "0013")
        assert self.question(path, "SELECT kind, file_count FROM run_remarks") == [("waiting", 1)]
        self.execute(path, "INSERT INTO run_remarks VALUES (1, 2, 'passed_over', '_SUCCESS', '', 1)")
        downgrade(path, "0012")
        assert self.question(path, "SELECT kind FROM run_remarks") == [("waiting",), ("ignored",)]


class TestTheRevisionThatKeepsCollisions:
    def test_leaves_what_was_counted_as_a_duplicate_before_as_it_was(self, path):
        populate(path, "0013")
        before = rows_of(path)
        upgrade(path, "0014")
        assert_kept(before, rows_of(path))
        assert {load["collision_count"] for load in rows_of(path)["loads"]} == {0}
        assert {row["event_id"] for row in rows_of(path)["rejected_rows"]} == {None}

    def test_going_down_counts_a_collision_as_a_rejected_line_and_coming_again_finds_it(self, path):
        populate(path, "0014")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "UPDATE loads SET duplicate_count = 0, conflict_count = 0, collision_count = 1 WHERE id = 1"
            )
            connection.execute(
                "INSERT INTO rejected_rows VALUES (2, 1, 2, ?, NULL, 'message_id_collision', 'message_id', 'x', 9)",
                ['{"message_id": "m9"}'],
            )
        before = rows_of(path)
        downgrade(path, "0013")
        assert [load["rejected_count"] for load in rows_of(path)["loads"] if load["id"] == 1] == [2]
        upgrade(path, "0014")
        assert rows_of(path) == before
        assert_sound(path)


class TestTheRevisionThatLetsRulesDecideAgain:
    def test_going_down_leaves_every_decision_as_it_is(self, path):
        populate(path, "0016")
        before = rows_of(path)
        downgrade(path, "0015")
        assert_kept(before, rows_of(path))
        assert_sound(path)
        upgrade(path, "0016")
        assert {batch["again_count"] for batch in rows_of(path)["batches"]} == {0}


class TestTheRevisionThatKnowsWhatWasLeftOut:
    def test_going_down_counts_a_dropped_line_as_a_blank_one(self, path):
        populate(path, "0017")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE loads SET read_count = read_count + 2, dropped_count = 2 WHERE id = 1")
        downgrade(path, "0016")
        assert [load["blank_count"] for load in rows_of(path)["loads"]] == [3, 0]
        assert_sound(path)


class TestTheRevisionThatSpeaksTheRuleLanguage:
    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO waiting_matches VALUES (9, 'later', '2026-03-01 12:00:00.000000', 0, 1)",
            "INSERT INTO ended_waits VALUES (9, 'later', '2026-03-01 12:00:00.000000', 0, 1, 1, 'lapsed')",
            "UPDATE send_requests SET decision_time = event_timestamp WHERE id = 9",
            "UPDATE send_requests SET is_exempt_from_limits = 1 WHERE id = 9",
            "UPDATE suppressions SET decision_time = event_timestamp WHERE id = 9",
            "UPDATE suppressions SET blocked_by_event_id = 9 WHERE id = 9",
        ],
    )
    def test_does_not_go_down_where_the_new_language_has_decided(self, path, statement):
        populate(path, "0018")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        before = path.read_bytes()
        with pytest.raises(DatabaseError, match="or go back to a copy from before"):
            downgrade(path, "0017")
        assert path.read_bytes() == before
        assert_sound(path)

    def test_keeps_every_decision_on_the_way_up_and_down(self, path):
        populate(path, "0017")
        before = rows_of(path)
        upgrade(path, "0018")
        assert_kept(before, rows_of(path))
        downgrade(path, "0017")
        assert rows_of(path) == before


UPGRADE_WHEN_TOLD = """
import sys
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
print("ready", flush=True)
sys.stdin.readline()
print(*upgrade_to_head(sys.argv[1]))
"""


class TestTwoUpgradesAtOnce:
    @pytest.mark.slow
    @pytest.mark.parametrize("populated", [False, True], ids=["new database", "populated database"])
    def test_both_end_well_and_each_migration_runs_once(self, path, populated):
        if populated:
            populate(path, REVISIONS[0])
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", UPGRADE_WHEN_TOLD, url_of(path)],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            outputs.append(process.communicate(timeout=60)[0].split())
            assert process.returncode == 0
        assert sorted(outputs) == [[], REVISIONS[1:] if populated else REVISIONS]
        assert revision_of(path) == [REVISIONS[-1]]
        assert_sound(path)


@pytest.mark.slow
class TestTheAlembicCommand:
    def run(self, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run alembic in a folder, as a person would, with some variables more."""
        return subprocess.run(
            [sys.executable, "-m", "alembic", "-c", str(ALEMBIC_INI), *arguments],
            cwd=folder,
            env=dict(os.environ) | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_takes_the_database_from_the_environment(self, tmp_path):
        done = self.run(tmp_path, "upgrade", "head", DATABASE_URL="sqlite:///from_environment.db")
        assert done.returncode == 0, done.stderr
        assert revision_of(tmp_path / "from_environment.db") == [REVISIONS[-1]]

    def test_takes_the_database_from_an_env_file(self, tmp_path):
        (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///from_file.db\n", encoding="utf-8")
        done = self.run(tmp_path, "upgrade", "head")
        assert done.returncode == 0, done.stderr
        assert revision_of(tmp_path / "from_file.db") == [REVISIONS[-1]]

    @pytest.mark.slow
    def test_takes_messaging_db_in_the_current_folder_without_either_and_back_to_base(self, tmp_path):
        done = self.run(tmp_path, "upgrade", "head")
        assert done.returncode == 0, done.stderr
        assert "Running upgrade 0001 -> 0002, add load ledger" in done.stderr
        assert revision_of(tmp_path / "messaging.db") == [REVISIONS[-1]]
        assert self.run(tmp_path, "downgrade", "base").returncode == 0
        assert rows_of(tmp_path / "messaging.db") == {}

    def test_finds_no_url_in_its_ini_file(self):
        ini = configparser.ConfigParser(interpolation=None)
        ini.read(ALEMBIC_INI, encoding="utf-8")
        assert all("url" not in name.lower() for section in ini.sections() for name in ini.options(section))
        assert "sqlite:" not in ALEMBIC_INI.read_text(encoding="utf-8")

    def test_refuses_to_write_sql_with_a_sentence(self, tmp_path):
        done = self.run(tmp_path, "upgrade", "head", "--sql")
        assert done.returncode != 0
        assert "--sql is not supported: rebuilding SQLite tables needs the database itself" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "messaging.db").exists()

    def test_tells_a_wrong_setting_in_a_sentence_without_its_password(self, tmp_path):
        done = self.run(tmp_path, "upgrade", "head", DATABASE_URL="mysql://ana:hunter2@localhost/db")
        assert done.returncode != 0
        assert "DATABASE_URL: names a mysql database" in done.stderr
        assert "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr + done.stdout


class TestAnUpgradeFromCode:
    def test_leaves_the_logging_of_the_program_as_it_is(self, path):
        logger = logging.getLogger("somebody.elses")
        root = logging.getLogger()
        before = (list(root.handlers), root.level)
        upgrade_to_head(url_of(path))
        assert not logger.disabled
        assert (list(root.handlers), root.level) == before

    def test_does_not_read_the_settings(self, path, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "sqlite:///wrong.db")
        upgrade_to_head(url_of(path))
        assert path.exists()
        assert not Path("wrong.db").exists()

    def test_of_a_file_that_is_not_sqlite_says_so_and_leaves_it_untouched(self, path):
        path.write_bytes(b"user_id,event_type\n" * 100)
        with pytest.raises(
            DatabaseError, match=r"cannot be used: file is not a database\. Check that DATABASE_URL names"
        ):
            upgrade_to_head(url_of(path))
        assert path.read_bytes() == b"user_id,event_type\n" * 100
        assert files_beside(path) == []

    def test_of_a_file_in_a_missing_folder_says_so(self, tmp_path):
        with pytest.raises(DatabaseError, match="cannot be used: unable to open database file"):
            upgrade_to_head(f"sqlite:///{tmp_path}/missing/messaging.db")

    def test_of_a_database_with_an_unknown_newer_revision_says_so_and_leaves_it_untouched(self, path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
            connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        before = path.read_bytes()
        with pytest.raises(DatabaseError, match=r"not one this version knows \(.*'9999'.*\)\. Run the newest version"):
            upgrade_to_head(url_of(path))
        assert path.read_bytes() == before
        assert files_beside(path) == []

    def test_of_somebody_elses_database_says_so_and_leaves_it_untouched(self, path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE events (id INTEGER)")
        before = path.read_bytes()
        with pytest.raises(DatabaseError, match=r"holds tables \(events\) but no record of this project's migrations"):
            upgrade_to_head(url_of(path))
        assert path.read_bytes() == before

    def test_of_rows_without_a_parent_says_where_they_are_and_keeps_everything(self, path):
        populate(path, "0001")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO user_traits (event_id, country) VALUES (99, 'NO')")
        before = rows_of(path)
        with pytest.raises(
            DatabaseError, match="1 rows in user_traits have no parent, so the database was not migrated"
        ):
            upgrade_to_head(url_of(path))
        assert rows_of(path) == before
        assert revision_of(path) == ["0001"]


def files_beside(path: Path) -> list[Path]:
    """The other files in a database's folder."""
    return [other for other in path.parent.iterdir() if other != path]


FAILING_MIGRATION = f'''
"""fail half-way"""

import sqlalchemy as sa

from alembic import op

revision = "9999"
down_revision = "{REVISIONS[-1]}"


def upgrade():
    with op.batch_alter_table("events") as batch:
        batch.add_column(sa.Column("colour", sa.Text()))
    op.execute("DELETE FROM user_traits")
    op.execute("INSERT INTO no_such_table VALUES (1)")
'''


@pytest.mark.slow
class TestAMigrationThatFails:
    @pytest.fixture(autouse=True)
    def _failing_history(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put a failing migration after the last one, in a copy of the history."""
        history = tmp_path / "history"
        shutil.copytree(REPOSITORY / "alembic", history, ignore=shutil.ignore_patterns("__pycache__"))
        (history / "versions" / "9999_fail.py").write_text(FAILING_MIGRATION, encoding="utf-8")
        monkeypatch.setattr(migrations, "SCRIPT_LOCATION", history)

    @pytest.mark.parametrize("revision", REVISIONS)
    def test_rolls_back_whole_with_the_ones_before_it(self, path, revision):
        populate(path, revision)
        before, schema = rows_of(path), schema_of(create_database_engine(url_of(path)))
        with pytest.raises(DatabaseError, match="could not be migrated and keeps the schema it had: no such table"):
            upgrade_to_head(url_of(path))
        assert rows_of(path) == before
        assert schema_of(create_database_engine(url_of(path))) == schema
        assert revision_of(path) == [revision]
        assert_sound(path)
