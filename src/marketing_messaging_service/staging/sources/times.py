"""Turns each form in which producers write a time into ISO 8601 text with an offset."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from src.marketing_messaging_service.vocabulary import ReasonCode
from src.marketing_messaging_service.vocabulary.values import WrittenNumber, found, refuse, shown

ReadTime = Callable[[Any], Any]
"""Gives the time of a raw value as ISO 8601 text with an offset, or the value itself where a close look will say what
is wrong with it. Raises RefusedValueError."""

NAME = "event_timestamp"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]*)?")
_OFFSET = re.compile(r"([Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)$")


def from_epoch(units_a_second: int) -> ReadTime:
    """Return the reader of times counted since 1970 in UTC, as a number or the text of one.

    What is finer than a microsecond is cut off, as in ISO 8601 text.
    """

    def read(value: Any) -> Any:
        text = value.text if isinstance(value, WrittenNumber) else value
        if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
            refuse(
                ReasonCode.INVALID_TIMESTAMP,
                NAME,
                f"{NAME} must be a number counted from 1970, as the mapping of this file says; found {found(value)}.",
            )
        microseconds = int((Decimal(text) * 1_000_000 / units_a_second).to_integral_value("ROUND_FLOOR"))
        try:
            return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")
        except OverflowError:
            refuse(
                ReasonCode.TIMESTAMP_OUT_OF_RANGE,
                NAME,
                f"{shown(text)} is outside the years 0001 to 9999; the mapping says that it counts "
                f"{'seconds' if units_a_second == 1 else 'milliseconds'}.",
            )

    return read


def naive_in(zone: ZoneInfo) -> ReadTime:
    """Return the reader of ISO 8601 text that, where it has no offset, is on the wall clock of a zone."""

    def read(value: Any) -> Any:
        if not isinstance(value, str) or _OFFSET.search(value[10:]):
            return value
        try:
            naive = datetime.fromisoformat(value)
        except ValueError:
            return value
        return _on_wall_clock(naive, zone, value)

    return read


def in_format(pattern: str, zone: ZoneInfo | None) -> ReadTime:
    """Return the reader of text in a form of strptime; without %z in it, on the wall clock of the zone."""

    def read(value: Any) -> Any:
        text = value.text if isinstance(value, WrittenNumber) else value
        if not isinstance(text, str):
            refuse(ReasonCode.WRONG_TYPE, NAME, f"{NAME} must be text like {pattern}, found {found(value)}.")
        try:
            moment = datetime.strptime(text, pattern)  # noqa: DTZ007  the zone comes with %z, or just below
        except ValueError:
            refuse(
                ReasonCode.INVALID_TIMESTAMP,
                NAME,
                f"{shown(text)} does not have the form {pattern}, which the mapping of this file asks for.",
            )
        if moment.tzinfo is not None:
            return moment.isoformat(timespec="microseconds")
        assert zone is not None  # noqa: S101  the type of the mapping asks for a zone where the form has no %z
        return _on_wall_clock(moment, zone, text)

    return read


def _on_wall_clock(naive: datetime, zone: ZoneInfo, text: str) -> str:
    """Return a wall clock's time with its offset; where clocks go back and it comes twice, the first of the two."""
    moment = naive.replace(tzinfo=zone)
    if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
        refuse(
            ReasonCode.INVALID_TIMESTAMP,
            NAME,
            f"{shown(text)} did not exist in {zone.key}: the clocks were put forward past it.",
        )
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
