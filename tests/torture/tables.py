"""Whole CSV and Parquet files as no producer should write them: odd columns, odd values, and something done to them."""

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from src.marketing_messaging_service.staging.zstd_library import zstd
from tests.torture.files import DECOY

OWN_COLUMNS = ("message_id", "user_id", "event_type", "event_timestamp")
FIELD_COLUMNS = ("properties.amount", "properties.attempt_number", "user_traits.marketing_opt_in", "user_traits.email")
ODD_COLUMNS = ("note", "properties", "user_traits", "properties.", "", "user_id", "properties.amount.x", "x" * 300, "é")
MOST_COLUMNS = 10_000
HUGE_CELL = 17 << 20
"""More than a row may have."""

DECOY_ROW = f"m-decoy,{DECOY},payment_failed,2026-11-03T10:00:00Z,1,1,true,e@example.com,x"
CELLS = (
    *("", " ", "ana", "001", "12.50", "1e400", "true", "2026-11-03T10:00:00Z", "yesterday", "x" * 300, "é 🙂", "null"),
    *('say "hi"', "a,b;c\td|e", "two\nlines", "two\r\nlines", "a\rb", '"', '""', "=1+1", "\0", "\x0b\x1c\u2028\x85"),
    f"a note\n{DECOY_ROW}\n",
)
LINE_ENDS = ("\n", "\n", "\r\n", "\r")
PACKERS: Sequence[Callable[[bytes], bytes]] = (bytes, bytes, bytes, gzip.compress, zstd.compress)


@dataclass(frozen=True, slots=True)
class OddTable:
    """A file, and whether a row of DECOY that is found in it was taken by chance."""

    content: bytes
    ending: str
    is_whole: bool
    """Whether it is as it was written, or broken off."""


def odd_table(chance: Random) -> OddTable:
    """Return a file of a few rows, each an event or nearly one."""
    content = (_csv if chance.randrange(2) else _parquet)(chance)
    is_whole = True
    for _ in range(chance.choice((0, 0, 1, 2, 5))):
        content, is_still_whole = _changed(content, chance)
        is_whole &= is_still_whole
    packed = chance.choice(PACKERS)(content)
    ending = chance.choice((".csv", ".csv", ".parquet", ".parquet", ".jsonl", ".json"))
    return OddTable(packed, ending, is_whole)


def _names(chance: Random) -> list[str]:
    names = [*OWN_COLUMNS, *FIELD_COLUMNS, "note"]
    match chance.randrange(8):
        case 0:
            names += [chance.choice(ODD_COLUMNS)]
        case 1:
            names = [name for name in names if chance.randrange(4)] or ["user_id"]
        case 2 if not chance.randrange(20):
            names += [f"properties.p{number}" for number in range(MOST_COLUMNS - len(names))]
    return names


def _csv(chance: Random) -> bytes:
    names = _names(chance)
    delimiter = chance.choice(",,,;\t|")
    parts = []
    for number in range(-1, chance.choice((0, 1, 3, 30))):
        row = names if number < 0 else [_cell(name, number, chance) for name in names]
        if number >= 0 and not chance.randrange(10):
            row = row[: chance.randrange(len(row) + 1)] + chance.choice(([], [""], ["more", "x"]))
        text = io.StringIO(newline="")
        end = chance.choice(LINE_ENDS)
        is_quoted = not chance.randrange(3)
        csv.writer(
            text, delimiter=delimiter, quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL, lineterminator=end
        ).writerow(row)
        parts.append(text.getvalue())
    encoding = chance.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "latin-1", "utf-32"))
    return "".join(parts).encode(encoding, errors="replace")


def _cell(name: str, number: int, chance: Random) -> str:
    usual = {
        "message_id": f"m-{number}",
        "user_id": f"user-{number}",
        "event_type": "payment_failed",
        "event_timestamp": "2026-11-03T10:00:00Z",
    }
    if name in usual and chance.randrange(20):
        return usual[name]
    if name == "note" and not chance.randrange(3_000):
        return "x" * HUGE_CELL
    return chance.choice(CELLS) if chance.randrange(3) else ""


@cache
def _columns() -> Sequence[Callable[[int, Random], pa.Array]]:
    """Make columns of so many rows, of every type that a file may have."""
    instants = (datetime(2026, 11, 3, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
    values: Sequence[tuple[pa.DataType, Sequence[Any]]] = (
        (pa.string(), CELLS),
        (pa.large_string(), CELLS),
        (pa.binary(), (b"ana", b"\xff\0", b"")),
        (pa.dictionary(pa.int8(), pa.string()), CELLS),
        (pa.int64(), (0, -1, 2**63 - 1)),
        (pa.uint64(), (0, 2**64 - 1)),
        (pa.float64(), (0.5, float("nan"), float("inf"), 1e308)),
        (pa.float32(), (0.5, -0.0)),
        (pa.bool_(), (True, False)),
        (pa.decimal128(38, 10), (Decimal("12.5"), Decimal("-0.0000000001"))),
        (pa.timestamp("us", "UTC"), instants),
        (pa.timestamp("s", "Europe/Paris"), instants),
        (pa.timestamp("ns"), (0, -1, 2**63 - 1, -(2**63))),
        (pa.timestamp("s", "UTC"), (0, 2**45, -(2**45))),
        (pa.date32(), (date(2026, 11, 3), date(1, 1, 1))),
        (pa.list_(pa.int64()), ([], [1, None])),
        (pa.list_(pa.struct([("user_id", pa.string())])), ([], [{"user_id": DECOY}])),
        (pa.map_(pa.string(), pa.string()), ([], [("amount", "1"), ("amount", "2")])),
        (pa.struct([("amount", pa.float64()), ("user_id", pa.string())]), ({"amount": 1.5, "user_id": DECOY},)),
        (pa.struct([("traits", pa.struct([("email", pa.string())]))]), ({"traits": None}, {"traits": {"email": "e"}})),
        (pa.null(), (None,)),
    )

    def maker(kind: pa.DataType, some: Sequence[Any]) -> Callable[[int, Random], pa.Array]:
        return lambda count, chance: pa.array([chance.choice((None, *some)) for _ in range(count)], kind)

    return [maker(kind, some) for kind, some in values]


def _parquet(chance: Random) -> bytes:
    names = _names(chance)
    count = chance.choice((0, 1, 3, 30, 5_000 if len(names) < MOST_COLUMNS else 3))
    columns = [
        pa.array([_cell(name, number, chance) for number in range(count)])
        if name in OWN_COLUMNS and chance.randrange(10)
        else chance.choice(_columns())(count, chance)
        for name in names
    ]
    stream = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, names=names),
        stream,
        compression=chance.choice(("none", "snappy", "zstd", "gzip")),
        row_group_size=chance.choice((1, 2, 1_000, 100_000)) if len(names) < MOST_COLUMNS else 100_000,
        use_dictionary=bool(chance.randrange(2)),
        data_page_version=chance.choice(("1.0", "2.0")),
        store_schema=bool(chance.randrange(2)),
    )
    return stream.getvalue()


def _changed(content: bytes, chance: Random) -> tuple[bytes, bool]:
    """Return content with something done to it, and whether what is left is as it was written."""
    place = chance.randrange(len(content) + 1)
    match chance.randrange(7):
        case 0 | 1:
            return content[:place], True
        case 2 if content:
            flipped = bytearray(content)
            flipped[min(place, len(content) - 1)] ^= 1 << chance.randrange(8)
            return bytes(flipped), False
        case 3:
            return content[:place] + content[place + chance.randrange(1, 20) :], False
        case 4:
            # A footer of another length, or of another file.
            return content[:-8] + chance.randbytes(4) + b"PAR1", False
        case 5:
            return content + content, False
        case _:
            return content[:place] + chance.randbytes(chance.randrange(1, 9)) + content[place:], False
