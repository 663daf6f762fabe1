"""Reading rules.yaml: safely, and with errors that its owners understand."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from src.marketing_messaging_service.decisions.rules import (
    Action,
    Conditions,
    FieldCondition,
    PriorEvent,
    Rule,
    Rules,
    SuppressionPolicy,
    Trigger,
)
from src.marketing_messaging_service.errors import RulesError

LARGEST_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A version of rules.yaml that has been read and found right."""

    content_hash: str
    """SHA-256 of the text, in hexadecimal."""
    yaml_text: str
    rules: tuple[Rule, ...]

    @property
    def enabled_rules(self) -> tuple[Rule, ...]:
        """The rules that decide, in the order of the file."""
        return tuple(rule for rule in self.rules if rule.enabled)


def read_rules(path: Path) -> RulesFile:
    """Read and check a rules file.

    Raises RulesError, naming every rule and key that is wrong, what stood there and what was expected.
    """
    content = _read(path)
    try:
        yaml_text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise RulesError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    document = _parse_yaml(path, yaml_text)
    try:
        rules = Rules.model_validate(document).rules
    except ValidationError as error:
        raise RulesError(_all_sentences(path, [_sentence(detail, document) for detail in error.errors()])) from None
    repeated = [name for name, count in Counter(rule.name for rule in rules).items() if count > 1]
    if repeated:
        raise RulesError(
            _all_sentences(
                path, [f"rule {name}: the name stands more than once; give each its own" for name in repeated]
            )
        )
    return RulesFile(hashlib.sha256(content).hexdigest(), yaml_text, rules)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RulesError(f"RULES_PATH names {path}, which cannot be read: {reason}.") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise RulesError(f"{path} is larger than {LARGEST_FILE_BYTES} bytes, which no rules file is.")
    return content


def _parse_yaml(path: Path, yaml_text: str) -> Any:
    """Return the document as plain values. Aliases are refused: a few of them can unfold into gigabytes."""
    yaml = YAML(typ="safe", pure=True)
    try:
        for event in yaml.parse(yaml_text):
            if isinstance(event, AliasEvent):
                raise RulesError(
                    f"{path}, line {event.start_mark.line + 1}: the alias *{event.anchor} is not supported; write the "
                    "value out."
                )
        return YAML(typ="safe", pure=True).load(yaml_text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise RulesError(f"{path}{place}: not the YAML of a rules file: {error.problem or error.context}.") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise RulesError(
            f"{path}: not the YAML of a rules file: {_first_line(str(error)) or 'nested too deeply'}."
        ) from None


def _all_sentences(path: Path, sentences: Sequence[str]) -> str:
    return f"{path} cannot be used; nothing was decided.\n" + "\n".join(f"  {sentence}." for sentence in sentences)


_EXPECTED: Mapping[str, str] = {
    "model_type": "keys with values",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a lower-case word such as email or in_app",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "expectation": "{expected}",
}
"""What to tell of each kind of error; the names in braces are details of pydantic's."""

_PARTS: Mapping[str, type[BaseModel]] = {
    "rules": Rule,
    "trigger": Trigger,
    "conditions": Conditions,
    "field": FieldCondition,
    "prior_event": PriorEvent,
    "action": Action,
    "suppression": SuppressionPolicy,
}
"""The part of a rule that stands under each key, for telling which keys it knows."""


def _sentence(detail: ErrorDetails, document: Any) -> str:
    """Return an error of pydantic's as: rule and key, what was expected, what was found."""
    context = detail.get("ctx", {})
    path = _path(detail["loc"])
    if context.get("key"):
        path = [*path, context["key"]]
    place = _place(path, document)
    match detail["type"]:
        case "missing":
            return f"{place}: the key is required and is missing"
        case "extra_forbidden":
            return f"{place}: unknown key; expected one of {_known_keys(detail['loc'])}, found {_shown(path[-1])}"
    expected = _EXPECTED.get(detail["type"], detail["msg"]).format_map(context)
    found = context["found"] if context.get("key") else detail["input"]
    return f"{place}: expected {expected}, found {_shown(found)}"


def _path(location: tuple[int | str, ...]) -> list[int | str]:
    """Return where an error is, without the name of the condition's kind that pydantic adds behind its number."""
    path: list[int | str] = []
    for position, part in enumerate(location):
        if position > 1 and isinstance(location[position - 1], int) and location[position - 2] == "all":
            continue
        path.append(part)
    return path


def _place(path: Sequence[int | str], document: Any) -> str:
    """Return a path as people say it: the rule by its name, then the keys down to the place."""
    if len(path) < 2 or path[0] != "rules":
        return "".join(f"key {part}" for part in path[:1]) or "the file"
    name = _rule_name(path[1], document)
    keys = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[2:]).lstrip(".")
    return f"rule {name}, {keys}" if keys else f"rule {name}"


def _rule_name(position: Any, document: Any) -> str:
    rule = document["rules"][position]
    name = rule.get("name") if isinstance(rule, dict) else None
    return name if isinstance(name, str) and name else f"number {position + 1}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    parents = [part for part in location[:-1] if isinstance(part, str)]
    part = _PARTS.get(parents[-1], Rules) if parents else Rules
    return ", ".join(part.model_fields)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
