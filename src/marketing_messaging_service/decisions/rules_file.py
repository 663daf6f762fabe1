"""Reading rules.yaml: safely, and with errors that its owners understand."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node

from src.marketing_messaging_service.decisions.rules import (
    STORABLE_TEXT,
    Action,
    Conditions,
    FieldCondition,
    PriorEvent,
    PriorEventCondition,
    Rule,
    Rules,
    SuppressionPolicy,
    Trigger,
)
from src.marketing_messaging_service.errors import RulesError

LARGEST_FILE_BYTES = 256 * 1024
DEEPEST_NESTING = 20


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
    return parse_rules(yaml_text, str(path))


def parse_rules(yaml_text: str, source: str) -> RulesFile:
    """Check the text of a rules file; `source` is what errors call it.

    Raises RulesError as `read_rules` does.
    """
    document = _parse_yaml(source, yaml_text)
    try:
        rules = Rules.model_validate(document).rules
    except ValidationError as error:
        raise RulesError(_all_sentences(source, [_sentence(detail, document) for detail in error.errors()])) from None
    repeated = [name for name, count in Counter(rule.name for rule in rules).items() if count > 1]
    if repeated:
        raise RulesError(
            _all_sentences(
                source, [f"rule {_word(name)}: the name stands more than once; give each its own" for name in repeated]
            )
        )
    return RulesFile(text_hash(yaml_text), yaml_text, rules)


def text_hash(yaml_text: str) -> str:
    """Return the name of a version of the rules: the SHA-256 of its text as UTF-8, in hexadecimal."""
    return hashlib.sha256(yaml_text.encode("utf-8")).hexdigest()


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


class _PlainComposer(Composer):
    """Takes what a rules file needs of YAML, and refuses the rest where it stands.

    A few aliases can unfold into gigabytes, a tag makes other things than plain values, and deep nesting takes
    the parser a time that grows with its square.
    """

    _depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            raise _composer_error(f"the alias *{event.anchor} is not supported; write the value out", event)
        if event.tag is not None:
            raise _composer_error(f"the tag {event.tag} is not supported; write a plain value", event)
        if self._depth == DEEPEST_NESTING:
            raise _composer_error(f"nested more than {DEEPEST_NESTING} levels deep", event)
        self._depth += 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _composer_error(problem: str, event: Any) -> ComposerError:
    return ComposerError(None, None, problem, event.start_mark)


def _parse_yaml(source: str, yaml_text: str) -> Any:
    """Return the document as plain values."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _PlainComposer
    try:
        return yaml.load(yaml_text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        problem = error.problem or error.context or ""
    except Exception as error:  # the parser lets out whatever int(), datetime() or a check of its own raise
        place = ""
        problem = str(error)
    raise RulesError(f"{source}{place}: not the YAML of a rules file: {_one_line(problem)}.")


def _all_sentences(source: str, sentences: Sequence[str]) -> str:
    return f"{source} cannot be used; nothing was decided.\n" + "\n".join(f"  {sentence}." for sentence in sentences)


_EXPECTED: Mapping[str, str] = {
    "model_type": "keys with values",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": STORABLE_TEXT,
    "string_too_short": "text that is not empty",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a lower-case word such as email or in_app",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "expectation": "{expected}",
    "too_long": "at most {max_length} entries",
    "invalid_key": "a key that is text",
}
"""What to tell of each kind of error; the names in braces are details of pydantic's."""

_PARTS: Mapping[str, type[BaseModel]] = {
    "rules": Rule,
    "trigger": Trigger,
    "conditions": Conditions,
    "field_condition": FieldCondition,
    "prior_event_condition": PriorEventCondition,
    "prior_event": PriorEvent,
    "action": Action,
    "suppression": SuppressionPolicy,
}
"""The part of a rule that stands under each key, or under each kind of condition, for telling which keys it knows."""


def _sentence(detail: ErrorDetails, document: Any) -> str:
    """Return an error of pydantic's as: rule and key, what was expected, what was found."""
    context = detail.get("ctx", {})
    path = _path(detail["loc"])
    found = detail["input"]
    for part in context.get("place", ()):
        path.append(part)
        found = _part(found, part)
    place = _place(path, document)
    match detail["type"]:
        case "missing":
            return f"{place}: the key is required and is missing"
        case "extra_forbidden":
            return f"{place}: unknown key; expected one of {_known_keys(detail['loc'])}, found {_shown(path[-1])}"
    expected = _EXPECTED[detail["type"]].format_map(context) if detail["type"] in _EXPECTED else detail["msg"]
    return f"{place}: expected {expected}, found {_shown(found)}"


def _part(whole: Any, key: str | int) -> Any:
    return whole.get(key) if isinstance(whole, dict) else whole[key]


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
        return "".join(f"key {_word(part)}" for part in path[:1]) or "the file"
    name = _rule_name(path[1], document)
    keys = "".join(f"[{part}]" if isinstance(part, int) else f".{_word(part)}" for part in path[2:]).removeprefix(".")
    return f"rule {name}, {keys}" if keys else f"rule {name}"


def _rule_name(position: Any, document: Any) -> str:
    rule = document["rules"][position]
    name = rule.get("name") if isinstance(rule, dict) else None
    return _word(name) if isinstance(name, str) and name else f"number {position + 1}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    parents = [part for part in location[:-1] if isinstance(part, str)]
    part = _PARTS.get(parents[-1], Rules) if parents else Rules
    return ", ".join(part.model_fields)


def _word(part: int | str) -> str:
    """Return a name or key as it stands, or quoted and escaped where it could not be printed on one line."""
    return _shortened(part) if isinstance(part, str) and part.isprintable() else _shown(part)


def _one_line(text: str) -> str:
    printable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _shortened(" ".join(printable.split()) or "it cannot be read", 200)


def _shown(value: Any) -> str:
    """Return a value as the file's owners would write it, as far as that is short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return value.isoformat()
    try:
        return _shortened(repr(value))
    except ValueError:  # Python writes out no integer of more than 4300 digits
        return "a number too long to show"


def _shortened(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
