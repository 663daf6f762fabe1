"""Reads the YAML that people write for this project: safely, and with errors that its owners understand."""

import difflib
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from src.marketing_messaging_service.errors import Fault, WrittenFileError

LARGEST_FILE_BYTES = 256 * 1024
DEEPEST_NESTING = 40
STORABLE_TEXT = "text of whole characters without NUL"

MOST_WAITS = 5
"""How often a file that keeps changing is waited for."""

Location = tuple[int | str, ...]
"""The keys and positions that lead from the whole document to a part of it."""


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A date or instant written in the file without quotes, as it is; it need not exist."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """What a file says, as plain values, and where it says it."""

    value: Any
    lines: Mapping[Location, int]
    """The line of each key, or of each entry of a list, counted from 1."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The parts of one kind of file's errors."""

    error: type[WrittenFileError]
    kind: str
    """What such a file is called, such as `rules file`."""
    consequence: str
    """What does not happen while the file is wrong, as a clause."""
    whole: type[BaseModel]
    parts: Mapping[str, type[BaseModel]]
    """The part under a key, for naming the keys that it knows."""
    kinds: Mapping[str, type[BaseModel]]
    """The same for each kind that a part may have, by pydantic's tag for it."""
    named: Mapping[str, str]
    """The keys whose parts have names, and what one such part is called."""


def read_yaml_file(path: Path, setting: str | None, grammar: Grammar) -> str:
    """Return the text of a file that a setting or a caller names.

    Raises the grammar's error when the file cannot be read, is too large, or is not UTF-8.
    """
    try:
        content = _content(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        which = f"{setting} names {path}, which" if setting else f"{path}"
        raise grammar.error(f"{which} cannot be read: {reason}.") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise grammar.error(f"{path} is larger than {LARGEST_FILE_BYTES} bytes, too large for a {grammar.kind}.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise grammar.error(f"{path} is not UTF-8 text; save it as UTF-8.") from None


def wait_until_settled(
    path: Path, setting: str, grammar: Grammar, *, settle_seconds: float, sleep: Callable[[float], None]
) -> None:
    """Return once nobody is writing a file: an editor may have written only half of it.

    One that changed within the last `settle_seconds` is read again after that time, until it stays the same. Raises the
    grammar's error when it keeps changing.
    """
    if not settle_seconds or not _is_young(path, settle_seconds):
        return
    before = _bytes_of(path)
    for _ in range(MOST_WAITS):
        sleep(settle_seconds)
        now = _bytes_of(path)
        if now is not None and now == before:
            return
        before = now
    raise grammar.error(
        f"{setting} names {path}, which has kept changing for {MOST_WAITS * settle_seconds:g} s; "
        f"{grammar.consequence}, as it may be half written. Start the run again when it is complete."
    )


def _is_young(path: Path, settle_seconds: float) -> bool:
    """Return whether a file was changed, or put in its place, within a number of seconds; a missing one was not."""
    try:
        status = path.stat()
    except OSError:
        return False
    # A copied file may have the time of its original; only ctime says when it was changed here.
    return max(status.st_mtime, status.st_ctime) > time.time() - settle_seconds


def _bytes_of(path: Path) -> bytes | None:
    """Return a file's content up to the allowed size; None if it cannot be read at this moment."""
    try:
        return _content(path)
    except OSError:
        return None


def _content(path: Path) -> bytes:
    """Return a file's content up to the allowed size. Raises OSError, also for a pipe, for which a run would wait."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            raise OSError("it is a pipe, not a file")
        return stream.read(LARGEST_FILE_BYTES + 1)


def parse_yaml(yaml_text: str, source: str, grammar: Grammar) -> YamlDocument:
    """Return the one document of a text. Raises the grammar's error, with the line, for what is not plain YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _PlainComposer
    yaml.Constructor = _PlainConstructor
    try:
        node = yaml.compose(yaml_text)
        if node is None:
            return YamlDocument(None, {})
        value = yaml.constructor.construct_document(node)
        return YamlDocument(value, dict(_lines(node, ())))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = _in_plain_words(error)
    except Exception as error:  # the parser lets through whatever int(), datetime() or its own checks raise
        line = None
        problem = str(error)
    wrong = f"not valid YAML for a {grammar.kind}: {_one_line(problem)}"
    place = "" if line is None else f", line {line}"
    raise grammar.error(f"{source}{place}: {wrong}.", [Fault(wrong, line)])


_PLAIN_PROBLEMS: Sequence[tuple[str, str]] = (
    (r"found character '\\t'", "there is a tab; indent with blanks instead"),
    ("found character '(.)'", "a value cannot begin with {word}; put it in quotes"),
    ("expected <block end>", "this line does not fit the lines above it; check its indentation, quotes and brackets"),
    ("mapping values are not allowed", "a colon where none can be; check the indentation, or put the text in quotes"),
    ("expected ',' or", "the bracket opened in line {since} is not closed, or a comma is missing"),
    ("could not find expected ':'", "the key in line {since} has no colon after it"),
    ("found unexpected end of stream", "the quote opened in line {since} is not closed"),
    ('found duplicate key "(.*)" with value', "the key {word} is written twice"),
    ("but found another document", "--- begins a second document; there can only be one"),
)
"""What to say about the parser's errors, for people who have never seen a parser."""


def _in_plain_words(error: MarkedYAMLError) -> str:
    problem = error.problem or error.context or ""
    since = error.context_mark.line + 1 if error.context_mark else 1
    for pattern, said in _PLAIN_PROBLEMS:
        if found := re.match(pattern, problem, re.DOTALL):
            return said.format(word=word(found[1]) if found.groups() else "", since=since)
    return problem


def validation_error(error: ValidationError, document: YamlDocument, source: str, grammar: Grammar) -> WrittenFileError:
    """Return the grammar's error that names all that is wrong with a document, in the order of its lines."""
    details = [detail for detail in error.errors() if not _follows_from_another(detail)]
    faults = [_fault(detail, document, grammar) for detail in details]
    return all_faults(source, grammar, sorted(faults, key=lambda fault: fault.line or 0))


def _follows_from_another(detail: ErrorDetails) -> bool:
    """Return whether a list is too short only because entries in it are wrong, each of which is reported."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def all_faults(source: str, grammar: Grammar, faults: Sequence[Fault]) -> WrittenFileError:
    """Return the grammar's error with each fault on its own line."""
    listed = "\n".join(f"  {fault}." for fault in faults)
    return grammar.error(f"{source} cannot be used; {grammar.consequence}.\n{listed}", faults)


def expectation_error(expected: str, *place: str | int, known: Sequence[str] = ()) -> PydanticCustomError:
    """Return the error that says what was expected.

    `place` leads to the value when a larger part is checked; the nearest of the `known` words is suggested.
    """
    context = {"expected": expected, "place": place, "known": known}
    return PydanticCustomError("expectation", "expected {expected}", context)


def is_storable(text: str) -> bool:
    """Return whether every database can hold the text: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def storable(text: str) -> str:
    """Return the text; raise the error of an expectation when no database can hold it."""
    if not is_storable(text):
        raise expectation_error(STORABLE_TEXT)
    return text


class _PlainComposer(Composer):
    """Accepts what such a file needs of YAML, and refuses the rest where it occurs.

    A few aliases can unfold into gigabytes, a tag can make something other than plain values, and deep nesting takes
    the parser quadratic time.
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


class _PlainConstructor(SafeConstructor):
    """Takes a date or time without quotes as it is written; whether it exists is checked where it is used."""


def _written_date(_constructor: SafeConstructor, node: ScalarNode) -> WrittenDate:
    return WrittenDate(node.value)


_PlainConstructor.add_constructor("tag:yaml.org,2002:timestamp", _written_date)


def _composer_error(problem: str, event: Any) -> ComposerError:
    return ComposerError(None, None, problem, event.start_mark)


def _lines(node: Node, location: Location) -> Iterator[tuple[Location, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            place = (*location, key.value)
            yield place, key.start_mark.line + 1
            yield from _lines(value, place)
    elif isinstance(node, SequenceNode):
        for position, item in enumerate(node.value):
            place = (*location, position)
            yield place, item.start_mark.line + 1
            yield from _lines(item, place)


_EXPECTED: Mapping[str, str] = {
    "model_type": "keys with values",
    "dict_type": "keys with values",
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
    "too_short": "a list that is not empty",
    "invalid_key": "a key that is text",
}
"""What to say about each kind of error; the names in braces are pydantic's details."""


def _fault(detail: ErrorDetails, document: YamlDocument, grammar: Grammar) -> Fault:
    """Return pydantic's error as: part and key, what was expected, what was found, and the line."""
    context = detail.get("ctx", {})
    path = _resolved(detail["loc"], document.value, grammar.kinds)
    found = detail["input"]
    for part in context.get("place", ()):
        path.append(part)
        found = _part(found, part)
    place = _place(path, document.value, grammar)
    line = line_of(path, document.lines)
    match detail["type"]:
        case "missing":
            return Fault(f"{place}: the key is required and is missing", line)
        case "extra_forbidden":
            known = _known_keys(detail["loc"], grammar)
            hint = did_you_mean(str(path[-1]), known)
            return Fault(
                f"{place}: unknown key; expected one of {', '.join(known)}, found {shown(path[-1])}{hint}", line
            )
    expected = _EXPECTED[detail["type"]].format_map(context) if detail["type"] in _EXPECTED else detail["msg"]
    if detail["type"] == "model_type" and (part := grammar.parts.get(str(path[-1]) if path else "")):
        expected += f" ({', '.join(_keys_of(part))})"
    known = context.get("known") or re.findall("'([^']+)'", context.get("expected", ""))
    hint = did_you_mean(found, known) if isinstance(found, str) else ""
    return Fault(f"{place}: expected {expected}, found {shown(found)}{hint}", line)


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the nearest known word; empty if none is near."""
    words = list(known)
    ends = [each for each in words if text and re.fullmatch(rf"(.+[._])?{re.escape(text)}([._].+)?", each)]
    near = ends or difflib.get_close_matches(text, words, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def _part(whole: Any, key: str | int) -> Any:
    return whole.get(key) if isinstance(whole, dict) else whole[key]


def _resolved(location: Location, document: Any, kinds: Collection[str]) -> list[int | str]:
    """Return where an error is, without the names of kinds that pydantic puts among the keys."""
    path: list[int | str] = []
    value = document
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
            if part in kinds:
                # What follows is in the part itself.
                value = _at(document, path)
                continue
        path.append(part)
    return path


def _at(document: Any, path: Sequence[int | str]) -> Any:
    for part in path:
        document = document[part]
    return document


def line_of(path: Sequence[int | str], lines: Mapping[Location, int]) -> int | None:
    """Return the line of the innermost existing part on the way to a place."""
    known = (lines.get(tuple(path[:end])) for end in range(len(path), 0, -1))
    return next((line for line in known if line is not None), None)


def _place(path: Sequence[int | str], document: Any, grammar: Grammar) -> str:
    """Return a path as people say it: the named part by its name, then the keys down to the place."""
    if len(path) < 2 or path[0] not in grammar.named:
        keys = _joined(path)
        return f"key {keys}" if keys else "the file"
    name = f"{grammar.named[str(path[0])]} {_name(path, document)}"
    keys = _joined(path[2:])
    return f"{name}, {keys}" if keys else name


def _joined(path: Sequence[int | str]) -> str:
    if not path:
        return ""
    first, *others = path
    return str(word(first)) + "".join(f"[{part}]" if isinstance(part, int) else f".{word(part)}" for part in others)


def _name(path: Sequence[int | str], document: Any) -> str:
    key = path[1]
    if isinstance(key, str):
        return word(key)
    part = document[path[0]][key]
    name = part.get("name") if isinstance(part, dict) else None
    return word(name) if isinstance(name, str) and name else f"number {key + 1}"


def _known_keys(location: Location, grammar: Grammar) -> list[str]:
    parts = {**grammar.parts, **grammar.kinds}
    part = next((parts[key] for key in reversed(location[:-1]) if key in parts), grammar.whole)
    return _keys_of(part)


def _keys_of(part: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in part.model_fields.items()]


def word(part: int | str) -> str:
    """Return a name or key as it is, or quoted and escaped if it could not be printed on one line."""
    return _shortened(part) if isinstance(part, str) and part.isprintable() else shown(part)


def _one_line(text: str) -> str:
    printable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _shortened(" ".join(printable.split()) or "it cannot be read", 200)


def shown(value: Any) -> str:
    """Return a value as the file's owners would write it, if that is short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, WrittenDate):
        return value.text
    try:
        return _shortened(repr(value))
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a number too long to show"


def _shortened(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
