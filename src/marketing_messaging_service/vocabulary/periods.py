"""The periods of a calendar that modes and limits speak of."""

from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Self


class Period(StrEnum):
    """A period of the wall calendar in some time zone."""

    name_of: Callable[[date], str]
    """The name of the period that a date lies in, as it stands in dedupe keys."""

    def __new__(cls, name: str, name_of: Callable[[date], str]) -> Self:
        """Return the period, as the text that it is in rules.yaml, with how a date's is called."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.name_of = name_of
        return member

    DAY = "day", date.isoformat
    WEEK = "week", lambda day: "{0.year:04}-W{0.week:02}".format(day.isocalendar())
    MONTH = "month", lambda day: f"{day.year:04}-{day.month:02}"
