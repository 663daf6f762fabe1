"""The calendar periods of modes and limits."""

from collections.abc import Callable
from datetime import date, timedelta
from enum import StrEnum
from typing import Self


class Period(StrEnum):
    """A period of the wall calendar in some time zone."""

    name_of: Callable[[date], str]
    """The name of the period that a date is in, as it is in dedupe keys."""
    longest: timedelta
    """Two instants further apart than this are in different periods, even when clocks change."""

    def __new__(cls, name: str, name_of: Callable[[date], str], longest: timedelta) -> Self:
        """Return the period, as the text that it is in rules.yaml, with what it means."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.name_of = name_of
        member.longest = longest
        return member

    DAY = "day", date.isoformat, timedelta(days=2)
    WEEK = "week", lambda day: "{0.year:04}-W{0.week:02}".format(day.isocalendar()), timedelta(days=8)
    MONTH = "month", lambda day: f"{day.year:04}-{day.month:02}", timedelta(days=32)
