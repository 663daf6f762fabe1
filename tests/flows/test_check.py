"""The self-check under Prefect: what it returns, prints and leaves behind, and what it says when it cannot check."""

import logging
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from ruamel.yaml import YAML
from sqlalchemy import Connection, Select

from flows.check import check, main, repair_schema
from src.marketing_messaging_service import self_check
from src.marketing_messaging_service.errors import RunInProgressError
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.infrastructure.schema import newest_revision
from src.marketing_messaging_service.self_check import INVARIANTS
from src.marketing_messaging_service.version import VERSION
from tests.self_check.databases import EVERYTHING, build, execute


@pytest.fixture
def database(_prefect: None, tmp_path: Path, migrated_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database in which everything holds, and that the settings point at."""
    path = build(tmp_path / "run", migrated_template)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    return path


@pytest.fixture
def _as_a_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `main` find no arguments but its own, and take back what it does to Prefect's logger."""
    monkeypatch.setattr(sys, "argv", ["check"])
    logger = logging.getLogger("prefect")
    level = logger.level
    yield
    logger.setLevel(level)


def run() -> State[Any]:
    return check(return_state=True)


@pytest.mark.usefixtures("_as_a_program")
def test_of_a_sound_database_it_prints_what_it_checked_and_exits_with_0(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main() == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"Self-check of {database}: version {VERSION}, schema {newest_revision()}, loads 6, events 21, "
    )
    assert f"Everything holds: {len(EVERYTHING)} promises." in printed
    assert [line.split()[0] for line in printed.splitlines() if line.split()[1:2] == ["holds"]] == [
        invariant.name for invariant in EVERYTHING
    ]


@pytest.mark.usefixtures("_as_a_program")
def test_of_a_broken_database_it_prints_where_it_is_broken_and_exits_with_1(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(database, "DELETE FROM rejected_rows")
    assert main() == 1
    printed = capsys.readouterr().out
    assert f"BROKEN: 1 of {len(EVERYTHING)} promises: rejected_count." in printed
    assert "\n  loads.id 1: rejected_count 1, rows 0\n" in printed


@pytest.mark.usefixtures("_as_a_program")
def test_a_repair_rebuilds_views_and_indexes_and_then_checks(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(
        database,
        "DROP VIEW event_dates",
        "DROP INDEX uq_events_message_id",
        "UPDATE data_dictionary SET sentence = ''",
        "CREATE TRIGGER strange AFTER INSERT ON events BEGIN SELECT 1; END",
    )
    monkeypatch.setattr(sys, "argv", ["check", "--repair"])
    assert main() == 1
    printed = capsys.readouterr().out
    assert "Rebuilt: the view event_dates.\n" in printed
    assert "Rebuilt: the index uq_events_message_id.\n" in printed
    assert f"BROKEN: 1 of {len(EVERYTHING)} promises: schema_as_made." in printed
    assert "the trigger strange on events is not part of this project" in printed


def test_a_repair_waits_for_a_run_says_so_once_and_gives_up(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUN_LOCK_TIMEOUT_SECONDS", "1")
    with (
        run_lock(f"sqlite:///{database}", 0, lambda: None),
        pytest.raises(RunInProgressError, match="Another run is at work on"),
    ):
        repair_schema()
    assert capsys.readouterr().err == "Waiting for a run to end.\n"


@pytest.mark.usefixtures("_as_a_program")
def test_a_repair_of_no_database_is_a_sentence_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    monkeypatch.setattr(sys, "argv", ["check", "--repair"])
    assert main() == 1
    assert capsys.readouterr().err.startswith(f"There is no database at {tmp_path}/none.db to repair;")
    assert list(tmp_path.iterdir()) == []


def test_what_was_found_fails_the_run_and_is_left_on_its_page(
    database: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    execute(database, "DELETE FROM rejected_rows")
    state = run()
    assert state.is_failed()
    assert state.message == f"BROKEN: 1 of {len(EVERYTHING)} promises: rejected_count."
    assert "Traceback" not in errors_logged.text
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["self-check"])))
    (mine,) = [artifact for artifact in artifacts if artifact.flow_run_id == state.state_details.flow_run_id]
    assert mine.description == state.message
    assert "- loads.id 1: rejected_count 1, rows 0\n" in str(mine.data)
    assert "| rejected_count | BROKEN 1 |" in str(mine.data)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "which does not exist; run the hourly job first, or correct DATABASE_URL."),
        (b"user_id,event_type\n" * 100, "The database cannot be used: file is not a database."),
        (b"", "The database's schema is older than this code: it lacks 0001, 0002, 0003, "),
    ],
    ids=["missing", "not SQLite", "empty"],
)
@pytest.mark.usefixtures("_prefect")
def test_a_file_that_cannot_be_checked_fails_the_run_with_a_sentence_and_stays_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    errors_logged: pytest.LogCaptureFixture,
    content: bytes | None,
    expected: str,
) -> None:
    path = tmp_path / "messaging.db"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    state = run()
    assert state.is_failed()
    assert expected in str(state.message)
    assert "Traceback" not in errors_logged.text
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_check_asked_to_stop_says_so_before_the_next_invariant_and_fails(
    database: Path, monkeypatch: pytest.MonkeyPatch, errors_logged: pytest.LogCaptureFixture
) -> None:
    def ask_to_stop(_connection: Connection) -> Iterator[Select[Any]]:
        signal.raise_signal(signal.SIGTERM)
        return iter(())

    asked = replace(INVARIANTS[0], queries=ask_to_stop)
    monkeypatch.setattr(self_check, "INVARIANTS", (asked, *INVARIANTS[1:]))
    before = signal.getsignal(signal.SIGTERM)
    state = run()
    assert state.is_failed()
    assert str(state.message).startswith("Stopped by SIGTERM at a safe point.")
    assert "Traceback" not in errors_logged.text
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("_as_a_program")
def test_a_wrong_setting_is_reported_before_prefect_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://ada:secret@localhost/x")
    assert main() == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("DATABASE_URL: names a mysql database")
    assert "secret" not in printed.err
    assert printed.out == ""


def test_it_is_deployed_to_run_once_a_day() -> None:
    deployments = YAML(typ="safe", pure=True).load(Path(__file__).parents[2] / "prefect.yaml")["deployments"]
    (deployment,) = [deployment for deployment in deployments if deployment["name"] == check.name]
    assert deployment["entrypoint"] == "flows/check.py:check"
    assert [(schedule["cron"], schedule["timezone"]) for schedule in deployment["schedules"]] == [("35 3 * * *", "UTC")]
