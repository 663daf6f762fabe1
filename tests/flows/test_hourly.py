"""The hourly flow under Prefect: what it returns, what it logs, and what it leaves behind when something is wrong."""

import errno
import os
import re
import shutil
import signal
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.utilities.schema_tools import validate
from sqlalchemy import Engine

from flows.hourly import hourly
from flows.pipeline import one_run, staging_files, steps
from flows.pipeline.endings import exit_code, result_of
from flows.pipeline.steps import RETRIES, step
from src.marketing_messaging_service import decisions, loading
from src.marketing_messaging_service.errors import DatabaseError, LeaseLostError, PipelineError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.reporting import RunReport, read_run_report
from src.marketing_messaging_service.staging import landing_folder, opening, small_files

SAMPLES = Path(__file__).parents[2] / "data" / "samples"

GOOD_LINE = (
    '{"message_id": "m1", "user_id": "ada", "event_type": "signup_completed", '
    '"event_timestamp": "2026-11-23T10:00:00Z", "user_traits": {"marketing_opt_in": true}}\n'
)


def run(**parameters: object) -> State[Any]:
    return hourly(**parameters, return_state=True)


def report_of(state: State[Any]) -> RunReport:
    report = result_of(state)
    assert isinstance(report, RunReport)
    return report


def count(landing: Path, table: str) -> int:
    with sqlite3.connect(landing.parent / "messaging.db") as connection:
        row: tuple[int] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.close()
    return row[0]


def test_the_samples_come_out_as_the_generator_tells_their_stories(landing: Path) -> None:
    shutil.copytree(SAMPLES, landing, dirs_exist_ok=True)
    state = run()
    assert state.is_completed()
    report = report_of(state)
    assert {rule.rule_name: (rule.sent_count + rule.alerted_count, rule.suppressed_count) for rule in report.rules} == {
        "welcome_email": (12, 1),
        "bank_link_nudge": (5, 1),
        "insufficient_funds_email": (8, 2),
        "high_risk_alert": (2, 0),
    }
    assert report.lines.read == 193
    assert (count(landing, "events"), count(landing, "rejected_rows"), count(landing, "conflicts")) == (180, 9, 0)


def test_an_empty_hour_is_a_quick_success_that_says_so(landing: Path) -> None:
    state = run()
    assert state.is_completed()
    assert state.message == "Nothing new: no files in landing."


def test_running_again_takes_nothing_and_decides_nothing(landing: Path) -> None:
    (landing / "a.jsonl").write_text(GOOD_LINE)
    run()
    state = run()
    assert state.message == "Nothing new: 1 file in landing, all taken before."
    assert (count(landing, "events"), count(landing, "send_requests")) == (1, 1)


def test_every_load_names_its_flow_run_and_logical_time(landing: Path) -> None:
    (landing / "a.jsonl").write_text(GOOD_LINE)
    state = run(as_of=datetime.fromisoformat("2026-11-23T12:00:00+02:00"))
    with sqlite3.connect(landing.parent / "messaging.db") as connection:
        row = connection.execute("SELECT as_of, flow_run_id FROM loads").fetchone()
    connection.close()
    assert row == ("2026-11-23 10:00:00.000000", str(state.state_details.flow_run_id))


def test_a_folder_given_as_parameter_wins_over_the_setting(landing: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jsonl").write_text(GOOD_LINE)
    run(landing_path=str(other))
    assert count(landing, "events") == 1


def test_a_broken_rules_file_fails_the_run_but_loads_the_events_which_the_next_run_decides(
    landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors_logged: pytest.LogCaptureFixture
) -> None:
    (landing / "a.jsonl").write_text(GOOD_LINE)
    good_rules = (SAMPLES.parent / "rules.yaml").read_text()
    rules = tmp_path / "rules.yaml"
    rules.write_text(good_rules.replace("operator: gte", "operator: atleast"))
    monkeypatch.setenv("RULES_PATH", str(rules))
    state = run()
    assert state.is_failed()
    assert "rule high_risk_alert, conditions.all[0].operator" in str(state.message)
    assert "1 event waits for the next run" in str(state.message)
    assert "Traceback" not in errors_logged.text
    assert (count(landing, "events"), count(landing, "send_requests")) == (1, 0)
    rules.write_text(good_rules)
    assert run().is_completed()
    assert count(landing, "send_requests") == 1


def test_a_file_that_cannot_be_taken_fails_the_run_and_holds_up_no_other(
    landing: Path, tmp_path: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outside.jsonl").write_text(GOOD_LINE)
    (landing / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (landing / "a.jsonl").write_text(GOOD_LINE)
    state = run()
    assert state.is_failed()
    assert "link.jsonl: is a link that leads out of landing" in str(state.message)
    assert "Everything else was loaded and decided." in str(state.message)
    assert "Traceback" not in errors_logged.text
    assert count(landing, "send_requests") == 1


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("DATABASE_URL", "mysql://ada:secret@localhost/x", "DATABASE_URL: names a mysql database"),
        ("LANDING_PATH", "/does/not/exist", "LANDING_PATH names /does/not/exist, which is not a folder"),
        ("DATABASE_URL", "sqlite:////does/not/exist/messaging.db", "The folder /does/not/exist of DATABASE_URL"),
    ],
)
def test_a_wrong_setting_fails_the_run_with_a_sentence_that_names_it(
    landing: Path,
    monkeypatch: pytest.MonkeyPatch,
    errors_logged: pytest.LogCaptureFixture,
    variable: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv(variable, value)
    state = run()
    assert state.is_failed()
    assert expected in str(state.message)
    assert "Traceback" not in errors_logged.text
    assert "secret" not in errors_logged.text


def test_a_logical_time_without_an_offset_is_refused(landing: Path) -> None:
    state = run(as_of=datetime(2026, 11, 23, 10))  # noqa: DTZ001  a naive time is the point
    assert state.is_failed()
    assert "as_of is 2026-11-23T10:00:00, which has no UTC offset" in str(state.message)


def test_a_database_that_is_none_fails_the_run_and_stays_as_it_is(
    landing: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    database = landing.parent / "messaging.db"
    database.write_text("not a database at all, but long enough to be taken for one " * 20)
    before = database.read_bytes()
    state = run()
    assert state.is_failed()
    assert "file is not a database" in str(state.message)
    assert "Traceback" not in errors_logged.text
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError("The database cannot be used: database or disk is full."),
        LeaseLostError("Another run has taken over."),
    ],
)
def test_what_stands_in_the_way_of_every_file_ends_the_run_before_a_later_one_is_taken(
    landing: Path, monkeypatch: pytest.MonkeyPatch, errors_logged: pytest.LogCaptureFixture, error: PipelineError
) -> None:
    run()
    for number, name in enumerate(("a.jsonl", "b.jsonl")):
        (landing / name).write_text(GOOD_LINE.replace("m1", name))
        os.utime(landing / name, (number, number))
    monkeypatch.setattr(small_files, "MOST_FILES", 1)
    load_files, taken = loading.load_files, []

    def full_disk(engine: Any, staged: Any, **options: Any) -> Any:
        taken.append(staged[0].file.display_path)
        if len(taken) == 1:
            raise error
        return load_files(engine, staged, **options)

    monkeypatch.setattr(loading, "load_files", full_disk)
    state = run()
    assert state.is_failed()
    assert state.message == str(error)
    assert "Traceback" not in errors_logged.text
    assert run().is_completed()
    assert taken == ["a.jsonl", "a.jsonl", "b.jsonl"]


def test_of_files_taken_together_one_that_fails_costs_the_others_nothing(
    landing: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    run()
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.message_id = 'm7' BEGIN SELECT RAISE(IGNORE); END"
        )
    for number in range(12):
        (landing / f"{number:02}.jsonl").write_text(GOOD_LINE.replace("m1", f"m{number}"))
        os.utime(landing / f"{number:02}.jsonl", (number, number))
    (landing / "03.jsonl").write_text("{")
    state = run()
    assert state.is_failed()
    assert str(state.message).startswith("2 problems. 03.jsonl: 1 of 1 line could not be read")
    assert "07.jsonl: 1 row was written to the table events, and 0 of them are there." in str(state.message)
    assert str(state.message).endswith("Everything else was loaded and decided.")
    assert "Traceback" not in errors_logged.text
    assert count(landing, "events") == 10
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        taken = [row[0] for row in connection.execute("SELECT path FROM source_files ORDER BY id")]
    assert taken == [f"{number:02}.jsonl" for number in range(12) if number not in (3, 7)] + ["03.jsonl"]


def test_two_producers_that_number_alike_fail_the_run_and_lose_nothing(
    landing: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    for age, name in enumerate(("shop", "zapp")):
        lines = (GOOD_LINE.replace('"m1"', f'"{number}"').replace("ada", f"{name}-{number}") for number in range(40))
        (landing / f"{name}.jsonl").write_text("".join(lines))
        os.utime(landing / f"{name}.jsonl", (age, age))
    state = run()
    assert state.is_failed()
    message = str(state.message)
    assert message.startswith("1 problem. zapp.jsonl: 40 of 40 lines have the message_id of another event")
    assert "two producers seem to number their events alike. Most of the other events came in shop.jsonl." in message
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        kept = "".join(f"{line}\n" for (line,) in connection.execute("SELECT raw_line FROM rejected_rows ORDER BY id"))
        (counts,) = connection.execute("SELECT duplicate_count, collision_count FROM loads WHERE id = 2").fetchall()
    assert kept == (landing / "zapp.jsonl").read_text()
    assert counts == (0, 40)
    assert run().message == "Nothing new: 2 files in landing, all taken before."
    assert "Traceback" not in errors_logged.text


def test_many_files_are_taken_in_a_few_steps_with_a_line_each(
    landing: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        (landing / f"{number:02}.jsonl").write_text(GOOD_LINE.replace("m1", f"m{number}"))
        os.utime(landing / f"{number:02}.jsonl", (number, number))
    run()
    lines = [record.getMessage() for record in errors_logged.records if record.name == "prefect.flow_runs"]
    assert [re.sub(r"\d\.\d s", "0.0 s", line) for line in lines if line.startswith(("Staged", "Loaded"))] == [
        "Staged files 1 to 12 of 12 in 0.0 s: 12 lines = 12 events + 0 rejected + 0 blank.",
        "Loaded files 1 to 12 of 12 in 0.0 s: 12 lines = 12 inserted + 0 duplicate + 0 rejected + 0 blank.",
    ]


def try_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_SECONDS", (0.0, 0.0))
    again = step("stage {files}", retries=RETRIES)(staging_files.stage.__wrapped__)  # type: ignore[attr-defined]
    monkeypatch.setattr(staging_files, "stage", again)


def test_a_file_that_a_network_cannot_give_for_a_moment_is_read_again_with_those_beside_it(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again_at_once(monkeypatch)
    gone = Mock(wraps=opening.open_regular, side_effect=[*[DEFAULT] * 4, OSError(errno.EIO, "gone"), *[DEFAULT] * 9])
    monkeypatch.setattr(landing_folder, "open_regular", gone)
    for name in ("a", "b", "c"):
        (landing / f"{name}.jsonl").write_text(GOOD_LINE.replace("m1", name))
    assert run().is_completed()
    assert count(landing, "events") == 3


def test_a_file_that_a_network_does_not_give_again_is_left_for_the_next_run(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again_at_once(monkeypatch)
    open_regular, opened = opening.open_regular, Counter[str]()

    def gone(path: Path) -> Any:
        opened[path.name] += 1
        if path.name == "b.jsonl" and opened[path.name] > 1:
            raise OSError(errno.EIO, "gone")
        return open_regular(path)

    for name in ("a", "b", "c"):
        (landing / f"{name}.jsonl").write_text(GOOD_LINE.replace("m1", name))
    with monkeypatch.context() as patched:
        patched.setattr(landing_folder, "open_regular", gone)
        assert "b.jsonl cannot be read: gone." in str(run().message)
    assert count(landing, "events") == 2
    assert run().is_completed()
    assert count(landing, "events") == 3


def test_ctrl_c_stops_a_run_that_is_deciding_and_what_was_loaded_stays(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide_for_ever(engine: Engine, *_: Any, **__: Any) -> Any:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with write_transaction(engine) as connection:
            connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT sum(i) FROM n"
            )

    (landing / "a.jsonl").write_text(GOOD_LINE)
    with monkeypatch.context() as patched:
        patched.setattr(decisions, "decide", decide_for_ever)
        state = run()
    assert str(state.message).startswith("Stopped by SIGINT at a safe point. What was committed stays.")
    assert exit_code(state) == 130
    assert (count(landing, "events"), count(landing, "send_requests")) == (1, 0)
    assert run().is_completed()
    assert count(landing, "send_requests") == 1


def test_a_run_beside_another_one_waits_and_then_says_clearly_that_it_gave_up(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_LOCK_TIMEOUT_SECONDS", "1")
    with run_lock(f"sqlite:///{landing.parent}/messaging.db", 0, on_wait=lambda: None):
        state = run()
    assert state.is_cancelled()
    assert state.message == (
        "Another run is at work. It did not end within 1 s, so this run did nothing. If this was an hourly run, the "
        "next one does its work; start any other run again."
    )
    assert run().is_completed()


def test_a_lock_at_the_very_end_of_a_run_is_waited_out(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Mock(wraps=read_run_report, side_effect=[DatabaseError("is locked", may_pass=True), DEFAULT])
    monkeypatch.setattr(one_run, "read_run_report", reading)
    (landing / "a.jsonl").write_text(GOOD_LINE)
    state = run()
    assert state.is_completed()
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        assert connection.execute("SELECT state FROM runs").fetchall() == [("completed",)]


def test_the_summary_is_left_on_the_run_s_page(landing: Path) -> None:
    (landing / "a.jsonl").write_text(GOOD_LINE)
    state = run()
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["run-report"])))
    mine = [artifact for artifact in artifacts if artifact.flow_run_id == state.state_details.flow_run_id]
    assert len(mine) == 1
    assert mine[0].description == state.message
    assert "1 message goes out" in str(mine[0].data)


def test_the_form_in_the_ui_tells_what_each_parameter_means() -> None:
    properties = hourly.parameters.properties
    assert set(properties) == {
        "as_of",
        "landing_path",
        "max_event_age_hours",
        "max_event_ahead_hours",
        "max_rejected_percent",
    }
    assert all(entry["description"] for entry in properties.values())
    assert hourly.parameters.required == []


@pytest.mark.parametrize(
    ("ending", "state", "message"),
    [
        (KeyError("x"), "failed", "A defect, please report it: KeyError('x')."),
        (DatabaseError("The disk is full."), "failed", "The disk is full."),
    ],
)
def test_a_run_that_cannot_go_on_is_recorded_with_the_reason(
    landing: Path, monkeypatch: pytest.MonkeyPatch, ending: Exception, state: str, message: str
) -> None:
    def end(*_: Any, **__: Any) -> Any:
        raise ending

    monkeypatch.setattr(loading, "known_files", end)
    assert run().is_failed()
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        ((recorded, told),) = connection.execute("SELECT state, message FROM runs").fetchall()
        leases = connection.execute("SELECT count(*) FROM run_leases").fetchone()
    assert (recorded, told[: len(message)], leases) == (state, message, (0,))


def test_a_run_that_was_killed_is_recorded_as_such_by_the_next_one(landing: Path) -> None:
    run()
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        connection.execute("UPDATE runs SET state = 'running', ended_at = NULL")
        connection.commit()
    run()
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        assert connection.execute("SELECT state FROM runs ORDER BY id").fetchall() == [("killed",), ("completed",)]


@pytest.mark.parametrize("sent", [{}, {"as_of": None}, {"as_of": "2026-11-03T04:05:00Z"}])
def test_the_server_takes_the_form_with_the_logical_time_filled_in_or_left_empty(sent: dict[str, Any]) -> None:
    schema = hourly.parameters.model_dump_for_openapi()
    assert schema["properties"]["as_of"].keys() & {"anyOf", "default"} == set()
    validate(sent, schema, raise_on_error=True)
