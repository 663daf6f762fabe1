"""What the views answer, how quickly, and that the file has the views that the code declares."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.views import VIEWS, View
from src.marketing_messaging_service.vocabulary import PAYLOAD, DataType
from tests.views.synthetic import fill

FROZEN = Path(__file__).parents[2] / "alembic" / "views"
EVENT_COUNT = 30_000

each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


@pytest.fixture(scope="module")
def many_events(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A database of many events, which no test changes."""
    path = tmp_path_factory.mktemp("many") / "many.db"
    shutil.copyfile(migrated_template, path)
    with closing(sqlite3.connect(path)) as connection:
        fill(connection, EVENT_COUNT)
        yield connection


SAMPLES = {
    DataType.TEXT: "x",
    DataType.INTEGER: 3,
    DataType.NUMBER: 9,
    DataType.BOOLEAN: 1,
    DataType.TIMESTAMP: "2026-11-01 00:00:00.250000",
    DataType.DATE: "2026-11-01",
}
"""A value of each kind, as the database has it."""


@pytest.fixture(scope="module")
def compared(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A database in which every number and time of every view has a value somewhere, which no test changes."""
    path = tmp_path_factory.mktemp("compared") / "compared.db"
    shutil.copyfile(migrated_template, path)
    with closing(sqlite3.connect(path)) as connection:
        fill(connection, 600)
        connection.executescript(
            """
            INSERT INTO event_properties (event_id) VALUES (7);
            INSERT INTO runs (id, flow_name, mode, as_of, source, max_rejected_percent, started_at, state)
            VALUES (1, 'hourly', 'load and decide', '2026-11-01 00:00:00.000000', 's', 5, '2026-11-01 00:00:00.000000',
                'completed');
            UPDATE suppressions SET blocked_by_event_id = 7, decision_time = '2026-11-01 00:00:00.250000';
            UPDATE loads SET run_id = 1, load_seconds = 1.5, loaded_at = '2026-11-01 00:00:00.250000';
            INSERT INTO held_events (event_id, due_at) SELECT id, event_timestamp FROM events WHERE id = 9;
            INSERT INTO rejected_rows
                (load_id, line_number, raw_line, reason_code, explanation, event_id, replayed_load_id)
            VALUES (1, 3, 'x', 'message_id_collision', 'is another one', 7, 1);
            UPDATE source_files SET replayed_file_id = 1;
            """
        )
        for field in PAYLOAD.fields:
            connection.execute(f"UPDATE {field.column.table} SET {field.name} = ?", [SAMPLES[field.kind.data_type]])
        yield connection


@pytest.fixture
def empty(migrated_template: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A migrated database with nothing in it."""
    shutil.copyfile(migrated_template, tmp_path / "empty.db")
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection:
        yield connection


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]


def newest_frozen(name: str) -> str:
    versions = {int(path.stem.rsplit("_v", 1)[1]): path for path in FROZEN.glob(f"{name}_v*.sql")}
    return versions[max(versions)].read_text(encoding="utf-8")


@each_view
def test_the_newest_frozen_text_is_the_declared_one(view: View):
    assert newest_frozen(view.name) == view.select


@each_view
def test_a_migrated_file_has_the_view_as_declared(empty, view: View):
    (sql,) = empty.execute("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?", (view.name,)).fetchone()
    assert sql.removeprefix(f"CREATE VIEW {view.name} AS\n").strip() == view.select.strip()


def test_a_migrated_file_has_no_other_view(empty):
    names = {name for (name,) in empty.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    assert names == {view.name for view in VIEWS}


@each_view
def test_a_view_gives_its_declared_columns_in_order(empty, view: View):
    found = [column[0] for column in empty.execute(f"SELECT * FROM {view.name}").description]
    assert found == [column.name for column in view.columns]


@each_view
def test_a_view_names_every_column_it_selects_and_what_it_reads(view: View):
    assert "*" not in view.select.replace("count(*)", "").replace(" * 86400", "")
    assert set(re.findall(r"(?:FROM|JOIN) ([a-z_]+)", view.select)) - {"dates"} == set(view.reads)


def kept_by(connection: sqlite3.Connection, view: View, column: str, comparison: str, value: object) -> int:
    sql = f"SELECT count(*) FROM {view.name} WHERE {column} {comparison} ?"
    ((count,),) = connection.execute(sql, (value,)).fetchall()
    return int(count)


@pytest.mark.parametrize(
    ("view", "column"),
    [
        pytest.param(view, column.name, id=f"{view.name}.{column.name}")
        for view in VIEWS
        for column in view.columns
        if column.data_type in {DataType.INTEGER, DataType.NUMBER, DataType.BOOLEAN}
    ],
)
def test_a_number_is_compared_as_a_number_with_what_a_form_gives_as_text(compared, view: View, column: str):
    ((value,),) = compared.execute(f"SELECT max({column}) FROM {view.name}")
    assert value is not None
    for comparison in ("=", ">=", "<", "<>"):
        assert kept_by(compared, view, column, comparison, str(value)) == kept_by(
            compared, view, column, comparison, value
        )


@pytest.mark.parametrize(
    ("view", "column"),
    [
        pytest.param(view, column.name, id=f"{view.name}.{column.name}")
        for view in VIEWS
        for column in view.columns
        if column.data_type in {DataType.TIMESTAMP, DataType.DATE}
    ],
)
def test_a_time_is_compared_as_text_with_any_part_of_one(compared, view: View, column: str):
    ((count,),) = compared.execute(f"SELECT count({column}) FROM {view.name}")
    assert count > 0
    assert kept_by(compared, view, column, ">=", "2026") == kept_by(compared, view, column, "<", "2027-01") == count
    assert kept_by(compared, view, column, "<", "2026") == kept_by(compared, view, column, ">", "2027") == 0


FILTERED = [
    "SELECT * FROM user_timeline WHERE user_id = 'u7' ORDER BY event_timestamp, event_id, entry_position",
    "SELECT * FROM latest_user_traits WHERE user_id = 'u7'",
    *(
        f"SELECT * FROM {name} WHERE event_date = '2026-11-15'"
        for name in ("daily_messages", "suppressions_by_reason", "rule_funnel", "event_volumes")
    ),
    "SELECT * FROM event_volumes WHERE event_date BETWEEN '2026-11-15' AND '2026-11-16'",
]


@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
@pytest.mark.parametrize("sql", FILTERED)
def test_a_question_about_one_user_or_day_scans_no_table(many_events, sql: str, analyzed: bool):
    if analyzed:
        many_events.execute("ANALYZE")
    scans = [
        line for line in plan(many_events, sql) if re.match(r"SCAN (event|property|trait|send|suppression)s?\b", line)
    ]
    assert scans == []


@pytest.mark.parametrize("sql", FILTERED)
def test_a_question_about_one_user_or_day_costs_a_fraction_of_all_of_history(many_events, sql: str):
    assert steps_of(many_events, sql) < steps_of(many_events, sql.split(" WHERE ", maxsplit=1)[0]) / 10


def steps_of(connection: sqlite3.Connection, sql: str) -> int:
    """How many hundreds of steps SQLite takes to answer."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 100)
    assert connection.execute(sql).fetchall()
    connection.set_progress_handler(None, 0)
    return steps


def rows_of(connection: sqlite3.Connection, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(sql, parameters).fetchall()


def test_the_days_are_those_on_which_something_happened(many_events):
    dates = [date for (date,) in many_events.execute("SELECT event_date FROM event_dates")]
    assert dates == sorted({row[0] for row in many_events.execute("SELECT DISTINCT date(event_timestamp) FROM events")})
    assert len(dates) == 31


def test_an_empty_file_has_no_days(empty):
    assert rows_of(empty, "SELECT event_date FROM event_dates") == []


def test_the_views_by_day_count_what_is_in_the_tables(many_events):
    for sql, table in (
        ("SELECT sum(event_count) FROM event_volumes", "events"),
        ("SELECT sum(message_count) FROM daily_messages WHERE outcome <> 'suppressed'", "send_requests"),
        ("SELECT sum(message_count) FROM daily_messages WHERE outcome = 'suppressed'", "suppressions"),
        ("SELECT sum(suppression_count) FROM suppressions_by_reason", "suppressions"),
        ("SELECT sum(suppression_count) FROM who_stops_whom", "suppressions"),
        ("SELECT sum(sent_count + alerted_count) FROM rule_funnel", "send_requests"),
        ("SELECT sum(suppressed_count) FROM rule_funnel", "suppressions"),
        ("SELECT sum(waiting_count) FROM rule_funnel", "waiting_matches"),
        ("SELECT sum(unmatched_count + lapsed_count) FROM rule_funnel", "ended_waits"),
        ("SELECT count(*) FROM waiting_messages", "waiting_matches"),
    ):
        assert rows_of(many_events, sql) == rows_of(many_events, f"SELECT count(*) FROM {table}"), sql


def test_the_funnel_counts_triggers_of_enabled_rules_and_its_matches_add_up(many_events):
    day = "'2026-11-15'"
    funnel = {row[1]: row[2:] for row in rows_of(many_events, f"SELECT * FROM rule_funnel WHERE event_date = {day}")}
    for rule, event_type in (("welcome", "signup_completed"), ("alert", "payment_failed")):
        ((triggered,),) = rows_of(
            many_events,
            f"SELECT count(*) FROM events WHERE date(event_timestamp) = {day} AND event_type = '{event_type}'",
        )
        assert funnel[rule][0] == triggered > 0
        assert funnel[rule][1] == sum(funnel[rule][2:5]) > 0
        assert funnel[rule][4] == sum(funnel[rule][5:10])
    assert "off" not in funnel


def test_a_timeline_has_every_decision_of_a_user_once_also_one_without_its_event(empty):
    fill(empty, 60)
    tables = "SELECT id, user_id FROM send_requests UNION ALL SELECT -id, user_id FROM suppressions"
    timeline = "SELECT user_id FROM user_timeline WHERE entry_kind NOT IN ('event', 'wait')"
    assert rows_of(empty, "SELECT count(*) FROM suppressions") > [(0,)]
    for deleted in ("id < 0", "id % 4 = 0"):
        empty.execute("PRAGMA foreign_keys=ON")
        empty.execute(f"DELETE FROM events WHERE {deleted}")
        assert sorted(rows_of(empty, timeline)) == sorted(rows_of(empty, f"SELECT user_id FROM ({tables})"))


def test_the_sends_of_a_user_that_have_no_event_are_found_by_an_index(empty):
    found = plan(empty, "SELECT * FROM user_timeline WHERE user_id = 'u7'")
    assert [line for line in found if "ix_send_requests_no_event (user_id=?)" in line]


def add_event(connection: sqlite3.Connection, number: int, at: str, **traits: Any) -> None:
    connection.execute(
        "INSERT INTO events (id, message_id, user_id, event_type, event_timestamp, created_at) "
        "VALUES (?, ?, 'u', 't', ?, ?)",
        (number, f"m{number}", f"2026-11-01 {at}.000000", "2026-11-01 00:00:00.000000"),
    )
    names = ", ".join(["event_id", *traits])
    places = ", ".join("?" * (1 + len(traits)))
    connection.execute(f"INSERT INTO user_traits ({names}) VALUES ({places})", (number, *traits.values()))


def test_a_later_event_that_does_not_say_a_trait_leaves_it_as_it_was(empty):
    add_event(empty, 1, "10:00:00", email="old@b.c", marketing_opt_in=1, country="DE")
    add_event(empty, 2, "12:00:00", email="new@b.c", marketing_opt_in=0)
    add_event(empty, 3, "11:00:00", email="late@b.c", risk_segment="low")
    columns = "user_id, email, country, marketing_opt_in, risk_segment, last_event_timestamp"
    (row,) = rows_of(empty, f"SELECT {columns} FROM latest_user_traits")
    assert row == ("u", "new@b.c", "DE", 0, "low", "2026-11-01 12:00:00.000000")


def test_of_two_events_of_one_instant_the_one_with_the_greater_id_is_the_later(empty):
    add_event(empty, 10, "10:00:00", country="FR")
    add_event(empty, 9, "10:00:00", country="DE")
    assert rows_of(empty, "SELECT country FROM latest_user_traits") == [("FR",)]
