"""The kinds of values that a field may hold, each with everything that any room needs to know of it."""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Boolean, Float, Integer, LargeBinary, String
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.infrastructure.column_types import MONEY_DIGITS, CalendarDate, Money, units_of
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.vocabulary.data_types import DataType
from src.marketing_messaging_service.vocabulary.derived_field import Field, Kind
from src.marketing_messaging_service.vocabulary.values import (
    LARGEST_INTEGER,
    SMALLEST_INTEGER,
    RefusedValueError,
    read_date,
    read_instant,
    read_money,
    read_number,
    read_text,
    read_true_or_false,
    read_whole_number,
)
from src.marketing_messaging_service.yaml_file import WrittenDate


class UnfitValueError(Exception):
    """A value in rules.yaml cannot be compared with a field."""


def _same(value: Any, _field: Field) -> Any:
    return value


def _as_shown(expression: str, _field: Field) -> str:
    return expression


def _no_note(_field: Field) -> str:
    return ""


def _integer_of_text(text: str) -> str:
    return f"CAST(\n        {text} AS INTEGER\n    )"


def _or_text(field: Field) -> str:
    return ", or one as text" if field.taken.from_text else ""


def _from_least(field: Field) -> str:
    return "" if field.taken.least is None else f" from {field.taken.least}"


# ---- text ----


def _plain_text(field: Field) -> Any:
    return Annotated[str, msgspec.Meta(max_length=field.length)]


def _text(value: Any, _field: Field) -> str:
    if not isinstance(value, str):
        raise UnfitValueError
    return value


# ---- true or false ----


def _boolean(value: Any, _field: Field) -> bool:
    if not isinstance(value, bool):
        raise UnfitValueError
    return value


# ---- numbers ----


def _integer(value: Any, _field: Field) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_INTEGER:
        raise UnfitValueError
    return value


def _plain_integer(field: Field) -> Any:
    least = SMALLEST_INTEGER if field.taken.least is None else field.taken.least
    return Annotated[int, msgspec.Meta(ge=least, le=LARGEST_INTEGER)]


def _plain_number(field: Field) -> Any:
    return Annotated[float, msgspec.Meta(ge=field.taken.least)]


def _kept_integer(field: Field) -> Any:
    written = _plain_integer(field) | float
    return written | str if field.taken.from_text else written


def _numbers_of_texts(texts: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    # The usual ways to write a number; for these the text reader gives the same as the close look.
    _refuse_unusual(texts, r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?$")
    numbers = pc.cast(texts, pa.float64())
    _refuse_smaller(numbers, field)
    return numbers


def _counts_of_texts(texts: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    _refuse_unusual(texts, r"^-?(0|[1-9][0-9]{0,17})$")
    counts = pc.cast(texts, pa.int64())
    _refuse_smaller(counts, field)
    return counts


def _refuse_unusual(texts: pa.ChunkedArray, pattern: str) -> None:
    if not pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py():
        raise pa.ArrowInvalid("a text is not in the usual form of a number")


def _refuse_smaller(numbers: pa.ChunkedArray, field: Field) -> None:
    least = field.taken.least
    if least is not None and pc.any(pc.less(numbers, least), min_count=0).as_py():
        raise pa.ArrowInvalid("a number is less than the least that its field takes")


def _kept_number(field: Field) -> Any:
    return _plain_number(field) | str if field.taken.from_text else _plain_number(field)


def _number(value: Any, field: Field) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _integer(value, field)


# ---- money ----


# The columnar reader takes some numbers below 1e-20, such as 1e-39, for 0, and fails at others.
_SMALL_NUMBER = re.compile(rb':\s*"?-?[0-9][0-9.]*[eE]-[0-9]')


def _scale(field: Field) -> int:
    type_ = field.column.type
    return type_.scale if isinstance(type_, Money) else 0


def _money_type(field: Field) -> pa.DataType:
    return pa.decimal128(MONEY_DIGITS, _scale(field))


def _staged_money(amounts: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    # The reader accepts one digit too many.
    largest = pa.scalar(Decimal(10**MONEY_DIGITS - 1).scaleb(-_scale(field)), _money_type(field))
    least = field.taken.least
    smallest = pc.negate(largest) if least is None else pa.scalar(Decimal(least), pa.decimal128(38, _scale(field)))
    if pc.any(pc.or_(pc.greater(amounts, largest), pc.less(amounts, smallest))).as_py():
        raise pa.ArrowInvalid("an amount of money is out of range")
    return amounts


def _stored_money(amounts: pa.Array, field: Field) -> pa.Array:
    # A decimal of 64 bits is its number of smallest units.
    return amounts.cast(pa.decimal64(MONEY_DIGITS, _scale(field))).view(pa.int64())


def _amount(value: Any, field: Field) -> Decimal:
    # A float's shortest text is what was written, or its equal.
    amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(_integer(value, field))
    if units_of(amount, _scale(field)) is None:
        raise UnfitValueError
    return amount


def _expected_amount(field: Field) -> str:
    return f"a number with at most {_scale(field)} digits behind the point" if _scale(field) else "a whole number"


def _money_note(field: Field) -> str:
    scale = _scale(field)
    return f"SQLite holds it as a whole number of 1/{10**scale}; views show the number." if scale else ""


def _shown_money(expression: str, field: Field) -> str:
    # The cast makes it compare as a number with the text from a form; a quotient alone has no affinity.
    return f"CAST({expression} / {10 ** _scale(field)}.0 AS REAL)" if _scale(field) else expression


# ---- instants and dates ----

USUAL_INSTANT = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
        r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])\Z"
    ),
]
"""The text of an instant in a form that all our readers understand in the same way."""

_INSTANT = pa.timestamp("us", "UTC")


@cache
def _ends_of_time() -> tuple[pa.Scalar, pa.Scalar]:
    # Only when needed, because pyarrow imports pandas for it.
    earliest, latest = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return pa.scalar(earliest, _INSTANT), pa.scalar(latest, _INSTANT)


def staged_instants(texts: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return ISO 8601 texts as instants in UTC, also with nanoseconds or a small z.

    Raises pa.ArrowException when one is not an instant, or is outside the years 0001 to 9999.
    """
    try:
        instants = pc.cast(texts, _INSTANT)
    except pa.ArrowInvalid:
        try:
            found = [None if text is None else read_instant(text, name) for text in texts.to_pylist()]
        except RefusedValueError as error:
            raise pa.ArrowInvalid(str(error)) from None
        instants = pa.chunked_array([found], _INSTANT)
    earliest, latest = _ends_of_time()
    if pc.any(pc.or_(pc.less(instants, earliest), pc.greater(instants, latest))).as_py():
        raise pa.ArrowInvalid("an instant is outside the years 0001 to 9999")
    return instants


def stored_instants(instants: pa.Array) -> pa.Array:
    """Return instants as SQLite stores them."""
    return pc.cast(pc.cast(instants, pa.timestamp("us")), pa.string())


def _instant(value: Any, field: Field) -> datetime:
    instant: datetime = _written(value, lambda text: read_instant(text, field.path))
    return instant


def _date(value: Any, field: Field) -> date:
    day: date = _written(value, lambda text: read_date(text, field.path))
    return day


def _written(value: Any, read: Callable[[str], Any]) -> Any:
    if not isinstance(value, str | WrittenDate):
        raise UnfitValueError
    try:
        return read(str(value))
    except RefusedValueError:
        raise UnfitValueError from None


KINDS = (
    Kind(
        column_type=CalendarDate,
        holds="a date",
        is_ordered=True,
        is_text=False,
        raw_form=lambda _: "a date like 2026-11-23",
        read=lambda value, field: read_date(value, field.path),
        plain_type=lambda _: date,
        kept_type=lambda _: date,
        decoded_type=None,
        read_type=lambda _: pa.string(),
        staged=lambda texts, _: pc.cast(texts, pa.date32()),
        staged_text=None,
        staged_type=lambda _: pa.date32(),
        stored=lambda dates, _: pc.cast(dates, pa.string()),
        data_type=DataType.DATE,
        note=_no_note,
        view_data_type=DataType.DATE,
        shown=_as_shown,
        from_text=str,
        expected=lambda _: "a date like 2026-11-23",
        comparable=_date,
    ),
    Kind(
        column_type=UtcDateTime,
        holds="an instant",
        is_ordered=True,
        is_text=False,
        raw_form=lambda _: "ISO 8601 with an offset; kept in UTC",
        read=lambda value, field: read_instant(value, field.path),
        plain_type=lambda _: Annotated[datetime, msgspec.Meta(tz=True)],
        kept_type=lambda _: USUAL_INSTANT,
        decoded_type=None,
        read_type=lambda _: pa.string(),
        staged=lambda texts, field: staged_instants(texts, field.path),
        staged_text=None,
        staged_type=lambda _: _INSTANT,
        stored=lambda instants, _: stored_instants(instants),
        data_type=DataType.TIMESTAMP,
        note=lambda _: "In UTC.",
        view_data_type=DataType.TIMESTAMP,
        shown=_as_shown,
        from_text=str,
        expected=lambda _: "an instant with its offset, like 2026-11-23T10:15:00Z",
        comparable=_instant,
    ),
    Kind(
        column_type=Money,
        holds="money",
        is_ordered=True,
        is_text=False,
        raw_form=lambda field: (
            f"money{_from_least(field)}: a number, or one as text, of up to {MONEY_DIGITS - _scale(field)} digits "
            f"before the point and {_scale(field)} behind it; exact"
        ),
        read=lambda value, field: read_money(value, field.path, scale=_scale(field), least=field.taken.least),
        plain_type=lambda _: Decimal,
        doubtful=_SMALL_NUMBER,
        kept_type=lambda _: msgspec.Raw,
        decoded_type=None,
        read_type=_money_type,
        staged=_staged_money,
        staged_text=None,
        staged_type=_money_type,
        stored=_stored_money,
        data_type=DataType.INTEGER,
        note=_money_note,
        view_data_type=DataType.NUMBER,
        shown=_shown_money,
        from_text=_integer_of_text,
        expected=_expected_amount,
        comparable=_amount,
    ),
    Kind(
        column_type=String,
        holds="text",
        is_ordered=False,
        is_text=True,
        raw_form=lambda field: f"text, up to {field.length}",
        read=lambda value, field: read_text(value, field.path, most=field.length, may_be_empty=True),
        plain_type=_plain_text,
        kept_type=_plain_text,
        decoded_type=None,
        read_type=lambda _: pa.string(),
        staged=_same,
        staged_text=None,
        staged_type=lambda _: pa.string(),
        stored=_same,
        data_type=DataType.TEXT,
        note=_no_note,
        view_data_type=DataType.TEXT,
        shown=_as_shown,
        from_text=str,
        expected=lambda _: "text",
        comparable=_text,
    ),
    Kind(
        column_type=Boolean,
        holds="true or false",
        is_ordered=False,
        is_text=False,
        raw_form=lambda _: "true or false",
        read=lambda value, field: read_true_or_false(value, field.path),
        plain_type=lambda _: bool,
        kept_type=lambda _: bool,
        decoded_type=None,
        read_type=lambda _: pa.bool_(),
        staged=_same,
        staged_text=None,
        staged_type=lambda _: pa.bool_(),
        # As numbers: for each True and False the driver would first look for an adapter.
        stored=lambda flags, _: pc.cast(flags, pa.int8()),
        data_type=DataType.BOOLEAN,
        note=_no_note,
        view_data_type=DataType.BOOLEAN,
        shown=_as_shown,
        from_text=_integer_of_text,
        expected=lambda _: "true or false",
        comparable=_boolean,
    ),
    Kind(
        column_type=Float,
        holds="a number",
        is_ordered=True,
        is_text=False,
        raw_form=lambda field: f"a finite number{_from_least(field)}{_or_text(field)}",
        read=lambda value, field: read_number(
            value, field.path, least=field.taken.least, from_text=field.taken.from_text
        ),
        plain_type=_plain_number,
        kept_type=_kept_number,
        decoded_type=float,
        read_type=lambda _: pa.float64(),
        staged=_same,
        staged_text=_numbers_of_texts,
        staged_type=lambda _: pa.float64(),
        stored=_same,
        data_type=DataType.NUMBER,
        note=_no_note,
        view_data_type=DataType.NUMBER,
        shown=_as_shown,
        from_text=None,
        expected=lambda _: "a finite number of at most 64 bits",
        comparable=_number,
    ),
    Kind(
        column_type=Integer,
        holds="a whole number",
        is_ordered=True,
        is_text=False,
        raw_form=lambda field: f"a whole number{_from_least(field)}{_or_text(field)}",
        read=lambda value, field: read_whole_number(
            value, field.path, least=field.taken.least, from_text=field.taken.from_text
        ),
        plain_type=_plain_integer,
        kept_type=_kept_integer,
        decoded_type=int,
        read_type=lambda _: pa.int64(),
        staged=_same,
        staged_text=_counts_of_texts,
        staged_type=lambda _: pa.int64(),
        stored=_same,
        data_type=DataType.INTEGER,
        note=_no_note,
        view_data_type=DataType.INTEGER,
        shown=_as_shown,
        from_text=_integer_of_text,
        expected=lambda _: "a whole number of at most 64 bits",
        comparable=_integer,
    ),
)
"""Every kind; a column has the first one whose `column_type` fits."""


def kind_of(type_: TypeEngine[Any]) -> Kind:
    """Return the kind for a column type. Raises TypeError for a type that no field can have."""
    for kind in KINDS:
        if isinstance(type_, kind.column_type):
            return kind
    known = ", ".join(kind.column_type.__name__ for kind in KINDS)
    raise TypeError(f"a column of type {type_!r} can hold no field; the types that can are {known}")


def data_type_of(type_: TypeEngine[Any]) -> DataType:
    """Return what a column of that type holds, whether it is a field's or not."""
    return DataType.BYTES if isinstance(type_, LargeBinary) else kind_of(type_).data_type
