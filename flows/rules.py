"""Rules before they go live: `python -m flows.rules check`, `test`, `show`, `schema`; without Prefect or a database."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from flows.command_line.arguments import command_line_of
from flows.pipeline.ctrl_c import CtrlC, exit_as_told, refused
from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.decisions.rules import Rules
from src.marketing_messaging_service.errors import ParameterError, PipelineError
from src.marketing_messaging_service.explaining import (
    check_rules,
    rules_in_words,
    rules_schema_text,
    rules_svg,
    run_tests,
    tests_path,
)
from src.marketing_messaging_service.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked for; return the exit code, which is 1 for a file that cannot be used."""
    options = _parser().parse_args(arguments)
    if options.command == "schema":
        print(rules_schema_text(), end="")
        return 0
    try:
        with CtrlC().told("Nothing was changed; start it again."):
            return _COMMANDS[options.command](options.file or load_settings().rules_path, options)
    except PipelineError as error:
        return refused(error)


def _parser() -> argparse.ArgumentParser:
    parser = command_line_of("rules", "Check rules before they go live, or read what they say.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="check|test|show|schema")
    check = commands.add_parser("check", help="list every error and warning of a rules file, with its line")
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    check.add_argument("--strict", action="store_true", help="exit with 1 for a warning too")
    test = commands.add_parser("test", help="run the tests that belong to a rules file, and show what differs")
    test.add_argument("--json", action="store_true", help="print what differs as JSON")
    test.add_argument(
        "--tests", type=Path, metavar="FILE", help="the file of tests (default: rules.tests.yaml beside rules.yaml)"
    )
    show = commands.add_parser("show", help="say each rule in one sentence")
    show.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw the rules into this file as well")
    for command in (check, test, show):
        command.add_argument("file", nargs="?", type=Path, help="the rules file (default: RULES_PATH)")
    commands.add_parser("schema", help="print the JSON Schema of rules.yaml, with which editors complete and check it")
    return parser


def _check(path: Path, options: argparse.Namespace) -> int:
    found = check_rules(path)
    print(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if options.json else found.as_text())
    return int(bool(found.errors or (options.strict and found.warnings)))


def _test(path: Path, options: argparse.Namespace) -> int:
    results = run_tests(path, options.tests or tests_path(path))
    print(json.dumps(results.as_json(), indent=2, ensure_ascii=False) if options.json else results.as_text())
    return int(bool(results.failed))


def _show(path: Path, options: argparse.Namespace) -> int:
    file = read_rules(path, None)
    print("\n".join(rules_in_words(file.whole)))
    if options.picture:
        _draw(file.whole, options.picture)
    return 0


def _draw(whole: Rules, picture: Path) -> None:
    if picture.suffix != ".svg":
        raise ParameterError(
            f"--picture names {picture}, but the drawing is an SVG file; choose a name that ends in .svg."
        )
    drawing = rules_svg(whole)
    try:
        picture.write_bytes(drawing)
    except OSError as error:
        raise ParameterError(f"--picture names {picture}, which cannot be written ({error.strerror}).") from None
    print(f"Drawn in {picture}.")


_COMMANDS = {"check": _check, "test": _test, "show": _show}

if __name__ == "__main__":
    exit_as_told(main)
