"""What a raw value may be: each reader takes a value as it is in a raw event and returns it typed.

A raw value is a JSON value: text, true or false, an array, an object, or a number as `WrittenNumber`. Absent and null
values never come here. All readers raise RefusedValueError, which names the field.
"""

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from src.marketing_messaging_service.infrastructure.column_types import MONEY_DIGITS, units_of
from src.marketing_messaging_service.vocabulary.reason_codes import ReasonCode

SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**63 - 1
"""The largest whole number that SQLite stores."""

# RFC 3339's profile of ISO 8601, and with it the compact form, an offset without colon or minutes, a time
# without seconds, and a comma before the fraction.
_TIMESTAMP = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})[Tt ]"
    r"(?P<hour>[01][0-9]|2[0-3]):?(?P<minute>[0-9]{2})(:?(?P<second>[0-9]{2})([.,](?P<fraction>[0-9]+))?)?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)?"
)
_USUAL_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{3}|\.[0-9]{6})?Z"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COUNT = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class RefusedValueError(Exception):
    """A value is not one that its field takes."""

    def __init__(self, reason_code: ReasonCode, field_name: str | None, explanation: str) -> None:
        super().__init__(explanation)
        self.reason_code = reason_code
        self.field_name = field_name
        self.explanation = explanation


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number exactly as written, or NaN or an Infinity, which are JavaScript and not JSON."""

    text: str


def read_text(value: Any, name: str, *, most: int, may_be_empty: bool) -> str:
    """Return a text of at most a number of characters."""
    if not isinstance(value, str):
        refuse(ReasonCode.WRONG_TYPE, name, f"{name} must be a string, found {found(value)}.")
    if not value and not may_be_empty:
        refuse(ReasonCode.EMPTY_TEXT, name, f"{name} is an empty string.")
    if len(value) > most:
        refuse(ReasonCode.TEXT_TOO_LONG, name, f"{name} has {len(value)} characters; at most {most} fit.")
    if "\0" in value:
        place = value.index("\0") + 1
        refuse(ReasonCode.NUL_CHARACTER, name, f"Character {place} of {name} is NUL, which tools do not show.")
    _refuse_surrogates(value, name)
    return value


def _refuse_surrogates(value: str, name: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        refuse(
            ReasonCode.INVALID_UNICODE,
            name,
            f"Character {error.start + 1} of {name} is half of a surrogate pair, which is no character.",
        )


def read_instant(value: Any, name: str) -> datetime:
    """Return the instant that an ISO 8601 text with an offset names, in UTC.

    Digits beyond the microsecond are cut off, never rounded, so that no instant moves into the next day.
    """
    if not isinstance(value, str):
        refuse(ReasonCode.WRONG_TYPE, name, f"{name} must be an ISO 8601 string, found {found(value)}.")
    if _USUAL_TIMESTAMP.fullmatch(value):
        # Python reads this most common form exactly, in a fifth of the time.
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    match = _TIMESTAMP.fullmatch(value)
    if match is None:
        refuse(
            ReasonCode.INVALID_TIMESTAMP,
            name,
            f"{shown(value)} is not an ISO 8601 instant; expected the form 2026-11-23T10:15:00Z.",
        )
    if match["offset"] is None:
        refuse(
            ReasonCode.NAIVE_TIMESTAMP,
            name,
            f"{shown(value)} has no UTC offset, so the instant is unknown; expected a Z or an offset like +02:00.",
        )
    if match["second"] == "60":
        refuse(
            ReasonCode.INVALID_TIMESTAMP, name, f"{shown(value)} is a leap second, which a timestamp cannot hold here."
        )
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    offset = "+00:00" if match["offset"] in "Zz" else match["offset"]
    time = f"{match['hour']}{match['minute']}{match['second'] or '00'}.{fraction}{offset}"
    try:
        local = datetime.fromisoformat(f"{match['date'].replace('-', '')}T{time}")
    except ValueError:
        refuse(ReasonCode.INVALID_TIMESTAMP, name, f"{shown(value)} names a date, time or offset that does not exist.")
    try:
        return local.astimezone(UTC)
    except OverflowError:
        refuse(
            ReasonCode.TIMESTAMP_OUT_OF_RANGE, name, f"{shown(value)} is outside the years 0001 to 9999 once in UTC."
        )


def read_date(value: Any, name: str) -> date:
    """Return the date that a text of the form 2026-11-23 names."""
    if not isinstance(value, str):
        refuse(ReasonCode.WRONG_TYPE, name, f"{name} must be a date as text, found {found(value)}.")
    if not _DATE.fullmatch(value):
        refuse(ReasonCode.INVALID_DATE, name, f"{shown(value)} is not a date; expected the form 2026-11-23.")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        refuse(ReasonCode.INVALID_DATE, name, f"{shown(value)} names a date that does not exist.")
    return day


def read_number(value: Any, name: str, *, least: int | None, from_text: bool) -> float:
    """Return a finite number as the nearest double."""
    text = value if from_text and type(value) is str and _NUMBER.fullmatch(value) else None
    if text is None:
        text = _number_text(value, name, from_text=from_text)
    number = float(text)
    if not math.isfinite(number):
        refuse(ReasonCode.NUMBER_OUT_OF_RANGE, name, f"{name} is {shown(text)}; it must be a finite number.")
    if least is not None:
        _refuse_smaller(number, text, name, least)
    return number


def read_whole_number(value: Any, name: str, *, least: int | None, from_text: bool) -> int:
    """Return a whole number of 64 bits, however it is written."""
    if from_text and type(value) is str and _COUNT.fullmatch(value) and int(value) >= (least or 0):
        return int(value)
    text = _number_text(value, name, from_text=from_text)
    number = _decimal(text)
    if number is None or number > LARGEST_INTEGER:
        refuse(
            ReasonCode.NUMBER_OUT_OF_RANGE,
            name,
            f"{name} is {shown(text)}; it must be a whole number of at most {LARGEST_INTEGER}.",
        )
    _refuse_smaller(number, text, name, least)
    if number < SMALLEST_INTEGER:
        refuse(
            ReasonCode.NUMBER_OUT_OF_RANGE,
            name,
            f"{name} is {shown(text)}; it must be a whole number of at least {SMALLEST_INTEGER}.",
        )
    if number != int(number):
        refuse(ReasonCode.NOT_A_WHOLE_NUMBER, name, f"{name} is {shown(text)}; it must be a whole number.")
    return int(number)


def read_money(value: Any, name: str, *, scale: int, least: int | None) -> Decimal:
    """Return an amount of money exactly, to a number of decimals, given as a number or as the text of one.

    An amount in smaller units is refused, never rounded.
    """
    text = _number_text(value, name, from_text=True)
    number = _decimal(text)
    whole_digits = MONEY_DIGITS - scale
    if number is None or (number and number.adjusted() >= whole_digits):
        refuse(
            ReasonCode.NUMBER_OUT_OF_RANGE,
            name,
            f"{name} is {shown(text)}; it must be an amount of at most {whole_digits} digits before the point.",
        )
    _refuse_smaller(number, text, name, least)
    units = units_of(number, scale)
    if units is None:
        refuse(
            ReasonCode.TOO_MANY_DECIMALS,
            name,
            f"{name} is {shown(text)}; it may have at most {scale} digits behind the point.",
        )
    return Decimal(units).scaleb(-scale)


def _refuse_smaller(number: float | Decimal, text: str, name: str, least: int | None) -> None:
    if least is None or number >= least:
        return
    if least == 0:
        refuse(ReasonCode.NEGATIVE_NUMBER, name, f"{name} is {shown(text)}; it counts from 0.")
    refuse(ReasonCode.NUMBER_TOO_SMALL, name, f"{name} is {shown(text)}; it must be at least {least}.")


def _decimal(text: str) -> Decimal | None:
    """Return a number exactly as written, or None if it is not finite or its exponent is beyond every range."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _number_text(value: Any, name: str, *, from_text: bool) -> str:
    """Return a number, given as one or as text, as it is written."""
    if isinstance(value, str) and from_text:
        if not _NUMBER.fullmatch(value):
            refuse(ReasonCode.INVALID_NUMBER, name, f"{name} is the text {shown(value)}, which is not a finite number.")
        return value
    if not isinstance(value, WrittenNumber):
        refuse(ReasonCode.WRONG_TYPE, name, f"{name} must be a number, found {found(value)}.")
    return value.text


def read_true_or_false(value: Any, name: str) -> bool:
    """Return true or false; no other value is accepted for them."""
    if not isinstance(value, bool):
        refuse(ReasonCode.WRONG_TYPE, name, f"{name} must be true, false or null, found {found(value)}.")
    return value


def refuse(reason_code: ReasonCode, field_name: str | None, explanation: str) -> NoReturn:
    """Raise RefusedValueError."""
    raise RefusedValueError(reason_code, field_name, explanation)


_SORTS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (bool, lambda value: "true" if value else "false"),
    (str, lambda value: f"the string {shown(value)}"),
    (WrittenNumber, lambda value: f"the number {shown(value.text)}"),
    (list, lambda _: "an array"),
    (dict, lambda _: "an object"),
)


def found(value: Any) -> str:
    """Return what a raw value is, for an explanation."""
    return next((describe(value) for types, describe in _SORTS if isinstance(value, types)), "null")


def shown(value: Any) -> str:
    """Return a value for an explanation, cut to a readable length, without anything that a terminal would act on."""
    text = str(value)
    return ascii(text if len(text) <= 60 else text[:57] + "...")
