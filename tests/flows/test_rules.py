"""Rules before they go live, from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline.ctrl_c import CUT_OFF_BY_READER
from flows.rules import main
from src.marketing_messaging_service.explaining import rules_schema_text
from src.marketing_messaging_service.vocabulary import SuppressionMode
from tests.decisions.helpers import any_of, rule

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def write(path: Path, *rules: Any, **others: Any) -> str:
    path.write_text(json.dumps({"rules": list(rules), **others}, indent=1), encoding="utf-8")
    return str(path)


def test_a_file_without_fault_passes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", write(path, rule("a"), rule("b"))]) == 0
    assert capsys.readouterr().out == f"{path}: 2 rules, no errors, no warnings.\n"


def test_every_error_is_listed_with_its_line_and_fails_the_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = rule("a", suppression={"mode": "onceever"}, enabled="yes")
    assert main(["check", write(path, rule("b"), wrong)]) == 1
    lines = path.read_text(encoding="utf-8").splitlines()
    mode, enabled = (next(n for n, line in enumerate(lines, 1) if word in line) for word in ("onceever", "yes"))
    first, *found = capsys.readouterr().out.splitlines()
    assert first == f"{path}: 2 errors, no warnings."
    assert sorted(found) == sorted(
        [
            f"  error in line {enabled}: rule a, enabled: expected true or false, found 'yes'.",
            f"  error in line {mode}: rule a, suppression.mode: expected {any_of(SuppressionMode)}, found "
            "'onceever'; did you mean once_ever?",
        ]
    )


def test_a_warning_names_its_line_and_fails_the_command_only_when_that_is_asked_for(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write(path, rule("a"), rule("b", template="T "))
    assert main(["check", given]) == 0
    line = path.read_text(encoding="utf-8").splitlines().index('   "name": "b",')
    assert (
        f"  warning in line {line}: The rule b has blanks at the start or end of action.template_name"
        in capsys.readouterr().out
    )
    assert main(["check", "--strict", given]) == 1


def test_the_same_is_there_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("rules:\n- name: a\n  surprise: 1\n", encoding="utf-8")
    assert main(["check", "--json", str(path)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {key: found[key] for key in ("version", "file", "rules", "warnings")} == {
        "version": 1,
        "file": str(path),
        "rules": 0,
        "warnings": [],
    }
    assert {error["line"] for error in found["errors"]} == {2, 3}
    assert any(error["message"].startswith("rule a, surprise: unknown key") for error in found["errors"])


@pytest.mark.parametrize("text", ["rules: [", None])
def test_a_file_that_is_not_a_rules_file_at_all_is_one_error(
    path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if text:
        path.write_text(text, encoding="utf-8")
    assert main(["check", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "1 error, no warnings." in printed
    assert ("not valid YAML for a rules file" if text else "cannot be read: No such file") in printed


def test_show_says_each_rule_and_draws_them(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = path.with_name("rules.svg")
    assert main(["show", write(path, rule("a"), rule("b", exclusive_group="g")), "--picture", str(picture)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "a: On each paid, send T by email."
    assert said[-1] == f"Drawn in {picture}."
    drawing = picture.read_text(encoding="utf-8")
    assert drawing.startswith("<?xml")
    assert "g: the first that matches decides" in drawing
    assert "matched" not in drawing


def test_show_of_a_wrong_file_says_what_is_wrong(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", write(path, {})]) == 1
    assert "the key is required and is missing" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_a_sentence(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", write(path, rule()), "--picture", str(path.with_name("no_folder") / "r.svg")]) == 1
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


def test_a_picture_is_not_drawn_over_a_file_that_is_none(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write(path, rule())
    before = path.read_text(encoding="utf-8")
    assert main(["show", given, "--picture", given]) == 1
    assert "the drawing is an SVG file; choose a name that ends in .svg" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == before


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(path)
    assert main(["check", str(path)]) == 1
    assert f"{path} cannot be read: it is a pipe, not a file." in capsys.readouterr().out


def test_without_a_file_the_setting_names_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RULES_PATH", write(path, rule()))
    assert main(["check"]) == 0
    assert str(path) in capsys.readouterr().out


def test_the_schema_is_printed_as_the_project_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == rules_schema_text()


@pytest.mark.slow
def test_the_tests_beside_a_file_are_done_and_one_that_fails_fails_the_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"id": "e", "user": "u", "type": "paid", "at": "+0h"}
    test = {"name": "t", "events": [given], "as_of": "+1h", "expect": {"sends": [{"event": "e", "rule": "a"}]}}
    path.with_name("rules.tests.yaml").write_text(json.dumps({"tests": [test]}), encoding="utf-8")
    assert main(["test", write(path, rule("a"))]) == 0
    assert capsys.readouterr().out.endswith("rules.tests.yaml: 1 test, all passed.\n")
    assert main(["test", "--json", write(path, rule("a", channel="internal"))]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["tests"] == 1
    assert found["failed"] == [
        {
            "name": "t",
            "line": 1,
            "problem": None,
            "differences": [
                {
                    "event": "e",
                    "rule": "a",
                    "expected": "send",
                    "found": "alert",
                    "why": "the rule takes every paid",
                    "explanation": ["a: an alert to our own people [run of 2026-01-05 13:00]"],
                }
            ],
        }
    ]


def test_without_tests_beside_it_a_file_cannot_be_tested(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", write(path, rule("a"))]) == 1
    assert "rules.tests.yaml cannot be read: No such file or directory." in capsys.readouterr().err


@pytest.mark.server
def test_a_reader_that_goes_away_before_the_end_is_no_traceback(path: Path) -> None:
    command = [sys.executable, "-m", "flows.rules", "show", write(path, rule("a"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (CUT_OFF_BY_READER, b"")
