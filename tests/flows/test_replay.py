"""The replay as its flow and from the command line: what it takes, shows and refuses; and lines edited on the way."""

import json
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from flows.hourly import hourly
from flows.pipeline.endings import result_of
from flows.replay import main, replay
from src.marketing_messaging_service.infrastructure.database import utc_now
from src.marketing_messaging_service.reporting import RunReport, report_html, report_markdown
from src.marketing_messaging_service.reporting.check_queries import check_queries


def signup(name: str, **keys: Any) -> dict[str, Any]:
    """A signup of now that earns a welcome."""
    told = {"message_id": name, "user_id": name, "event_type": "signup_completed"}
    return told | {"event_timestamp": utc_now().isoformat(), "user_traits": {"marketing_opt_in": True}} | keys


@pytest.fixture
def rejecting(landing: Path) -> Path:
    """Landing after an hourly run that rejected two lines: one that lacks its user, and one that is no JSON."""
    lines = [json.dumps(signup("eve")), json.dumps(signup("ada", user_id=None)), "no json"]
    (landing / "a.jsonl").write_text("\n".join(lines) + "\n")
    hourly(max_rejected_percent=100, return_state=True)
    return landing


def rows(landing: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        return connection.execute(sql).fetchall()


def everything(landing: Path) -> dict[str, list[tuple[Any, ...]]]:
    tables = [name for (name,) in rows(landing, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: rows(landing, f"SELECT * FROM {name}") for name in tables}


def report_of(state: State[Any]) -> RunReport:
    report = result_of(state)
    assert isinstance(report, RunReport)
    return report


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["replay", *arguments])
    return main()


def export_edited(landing: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Export the rejected lines, and give the first one its user."""
    file = landing.parent / "edited.ndjson"
    assert run_main(monkeypatch, "--export", str(file)) == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["line"]["user_id"] = "ada"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_edited_lines_are_loaded_decided_and_reported(rejecting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = replay(edited_file=str(export_edited(rejecting, monkeypatch)), return_state=True)
    assert state.is_completed()
    assert str(state.message).startswith(
        "2 rejected lines read again: 1 taken, 1 still rejected. 1 file: 1 line = 1 inserted + 0 duplicate"
    )
    assert rows(rejecting, "SELECT user_id FROM send_requests ORDER BY id") == [("eve",), ("ada",)]
    assert rows(rejecting, "SELECT reason_code, replayed_load_id FROM rejected_rows ORDER BY id") == [
        ("missing_field", 2),
        ("invalid_json", None),
    ]
    assert rows(rejecting, "SELECT flow_name, state FROM runs ORDER BY id") == [
        ("hourly", "completed"),
        ("replay", "completed"),
    ]
    run_report = report_of(state)
    for page in (report_markdown(run_report), report_html(run_report)):
        assert "1 event came of 2 lines that had been rejected" in page
        assert "still rejected: invalid" in page
        assert "docs/raw-events.md says how to correct such lines and read them again" in page
    for query in check_queries(run_report):
        assert tuple(rows(rejecting, query.sql)) == query.rows


def test_a_dry_run_says_what_would_be_taken_and_decided_and_keeps_nothing(
    rejecting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export_edited(rejecting, monkeypatch)
    before = everything(rejecting)
    state = replay(edited_file=str(file), dry_run=True, return_state=True)
    assert state.is_completed()
    assert "2 rejected lines read again: 1 to take, 1 still rejected." in str(state.message)
    assert "1 event would be decided: 1 send" in str(state.message)
    assert everything(rejecting) == before


def test_events_that_are_too_old_earn_no_message_as_in_a_backfill(
    rejecting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export_edited(rejecting, monkeypatch)
    line = json.loads(file.read_text().splitlines()[0])
    line["line"]["event_timestamp"] = "2026-01-01T10:00:00Z"
    file.write_text(json.dumps(line))
    replay(edited_file=str(file), return_state=True)
    assert rows(rejecting, "SELECT user_id, suppression_reason FROM suppressions") == [("ada", "expired")]


def test_what_sources_yaml_says_today_counts(rejecting: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (rejecting / "b.jsonl").write_text(json.dumps(signup("cy", user_id=None, uid="cy")) + "\n")
    hourly(max_rejected_percent=100, return_state=True)
    sources = tmp_path / "own.yaml"
    sources.write_text(
        "sources: [{files: ['*.jsonl'], mapping: ours}]\nmappings: {ours: {extends: native, user_id: [user_id, uid]}}\n"
    )
    monkeypatch.setenv("SOURCES_PATH", str(sources))
    state = replay(reason="missing_field", file="b.jsonl", return_state=True)
    assert "1 rejected line read again: 1 taken. 1 file" in str(state.message)
    assert rows(rejecting, "SELECT user_id FROM events ORDER BY id") == [("eve",), ("cy",)]
    assert rows(rejecting, "SELECT source FROM runs WHERE flow_name = 'replay'") == [
        ("rejected lines of the reason missing_field, of b.jsonl",)
    ]
    assert hourly(return_state=True).message == "Nothing new: 2 files in landing, all taken before."


def test_lines_of_a_file_that_no_source_names_any_more_stay_with_a_warning(
    rejecting: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = tmp_path / "own.yaml"
    sources.write_text("sources: [{files: ['*.csv'], format: csv}]\n")
    monkeypatch.setenv("SOURCES_PATH", str(sources))
    state = replay(return_state=True)
    assert state.is_completed()
    assert "0 taken, 2 of files that no pattern of sources.yaml names. Nothing was taken. 1 warning." in str(
        state.message
    )
    assert "matches the file any more" in report_of(state).warnings[0]


def test_where_nothing_is_rejected_the_run_says_so(landing: Path) -> None:
    assert replay(return_state=True).message == (
        "There are no rejected lines that wait for a replay. Nothing was taken."
    )
    message = replay(reason="invalid_json", return_state=True).message
    assert message == (
        "There are no rejected lines of the reason invalid_json that wait for a replay. Nothing was taken."
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"reason": "odd"}, "reason is 'odd', but no line is ever rejected for that; choose one of"),
        ({"reason": "utf_16"}, "kept only in part and cannot be replayed: save it as UTF-8, and deliver it again."),
        ({"edited_file": "gone.ndjson"}, "gone.ndjson cannot be read as edited lines: No such file or directory"),
        ({"edited_file": "gone.ndjson", "file": "a.jsonl"}, "Leave out reason, file and since."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(landing: Path, parameters: dict[str, Any], sentence: str) -> None:
    state = replay(**parameters, return_state=True)
    assert state.is_failed()
    assert sentence in str(state.message)
    assert not (landing.parent / "messaging.db").exists()


def test_the_export_is_its_owners_alone_and_nothing_is_written_over(
    rejecting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = rejecting.parent / "edited.ndjson"
    assert run_main(monkeypatch, "--export", str(file), "--reason", "invalid_json") == 0
    assert capsys.readouterr().out.startswith(f"1 rejected line written to {file}, which only you may read")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["line"] == "no json"
    assert run_main(monkeypatch, "--export", str(file)) == 1
    assert "is not overwritten" in capsys.readouterr().err
    assert len(file.read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["messaging.db-wal", "landing/out.ndjson", "reports/out.html"])
def test_the_export_takes_no_place_of_ours(
    rejecting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = rejecting.parent / name
    assert run_main(monkeypatch, "--export", str(path)) == 1
    assert f"--export names {path}: " in capsys.readouterr().err
    assert not path.exists()


def test_a_run_from_the_command_line_takes_what_was_edited(
    rejecting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = export_edited(rejecting, monkeypatch)
    assert run_main(monkeypatch, "--from", str(file), "--max-event-age-hours", "0") == 0
    out = capsys.readouterr().out
    assert "Rejected lines that were read again" in out
    assert run_main(monkeypatch, "--from", str(file)) == 0
    assert "1 edited line had been replayed before." in capsys.readouterr().out
