"""One version, wherever it is read: the code, pyproject.toml, the changelog and every command line."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from src.marketing_messaging_service.version import VERSION

ROOT = Path(__file__).parents[1]

COMMANDS = sorted(
    path.stem
    for path in (ROOT / "flows").glob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


def test_pyproject_has_the_version_of_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION


def test_the_newest_version_of_the_changelog_is_that_of_the_code() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+) – \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    assert versions[0] == VERSION
    assert versions == sorted(versions, key=lambda each: tuple(map(int, each.split("."))), reverse=True)


def test_the_changelog_keeps_a_place_for_what_comes_next() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_there_are_command_lines() -> None:
    assert {"hourly", "backfill", "explain"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_answers_with_the_version(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [command, "--version"])
    with pytest.raises(SystemExit) as ended:
        import_module(f"flows.{command}").main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"marketing_messaging_service {VERSION}\n"
