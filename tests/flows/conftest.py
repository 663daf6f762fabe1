"""A Prefect server of the tests' own, started once for all flow tests."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from tests.postgresql import Server


@pytest.fixture(scope="package")
def _prefect() -> Iterator[None]:
    # A busy machine may take a minute to start it; 30 s is what Prefect waits by itself.
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def landing(_prefect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty landing folder that the settings point at, beside a database that does not exist yet."""
    folder = tmp_path / "landing"
    folder.mkdir()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/messaging.db")
    monkeypatch.setenv("LANDING_PATH", str(folder))
    monkeypatch.setenv("LANDING_SETTLE_SECONDS", "0")
    monkeypatch.setenv("REPORTS_PATH", str(tmp_path / "reports"))
    monkeypatch.setenv("SOURCES_PATH", str(Path(__file__).parents[2] / "data" / "sources.yaml"))
    monkeypatch.setenv("RULES_PATH", str(Path(__file__).parents[2] / "data" / "rules.yaml"))
    return folder


@pytest.fixture
def on_postgresql(landing: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a database of a server, which is empty."""
    monkeypatch.setenv("DATABASE_URL", postgresql.new_database())
    monkeypatch.setenv("PUBLISH_PATH", str(landing.parent / "published"))
    return landing


@pytest.fixture
def errors_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the flow logs, which Prefect's loggers keep to themselves otherwise."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    # A test of a program, in the same process, leaves Prefect's logger as quiet as the program does.
    caplog.set_level(logging.INFO, "prefect")
    return caplog
