"""How often a user may have a message: the suppression modes, each with all of its properties."""

from enum import StrEnum
from typing import Self

from src.marketing_messaging_service.vocabulary.periods import Period


class SuppressionMode(StrEnum):
    """How far a message's "once" reaches: which other sends of it to the same user stop it."""

    words: str
    """Read after "at most" in a report; empty if every match goes out."""
    period: Period | None
    """The calendar period that it covers, if any."""
    needs_hours: bool
    """Whether it takes a number of hours."""

    def __new__(cls, name: str, words: str, period: Period | None = None, needs_hours: bool = False) -> Self:
        """Return the mode, as the text that it is in rules.yaml, with what it means."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.words = words
        member.period = period
        member.needs_hours = needs_hours
        return member

    NONE = "none", "as often as the rule matches"
    ONCE_EVER = "once_ever", "once in a lifetime"
    ONCE_PER_CALENDAR_DAY = "once_per_calendar_day", "once per calendar day", Period.DAY
    ONCE_PER_CALENDAR_WEEK = "once_per_calendar_week", "once per calendar week, from Monday", Period.WEEK
    ONCE_PER_CALENDAR_MONTH = "once_per_calendar_month", "once per calendar month", Period.MONTH
    ONCE_PER_HOURS = "once_per_hours", "once within less than that many hours, before or after", None, True
