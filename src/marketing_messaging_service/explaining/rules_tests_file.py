"""What rules.tests.yaml may say: its typed form, and how it is read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field as Limits
from pydantic import PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from src.marketing_messaging_service.decisions.parts import Name, Part, Text, a_list_of
from src.marketing_messaging_service.errors import RulesTestsError
from src.marketing_messaging_service.vocabulary import PROPERTIES, TRAITS
from src.marketing_messaging_service.vocabulary import Part as PayloadPart
from src.marketing_messaging_service.yaml_file import (
    Grammar,
    WrittenDate,
    did_you_mean,
    expectation_error,
    parse_yaml,
    read_yaml_file,
    validation_error,
)

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""What relative times count from if a test does not say: noon on a Monday."""

LATEST_START = datetime(9900, 1, 1, tzinfo=UTC)
LONGEST_AHEAD = timedelta(days=3660)
MOST_TESTS = 1_000
MOST_EVENTS = 1_000
MOST_RUNS = 1_000

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_AHEAD = re.compile(r"\+((?:\d{1,7}[dhms])+)")
_EXPECTED_MOMENT = "a time after the start such as +2h or +1d30m, or an instant such as 2026-01-05T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: an instant, or a time after the start of its test."""

    instant: datetime | None
    ahead: timedelta

    def after(self, start: datetime) -> datetime:
        """Return it as an instant in UTC."""
        return start + self.ahead if self.instant is None else self.instant


def _moment(value: Any) -> Moment:
    text = value.text if isinstance(value, WrittenDate) else value
    if isinstance(text, str) and (match := _AHEAD.fullmatch(text)):
        parts = re.findall(r"(\d+)([dhms])", match[1])
        ahead = sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta())
        if ahead <= LONGEST_AHEAD:
            return Moment(None, ahead)
    return Moment(_instant(text), timedelta())


def _instant(value: Any) -> datetime:
    text = value.text if isinstance(value, WrittenDate) else value
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise expectation_error(_EXPECTED_MOMENT)


def _start(value: Any) -> datetime:
    instant = _instant(value)
    if instant > LATEST_START:
        raise expectation_error("an instant before the year 9900, to leave room for what comes after it")
    return instant


TimeOfTest = Annotated[Moment, PlainValidator(_moment), WithJsonSchema({"type": "string"})]
Start = Annotated[datetime, PlainValidator(_start), WithJsonSchema({"type": "string"})]


def _fields_of(part: PayloadPart) -> PlainValidator:
    """Return a type for the values of a payload's part, by field name; staging checks the values."""
    names = [field.name for field in part.fields]

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise expectation_error("keys with values")
        for name in value:
            if name not in names:
                near = did_you_mean(str(name), names).removeprefix("; ")
                hint = f" ({near})" if near else ""
                raise expectation_error(f"one of the declared {part.key}{hint}: {', '.join(names)}", name)
        return {name: str(each) if isinstance(each, WrittenDate) else each for name, each in value.items()}

    return PlainValidator(checked)


class GivenEvent(Part):
    """An event in short form."""

    id: Name
    user: Text
    type: Name
    at: TimeOfTest
    arrives: TimeOfTest | None = None
    properties: Annotated[Mapping[str, Any], _fields_of(PROPERTIES)] = {}
    user_traits: Annotated[Mapping[str, Any], _fields_of(TRAITS)] = {}


class Match(Part):
    """An event and a rule that decides on it."""

    event: Name
    rule: Name


class Refusal(Match):
    """A match that must not go out, and why."""

    reason: Text


Matches = Annotated[tuple[Match, ...], Limits(max_length=MOST_EVENTS)]


class Expected(Part):
    """Everything expected of the events; of a kind that is left out, nothing."""

    sends: Matches = ()
    alerts: Matches = ()
    suppressions: Annotated[tuple[Refusal, ...], Limits(max_length=MOST_EVENTS)] = ()
    waiting: Matches = ()

    def matches(self) -> Iterator[tuple[str, Match]]:
        """Yield each match with the kind of its expected outcome."""
        for kind in Expected.model_fields:
            yield from ((kind, match) for match in getattr(self, kind))


class RuleTest(Part):
    """A named case."""

    name: Text
    start: Start = START
    events: Annotated[tuple[GivenEvent, ...], Limits(min_length=1, max_length=MOST_EVENTS)]
    as_of: TimeOfTest | None = None
    runs: Annotated[tuple[TimeOfTest, ...], Limits(min_length=1, max_length=MOST_RUNS)] | None = None
    expect: Expected

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield whether its runs are given ambiguously, and what the expectation names that is not given."""
        if ("as_of" in raw) == ("runs" in raw):
            yield expectation_error("either as_of, for one run, or runs", "as_of")
        events = a_list_of(raw.get("events"))
        ids = [event.get("id") for event in events if isinstance(event, dict)]
        for position, event_id in enumerate(ids):
            if event_id in ids[:position]:
                yield expectation_error("an id that no other event of the test has", "events", position, "id")
        expect = raw.get("expect")
        for kind in Expected.model_fields:
            for position, match in enumerate(a_list_of(expect.get(kind)) if isinstance(expect, dict) else []):
                event_id = match.get("event") if isinstance(match, dict) else None
                if isinstance(event_id, str) and event_id not in ids:
                    known = [each for each in ids if isinstance(each, str)]
                    yield expectation_error(
                        "the id of an event of the test", "expect", kind, position, "event", known=known
                    )

    @property
    def run_times(self) -> tuple[datetime, ...]:
        """The logical times of its runs, in order."""
        moments = self.runs or ((self.as_of,) if self.as_of else ())
        return tuple(sorted(moment.after(self.start) for moment in moments))


class RuleTests(Part):
    """All of rules.tests.yaml."""

    tests: Annotated[tuple[RuleTest, ...], Limits(min_length=1, max_length=MOST_TESTS)]


_GRAMMAR = Grammar(
    error=RulesTestsError,
    kind="file of tests",
    consequence="nothing was tested",
    whole=RuleTests,
    parts={
        "tests": RuleTest,
        "events": GivenEvent,
        "expect": Expected,
        "sends": Match,
        "alerts": Match,
        "waiting": Match,
        "suppressions": Refusal,
    },
    kinds={},
    named={"tests": "test"},
)


@dataclass(frozen=True, slots=True)
class TestsFile:
    """The tests beside a rules file, and the line of each."""

    path: Path
    tests: tuple[RuleTest, ...]
    lines: tuple[int, ...]

    def covers(self, rule_name: str) -> bool:
        """Return whether some test expects something of a rule."""
        return any(match.rule == rule_name for test in self.tests for _, match in test.expect.matches())


def tests_path(rules_path: Path) -> Path:
    """Return the path of a rules file's tests, beside it: rules.tests.yaml for rules.yaml."""
    return rules_path.with_name(f"{rules_path.stem}.tests{rules_path.suffix}")


def read_tests(path: Path) -> TestsFile:
    """Read and check a file of tests. Raises RulesTestsError, naming all that is wrong, with lines."""
    document = parse_yaml(read_yaml_file(path, None, _GRAMMAR), str(path), _GRAMMAR)
    try:
        tests = RuleTests.model_validate(document.value).tests
    except ValidationError as error:
        raise validation_error(error, document, str(path), _GRAMMAR) from None
    return TestsFile(path, tests, tuple(document.lines["tests", position] for position in range(len(tests))))
