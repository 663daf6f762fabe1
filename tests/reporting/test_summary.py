"""What a person reads on the terminal after a run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.reporting import summary_text
from src.marketing_messaging_service.reporting.run_report import KeyReport, LineCounts, Problem
from tests.reporting.runs import LOAD, NOTES, NOTHING, WAITING, run_report


def test_the_summary_tells_rules_files_reasons_unknown_keys_and_ignored_files() -> None:
    text = summary_text(run_report(left=(NOTES,)))
    assert text.startswith(
        "Run as of 2026-11-23 10:00:00 UTC into sqlite:///./messaging.db\n\n"
        "1 file not taken because of its name: notes.txt (text). 1 file: 10 lines = "
    )
    for row in (
        "  welcome_email    WELCOME_EMAIL    email        3           1",
        "  high_risk_alert  HIGH_RISK_ALERT  internal     1           0",
        "  a.jsonl     10         5          2         1         2      1",
        "  (a conflict is a duplicate with another time)",
        "  naive_timestamp      2",
        "  properties.coupon      3",
        "  notes.txt      1  not a name that raw event files have  text",
    ):
        assert row in text.splitlines()


def test_files_still_being_written_are_listed() -> None:
    text = summary_text(run_report(**NOTHING, left=(WAITING,)))
    assert (
        "Files left where they are\n  which    files  why                  what they are\n  x.jsonl      1  still"
        in text
    )
    assert "problem" not in text


def test_problems_stand_at_the_end() -> None:
    text = summary_text(run_report(problems=(Problem("b.jsonl", "cannot be read: Permission denied."),)))
    assert text.endswith("b.jsonl: cannot be read: Permission denied.")


def test_without_a_decision_the_summary_does_not_claim_one() -> None:
    text = summary_text(run_report(decided_count=None, rules=(), problems=(Problem("Deciding", "no rules"),)))
    assert "decided" not in text.replace("Deciding", "")


def test_a_preview_speaks_in_the_conditional() -> None:
    text = summary_text(run_report(mode=RunMode.PREVIEW))
    assert text.startswith("Preview as of 2026-11-23 10:00:00 UTC into sqlite:///./messaging.db\n\nPreview, nothing")
    assert "would be sent  would be suppressed" in text
    assert "Files that would be taken, problem files first" in text


def test_a_run_with_a_window_tells_it() -> None:
    start = datetime(2026, 11, 2, tzinfo=UTC)
    text = summary_text(run_report(window_start_at=start, window_end_at=start + timedelta(hours=12)))
    assert text.startswith("Run of 2026-11-02 00:00 to 2026-11-02 12:00 UTC as of 2026-11-23 10:00:00 UTC into ")


def test_rare_counts_have_a_column_where_there_are_any() -> None:
    partly = replace(LOAD, lines=LineCounts(read=10, inserted=3, collision=1, outside=6))
    text = summary_text(run_report(loads=(partly,)))
    assert "duplicate  collision  rejected  blank  outside\n" in text
    assert "  (a collision has the message_id of another event)\n" in text
    without = summary_text(run_report(loads=(replace(LOAD, lines=LineCounts(read=1, inserted=1)),)))
    assert "lines  inserted  duplicate  rejected  blank\n" in without
    assert "(a co" not in without


def test_names_from_raw_data_cannot_act_on_the_terminal() -> None:
    hostile = replace(LOAD, path="x\x1b[31m|.jsonl")
    text = summary_text(run_report(loads=(hostile,), unknown_keys=(KeyReport("a\nb|<script>", 1),)))
    assert "\x1b" not in text
    assert "a\\nb|<script>" in text


def test_a_long_table_says_how_many_rows_it_leaves_out() -> None:
    loads = tuple(replace(LOAD, path=f"{n:03}.jsonl") for n in range(30))
    assert "  (and 5 more)" in summary_text(run_report(loads=loads)).splitlines()
