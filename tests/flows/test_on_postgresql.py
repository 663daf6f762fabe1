"""Every flow on a PostgreSQL server, with the same numbers as on SQLite, and its password nowhere."""

import json
import logging
import os
import re
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows import backtest as backtest_program
from flows import check as check_program
from flows import explain as explain_program
from flows import report as report_program
from flows.backfill import backfill
from flows.check import check, repair_schema
from flows.hourly import hourly
from flows.pipeline.endings import result_of
from flows.publish import publish
from flows.replay import replay
from flows.watch import watch
from src.marketing_messaging_service.errors import RunInProgressError
from src.marketing_messaging_service.exploring import __main__ as exploring
from src.marketing_messaging_service.exploring import read_queries
from src.marketing_messaging_service.infrastructure.database import Base, create_database_engine, read_transaction
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.reporting import RunReport, summary_text
from src.marketing_messaging_service.reporting.check_queries import check_queries
from src.marketing_messaging_service.self_check.results import CheckReport, Finding
from src.marketing_messaging_service.settings import load_settings
from tests.postgresql import PASSWORD
from tests.test_both_databases import rows

SAMPLES = Path(__file__).parents[2] / "data" / "samples"

OF_THE_RUN = frozenset(
    {"as_of", "ended_at", "flow_run_id", "flow_run_name", "latest_event_at", "message", "oldest_event_at", "started_at"}
)
"""Columns that say when a run was, or which one."""


def land(landing: Path) -> None:
    shutil.copytree(SAMPLES, landing, dirs_exist_ok=True)


def everything() -> dict[str, list[tuple[object, ...]]]:
    engine = create_database_engine(os.environ["DATABASE_URL"])
    return {table.name: rows(engine, table, OF_THE_RUN) for table in Base.metadata.sorted_tables}


def numbers(report: object) -> str:
    assert isinstance(report, RunReport)
    return "\n".join(summary_text(report).splitlines()[1:])


def artifacts() -> str:
    with get_client(sync_client=True) as client:
        return " ".join(str(each.data) for each in client.read_artifacts())


def test_the_samples_end_in_the_same_rows_and_the_same_report(
    landing: Path, on_postgresql: Path, monkeypatch: pytest.MonkeyPatch, errors_logged: pytest.LogCaptureFixture
) -> None:
    land(landing)
    state = hourly(return_state=True)
    assert state.is_completed(), state.message
    found, told = everything(), numbers(result_of(state))
    shown = f"{errors_logged.text} {artifacts()} {result_of(state)!r}"
    assert "Report:" in shown
    assert PASSWORD not in shown
    for report in (landing.parent / "reports").iterdir():
        assert PASSWORD not in report.read_text()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{landing.parent}/messaging.db")
    other = hourly(return_state=True)
    assert told == numbers(result_of(other))
    assert found == everything()


def test_a_run_that_may_have_others_beside_it_does_the_same_and_migrates_by_itself(
    landing: Path, on_postgresql: Path, monkeypatch: pytest.MonkeyPatch, errors_logged: pytest.LogCaptureFixture
) -> None:
    land(landing)
    monkeypatch.setenv("SEVERAL_WRITERS", "true")
    told = numbers(result_of(hourly(return_state=True)))
    assert "Other runs may write at the same time." in errors_logged.text
    assert check(return_state=True).is_completed()
    again = hourly(return_state=True)
    assert again.is_completed()
    monkeypatch.setenv("SEVERAL_WRITERS", "false")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{landing.parent}/messaging.db")
    assert told == numbers(result_of(hourly(return_state=True)))


def test_a_run_beside_others_waits_for_one_that_is_alone_and_says_so(
    on_postgresql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_LOCK_TIMEOUT_SECONDS", "0")
    monkeypatch.setenv("SEVERAL_WRITERS", "true")
    with run_lock(os.environ["DATABASE_URL"], 0, lambda: None):
        state = hourly(return_state=True)
    assert state.is_cancelled()
    assert "Another run is at work. It did not end within 0 s" in str(state.message)


def test_what_a_run_left_is_checked_watched_and_reported(
    on_postgresql: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(on_postgresql)
    report = result_of(hourly(return_state=True))
    assert isinstance(report, RunReport)
    with read_transaction(create_database_engine(os.environ["DATABASE_URL"])) as connection:
        for query in check_queries(report):
            found = connection.exec_driver_sql(query.sql.replace("%", "%%"))
            assert tuple(tuple(row) for row in found) == query.rows, query.title
    checked = check(return_state=True)
    assert checked.is_completed(), checked.message
    assert watch(return_state=True).is_completed()
    assert report_program.main(["--latest"]) == 0
    assert "6 files: 193 lines = 180 inserted" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["check"])
    assert check_program.main() == 0
    assert PASSWORD not in capsys.readouterr().out


def test_a_check_says_what_differs_and_repair_makes_it_again(on_postgresql: Path) -> None:
    hourly(return_state=True)
    with create_database_engine(os.environ["DATABASE_URL"]).begin() as connection:
        for sql in (
            "DROP VIEW daily_messages",
            "DROP INDEX ix_suppressions_user_id",
            "CREATE OR REPLACE VIEW event_dates AS SELECT CAST('2026-01-01' AS text) AS event_date",
            "ALTER TABLE runs ADD COLUMN notes text",
        ):
            connection.exec_driver_sql(sql)
    finding = schema_finding()
    assert finding.breach_count == 4
    assert {each.name: each.problem for each in repair_schema()} == {
        "daily_messages": "",
        "event_dates": "",
        "ix_suppressions_user_id": "",
    }
    assert schema_finding().examples == ("the table runs has the column notes, which no migration made",)


def schema_finding() -> Finding:
    report = result_of(check(return_state=True))
    assert isinstance(report, CheckReport)
    (finding,) = (each for each in report.broken if each.invariant == "schema_as_made")
    return finding


@pytest.mark.parametrize("mode", ["load and decide", "load only", "preview"])
def test_a_backfill_does_the_same_in_every_mode(
    landing: Path, on_postgresql: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    archive = landing.parent / "archive"
    shutil.copytree(SAMPLES, archive)
    found = []
    for url in (os.environ["DATABASE_URL"], f"sqlite:///{landing.parent}/messaging.db"):
        monkeypatch.setenv("DATABASE_URL", url)
        hourly(return_state=True)
        window = {"start": datetime(2026, 11, 2, 23, tzinfo=UTC), "end": datetime(2026, 11, 3, 2, tzinfo=UTC)}
        state = backfill(**window, source=str(archive), mode=mode, max_event_age_hours=0, return_state=True)
        assert state.is_completed(), state.message
        found.append((numbers(result_of(state)), everything()))
    assert found[0] == found[1]


def test_what_is_published_is_a_file_in_which_every_question_is_answered(
    landing: Path, on_postgresql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(landing)
    hourly(return_state=True)
    published = publish(return_state=True)
    assert published.is_completed(), published.message
    copy = exploring._file(load_settings())
    assert copy.parent == landing.parent / "published"
    assert sorted(path.name for path in copy.parent.glob(f"{copy.name}*")) == [copy.name, f"{copy.name}.lock"]
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{landing.parent}/messaging.db")
    hourly(return_state=True)
    with closing(sqlite3.connect(copy)) as taken, closing(sqlite3.connect(landing.parent / "messaging.db")) as live:
        for query in read_queries():
            given = dict.fromkeys(query.parameters, "")
            answers = [[_timeless(row) for row in each.execute(query.sql, given)] for each in (taken, live)]
            assert answers[0] == answers[1], query.name


def _timeless(row: tuple[object, ...]) -> tuple[object, ...]:
    """Leave out what is of the clock: the years of the samples are others."""
    year = datetime.now(UTC).year
    return tuple(
        None if isinstance(value, float) or re.match(rf"{year}-\d\d-\d\d \d\d:", str(value)) else value for value in row
    )


WEEKLY = {"mode: once_per_calendar_day": "mode: once_per_calendar_week"}
"""What is another word in the rules that are tried out."""

QUESTIONS = (
    ["--user", "cleo"],
    ["--rule", "welcome_email", "--where", "user_traits.country=DE"],
    ["--rule", "insufficient_funds_email", "--since", "2026-11-02"],
)


def test_what_would_be_and_what_was_is_answered_the_same(
    landing: Path, on_postgresql: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    land(landing)
    new_rules = landing.parent / "weekly.yaml"
    text = Path(os.environ["RULES_PATH"]).read_text(encoding="utf-8")
    for word, other in WEEKLY.items():
        assert word in text
        text = text.replace(word, other)
    new_rules.write_text(text, encoding="utf-8")
    answers = []
    for url in (os.environ["DATABASE_URL"], f"sqlite:///{landing.parent}/messaging.db"):
        monkeypatch.setenv("DATABASE_URL", url)
        hourly(return_state=True)
        capsys.readouterr()
        said = []
        for question in QUESTIONS:
            assert explain_program.main([*question, "--json"]) == 0
            said.append(json.loads(capsys.readouterr().out))
        assert backtest_program.main(["--rules", str(new_rules), "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
        assert backtest_program.main(["--against", "decided", "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
        answers.append(said)
    assert answers[0] == answers[1]
    assert answers[0][-2]["changes"]


def test_rejected_lines_are_replayed_the_same(
    landing: Path, on_postgresql: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (landing / "events.jsonl").write_text(
        '{"user_id": "ana", "event_type": "signup_completed", "event_timestamp": "2026-11-02T10:00:00"}\n'
    )
    sources = tmp_path / "sources.yaml"
    found = []
    for url in (os.environ["DATABASE_URL"], f"sqlite:///{landing.parent}/messaging.db"):
        monkeypatch.setenv("DATABASE_URL", url)
        shutil.copyfile(Path(__file__).parents[2] / "data" / "sources.yaml", sources)
        monkeypatch.setenv("SOURCES_PATH", str(sources))
        hourly(max_rejected_percent=100, return_state=True)
        sources.write_text(
            "sources: [{files: '*.jsonl', mapping: utc}]\nmappings: {utc: {timestamp_form: {timezone: UTC}}}\n"
        )
        state = replay(dry_run=False, max_event_age_hours=0, return_state=True)
        assert state.is_completed(), state.message
        found.append((numbers(result_of(state)), everything()))
    assert "1 inserted" in found[0][0]
    assert found[0] == found[1]


def test_a_run_beside_another_one_says_who_is_at_work(
    on_postgresql: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUN_LOCK_TIMEOUT_SECONDS", "0")
    caplog.set_level(logging.INFO)
    with run_lock(os.environ["DATABASE_URL"], 0, lambda: None):
        state = hourly(return_state=True)
        assert state.is_cancelled()
        assert "Another run is at work. It did not end within 0 s" in str(state.message)
        with pytest.raises(RunInProgressError, match="Another run is at work on postgresql://postgres@/test_"):
            repair_schema()


def test_an_empty_database_is_reported_as_such(on_postgresql: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for state in (check(return_state=True), watch(return_state=True)):
        assert state.is_failed()
        assert "Run the hourly job" in str(state.message)
    assert report_program.main([]) == 1
    assert "Run the hourly job" in capsys.readouterr().err
    with read_transaction(create_database_engine(os.environ["DATABASE_URL"])) as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM information_schema.tables WHERE table_schema='public'")
        assert found.scalar_one() == 0
