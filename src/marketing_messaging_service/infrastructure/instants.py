"""Arithmetic with instants that respects the ends of Python's calendar: the years 0001 to 9999."""

from datetime import UTC, datetime, timedelta
from typing import Literal

FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT = datetime.max.replace(tzinfo=UTC)


def shifted(instant: datetime, seconds: int) -> datetime:
    """Return the instant a number of seconds after (or before) an aware one, in UTC; at most the calendar's end."""
    try:
        return instant.astimezone(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return FIRST_INSTANT if seconds < 0 else LAST_INSTANT


def hours_before(instant: datetime, hours: int) -> datetime:
    """Return the instant a number of hours before an aware one, in UTC; at the earliest the calendar's first.

    Nothing can be older than that, so an age limit that reaches beyond the calendar keeps its meaning.
    """
    return shifted(instant, -3600 * hours)


def hours_after(instant: datetime, hours: int) -> datetime:
    """Return the instant a number of hours after an aware one, in UTC; at the latest the calendar's last."""
    return shifted(instant, 3600 * hours)


def within_calendar(instant: datetime) -> datetime:
    """Return an aware instant in UTC; the nearest end of the calendar if it would be beyond it in UTC."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return FIRST_INSTANT if instant.year == FIRST_INSTANT.year else LAST_INSTANT


def instant_text(instant: datetime, timespec: Literal["minutes", "seconds"] = "minutes") -> str:
    """Return an aware instant as people read it, in UTC and without naming it: `2026-11-23 10:05`."""
    # strftime does not pad years below 1000.
    return within_calendar(instant).isoformat(sep=" ", timespec=timespec).removesuffix("+00:00")
