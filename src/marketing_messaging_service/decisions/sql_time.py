"""Arithmetic on stored instants, in SQL, exact to the microsecond."""

from datetime import datetime

from sqlalchemy import BigInteger, SQLColumnExpression, String, literal

from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.infrastructure.sql_function import SqlFunction


class SecondsBefore(SqlFunction[datetime]):
    """The instant a number of whole seconds before another."""

    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, instant: SQLColumnExpression[datetime], seconds: int) -> None:
        super().__init__(instant, literal(f"-{seconds} seconds", String))


class SecondsAfter(SqlFunction[datetime]):
    """The instant a number of whole seconds after another; at most the last instant there is."""

    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, instant: SQLColumnExpression[datetime], seconds: int) -> None:
        super().__init__(instant, literal(f"+{seconds} seconds", String))


class EpochMicroseconds(SqlFunction[int]):
    """The microseconds from 1970-01-01 UTC to an instant."""

    inherit_cache = True
    type = BigInteger()


class UtcDay(SqlFunction[str]):
    """The UTC date of an instant, as text of the form 2026-11-23."""

    inherit_cache = True
    type = String()


class StartOfUtcDay(SqlFunction[datetime]):
    """The first instant of an instant's UTC date."""

    inherit_cache = True
    type = UtcDateTime()


class EndOfUtcDay(SqlFunction[datetime]):
    """The last microsecond of an instant's UTC date."""

    inherit_cache = True
    type = UtcDateTime()
