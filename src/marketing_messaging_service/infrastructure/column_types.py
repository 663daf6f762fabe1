"""Column types that every database stores exactly: money and dates."""

from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import BigInteger, Date, Integer, Numeric, String, TypeDecorator
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.dialects.dialect import Dialect

_T = TypeVar("_T")

WHOLE_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit whole number, used for every number and id. SQLite's INTEGER is one, and its only type that numbers rows."""

MONEY_DIGITS = 18
"""Digits of an amount of money, including those after the point; in any scale they fit into 64 bits."""


def units_of(amount: Decimal, scale: int) -> int | None:
    """Return an amount as a whole number of the smallest unit, None if it does not fit exactly."""
    if not amount:
        return 0
    if not amount.is_finite() or amount.adjusted() >= MONEY_DIGITS - scale:
        return None
    # Digit by digit, because the arithmetic of Decimal rounds.
    digits = "".join(map(str, amount.as_tuple().digits)).rstrip("0")
    decimals = len(digits) - 1 - amount.adjusted()
    if decimals > scale:
        return None
    units = int(digits + "0" * (scale - decimals))
    return -units if amount.is_signed() else units


class HeldType(TypeDecorator[_T]):
    """A type that kinds of database hold as different types of their own."""

    cache_ok = True

    def held_as(self, kind: Dialect) -> TypeEngine[Any]:
        """Return the type that holds it in a kind of database."""
        raise NotImplementedError

    def load_dialect_impl(self, dialect: sqlalchemy.Dialect) -> TypeEngine[Any]:
        """Return the type that holds it in a database."""
        return dialect.type_descriptor(self.held_as(dialect_named(dialect.name)))


class Money(HeldType[Decimal]):
    """An exact decimal with a fixed number of digits after the point.

    SQLite has no decimals: it stores the amount as a whole number of the smallest unit (hundredths for a scale of 2).
    Every other database stores it as NUMERIC. Raises ValueError on the way in for an amount that does not fit.
    """

    impl = BigInteger
    cache_ok = True

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def held_as(self, kind: Dialect) -> TypeEngine[Any]:
        """Return the type that holds it in a kind of database."""
        return BigInteger() if kind.money_is_units else Numeric(MONEY_DIGITS, self.scale)

    def process_bind_param(self, value: Decimal | None, dialect: sqlalchemy.Dialect) -> Any:
        """Turn an amount into what the database holds."""
        if value is None:
            return None
        units = units_of(value, self.scale)
        if units is None:
            raise ValueError(f"{value} is not an amount of {MONEY_DIGITS} digits, {self.scale} of them after the point")
        return units if dialect_named(dialect.name).money_is_units else value

    def process_result_value(self, value: Any, dialect: sqlalchemy.Dialect) -> Decimal | None:
        """Turn what the database holds into an amount."""
        if value is None:
            return None
        return Decimal(value).scaleb(-self.scale if dialect_named(dialect.name).money_is_units else 0)


class CalendarDate(HeldType[date]):
    """A date without a time; text of the form 2026-11-23 in SQLite, so that comparing as text is comparing in time."""

    impl = String(10)
    cache_ok = True

    def held_as(self, kind: Dialect) -> TypeEngine[Any]:
        """Return the type that holds it in a kind of database."""
        return String(10) if kind.times_are_text else Date()

    def process_bind_param(self, value: date | None, dialect: sqlalchemy.Dialect) -> Any:
        """Turn a date into what the database holds."""
        return value.isoformat() if value is not None and dialect_named(dialect.name).times_are_text else value

    def process_result_value(self, value: Any, dialect: sqlalchemy.Dialect) -> date | None:
        """Turn what the database holds into a date."""
        return date.fromisoformat(value) if isinstance(value, str) else value
