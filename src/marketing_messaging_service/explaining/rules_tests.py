"""Runs the tests beside a rules file, and says where results differ from what was expected."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.rules_file import RulesFile, read_rules
from src.marketing_messaging_service.decisions.wording import condition_text
from src.marketing_messaging_service.errors import RulesTestsError
from src.marketing_messaging_service.explaining.rules_tests_file import (
    GivenEvent,
    Match,
    Refusal,
    RuleTest,
    TestsFile,
    read_tests,
)
from src.marketing_messaging_service.explaining.trial import Outcome, Trial, Trials, trials
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.tables import counted, table_of, text_table

VERSION = 1
"""Of the form that `--json` prints: raised when a reader of it would have to change."""

NOTHING = "nothing"
_KEYS = ("event", "rule", "expected", "found", "why", "explanation")
_WORDS = {"sends": "send", "alerts": "alert", "suppressions": "suppressed", "waiting": "waits"}


@dataclass(frozen=True, slots=True)
class Difference:
    """An event and a rule with a result other than the expected one."""

    event: str
    rule: str
    expected: str
    found: str
    why: str
    explanation: tuple[str, ...] = ()
    """What `flows.explain` says about them: the rule, and below it each condition with what was found."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of one test."""

    name: str
    line: int
    differences: tuple[Difference, ...] = ()
    problem: str = ""
    """Why it could not be run."""

    @property
    def has_passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.differences and not self.problem


@dataclass(frozen=True, slots=True)
class CaseResults:
    """The results of a file of tests."""

    path: str
    results: tuple[CaseResult, ...]

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The tests that have not passed."""
        return tuple(result for result in self.results if not result.has_passed)

    def as_text(self) -> str:
        """Return it for a terminal: the counts, then what differs in each test that failed."""
        what = "all passed" if not self.failed else f"{len(self.failed)} failed"
        return "\n\n".join([f"{self.path}: {counted(len(self.results), 'test')}, {what}.", *map(_told, self.failed)])

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values: `version`, `file`, `tests` (count), and `failed` with their `differences`."""
        return {
            "version": VERSION,
            "file": self.path,
            "tests": len(self.results),
            "failed": [
                {
                    "name": result.name,
                    "line": result.line,
                    "problem": result.problem or None,
                    "differences": [{name: getattr(each, name) for name in _KEYS} for each in result.differences],
                }
                for result in self.failed
            ],
        }


def run_tests(rules_path: Path, tests_file: Path) -> CaseResults:
    """Run every test of a file with the rules of another one.

    Raises RulesError or RulesTestsError for a file that cannot be used.
    """
    rules = read_rules(rules_path, None)
    tests = read_tests(tests_file)
    _refuse_unknown_rules(tests, rules)
    results = []
    with trials() as made:
        for test, line in zip(tests.tests, tests.lines, strict=True):
            results.append(_result(test, line, rules, made))
    return CaseResults(str(tests_file), tuple(results))


def _refuse_unknown_rules(tests: TestsFile, rules: RulesFile) -> None:
    known = {rule.name for rule in rules.rules}
    for test, line in zip(tests.tests, tests.lines, strict=True):
        for _, match in test.expect.matches():
            if match.rule not in known:
                raise RulesTestsError(
                    f"{tests.path}, line {line}: the test {test.name!r} expects something of the rule {match.rule}, "
                    "which the rules file does not have."
                )


def _result(test: RuleTest, line: int, rules: RulesFile, made: Trials) -> CaseResult:
    last = test.run_times[-1]
    late = [event.id for event in test.events if _arrival(event, test) > last]
    if late:
        return CaseResult(
            test.name, line, problem=f"The event {late[0]} arrives after the last run; let a run come later."
        )
    try:
        with made.trial() as trial:
            before: datetime | None = None
            for as_of in test.run_times:
                trial.run([_raw(event, test) for event in _arriving(test, before, as_of)], rules, as_of)
                before = as_of
            return CaseResult(test.name, line, tuple(_differences(test, rules, trial)))
    except RulesTestsError as error:
        return CaseResult(test.name, line, problem=str(error))


def _arrival(event: GivenEvent, test: RuleTest) -> datetime:
    return (event.arrives or event.at).after(test.start)


def _arriving(test: RuleTest, before: datetime | None, as_of: datetime) -> Iterator[GivenEvent]:
    """Yield the events that a run finds: those that came after the previous run."""
    for event in test.events:
        arrival = _arrival(event, test)
        if arrival <= as_of and (before is None or arrival > before):
            yield event


def _raw(event: GivenEvent, test: RuleTest) -> Mapping[str, Any]:
    return {
        "message_id": event.id,
        "user_id": event.user,
        "event_type": event.type,
        "event_timestamp": event.at.after(test.start).isoformat(),
        "properties": dict(event.properties),
        "user_traits": dict(event.user_traits),
    }


def _differences(test: RuleTest, rules: RulesFile, trial: Trial) -> Iterator[Difference]:
    """Yield the differences, in the order of events and rules."""
    expected = {(match.event, match.rule): (kind, match) for kind, match in test.expect.matches()}
    found = {(outcome.event, outcome.rule): outcome for outcome in trial.outcomes()}
    for event in test.events:
        for rule in rules.rules:
            wanted, came = expected.get((event.id, rule.name)), found.get((event.id, rule.name))
            told = (_told_expectation(*wanted) if wanted else NOTHING, _told_outcome(came) if came else NOTHING)
            if told[0] != told[1]:
                explanation = trial.explained(event.user, event.id, rule.name, rules)
                yield Difference(event.id, rule.name, *told, _why(event, rule, came, test, rules), explanation)


def _told_expectation(kind: str, match: Match) -> str:
    return f"{_WORDS[kind]}: {match.reason}" if isinstance(match, Refusal) else _WORDS[kind]


def _told_outcome(outcome: Outcome) -> str:
    return f"{_WORDS[outcome.kind]}: {outcome.reason}" if outcome.reason else _WORDS[outcome.kind]


def _why(event: GivenEvent, rule: Rule, came: Outcome | None, test: RuleTest, rules: RulesFile) -> str:
    """Return in words what made the rule decide so."""
    if came is not None and came.because_of:
        return f"{came.because_of} was in the way"
    if came is not None and came.kind == "waiting":
        for_data = ", and for a later event (wait_for_data)" if rules.whole.wait_for_data else ""
        return f"it waits {rule.wait_hours:g} h{for_data}; the last run is at {instant_text(test.run_times[-1])}"
    if not rule.enabled:
        return "the rule is off"
    if rule.trigger.event_type != event.type:
        return f"the rule looks at {rule.trigger.event_type}, but the event is a {event.type}"
    condition = condition_text(rule)
    if not condition:
        return f"the rule takes every {rule.trigger.event_type}"
    return f"{'the rule needs' if came is None else 'this holds'}: {condition}"


def _told(result: CaseResult) -> str:
    title = f"FAILED in line {result.line}: {result.name}"
    if result.problem:
        return f"{title}\n  {result.problem}"
    rows = ((each.event, each.rule, each.expected, each.found, each.why) for each in result.differences)
    table = text_table(table_of(title, ("event", "rule", "expected", "got", "why"), rows, longest=110))
    return "\n".join([table, *_explained(result.differences)])


def _explained(differences: Iterable[Difference]) -> Iterator[str]:
    """Yield the explanations, each below its event."""
    for each in differences:
        if each.explanation:
            first, *others = each.explanation
            yield f"  {each.event}, {first}"
            yield from (f"  {line}" for line in others)
