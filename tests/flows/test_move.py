"""Moving a database from the command line."""

import re
from pathlib import Path

import pytest

from flows.move import main
from src.marketing_messaging_service.infrastructure.database import url_of
from tests.postgresql import PASSWORD, Server
from tests.self_check import databases


@pytest.fixture
def built(migrated_template: Path, tmp_path: Path) -> Path:
    return databases.build(tmp_path / "run", migrated_template)


def test_it_says_what_it_moves_compares_and_checks(
    built: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgresql.new_database())
    assert main(["--from", url_of(built)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Moving {built} to postgresql://postgres@/test_")
    assert re.search(r"[1-9]\d* rows in \d\d tables are the same in both, compared one by one\.", told)
    assert "Everything holds" in told
    assert told.endswith("Now let DATABASE_URL name the new database; the old one stays as it is.\n")
    assert PASSWORD not in told
    assert main(["--from", url_of(built)]) == 1
    assert "already; nothing was moved. Let --to name a new database." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say where to move to: python -m flows.move --to URL."),
        (["--to", "sqlite:///./messaging.db"], "Both are messaging.db; let --to name another database."),
        (["--to", "messages"], "--to is not a database URL; expected the form sqlite:///./messaging.db."),
        (
            ["--to", f"postgresql+psycopg://ana:{PASSWORD}@localhost/messages"],
            "--to holds a password, which everybody on this machine can read in the list of processes. Let "
            "DATABASE_URL name that database and leave out the option, or put the password into ~/.pgpass.",
        ),
    ],
)
def test_what_cannot_be_is_a_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg", reason="there is no PostgreSQL driver to test with")
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"{sentence}\n"
