"""Arithmetic on stored instants, in SQL, exact to the microsecond.

SQLite's own date functions round to milliseconds. The shifts needed here are whole seconds, so the fraction is
carried over as text.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, SQLColumnExpression, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from src.marketing_messaging_service.infrastructure.database import UtcDateTime


class SecondsBefore(FunctionElement[datetime]):
    """The instant a number of whole seconds before another."""

    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, instant: SQLColumnExpression[datetime], seconds: int) -> None:
        super().__init__(instant, literal(f"-{seconds} seconds", String))


class SecondsAfter(FunctionElement[datetime]):
    """The instant a number of whole seconds after another; at most the last instant there is."""

    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, instant: SQLColumnExpression[datetime], seconds: int) -> None:
        super().__init__(instant, literal(f"+{seconds} seconds", String))


class EpochMicroseconds(FunctionElement[int]):
    """The microseconds from 1970-01-01 UTC to an instant."""

    inherit_cache = True
    type = BigInteger()


class UtcDay(FunctionElement[str]):
    """The UTC date of an instant, as text of the form 2026-11-23."""

    inherit_cache = True
    type = String()


class StartOfUtcDay(FunctionElement[datetime]):
    """The first instant of an instant's UTC date."""

    inherit_cache = True
    type = UtcDateTime()


class EndOfUtcDay(FunctionElement[datetime]):
    """The last microsecond of an instant's UTC date."""

    inherit_cache = True
    type = UtcDateTime()


def _arguments(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


@compiles(SecondsBefore)
def _seconds_before(element: SecondsBefore, compiler: SQLCompiler, **options: Any) -> str:
    instant, shift = _arguments(element, compiler, **options)
    shifted = f"strftime('%Y-%m-%d %H:%M:%S', substr({instant}, 1, 19), {shift})"
    # SQLite before 3.46 gets one day wrong out of all from year 1 to 9999.
    return f"(replace({shifted}, '0300-02-29', '0300-03-01') || substr({instant}, 20))"


@compiles(SecondsAfter)
def _seconds_after(element: SecondsAfter, compiler: SQLCompiler, **options: Any) -> str:
    instant, shift = _arguments(element, compiler, **options)
    shifted = f"replace(strftime('%Y-%m-%d %H:%M:%S', substr({instant}, 1, 19), {shift}), '0300-02-29', '0300-03-01')"
    return f"coalesce({shifted} || substr({instant}, 20), '9999-12-31 23:59:59.999999')"


@compiles(EpochMicroseconds)
def _epoch_microseconds(element: EpochMicroseconds, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    seconds = f"CAST(strftime('%s', substr({instant}, 1, 19)) AS INTEGER)"
    return f"({seconds} * 1000000 + CAST(substr({instant}, 21, 6) AS INTEGER))"


@compiles(UtcDay)
def _utc_day(element: UtcDay, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"substr({instant}, 1, 10)"


@compiles(StartOfUtcDay)
def _start_of_utc_day(element: StartOfUtcDay, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"(substr({instant}, 1, 10) || ' 00:00:00.000000')"


@compiles(EndOfUtcDay)
def _end_of_utc_day(element: EndOfUtcDay, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"(substr({instant}, 1, 10) || ' 23:59:59.999999')"


@compiles(SecondsBefore, "postgresql")
def _seconds_before_postgresql(element: SecondsBefore, compiler: SQLCompiler, **options: Any) -> str:
    instant, shift = _arguments(element, compiler, **options)
    return f"({instant} + CAST({shift} AS interval))"


@compiles(SecondsAfter, "postgresql")
def _seconds_after_postgresql(element: SecondsAfter, compiler: SQLCompiler, **options: Any) -> str:
    instant, shift = _arguments(element, compiler, **options)
    return f"least({instant} + CAST({shift} AS interval), timestamp '9999-12-31 23:59:59.999999')"


@compiles(EpochMicroseconds, "postgresql")
def _epoch_microseconds_postgresql(element: EpochMicroseconds, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"CAST(EXTRACT(EPOCH FROM {instant}) * 1000000 AS bigint)"


@compiles(UtcDay, "postgresql")
def _utc_day_postgresql(element: UtcDay, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"to_char({instant}, 'YYYY-MM-DD')"


@compiles(StartOfUtcDay, "postgresql")
def _start_of_utc_day_postgresql(element: StartOfUtcDay, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"date_trunc('day', {instant})"


@compiles(EndOfUtcDay, "postgresql")
def _end_of_utc_day_postgresql(element: EndOfUtcDay, compiler: SQLCompiler, **options: Any) -> str:
    (instant,) = _arguments(element, compiler, **options)
    return f"(date_trunc('day', {instant}) + interval '1 day' - interval '1 microsecond')"
