"""Reads rules.yaml: safely, and with errors that its owners understand."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from src.marketing_messaging_service.decisions.conditions import TAGS, EventCondition, Happened, PriorEvent
from src.marketing_messaging_service.decisions.rules import (
    Action,
    Block,
    Holdout,
    Limit,
    Rule,
    Rules,
    Sign,
    SuppressionPolicy,
    Trigger,
    Wait,
)
from src.marketing_messaging_service.errors import RulesError
from src.marketing_messaging_service.yaml_file import (
    Grammar,
    Location,
    parse_yaml,
    read_yaml_file,
    validation_error,
    wait_until_settled,
)

_GRAMMAR = Grammar(
    error=RulesError,
    kind="rules file",
    consequence="nothing was decided",
    whole=Rules,
    parts={
        "rules": Rule,
        "blocks": Block,
        "limits": Limit,
        "holdout": Holdout,
        "trigger": Trigger,
        "wait": Wait,
        "happened": Happened,
        "prior_event": PriorEvent,
        "where": EventCondition,
        "action": Action,
        "suppression": SuppressionPolicy,
        "from": Sign,
        "until": Sign,
    },
    kinds=TAGS,
    named={"rules": "rule", "blocks": "block", "limits": "limit"},
)


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A version of rules.yaml that was read and is valid."""

    content_hash: str
    """SHA-256 of the text, in hexadecimal."""
    yaml_text: str
    whole: Rules
    lines: Mapping[Location, int] = field(default_factory=dict, compare=False, repr=False)
    """The line of each key, or of each entry of a list, counted from 1."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, in the order of the file."""
        return self.whole.rules

    @property
    def enabled_rules(self) -> tuple[Rule, ...]:
        """The rules that decide, in the order of the file."""
        return tuple(rule for rule in self.rules if rule.enabled)


def read_rules(path: Path, setting: str | None = "RULES_PATH") -> RulesFile:
    """Read and check a rules file: the one at `path`, or else the one that the setting names.

    Raises RulesError, naming every rule and key that is wrong, what was there and what was expected.
    """
    return parse_rules(read_yaml_file(path, setting, _GRAMMAR), str(path))


def read_settled_rules(
    path: Path, *, settle_seconds: float = 0, sleep: Callable[[float], None] = time.sleep
) -> RulesFile:
    """Read and check a rules file once nobody is writing it.

    A file that changed within the last `settle_seconds` is read again after that time, until it stays the same: an
    editor may have written only half of it. Raises RulesError as `read_rules` does, and when it keeps changing.
    """
    wait_until_settled(path, "RULES_PATH", _GRAMMAR, settle_seconds=settle_seconds, sleep=sleep)
    return read_rules(path)


def parse_rules(yaml_text: str, source: str) -> RulesFile:
    """Check the text of a rules file; `source` is what errors call it.

    Raises RulesError as `read_rules` does.
    """
    document = parse_yaml(yaml_text, source, _GRAMMAR)
    try:
        return RulesFile(text_hash(yaml_text), yaml_text, Rules.model_validate(document.value), document.lines)
    except ValidationError as error:
        raise validation_error(error, document, source, _GRAMMAR) from None


def text_hash(yaml_text: str) -> str:
    """Return the name of a version of the rules: the SHA-256 of its text as UTF-8, in hexadecimal."""
    return hashlib.sha256(yaml_text.encode("utf-8")).hexdigest()
