"""The wall calendar of a time zone: which day, week or month an instant is in."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from src.marketing_messaging_service.vocabulary import Period

FIRST_INSTANT = datetime(1, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def moved(instant: datetime, by: timedelta) -> datetime:
    """Return an instant moved by a length of time, within the first and last instant there are."""
    try:
        return instant + by
    except OverflowError:
        return FIRST_INSTANT if by < timedelta(0) else LAST_INSTANT


def period_of(period: Period, instant: datetime, zone: ZoneInfo) -> str:
    """Return the name of the period of a zone's calendar that contains an instant, such as 2026-11-23 or 2026-W48."""
    return _name(period, _date_of(instant, zone))


def _date_of(instant: datetime, zone: ZoneInfo) -> date:
    try:
        return instant.astimezone(zone).date()
    except OverflowError:  # the very first and last hours are outside the calendar of some zones
        return date.min if instant.year == 1 else date.max


@lru_cache(10_000)
def _name(period: Period, day: date) -> str:
    return period.name_of(day)
