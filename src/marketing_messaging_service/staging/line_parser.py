"""Looks closely at one raw line: an event in its plain form, or the reason why there is none.

This defines what a valid raw event is; the vocabulary says what a valid value of each kind is. Most lines never come
here: `columnar` passes those that a compiled decoder finds to be plain, and asks here only about the others.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

import msgspec
from sqlalchemy.orm import InstrumentedAttribute

from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.staging.content_id import content_ids
from src.marketing_messaging_service.staging.text_form import bare
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS, Part, Payload, ReasonCode
from src.marketing_messaging_service.vocabulary.values import (
    RefusedValueError,
    WrittenNumber,
    found,
    read_instant,
    read_text,
    refuse,
)


def _length(column: InstrumentedAttribute[Any]) -> int:
    """Return how many characters a text column holds."""
    length: int = column.type.length
    return length


MAX_LENGTHS: Mapping[str, int] = {
    "message_id": _length(Event.message_id),
    "user_id": _length(Event.user_id),
    "event_type": _length(Event.event_type),
}
"""How many characters each text outside the payload may have: what its column holds."""

OWN_KEYS = frozenset({*MAX_LENGTHS, "event_timestamp"})
"""The known keys of an event outside its payload."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("uid", "user", "distinct_id", "customer", "customer_id"),
    "event_type": ("event", "event_name", "type"),
    "event_timestamp": ("timestamp", "event_time", "time", "ts", "occurred_at", "created_at"),
}
"""What other systems call the required keys, by our name. Such a key is only mentioned in errors, not read."""

MOST_LEVELS = 100
"""How many levels of objects and arrays a line may have. Beyond that the parsers' own limits would apply, which vary
with the depth of the caller's stack."""
# Also matches a string that is never closed; the quantifiers do not backtrack.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LEVELS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class DuplicateKeys(dict[str, Any]):
    """An object in which some keys appeared more than once; it holds each one's last value, and their names."""

    duplicated: frozenset[str]


class LeftOut(NamedTuple):
    """An invalid value that is left out of its event."""

    field_path: str
    explanation: str
    """What is wrong with it."""


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """The event on a raw line, and the paths of its unknown keys."""

    event: Mapping[str, Any]
    """Its plain form, ready to be written as JSON: only known keys that have a value, each value of its own type, the
    instant as text in UTC."""
    unknown_keys: tuple[str, ...]
    former_ids: tuple[str, ...] = ()
    """Ids under which an earlier version may have loaded the event, if its producer gave it none."""
    left_out: tuple[LeftOut, ...] = ()
    """The invalid values that are left out of the event."""


class LineParser:
    """Looks closely at lines that hold events of one payload; the given top-level keys are not content."""

    def __init__(self, payload: Payload, delivery_keys: Collection[str] = DELIVERY_KEYS) -> None:
        self._parts = payload.parts
        self._delivery_keys = delivery_keys
        self.top_keys = OWN_KEYS | {part.key for part in payload.parts}
        self.keys = {part.key: frozenset(field.name for field in part.fields) for part in payload.parts}
        """The known keys of each object of the payload."""

    def parse(self, line: bytes) -> ParsedLine:
        """Return the event on a raw line; `bare` says what else may be on it.

        Raises RefusedValueError with the first thing that is wrong, in the order: text, depth, JSON, object, then field
        by field.
        """
        document = json_object(line)
        _refuse_duplicates(document, self.top_keys, "")
        return self.look_at(document, document)

    def look_at(
        self, document: Mapping[str, Any], content: Mapping[str, Any], optional_fields: Collection[str] = ()
    ) -> ParsedLine:
        """Return the event in a document whose numbers are WrittenNumber.

        If it has no id, `content` makes one. An invalid value of one of the optional fields, such as
        user_traits.country, is left out. Raises RefusedValueError as `parse` does.
        """
        event: dict[str, Any] = {"message_id": None}
        event["user_id"] = _required_text(document, "user_id")
        event["event_type"] = _required_text(document, "event_type")
        message_id = document.get("message_id")
        if message_id is not None:
            message_id = _text(message_id, "message_id")
        timestamp = document.get("event_timestamp")
        if timestamp is None:
            _refuse_missing(document, "event_timestamp")
        event["event_timestamp"] = as_text(read_instant(timestamp, "event_timestamp"))
        parts = {part.key: _nested_object(document, part.key, self.keys[part.key]) for part in self._parts}
        left_out: list[LeftOut] = []
        event |= {part.key: _values(parts[part.key], part, optional_fields, left_out) for part in self._parts}
        former_ids: tuple[str, ...] = ()
        if message_id is None:
            message_id, former_ids = content_ids(content, self._delivery_keys)
        event["message_id"] = message_id
        unknown = [key for key in document if key not in self.top_keys]
        for name, level in parts.items():
            unknown.extend(f"{name}.{key}" for key in level if key not in self.keys[name])
        return ParsedLine(event, tuple(unknown), former_ids, tuple(left_out))


def _values(
    level: Mapping[str, Any], part: Part, optional_fields: Collection[str], left_out: list[LeftOut]
) -> dict[str, Any]:
    """Return the known values of an object of the payload, typed, without absent or null ones.

    Values left out because they are invalid are added to the list.
    """
    values = {}
    for field in part.fields:
        value = level.get(field.name)
        if value is None:
            continue
        try:
            values[field.name] = field.kind.read(value, field)
        except RefusedValueError as error:
            if field.path not in optional_fields:
                raise
            left_out.append(LeftOut(field.path, error.explanation))
    return values


def as_text(instant: datetime) -> str:
    """Return an instant in UTC as it is in an event's plain form."""
    return instant.isoformat(timespec="microseconds")


def json_object(raw_line: bytes) -> Mapping[str, Any]:
    """Return the JSON object on a raw line, with numbers as WrittenNumber; `bare` says what else may be on it.

    Raises RefusedValueError if there is none.
    """
    line = bare(raw_line)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(
            ReasonCode.INVALID_UTF8,
            None,
            f"Byte {error.start + 1} of the line is not UTF-8 text ({error.reason}); the file must be UTF-8.",
        )
    _refuse_depth(line)
    if line.startswith(b"[") and _is_json(line):
        # Without making objects of its elements, which take thirty times the memory of their text.
        refuse(ReasonCode.NOT_AN_OBJECT, None, f"Expected a JSON object with an event's keys, found {found([])}.")
    try:
        document = _JSON.decode(text)
    except json.JSONDecodeError as error:
        _refuse_json(text, error)
    if not isinstance(document, dict):
        refuse(ReasonCode.NOT_AN_OBJECT, None, f"Expected a JSON object with an event's keys, found {found(document)}.")
    return document


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _refuse_json(text: str, error: json.JSONDecodeError) -> NoReturn:
    place = text.find("\0")
    if place >= 0:
        refuse(
            ReasonCode.NUL_BYTES,
            None,
            f"Character {place + 1} of the line is a zero byte, such as a power cut or UTF-16 leaves; "
            "deliver the line again without them.",
        )
    if error.msg == "Extra data" and bare(text[error.pos :].encode()).startswith(b"{"):
        refuse(
            ReasonCode.SEVERAL_OBJECTS,
            None,
            f"Several objects on one line, the second from character {error.pos + 1} on; put a line end between them.",
        )
    refuse(ReasonCode.INVALID_JSON, None, f"Not JSON: {error.msg} (character {error.pos + 1} of the line).")


def _refuse_depth(line: bytes) -> None:
    if line.count(b"{") + line.count(b"[") <= MOST_LEVELS:
        return
    depth = 0
    # One by one, because all pieces of a line together can take fifty times its memory.
    for token in _STRING_OR_BRACKET.finditer(line):
        depth += _LEVELS.get(line[token.start()], 0)
        if depth > MOST_LEVELS:
            refuse(
                ReasonCode.NESTED_TOO_DEEP,
                None,
                f"The JSON is nested more than {MOST_LEVELS} levels deep; an event needs two.",
            )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    counts = Counter(key for key, _ in pairs)
    marked = DuplicateKeys(plain)
    marked.duplicated = frozenset(key for key, count in counts.items() if count > 1)
    return marked


_JSON = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=WrittenNumber, parse_int=WrittenNumber, parse_constant=WrittenNumber
)


def json_value(text: str) -> Any:
    """Return a JSON value as the close look reads it."""
    return _JSON.decode(text)


def _refuse_duplicates(document: Mapping[str, Any], known: frozenset[str], prefix: str) -> None:
    if isinstance(document, DuplicateKeys) and (names := sorted(document.duplicated & known)):
        refuse_twice(prefix + names[0])


def refuse_twice(name: str) -> NoReturn:
    """Raise RefusedValueError for a key that appears more than once."""
    refuse(ReasonCode.DUPLICATE_KEY, name, f"{name} is in the object more than once; only one can be meant.")


def _required_text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        _refuse_missing(document, name)
    return _text(value, name)


def _refuse_missing(document: Mapping[str, Any], name: str) -> NoReturn:
    absence = "null" if name in document else "absent"
    refuse(ReasonCode.MISSING_FIELD, name, f"{name} is required and is {absence}{other_name_hint(document, name)}.")


def other_name_hint(document: Mapping[str, Any], name: str) -> str:
    """Return what to do about a key that probably stands for a required one; nothing if there is none."""
    other = other_name(document, name)
    if other is None:
        return ""
    return f"; {other} is there: write it as {name}, or say in sources.yaml that it is meant (docs/sources.md)"


def other_name(document: Mapping[str, Any], name: str) -> str | None:
    """Return the key that probably stands for a required one; None if there is none."""
    meant = {_letters(each) for each in (name, *OTHER_NAMES[name])}
    others = [key for key, value in document.items() if key != name and value is not None and _letters(key) in meant]
    # The same name in other letters is better evidence than a synonym.
    return min(others, key=lambda key: _letters(key) != _letters(name), default=None)


def _letters(key: str) -> str:
    """Return a key as it is read aloud: userId, User_Id and user-id are the same."""
    return _BETWEEN_WORDS.sub("", key).lower()


_BETWEEN_WORDS = re.compile(r"[-_. ]")


def _text(value: Any, name: str) -> str:
    return read_text(value, name, most=MAX_LENGTHS[name], may_be_empty=False)


def _nested_object(document: Mapping[str, Any], name: str, known: frozenset[str]) -> Mapping[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        refuse(ReasonCode.WRONG_TYPE, name, f"{name} must be an object or null, found {found(value)}.")
    _refuse_duplicates(value, known, f"{name}.")
    return value
