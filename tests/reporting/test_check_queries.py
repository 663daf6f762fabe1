"""Every query that a report prints gives, in the database, the numbers that the report shows."""

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.models import RunMode, RunState
from src.marketing_messaging_service.reporting import RunReport, report_markdown
from src.marketing_messaging_service.reporting.check_queries import check_queries
from src.marketing_messaging_service.reporting.funnel import funnel_steps
from src.marketing_messaging_service.reporting.manager_sentence import manager_sentence
from src.marketing_messaging_service.run_options import Window
from tests.pipeline import Pipeline
from tests.reference import sort_rows
from tests.reporting.runs import AS_OF, SHIPPED_RULES, add_remarks, add_run, hold, read, run_pipeline, run_report

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, migrated_template: Path) -> Pipeline:
    """A database in which the samples were taken by run 2, between others."""
    pipeline = Pipeline(tmp_path_factory.mktemp("samples"), migrated_template)
    event = {"message_id": "m", "user_id": "zoe", "event_timestamp": "2026-11-02T21:00:00Z", "coupon": 1}
    pipeline.land([{**event, "event_type": "signup_completed", "user_traits": {"marketing_opt_in": True}}, {}])
    run_pipeline(pipeline, SHIPPED_RULES)
    for path in sorted(SAMPLES.iterdir()):
        (pipeline.landing / path.name).write_bytes(path.read_bytes())
    run_id = run_pipeline(pipeline, SHIPPED_RULES, known_file_count=1)
    pipeline.land([{**event, "message_id": "m2", "event_type": "payment_failed"}, {}, {}])
    run_pipeline(pipeline, SHIPPED_RULES)
    with write_transaction(pipeline.engine) as connection:
        add_remarks(connection, run_id, [("problem", "b", "no."), ("waiting", "x", ""), ("ignored", "n", "")])
    return pipeline


def printed(report: RunReport) -> list[str]:
    """The queries as they are in the report, without what they are said to give."""
    return re.findall(r"```sql\n(.*?;)\n", report_markdown(report), re.DOTALL)


def test_every_query_printed_gives_what_the_report_says(pipeline: Pipeline) -> None:
    report = read(pipeline, 2)
    assert (report.lines.read, report.sent_count, report.suppressed_count) == (193, 25, 4)
    queries = check_queries(report)
    assert [query.sql for query in queries] == printed(report)
    assert len(queries) == 11
    with sqlite3.connect(pipeline.database_path) as connection:
        for query in queries:
            assert tuple(connection.execute(query.sql)) == query.rows, query.title
    connection.close()


def test_every_number_of_the_tables_is_given_by_a_query(pipeline: Pipeline) -> None:
    report = read(pipeline, 2)
    given = {value for query in check_queries(report) for row in query.rows for value in row}
    counts = {rule.matched_count for rule in report.rules} | {reason.line_count for reason in report.reasons}
    counts |= {key.line_count for key in report.unknown_keys}
    assert (counts | {report.decided_count}) - {0} <= given


def test_held_events_are_checked_too(tmp_path: Path, migrated_template: Path) -> None:
    pipeline = Pipeline(tmp_path, migrated_template)
    pipeline.land([{"user_id": "ada", "event_type": "x", "event_timestamp": "2026-11-02T21:00:00Z"}])
    pipeline.take()
    with write_transaction(pipeline.engine) as connection:
        run_id = add_run(connection, mode=RunMode.LOAD_ONLY)
        hold(connection, run_id)
    (query,) = (query for query in check_queries(read(pipeline, run_id)) if "held_events" in query.sql)
    assert [tuple(row) for row in pipeline.rows(query.sql)] == [(1,)]


def test_what_expired_and_was_decided_again_is_in_the_reports_of_both_runs(
    tmp_path: Path, migrated_template: Path
) -> None:
    pipeline = Pipeline(tmp_path, migrated_template)
    signup = {"user_id": "ada", "event_type": "signup_completed", "event_timestamp": "2026-11-02T21:00:00Z"}
    pipeline.land([{**signup, "user_traits": {"marketing_opt_in": True}}])
    day = Window(datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    pipeline.do(pipeline.options(day, max_event_age_hours=72), SHIPPED_RULES)
    pipeline.do(pipeline.options(day, decide_again=["welcome_email"]), SHIPPED_RULES)
    first, again = read(pipeline, 1), read(pipeline, 2)
    assert (first.expired_count, first.again_count, first.again_rules) == (1, 0, ())
    assert (again.sent_count, again.again_count, again.again_rules) == (1, 1, ("welcome_email",))
    for report in (first, again):
        for query in check_queries(report):
            assert pipeline.rows(query.sql) == sort_rows(query.rows), query.title
    assert "decide again" in report_markdown(again)
    assert "1 decision was made on events from before, as this run was asked to" in manager_sentence(again)
    assert [step.share for step in funnel_steps(again) if step.label == "matches of a rule"] == ["1 decided again"]


def test_a_run_of_which_nothing_is_known_has_one_query(tmp_path: Path, migrated_template: Path) -> None:
    pipeline = Pipeline(tmp_path, migrated_template)
    with write_transaction(pipeline.engine) as connection:
        run_id = add_run(connection, state=RunState.KILLED, ended_at=None, known_file_count=None, started_at=AS_OF)
    (query,) = check_queries(read(pipeline, run_id))
    assert pipeline.rows(query.sql) == list(query.rows)


def test_of_a_preview_there_is_nothing_to_query() -> None:
    preview = run_report(mode=RunMode.PREVIEW)
    assert check_queries(preview) == ()
    assert "```sql" not in report_markdown(preview)
    assert "nothing in the database to check its numbers against" in report_markdown(preview)


def test_no_text_of_a_report_gets_into_a_query() -> None:
    values: dict[str, Any] = {"flow_name": "x'; DROP TABLE runs; --", "source": "'"}
    assert not any("DROP" in query.sql for query in check_queries(run_report(**values)))
