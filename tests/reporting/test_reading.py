"""A report is read from the tables, of one run and of no other."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from src.marketing_messaging_service.errors import ReportError
from src.marketing_messaging_service.infrastructure.database import read_transaction, write_transaction
from src.marketing_messaging_service.models import RemarkKind, RunMode, RunState
from src.marketing_messaging_service.reporting import read_rejection_problems, read_run_report
from src.marketing_messaging_service.reporting.check_queries import check_queries
from src.marketing_messaging_service.reporting.html import report_html
from src.marketing_messaging_service.reporting.markdown import report_markdown
from src.marketing_messaging_service.reporting.masking import MASK
from src.marketing_messaging_service.reporting.run_report import KeyReport, LeftFiles, LineCounts, Problem
from src.marketing_messaging_service.reporting.run_tables import ahead_table
from src.marketing_messaging_service.version import VERSION
from tests.pipeline import Pipeline
from tests.reporting.runs import AS_OF, add_remarks, add_run, hold, read, run_pipeline

LATE = datetime(2099, 1, 1, tzinfo=UTC)

RULES: dict[str, Any] = {
    "rules": [
        {
            "name": "welcome_email",
            "description": "Welcome a user",
            "enabled": True,
            "trigger": {"event_type": "signup_completed"},
            "conditions": {"all": [{"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}]},
            "action": {"type": "send", "template_name": "WELCOME_EMAIL", "delivery_method": "email"},
            "suppression": {"mode": "once_ever"},
        },
        {
            "name": "switched_off",
            "description": "Nothing",
            "enabled": False,
            "trigger": {"event_type": "signup_completed"},
            "action": {"type": "send", "template_name": "NOTHING", "delivery_method": "email"},
            "suppression": {"mode": "none"},
        },
        {
            "name": "alert",
            "description": "Alert our own people",
            "enabled": True,
            "trigger": {"event_type": "payment_failed"},
            "action": {"type": "alert", "template_name": "ALERT", "delivery_method": "internal"},
            "suppression": {"mode": "none"},
        },
    ]
}


def signup(message_id: str, **more: Any) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "user_id": "ada",
        "event_type": "signup_completed",
        "event_timestamp": "2026-11-23T09:00:00Z",
        "user_traits": {"marketing_opt_in": True},
        **more,
    }


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    return Pipeline(tmp_path, migrated_template)


def test_a_report_tells_what_its_run_loaded_rejected_and_decided(pipeline: Pipeline) -> None:
    failed = signup("m3", event_type="payment_failed", coupon=1)
    pipeline.land([signup("m1"), signup("m2"), signup("m2"), failed, {"user_id": "ada"}])
    report = read(pipeline, run_pipeline(pipeline, RULES))
    (load,) = report.loads
    assert (load.path, load.lines) == ("0000.jsonl", LineCounts(read=5, inserted=3, duplicate=1, rejected=1))
    assert report.lines == load.lines
    assert [(reason.reason_code, reason.line_count) for reason in report.reasons] == [("missing_field", 1)]
    assert report.unknown_keys == (KeyReport("coupon", 1),)
    assert [(r.rule_name, r.sent_count, r.alerted_count, r.suppressed) for r in report.rules] == [
        ("welcome_email", 1, 0, (("once_ever", 1),)),
        ("alert", 0, 1, ()),
    ]
    assert (report.decided_count, report.matched_count, report.earlier_count) == (3, 3, 0)
    assert report.rules[0].condition_text == "user_traits.marketing_opt_in is true"


def test_a_run_is_recorded_and_reported_with_the_version_that_ran(pipeline: Pipeline) -> None:
    pipeline.land([signup("m1")])
    pipeline.do(pipeline.options(), RULES)
    with read_transaction(pipeline.engine) as connection:
        run_id, version = connection.execute(text("SELECT id, version FROM runs")).one()
    assert version == VERSION
    report = read(pipeline, run_id)
    assert f"- **version**: {VERSION}" in report_markdown(report)
    assert f"<dt>version</dt><dd>{VERSION}</dd>" in report_html(report)


def test_of_a_run_from_before_versions_were_recorded_a_report_claims_none(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        report = read_run_report(connection, add_run(connection))
    assert report.version is None
    assert "**version**" not in report_markdown(report)


def test_a_run_is_distinguished_from_the_one_before_it(pipeline: Pipeline) -> None:
    pipeline.land([signup("m1"), {"user_id": "ada"}])
    first = run_pipeline(pipeline, RULES)
    pipeline.land([signup("m2", event_type="payment_failed")])
    second = run_pipeline(pipeline, RULES, started_at=AS_OF + timedelta(minutes=65))
    report = read(pipeline, second)
    assert [load.path for load in report.loads] == ["0001.jsonl"]
    assert (report.sent_count, report.alerted_count, report.lines.rejected, report.reasons) == (0, 1, 0, ())
    assert report.came_in_since == AS_OF + timedelta(minutes=5)
    assert read(pipeline, first).sent_count == 1


def test_what_came_in_is_counted_from_the_last_complete_run_over_the_same_folder(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        add_run(connection, started_at=AS_OF - timedelta(hours=3))
        add_run(connection, started_at=AS_OF - timedelta(hours=2), state=RunState.FAILED)
        add_run(connection, started_at=AS_OF - timedelta(hours=1), source="elsewhere")
        window = {"window_start_at": AS_OF - timedelta(days=1), "window_end_at": AS_OF}
        backfill = add_run(connection, flow_name="backfill", **window)
        hourly = add_run(connection)
        assert read_run_report(connection, hourly).came_in_since == AS_OF - timedelta(hours=3)
        assert read_run_report(connection, backfill).came_in_since is None


def test_events_that_an_earlier_run_left_are_reported_as_such(pipeline: Pipeline) -> None:
    pipeline.land([signup("m1"), signup("m2")])
    pipeline.take()
    pipeline.land([signup("m3")])
    with write_transaction(pipeline.engine) as connection:
        connection.execute(text("UPDATE loads SET run_id = :run_id"), {"run_id": add_run(connection)})
    report = read(pipeline, run_pipeline(pipeline, RULES))
    assert (report.lines.inserted, report.decided_count, report.earlier_count) == (1, 3, 2)


def test_events_held_stay_in_the_report_of_the_run_that_held_them_when_they_are_decided(pipeline: Pipeline) -> None:
    pipeline.land([signup("m1"), signup("m2")])
    pipeline.take()
    with write_transaction(pipeline.engine) as connection:
        run_id = add_run(connection, mode=RunMode.LOAD_ONLY)
        hold(connection, run_id)
        assert read_run_report(connection, run_id).held_count == 2
        connection.execute(text("UPDATE held_events SET run_id = :run_id"), {"run_id": add_run(connection)})
        report = read_run_report(connection, run_id)
    assert (report.held_count, report.decided_count) == (2, None)


def test_events_of_the_future_are_reported_by_file_in_the_report_of_the_run_that_let_them_wait(
    pipeline: Pipeline,
) -> None:
    pipeline.land(
        [
            signup("now"),
            signup("tomorrow", event_timestamp=str(AS_OF + timedelta(days=1))),
            signup("2099", event_timestamp=str(LATE)),
        ]
    )
    pipeline.land([signup("evening", event_timestamp=str(AS_OF + timedelta(hours=9)))])
    pipeline.do(pipeline.options(max_event_ahead_hours=1), RULES)
    later = AS_OF + timedelta(hours=9)
    pipeline.do(pipeline.options(as_of=later, max_event_ahead_hours=1), RULES)
    report = read(pipeline, 1)
    assert (report.decided_count, report.ahead_count, report.earlier_count) == (1, 3, 0)
    assert [(each.path, each.event_count, each.first_event_at, each.last_event_at) for each in report.ahead] == [
        ("0000.jsonl", 2, AS_OF + timedelta(days=1), LATE),
        ("0001.jsonl", 1, later, later),
    ]
    assert ahead_table(report).rows == (
        ("0000.jsonl", 2, "2026-11-24 10:00:00 UTC", "2099-01-01 00:00:00 UTC"),
        ("0001.jsonl", 1, "2026-11-23 19:00:00 UTC", "2026-11-23 19:00:00 UTC"),
    )
    after = read(pipeline, 2)
    assert (after.decided_count, after.ahead_count, after.earlier_count, after.ahead) == (1, 0, 1, ())
    (query,) = (query for query in check_queries(report) if "ahead_count" in query.sql)
    assert pipeline.rows(query.sql) == list(query.rows)


def test_a_preview_is_read_inside_the_transaction_that_forgets_it(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        run_id = add_run(connection, mode=RunMode.PREVIEW)
        assert read_run_report(connection, run_id).is_preview
        transaction.rollback()
    with read_transaction(engine) as connection, pytest.raises(ReportError, match=f"There is no run {run_id}"):
        read_run_report(connection, run_id)


def test_remarks_are_reported_by_kind_in_their_order(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        run_id = add_run(connection, state=RunState.FAILED)
        add_remarks(
            connection,
            run_id,
            [
                ("problem", "b.jsonl", "cannot be read."),
                ("waiting", "x.jsonl", ""),
                ("ignored", "notes.txt", ""),
                ("problem", "Deciding", "no rules"),
            ],
        )
        report = read_run_report(connection, run_id)
    assert report.problems == (Problem("b.jsonl", "cannot be read."), Problem("Deciding", "no rules"))
    assert report.left == (
        LeftFiles(RemarkKind.WAITING, "x.jsonl", ""),
        LeftFiles(RemarkKind.IGNORED, "notes.txt", ""),
    )


def test_of_each_reason_the_first_three_lines_are_shown_and_all_are_counted(pipeline: Pipeline) -> None:
    lines = [b'{"user_id": "ada"}'] * 5 + [b"[1]"] + [b"{"] * 2
    pipeline.land_bytes(b"\n".join(lines))
    report = read(pipeline, run_pipeline(pipeline, RULES))
    assert [(r.reason_code, r.line_count, [e.line_number for e in r.examples]) for r in report.reasons] == [
        ("missing_field", 5, [1, 2, 3]),
        ("invalid_json", 2, [7, 8]),
        ("not_an_object", 1, [6]),
    ]
    assert report.reasons[0].examples[0].shown_line == '{"user_id": "ada"}'


def test_addresses_in_a_rejected_line_never_reach_the_report_and_stay_in_the_database(pipeline: Pipeline) -> None:
    pipeline.land_bytes(b'{"user_id": "ada", "user_traits": {"email": "Ada.L+x@example.com"}, "a@b.example": 1}')
    report = read(pipeline, run_pipeline(pipeline, RULES))
    assert report.reasons[0].examples[0].shown_line.count(MASK) == 2
    assert "@example" not in repr(report)
    assert "@b.example" not in repr(report)
    assert pipeline.rows("SELECT raw_line FROM rejected_rows WHERE raw_line LIKE '%Ada.L+x@example.com%'")


def test_a_line_of_megabytes_is_not_read_whole(pipeline: Pipeline) -> None:
    pipeline.land_bytes(b'{"user_id": "' + b"x" * 500_000 + b'"}')
    report = read(pipeline, run_pipeline(pipeline, RULES))
    assert len(report.reasons[0].examples[0].shown_line) <= 500


def test_every_query_finds_the_rows_of_its_run_by_an_index(engine: Engine) -> None:
    asked: list[tuple[str, Any]] = []
    with write_transaction(engine) as connection:
        ruleset = text("INSERT INTO rulesets (id, content_hash, yaml_text, first_used_at) VALUES (1, 'x', '', :now)")
        connection.execute(ruleset, {"now": "2026-11-23 10:00:00.000000"})
        run_id = add_run(connection, ruleset_id=1)
        event.listen(engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        read_run_report(connection, run_id)
        read_rejection_problems(connection, run_id)
        plans = [
            step[3]
            for sql, values in tuple(asked)
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        ]
    assert len(asked) >= 9
    assert [
        step
        for step in plans
        # The constant row is that of a list without an element.
        if step.startswith("SCAN ") and not re.search(r"\(subquery|anon_|CONSTANT ROW", step)
    ] == []
