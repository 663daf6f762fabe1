"""The backfill flow under Prefect: its window, its modes, its form, and what it says when it is asked for nonsense."""

import json
import sqlite3
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from flows.backfill import backfill, main
from flows.command_line.parameters import LONGEST_AGE_HOURS
from flows.hourly import hourly
from flows.pipeline.endings import result_of
from src.marketing_messaging_service.infrastructure.database import utc_now
from src.marketing_messaging_service.reporting import RunReport

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
END = START + timedelta(hours=1)

EVENT_TIMES = {
    "before": START - timedelta(microseconds=1),
    "start": START,
    "last": END - timedelta(microseconds=1),
    "end": END,
}

WHOLE = {"start": EVENT_TIMES["before"], "end": END + timedelta(hours=1)}
"""A window that covers every event."""


def raw_line(message_id: str, instant: datetime) -> str:
    """A signup that earns a welcome, of a user of its own."""
    return json.dumps(
        {
            "message_id": message_id,
            "user_id": message_id,
            "event_type": "signup_completed",
            "event_timestamp": instant.isoformat(),
            "user_traits": {"marketing_opt_in": True},
        }
    )


@pytest.fixture
def archive(landing: Path, tmp_path: Path) -> Path:
    """A folder of archived raw files, with an event at each edge of the window."""
    folder = tmp_path / "archive"
    folder.mkdir()
    lines = [raw_line(name, instant) for name, instant in EVENT_TIMES.items()]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def run(**parameters: object) -> State[Any]:
    asked = {"start": START, "end": END, "mode": "load and decide", "max_event_age_hours": 0}
    return backfill(**asked | parameters, return_state=True)


def report_of(state: State[Any]) -> RunReport:
    report = result_of(state)
    assert isinstance(report, RunReport)
    return report


def rows(landing: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        return connection.execute(sql).fetchall()


def everything(landing: Path) -> dict[str, list[tuple[Any, ...]]]:
    tables = [name for (name,) in rows(landing, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: rows(landing, f"SELECT * FROM {name}") for name in tables}


def sent(landing: Path) -> list[str]:
    return [user_id for (user_id,) in rows(landing, "SELECT user_id FROM send_requests ORDER BY id")]


def name_of(state: State[Any]) -> str:
    with get_client(sync_client=True) as client:
        assert state.state_details.flow_run_id is not None
        return client.read_flow_run(state.state_details.flow_run_id).name


def test_a_source_that_holds_what_is_published_is_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLISH_PATH", str(archive / "published"))
    state = run(source=str(archive))
    assert state.is_failed()
    assert f"which is in {archive}, the folder of raw files (source)" in str(state.message)


def test_only_the_events_of_the_window_are_loaded_and_decided_its_start_included(landing: Path, archive: Path) -> None:
    state = run(source=str(archive))
    assert state.is_completed()
    assert sent(landing) == ["start", "last"]
    assert report_of(state).lines.outside == 2
    assert name_of(state) == "backfill 2026-11-01T10:00Z → 2026-11-01T11:00Z"


def test_a_preview_reports_what_would_be_sent_and_keeps_nothing(landing: Path, archive: Path) -> None:
    hourly(return_state=True)
    before = everything(landing)
    state = run(source=str(archive), mode="preview")
    assert state.is_completed()
    assert report_of(state).sent_count == 2
    assert "would be" in str(state.message)
    assert everything(landing) == before
    assert name_of(state).endswith(" preview")


def test_what_was_loaded_only_is_left_by_the_hourly_run_and_decided_by_the_backfill_that_asks_for_it(
    landing: Path, archive: Path
) -> None:
    run(source=str(archive), mode="load only")
    hourly(return_state=True)
    assert (rows(landing, "SELECT count(*) FROM events"), sent(landing)) == ([(2,)], [])
    run(end=END - timedelta(minutes=30))
    assert sent(landing) == ["start"]
    run()
    assert sent(landing) == ["start", "last"]
    assert rows(landing, "SELECT state FROM loads") == [("decided",)]


def test_an_event_older_than_the_limit_is_history_and_writes_expired_in_place_of_a_send(
    landing: Path, archive: Path
) -> None:
    recent = utc_now() - timedelta(hours=1)
    (archive / "b.jsonl").write_text(raw_line("recent", recent) + "\n")
    state = run(end=utc_now(), source=str(archive), max_event_age_hours=72)
    assert state.is_completed()
    assert sent(landing) == ["recent"]
    assert rows(landing, "SELECT user_id, suppression_reason FROM suppressions ORDER BY id") == [
        ("start", "expired"),
        ("last", "expired"),
        ("end", "expired"),
    ]


def test_what_has_expired_is_decided_again_by_the_rules_that_are_named_and_only_previewed_at_first(
    landing: Path, archive: Path
) -> None:
    run(source=str(archive), max_event_age_hours=72)
    before = everything(landing)
    preview = run(mode="preview", decide_again=["welcome_email", " ", "welcome_email"])
    assert "2 decisions would be made on events decided before (by welcome_email): 2 sends" in str(preview.message)
    assert everything(landing) == before
    state = run(decide_again=["welcome_email"])
    assert str(state.message).startswith(
        "Nothing new. 0 events decided, and 2 decisions made on events decided before (by welcome_email): 2 sends, "
        "0 suppressions, 0 alerts."
    )
    assert report_of(state).again_rules == ("welcome_email",)
    assert sent(landing) == ["start", "last"]
    assert rows(landing, "SELECT user_id FROM former_suppressions ORDER BY id") == [("start",), ("last",)]


def test_rules_that_decide_again_are_named_one_option_each(
    landing: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--start", "2026-11-01T10:00:00Z", "--end", "2026-11-01T11:00:00Z", "--source", str(archive)]
    again = ["--decide-again", "high_risk_alert", "--decide-again", "welcome_email"]
    monkeypatch.setattr(sys, "argv", ["backfill", *asked, *again])
    assert main() == 0
    assert "0 decisions would be made on events decided before (by high_risk_alert, welcome_email)" in (
        capsys.readouterr().out
    )


def test_a_backfill_over_hours_that_the_hourly_run_took_changes_nothing(landing: Path, archive: Path) -> None:
    (landing / "a.jsonl").write_bytes((archive / "a.jsonl").read_bytes())
    hourly(return_state=True)
    before = everything(landing)
    state = run()
    assert "Nothing new" in str(state.message)
    after = everything(landing)
    assert {name for name in before if before[name] != after[name]} == {"runs"}


def test_the_hourly_run_takes_the_rest_of_what_a_backfill_took_in_part(landing: Path, archive: Path) -> None:
    (landing / "a.jsonl").write_bytes((archive / "a.jsonl").read_bytes())
    run()
    hourly(return_state=True)
    assert sorted(sent(landing)) == ["before", "end", "last", "start"]
    assert rows(landing, "SELECT sum(inserted_count), max(outside_count) FROM loads") == [(4, 2)]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"end": START}, "end (2026-11-01 10:00 UTC) is not after start (2026-11-01 10:00 UTC); choose a later end."),
        ({"start": datetime(2126, 1, 1, tzinfo=UTC), "end": datetime(2126, 1, 2, tzinfo=UTC)}, "is in the future"),
        ({"source": "/does/not/exist"}, "source names /does/not/exist, which cannot be read as a folder (No such file"),
        ({"source": "a\0b"}, "which cannot be read as a folder (embedded null byte)"),
        ({"decide_again": ["welcome_mail"]}, "the rules file does not have; did you mean welcome_email? Nothing was"),
        ({"decide_again": ["welcome_email"], "mode": "load only"}, "but the mode load only decides nothing; choose"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done_with_a_sentence_that_says_what_to_change(
    landing: Path, errors_logged: pytest.LogCaptureFixture, parameters: dict[str, Any], expected: str
) -> None:
    state = run(**parameters)
    assert state.is_failed()
    assert expected in str(state.message)
    assert "Traceback" not in errors_logged.text
    assert not (landing.parent / "messaging.db").exists()


def test_a_window_without_an_offset_is_in_utc_and_whole_days_name_the_run_by_dates(landing: Path) -> None:
    day = datetime(2026, 11, 1)  # noqa: DTZ001  a naive time is the point
    state = run(start=day, end=day + timedelta(days=7), mode="preview")
    assert name_of(state) == "backfill 2026-11-01 → 2026-11-08 preview"


def test_a_window_may_reach_from_one_end_of_the_calendar_to_the_other(landing: Path, archive: Path) -> None:
    east, west = timezone(timedelta(hours=5)), timezone(timedelta(hours=-5))
    state = run(start=datetime.min.replace(tzinfo=east), end=datetime.max.replace(tzinfo=west), source=str(archive))
    assert state.is_completed()
    assert rows(landing, "SELECT window_start_at, window_end_at FROM runs") == [
        ("0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999")
    ]
    assert len(sent(landing)) == 4


def test_the_longest_age_is_one_that_the_calendar_has(landing: Path) -> None:
    assert run(max_event_age_hours=LONGEST_AGE_HOURS).is_completed()
    state = run(max_event_age_hours=LONGEST_AGE_HOURS + 1)
    assert "max_event_age_hours: Input should be less than or equal to 876000" in str(state.message)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--max-event-age-hours", "-1"], "max_event_age_hours: Input should be greater than or equal to 0"),
        (["--end", "soon"], "argument --end: soon is not a date or time; write it like 2026-11-23T10:00:00Z"),
    ],
)
def test_a_wrong_option_is_reported_in_a_sentence_before_prefect_starts(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["backfill", "--start", "2026-11-01", "--end", "2026-11-02", *arguments])
    with suppress(SystemExit):
        assert main() == 1
    assert expected in capsys.readouterr().err


def test_the_form_is_made_of_plain_fields_that_tell_what_they_mean() -> None:
    schema = backfill.parameters
    assert list(schema.properties) == [
        "start",
        "end",
        "source",
        "mode",
        "max_event_age_hours",
        "max_event_ahead_hours",
        "max_rejected_percent",
        "decide_again",
    ]
    assert schema.required == ["start", "end"]
    assert all(entry["description"] for entry in schema.properties.values())
    assert not any("anyOf" in entry for entry in schema.properties.values())
    assert schema.properties["mode"]["default"] == "preview"
    assert schema.properties["mode"]["enum"] == ["preview", "load and decide", "load only"]
    assert schema.properties["max_event_age_hours"]["default"] == 72
    assert schema.properties["decide_again"]["items"] == {"type": "string"}


def test_too_many_rejected_lines_make_the_run_red_and_keep_what_is_good(landing: Path, archive: Path) -> None:
    (archive / "a.jsonl").write_text("{\n" + raw_line("start", START) + "\n")
    state = run(source=str(archive))
    assert state.is_failed()
    assert "1 of 2 lines could not be read (50.0 %), which is more than the 5 %" in str(state.message)
    assert sent(landing) == ["start"]
    assert rows(landing, "SELECT state FROM runs") == [("failed",)]


def test_a_preview_that_fails_tells_of_nothing_kept_and_nothing_waiting(
    landing: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive / "a.jsonl").write_text("{\n" + raw_line("start", START) + "\n")
    monkeypatch.setenv("RULES_PATH", str(archive / "none.yaml"))
    message = str(run(source=str(archive), mode="preview").message)
    assert "1 of 2 lines could not be read (50.0 %)" in message
    assert "kept" not in message
    assert "wait" not in message


def test_a_backfill_that_cannot_decide_tells_how_many_events_wait_for_it(
    landing: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source=str(archive), mode="load only")
    monkeypatch.setenv("RULES_PATH", str(archive / "none.yaml"))
    message = str(run(source=str(archive)).message)
    assert "0 events wait for the next run, 2 for this backfill to be started again." in message


def test_a_backfill_with_nothing_new_names_the_folder_it_was_given(landing: Path, archive: Path) -> None:
    run(**WHOLE, source=str(archive))
    assert str(run(**WHOLE, source=str(archive)).message) == "Nothing new: 1 file in its folder, all taken before."


def test_a_window_once_more_says_that_the_file_has_events_outside_it(landing: Path, archive: Path) -> None:
    run(source=str(archive))
    again = str(run(source=str(archive)).message)
    assert again.startswith("Nothing new in the window. 1 file holds nothing new in the window; its events outside it ")
    assert rows(landing, "SELECT known_file_count, outside_file_count FROM runs WHERE id = 2") == [(0, 1)]
    assert run(**WHOLE, source=str(archive)).is_completed()
    assert str(run(**WHOLE, source=str(archive)).message) == "Nothing new: 1 file in its folder, all taken before."
