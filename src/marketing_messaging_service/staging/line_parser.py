"""One raw line, looked at closely: an event in its plain form, or the reason why there is none.

This is the definition of what a valid raw event is. Most lines never come here: `columnar` passes those that a
compiled decoder finds to be plain, and asks here only about the others.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import msgspec
from sqlalchemy.orm import InstrumentedAttribute

from src.marketing_messaging_service.models import Event, EventProperties, ReasonCode, UserTraits
from src.marketing_messaging_service.staging.lines import Rejection


def _length(column: InstrumentedAttribute[Any]) -> int:
    """Return how many characters a text column holds."""
    length: int = column.type.length
    return length


MAX_LENGTHS: Mapping[str, int] = {
    "message_id": _length(Event.message_id),
    "user_id": _length(Event.user_id),
    "event_type": _length(Event.event_type),
    "properties.failure_reason": _length(EventProperties.failure_reason),
    "user_traits.email": _length(UserTraits.email),
    "user_traits.country": _length(UserTraits.country),
    "user_traits.risk_segment": _length(UserTraits.risk_segment),
}
"""Characters that each text may have: what its column holds."""

LARGEST_INTEGER = 2**63 - 1
"""The largest whole number that SQLite stores."""

TOP_KEYS = frozenset({"message_id", "user_id", "event_type", "event_timestamp", "properties", "user_traits"})
PROPERTY_KEYS = frozenset({"amount", "attempt_number", "failure_reason"})
TRAIT_KEYS = frozenset({"email", "country", "marketing_opt_in", "risk_segment"})

CONTENT_ID_PREFIX = "content:"

# RFC 3339's profile of ISO 8601, and with it the compact form, an offset without colon or minutes, a time
# without seconds, and a comma before the fraction.
_TIMESTAMP = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})[Tt ]"
    r"(?P<hour>[01][0-9]|2[0-3]):?(?P<minute>[0-9]{2})(:?(?P<second>[0-9]{2})([.,](?P<fraction>[0-9]+))?)?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)?"
)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

MOST_LEVELS = 100
"""Levels of objects and arrays on a line. Beyond them the parsers' own limits would speak, which move with the depth of
the caller's stack."""
# Also a string that is never closed; the quantifiers give nothing back.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LEVELS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class PlainProperties(msgspec.Struct, omit_defaults=True):
    """The known properties of an event, typed."""

    amount: float | None = None
    attempt_number: int | None = None
    failure_reason: str | None = None


class PlainTraits(msgspec.Struct, omit_defaults=True):
    """The known traits of an event's user, typed."""

    email: str | None = None
    country: str | None = None
    marketing_opt_in: bool | None = None
    risk_segment: str | None = None


class PlainEvent(msgspec.Struct, omit_defaults=True):
    """An event in its plain form: known keys alone, each of its own type, the instant in UTC."""

    message_id: str
    user_id: str
    event_type: str
    event_timestamp: str
    properties: PlainProperties | None = None
    user_traits: PlainTraits | None = None


class RejectedLineError(Exception):
    """A line cannot become an event."""

    def __init__(self, reason_code: ReasonCode, field_name: str | None, explanation: str) -> None:
        super().__init__(explanation)
        self.rejection = Rejection(reason_code, field_name, explanation)


class _DuplicateKeys(dict[str, Any]):
    """An object in which some keys stood more than once; it holds the last value of each, and their names."""

    duplicated: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Number:
    """A number exactly as it is written, or NaN or an Infinity, which are words of JavaScript and not of JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """The event on a raw line, and the paths of the keys on it that are not known."""

    event: PlainEvent
    unknown_keys: tuple[str, ...]


def parse_line(line: bytes) -> ParsedLine:
    """Return the event on a raw line.

    Raises RejectedLineError with the first thing that is wrong, in the order: text, depth, JSON, object, then
    field by field.
    """
    document = _json_object(line)
    _refuse_duplicates(document, TOP_KEYS, "")
    user_id = _required_text(document, "user_id")
    event_type = _required_text(document, "event_type")
    message_id = _message_id(document.get("message_id"))
    event_timestamp = parse_timestamp(document.get("event_timestamp"))
    properties = _nested_object(document, "properties", PROPERTY_KEYS)
    traits = _nested_object(document, "user_traits", TRAIT_KEYS)
    event = PlainEvent(
        message_id=message_id or "",
        user_id=user_id,
        event_type=event_type,
        event_timestamp=event_timestamp.isoformat(timespec="microseconds"),
        properties=PlainProperties(
            amount=_amount(properties.get("amount")),
            attempt_number=_attempt_number(properties.get("attempt_number")),
            failure_reason=_optional_text(properties, "properties", "failure_reason"),
        ),
        user_traits=PlainTraits(
            email=_optional_text(traits, "user_traits", "email"),
            country=_optional_text(traits, "user_traits", "country"),
            marketing_opt_in=_opt_in(traits.get("marketing_opt_in")),
            risk_segment=_optional_text(traits, "user_traits", "risk_segment"),
        ),
    )
    unknown = {
        "": _unknown_items(document, TOP_KEYS),
        "properties.": _unknown_items(properties, PROPERTY_KEYS),
        "user_traits.": _unknown_items(traits, TRAIT_KEYS),
    }
    if message_id is None:
        event.message_id = _content_id(event, unknown)
    return ParsedLine(event, tuple(prefix + key for prefix, items in unknown.items() for key in items))


def _json_object(line: bytes) -> Mapping[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        _reject(
            ReasonCode.INVALID_UTF8,
            None,
            f"Byte {error.start + 1} of the line is not UTF-8 text ({error.reason}); the file must be UTF-8.",
        )
    _refuse_depth(line)
    try:
        document = _JSON.decode(text)
    except json.JSONDecodeError as error:
        _reject(ReasonCode.INVALID_JSON, None, f"Not JSON: {error.msg} (character {error.pos + 1} of the line).")
    if not isinstance(document, dict):
        _reject(
            ReasonCode.NOT_AN_OBJECT, None, f"Expected a JSON object with an event's keys, found {_kind(document)}."
        )
    return document


def _refuse_depth(line: bytes) -> None:
    if line.count(b"{") + line.count(b"[") <= MOST_LEVELS:
        return
    depth = 0
    # One by one, because all pieces of a line at once can take fifty times its memory.
    for token in _STRING_OR_BRACKET.finditer(line):
        depth += _LEVELS.get(line[token.start()], 0)
        if depth > MOST_LEVELS:
            _reject(
                ReasonCode.NESTED_TOO_DEEP,
                None,
                f"The JSON is nested more than {MOST_LEVELS} levels deep; an event needs two.",
            )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    counts = Counter(key for key, _ in pairs)
    marked = _DuplicateKeys(plain)
    marked.duplicated = frozenset(key for key, count in counts.items() if count > 1)
    return marked


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_float=_Number, parse_int=_Number, parse_constant=_Number)


def _refuse_duplicates(document: Mapping[str, Any], known: frozenset[str], prefix: str) -> None:
    if isinstance(document, _DuplicateKeys) and (names := sorted(document.duplicated & known)):
        name = prefix + names[0]
        _reject(ReasonCode.DUPLICATE_KEY, name, f"{name} stands more than once in the object; only one can be meant.")


def _required_text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        _reject(ReasonCode.MISSING_FIELD, name, f"{name} is required and is {_absence(document, name)}.")
    return _text(value, name, may_be_empty=False)


def _message_id(value: Any) -> str | None:
    return None if value is None else _text(value, "message_id", may_be_empty=False)


def _optional_text(document: Mapping[str, Any], parent: str, name: str) -> str | None:
    value = document.get(name)
    return None if value is None else _text(value, f"{parent}.{name}", may_be_empty=True)


def _text(value: Any, name: str, *, may_be_empty: bool) -> str:
    if not isinstance(value, str):
        _reject(ReasonCode.WRONG_TYPE, name, f"{name} must be a string, found {_kind(value)}.")
    if not value and not may_be_empty:
        _reject(ReasonCode.EMPTY_TEXT, name, f"{name} is an empty string.")
    if len(value) > MAX_LENGTHS[name]:
        _reject(ReasonCode.TEXT_TOO_LONG, name, f"{name} has {len(value)} characters; at most {MAX_LENGTHS[name]} fit.")
    _refuse_surrogates(value, name)
    return value


def _refuse_surrogates(value: str, name: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        _reject(
            ReasonCode.INVALID_UNICODE,
            name,
            f"Character {error.start + 1} of {name} is half of a surrogate pair, which is no character.",
        )


def parse_timestamp(value: Any) -> datetime:
    """Return the instant that an ISO 8601 text with an offset names, in UTC.

    Digits beyond the microsecond are cut off, never rounded, so that no instant moves into the next day. Raises
    RejectedLineError.
    """
    name = "event_timestamp"
    if value is None:
        _reject(ReasonCode.MISSING_FIELD, name, "event_timestamp is required and is absent or null.")
    if not isinstance(value, str):
        _reject(ReasonCode.WRONG_TYPE, name, f"event_timestamp must be an ISO 8601 string, found {_kind(value)}.")
    match = _TIMESTAMP.fullmatch(value)
    if match is None:
        _reject(
            ReasonCode.INVALID_TIMESTAMP,
            name,
            f"{_shown(value)} is not an ISO 8601 instant; expected the form 2026-11-23T10:15:00Z.",
        )
    if match["offset"] is None:
        _reject(
            ReasonCode.NAIVE_TIMESTAMP,
            name,
            f"{_shown(value)} has no UTC offset, so that it names no instant; expected a Z or an offset like +02:00.",
        )
    if match["second"] == "60":
        _reject(
            ReasonCode.INVALID_TIMESTAMP, name, f"{_shown(value)} is a leap second, which no timestamp here can hold."
        )
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    offset = "+00:00" if match["offset"] in "Zz" else match["offset"]
    time = f"{match['hour']}{match['minute']}{match['second'] or '00'}.{fraction}{offset}"
    try:
        local = datetime.fromisoformat(f"{match['date'].replace('-', '')}T{time}")
    except ValueError:
        _reject(
            ReasonCode.INVALID_TIMESTAMP, name, f"{_shown(value)} names a date, time or offset that does not exist."
        )
    try:
        return local.astimezone(UTC)
    except OverflowError:
        _reject(
            ReasonCode.TIMESTAMP_OUT_OF_RANGE, name, f"{_shown(value)} is outside the years 0001 to 9999 once in UTC."
        )


def _nested_object(document: Mapping[str, Any], name: str, known: frozenset[str]) -> Mapping[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _reject(ReasonCode.WRONG_TYPE, name, f"{name} must be an object or null, found {_kind(value)}.")
    _refuse_duplicates(value, known, f"{name}.")
    return value


def _amount(value: Any) -> float | None:
    name = "properties.amount"
    text = _number_text(value, name)
    if text is None:
        return None
    amount = float(text)
    if not math.isfinite(amount):
        _reject(ReasonCode.NUMBER_OUT_OF_RANGE, name, f"{name} is {_shown(text)}; it must be a finite number.")
    return amount


def _attempt_number(value: Any) -> int | None:
    name = "properties.attempt_number"
    text = _number_text(value, name)
    if text is None:
        return None
    number = _decimal(text)
    if number is None or number > LARGEST_INTEGER:
        _reject(
            ReasonCode.NUMBER_OUT_OF_RANGE,
            name,
            f"{name} is {_shown(text)}; it must be a whole number of at most {LARGEST_INTEGER}.",
        )
    if number < 0:
        _reject(ReasonCode.NEGATIVE_NUMBER, name, f"{name} is {_shown(text)}; it counts from 0.")
    if number != int(number):
        _reject(ReasonCode.NOT_A_WHOLE_NUMBER, name, f"{name} is {_shown(text)}; it must be a whole number.")
    return int(number)


def _decimal(text: str) -> Decimal | None:
    """Return a number exactly as it is written, or None when it is not finite or its exponent is beyond every range."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _number_text(value: Any, name: str) -> str | None:
    """Return a number, given as one or as text, as it is written; None where there is none."""
    if value is None:
        return None
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            _reject(
                ReasonCode.INVALID_NUMBER, name, f"{name} is the text {_shown(value)}, which is not a finite number."
            )
        return value
    if not isinstance(value, _Number):
        _reject(ReasonCode.WRONG_TYPE, name, f"{name} must be a number, found {_kind(value)}.")
    return value.text


def _opt_in(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        name = "user_traits.marketing_opt_in"
        _reject(ReasonCode.WRONG_TYPE, name, f"{name} must be true, false or null, found {_kind(value)}.")
    return value


def _unknown_items(level: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    return {key: value for key, value in level.items() if key not in known}


def _content_id(event: PlainEvent, unknown: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the id of an event whose producer gave it none: the same content always has the same id.

    Content is every known value in its plain form, so that "3" and 3 or two ways to write an instant do not
    matter, and every unknown key with its value.
    """
    known = (
        event.user_id,
        event.event_type,
        event.event_timestamp,
        msgspec.structs.astuple(event.properties or PlainProperties()),
        msgspec.structs.astuple(event.user_traits or PlainTraits()),
    )
    text = _CONTENT.encode([known, unknown])
    return CONTENT_ID_PREFIX + hashlib.sha256(text.encode("utf-8")).hexdigest()


def _content_of_number(number: _Number) -> list[object]:
    # Told apart from every string and array: no number stands bare among the unknown values.
    return [0, number.text]


_CONTENT = json.JSONEncoder(sort_keys=True, default=_content_of_number)


def _reject(reason_code: ReasonCode, field_name: str | None, explanation: str) -> NoReturn:
    raise RejectedLineError(reason_code, field_name, explanation)


_KINDS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (bool, lambda value: "true" if value else "false"),
    (str, lambda value: f"the string {_shown(value)}"),
    (_Number, lambda value: f"the number {_shown(value.text)}"),
    (list, lambda _: "an array"),
    (dict, lambda _: "an object"),
)


def _kind(value: Any) -> str:
    for types, describe in _KINDS:
        if isinstance(value, types):
            return describe(value)
    return "null"


def _absence(document: Mapping[str, Any], name: str) -> str:
    return "null" if name in document else "absent"


def _shown(value: Any) -> str:
    """Return a value for an explanation, cut to a readable length, with nothing in it that a terminal would act on."""
    text = str(value)
    return ascii(text if len(text) <= 60 else text[:57] + "...")
