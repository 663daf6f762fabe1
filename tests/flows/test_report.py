"""`python -m flows.report`: the report of any past run, without Prefect."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Connection, Engine

from flows.report import main
from src.marketing_messaging_service import reporting
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.models import RunState
from tests.reporting.runs import add_run


@pytest.fixture
def database(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with two runs, the second one failed, and a load of neither."""
    with write_transaction(engine) as connection:
        add_run(connection, flow_run_id="abc-1", flow_run_name="tangerine-gecko", message="Nothing new.")
        add_run(connection, flow_run_id="abc-2", state=RunState.FAILED, message="LANDING_PATH names x.\nMore.")
        for number, run_id in ((1, 1), (2, None)):
            connection.exec_driver_sql(
                "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at) "
                "VALUES (?, ?, 'a.jsonl', 1, '2026-11-23 09:00:00.000000', '', '2026-11-23 10:00:00.000000')",
                (number, str(number)),
            )
            connection.exec_driver_sql(
                "INSERT INTO loads (source_file_id, run_id, as_of, state, read_count, inserted_count, duplicate_count, "
                "conflict_count, rejected_count, blank_count, loaded_at) VALUES (?, ?, '2026-11-23 10:00:00.000000', "
                "'decided', 1, 0, 0, 0, 0, 1, '2026-11-23 10:00:00.000000')",
                (number, run_id),
            )
    monkeypatch.setenv("DATABASE_URL", str(engine.url))
    return Path(engine.url.database or "")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "run_id"),
    [
        ((), 2),
        (("--latest",), 2),
        (("--run", "1"), 1),
        (("--load", "1"), 1),
        (("--flow-run", "abc-1"), 1),
        (("--flow-run", "tangerine-gecko"), 1),
    ],
)
def test_a_run_is_found_by_whatever_one_knows_of_it(
    database: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], run_id: int
) -> None:
    code, out, _ = told(capsys, *arguments)
    file = Path("data/reports") / f"hourly-2026-11-23T1000Z-run-{run_id}.html"
    assert code == 0
    assert out.startswith(f"Run as of 2026-11-23 10:00:00 UTC into sqlite:///{database}\n\n")
    assert out.endswith(f"\n\nReport: {file}\n")
    assert f"run {run_id}" in file.read_text(encoding="utf-8")


@pytest.mark.usefixtures("database")
def test_the_last_runs_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, "--list")
    assert out == (
        "The last runs\n"
        "  run  flow    mode             as of (UTC)       state      what it reported\n"
        "    2  hourly  load and decide  2026-11-23 10:00  failed     LANDING_PATH names x.\n"
        "    1  hourly  load and decide  2026-11-23 10:00  completed  Nothing new.\n"
    )
    assert not Path("data").exists()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--run", "99"), "There is no run 99; `python -m flows.report --list` lists the last ones."),
        (("--load", "99"), "There is no load 99; the view load_history lists all loads."),
        (("--load", "2"), "Load 2 is from before runs were recorded, so its run has no report;"),
        (("--flow-run", "x"), "There is no run of a flow run x;"),
    ],
)
def test_what_is_not_there_is_reported_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    code, out, err = told(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(expected)
    assert len(err.splitlines()) == 1


def test_a_database_without_runs_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", str(engine.url))
    assert told(capsys) == (1, "", "No run is recorded in this database yet; run the hourly job first.\n")
    assert told(capsys, "--list") == (0, "No run is recorded in this database yet.\n", "")


def test_a_database_that_is_not_there_is_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys)
    assert (code, err) == (
        1,
        "There is no database at messaging.db; run the hourly job first, or correct DATABASE_URL.\n",
    )
    assert not Path("messaging.db").exists()


def test_an_older_schema_is_reported_by_what_it_lacks(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(database) as connection:
        connection.executescript("DROP TABLE runs; UPDATE alembic_version SET version_num = '0004'")
    connection.close()
    code, _, err = told(capsys, "--list")
    assert code == 1
    assert err.startswith("The database's schema is older than this code: it lacks 0005")


def test_a_file_that_is_not_a_database_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.db").write_text("not a database at all, but long enough to be taken for one " * 20)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///x.db")
    code, _, err = told(capsys)
    assert code == 1
    assert "file is not a database" in err


def test_the_database_is_only_read(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = database.read_bytes()
    told(capsys)
    assert database.read_bytes() == before


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30])
def test_a_number_that_no_row_has_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--run", number])
    assert "is not the number of a row; they count from 1" in capsys.readouterr().err


@pytest.mark.slow
def test_it_needs_neither_prefect_nor_pandas() -> None:
    code = "import sys, flows.report; print({'prefect', 'pandas', 'alembic', 'matplotlib'} & {*sys.modules})"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout == "set()\n"


def test_ctrl_c_ends_it_with_a_sentence(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(_connection: Connection, _count: int) -> NoReturn:
        with suppress(KeyboardInterrupt):
            # As SQLite does where it comes within a statement.
            os.kill(os.getpid(), signal.SIGINT)
        raise DatabaseError("The database cannot be used: interrupted.")

    monkeypatch.setattr(reporting, "last_runs", pressed)
    before = signal.getsignal(signal.SIGINT)
    assert told(capsys, "--list") == (130, "", "Stopped by Ctrl-C. Nothing was changed; start it again.\n")
    assert signal.getsignal(signal.SIGINT) is before
