"""Finds what is wrong with or odd about a rules file, without a run and without a database."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.decisions.odd_rules import odd_rules
from src.marketing_messaging_service.decisions.rules_file import RulesFile, read_rules
from src.marketing_messaging_service.errors import Fault, RulesError, RulesTestsError
from src.marketing_messaging_service.explaining.rules_tests_file import read_tests, tests_path
from src.marketing_messaging_service.reporting.tables import counted
from src.marketing_messaging_service.yaml_file import line_of, word

VERSION = 1
"""Of the form that `--json` prints: raised when a reader of it would have to change."""


@dataclass(frozen=True, slots=True)
class RulesCheck:
    """The findings in a rules file; it can be used if there is no error."""

    path: str
    rule_count: int
    errors: tuple[Fault, ...]
    warnings: tuple[Fault, ...]

    def as_text(self) -> str:
        """Return it for a terminal: the counts, and a line for each finding."""
        found = f"{_counted(self.rule_count, 'rule')}, " if not self.errors else ""
        head = f"{self.path}: {found}{_counted(len(self.errors), 'error')}, {_counted(len(self.warnings), 'warning')}."
        kinds = (("error", self.errors), ("warning", self.warnings))
        return "\n".join([head, *(_line(kind, fault) for kind, faults in kinds for fault in faults)])

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values: `version`, `file`, `rules`, `errors` and `warnings` of `line` and `message`."""
        return {
            "version": VERSION,
            "file": self.path,
            "rules": self.rule_count,
            "errors": [_as_json(fault) for fault in self.errors],
            "warnings": [_as_json(fault) for fault in self.warnings],
        }


def check_rules(path: Path) -> RulesCheck:
    """Return every error and every warning of a file."""
    try:
        file = read_rules(path, None)
    except RulesError as error:
        return RulesCheck(str(path), 0, error.faults or (Fault(str(error).removesuffix(".")),), ())
    return RulesCheck(str(path), len(file.rules), (), (*_warnings(file), *_uncovered(file, tests_path(path))))


def _warnings(file: RulesFile) -> list[Fault]:
    names = {
        "rules": [rule.name for rule in file.rules],
        "blocks": [block.name for block in file.whole.blocks],
        "limits": [limit.name for limit in file.whole.limits],
    }
    found = [
        Fault(odd.sentence.removesuffix("."), line_of((odd.part, names[odd.part].index(odd.name)), file.lines))
        for odd in odd_rules(file.whole)
    ]
    return sorted(found, key=lambda fault: fault.line or 0)


def _uncovered(file: RulesFile, path: Path) -> Iterator[Fault]:
    """Yield the enabled rules that no test beside the file covers; nothing if there are no tests."""
    if not path.is_file():
        return
    try:
        tests = read_tests(path)
    except RulesTestsError as error:
        yield Fault(str(error).removesuffix("."))
        return
    for position, rule in enumerate(file.rules):
        if rule.enabled and not tests.covers(rule.name):
            line = line_of(("rules", position), file.lines)
            yield Fault(f"No test in {path} expects anything of the rule {word(rule.name)}", line)


def _counted(count: int, noun: str) -> str:
    return counted(count, noun) if count else f"no {noun}s"


def _line(kind: str, fault: Fault) -> str:
    where = "" if fault.line is None else f" in line {fault.line}"
    return f"  {kind}{where}: {_sentence(fault)}"


def _sentence(fault: Fault) -> str:
    return fault.sentence if fault.sentence.endswith("?") else f"{fault.sentence}."


def _as_json(fault: Fault) -> dict[str, Any]:
    return {"line": fault.line, "message": _sentence(fault)}
