"""The watch under Prefect: what it says of a database into which files come, and of one into which none does."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State

from flows.hourly import hourly
from flows.watch import main, watch

GOOD_LINE = '{"user_id": "ada", "event_type": "signup_completed", "event_timestamp": "2026-11-23T10:00:00Z"}\n'


def run(**parameters: object) -> State[Any]:
    return watch(**parameters, return_state=True)


@pytest.fixture
def _loaded(landing: Path) -> None:
    (landing / "a.jsonl").write_text(GOOD_LINE)
    hourly(return_state=True)


def age(landing: Path, hours: int) -> None:
    """Let the newest load be of so many hours ago."""
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        connection.execute(f"UPDATE loads SET loaded_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{hours} hours')")
        connection.commit()


@pytest.mark.usefixtures("_loaded")
def test_while_files_come_in_it_is_content(landing: Path) -> None:
    age(landing, 1)
    state = run()
    assert (state.name, state.message) == ("Completed", "Files come in, and nothing unusual was found.")


@pytest.mark.usefixtures("_loaded")
def test_within_three_hours_of_the_last_file_it_fails_and_says_what_to_look_at(landing: Path) -> None:
    age(landing, 3)
    state = run()
    assert state.is_failed()
    assert str(state.message).startswith("The newest file was loaded at 2")
    assert "See whether the producers still write into LANDING_PATH" in str(state.message)
    assert run(max_load_age_hours=0).message == "Nothing unusual was found."
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["watch"])))
    assert state.message in {artifact.description for artifact in artifacts}


def test_before_the_first_run_it_says_that_there_is_no_database(
    landing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["watch"])
    assert main() == 1
    assert "which does not exist; run the hourly job first" in capsys.readouterr().out
