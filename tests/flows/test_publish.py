"""The publish flow under Prefect."""

import logging
import re
import threading
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.hourly import hourly
from flows.pipeline.stopping import StopRequest
from flows.publish import Course, main, publish


def test_what_an_hourly_run_left_is_published_as_the_setting_says(
    landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLISH_PATH", str(tmp_path / "published"))
    hourly(return_state=True)
    state = publish(return_state=True)
    assert state.is_completed()
    assert str(state.message).startswith("Published ")
    assert (tmp_path / "published" / "messaging.db").is_file()
    assert (tmp_path / "published" / "user_timeline.parquet").is_file()
    with get_client(sync_client=True) as client:
        assert state.state_details.flow_run_id is not None
        name = client.read_flow_run(state.state_details.flow_run_id).name
    assert re.fullmatch(r"publish \d{4}-\d\d-\d\dT\d\d:\d\dZ", name)


def test_from_the_command_line_it_publishes_as_the_setting_says_too(
    landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PUBLISH_PATH", str(tmp_path / "published"))
    monkeypatch.setattr("sys.argv", ["publish"])
    hourly(return_state=True)
    assert main() == 0
    assert f"in {tmp_path / 'published'}." in capsys.readouterr().out


def test_on_to_the_live_file_it_fails_before_anything_is_written(landing: Path, tmp_path: Path) -> None:
    hourly(return_state=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    state = publish(publish_path=str(link), return_state=True)
    assert state.is_failed()
    assert "would take the place of the database itself" in str(state.message)
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before


def test_among_raw_files_it_fails_before_anything_is_written(landing: Path) -> None:
    hourly(return_state=True)
    state = publish(publish_path=str(landing / "published"), return_state=True)
    assert state.is_failed()
    assert "what is written there would be taken for raw files" in str(state.message)
    assert list(landing.iterdir()) == []


class _Lines(logging.Handler):
    """Keeps what is logged, and says when there is something."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.has_one = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.has_one.set()


@pytest.mark.parametrize(("total", "part"), [(200, "25 %"), (None, "50 rows so far"), (0, "50 rows so far")])
def test_the_log_says_again_and_again_how_far_it_has_come_also_while_nothing_advances(
    total: int | None, part: str
) -> None:
    log, lines = logging.getLogger("tests.publish"), _Lines()
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    course = Course(log, seconds=0.001)
    with course.progress(StopRequest(), "Writing events.parquet", total) as advance:
        advance(50)
        with course.telling():
            assert lines.has_one.wait(60)
    log.removeHandler(lines)
    assert re.fullmatch(rf"Writing events\.parquet: {part}, after \d+ s\.", lines.lines[0])


def test_without_a_database_it_fails_with_a_sentence(
    landing: Path, tmp_path: Path, errors_logged: pytest.LogCaptureFixture
) -> None:
    state = publish(publish_path=str(tmp_path / "published"), return_state=True)
    assert state.is_failed()
    assert "run the hourly job first" in str(state.message)
    assert "Traceback" not in errors_logged.text
