"""Cuts the text of a CSV into rows and cells: many rows at once, or one by one where anything is odd."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.lines import MAX_LINE_BYTES, too_long
from src.marketing_messaging_service.staging.rejection import DamagedFileError, Rejection
from src.marketing_messaging_service.vocabulary import ReasonCode


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is not a row, or may not be one."""

    raw: bytes
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class SomeRows:
    """Consecutive rows of a file."""

    columns: Sequence[pa.Array]
    """Their texts by column; an empty one is null."""
    count: int
    empty: Sequence[int] = ()
    """The places of rows in which no column has a text."""
    refused: dict[int, Refused] = field(default_factory=dict)
    """Those of them that are not rows, by place."""

    def part(self, start: int, stop: int) -> "SomeRows":
        """Return some of the rows."""
        return SomeRows(
            [column.slice(start, stop - start) for column in self.columns],
            max(min(stop, self.count) - start, 0),
            [place - start for place in self.empty if start <= place < stop],
            {place - start: each for place, each in self.refused.items() if start <= place < stop},
        )


class BadEndError(Exception):
    """Nothing that follows is certain."""

    def __init__(self, rejection: Rejection, raw: bytes) -> None:
        super().__init__(rejection.explanation)
        self.rejection = rejection
        self.raw = raw
        """What the row was read from at which that is so."""


_Row = Sequence[str] | Refused


class CsvText:
    """The rows of a file, as RFC 4180 has them; what is odd about one is taken as Python's csv module takes it."""

    def __init__(self, text: Iterator[bytes], delimiter: str) -> None:
        # The limit counts for the whole process; a row that is too long is refused before it matters.
        csv.field_size_limit(2 * MAX_LINE_BYTES)
        self._text = text
        self._delimiter = delimiter
        self.header: _Row | None = None
        """The first row, once rows have been asked for."""
        self.header_line = ""
        """What it was read from."""

    def rows(self) -> Iterator[SomeRows]:
        """Yield the rows; the first, which is the header, is one of the empty ones.

        Raises BadEndError where the file is damaged or breaks off, and for a row that is too long.
        """
        rest = b""
        try:
            for piece in _without_mark(self._text):
                rest += piece
                if whole := _whole_lines(rest):
                    found, unfinished, refusal = self._read(rest[:whole])
                    rest = unfinished + rest[whole:]
                    yield found
                    if refusal is not None:
                        raise BadEndError(refusal, unfinished)
                if len(rest) > MAX_LINE_BYTES:
                    raise BadEndError(too_long(len(rest)), rest)
        except DamagedFileError as error:
            raise BadEndError(error.rejection, rest) from None
        found, unfinished, refusal = self._read(rest)
        yield found
        if unfinished:
            raise BadEndError(refusal or _BROKEN_OFF, unfinished)

    def _read(self, text: bytes) -> tuple[SomeRows, bytes, Rejection | None]:
        """Return the rows of some lines, the beginning of a row that goes on after them, and why that cannot be."""
        if self.header is not None and not isinstance(self.header, Refused) and len(text) <= MAX_LINE_BYTES:
            width = len(self.header)
            found = _read_at_once(text, self._delimiter, width) or _read_quickly(text, self._delimiter, width)
            if found is not None:
                return found, b"", None
        return self._read_carefully(text)

    def _read_carefully(self, text: bytes) -> tuple[SomeRows, bytes, Rejection | None]:
        """Do the same row by row, so that each row comes with the text it was read from."""
        raw_lines = text.splitlines(keepends=True)
        reader = _reader((line.decode("utf-8", "surrogateescape") for line in raw_lines), self._delimiter)
        rows: list[_Row] = []
        start, refusal = 0, None
        while start < len(raw_lines) and not isinstance(self.header, Refused):
            try:
                cells: Sequence[str] = next(reader)
                wrong = None
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    break
                # What follows is read from the next line on, and is no row unless it has as many cells as the header.
                cells, wrong = (), _invalid(f"A quote mark within a quoted cell must be written twice ({error}).")
            raw = b"".join(raw_lines[start : reader.line_num])
            if len(raw) > MAX_LINE_BYTES:
                refusal = too_long(len(raw))
                break
            start = reader.line_num
            rows.append(self._row(cells, wrong, raw))
        if self.header is None or isinstance(self.header, Refused):
            return SomeRows((), 0), b"", refusal
        return _in_columns(rows, len(self.header)), b"".join(raw_lines[start:]), refusal

    def _row(self, cells: Sequence[str], wrong: Rejection | None, raw: bytes) -> _Row:
        is_header = self.header is None
        wrong = wrong or _not_text(cells)
        if not (wrong or is_header or isinstance(self.header, Refused | None)) and any(cells):
            wrong = _other_width(cells, len(self.header))
        row: _Row = Refused(raw.rstrip(b"\r\n"), wrong) if wrong else cells
        if is_header:
            self.header = row
            # As text that every database accepts.
            self.header_line = raw.rstrip(b"\r\n").decode(errors="replace").replace("\0", "")
            return ()
        return row


_BROKEN_OFF = Rejection(
    ReasonCode.BROKEN_OFF,
    None,
    "A cell of this row opens a quote that is never closed, so nothing from here on was taken; "
    "close it, or deliver the whole file again.",
)


SEPARATOR_LINE = re.compile(rb'"?sep=([\x21-\x7e\t])"?\r?\n', re.IGNORECASE)
"""The line in which a file names its separator to Excel; Excel does not show it as a row."""


def _without_mark(text: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a text without the byte order mark, and the line for Excel, that it may begin with."""
    beginning = b""
    for piece in text:
        beginning += piece
        if len(beginning) >= len(BYTE_ORDER_MARK + b'"sep=;"\r\n'):
            break
    beginning = beginning.removeprefix(BYTE_ORDER_MARK)
    said = SEPARATOR_LINE.match(beginning)
    yield beginning[said.end() :] if said else beginning
    yield from text


def _whole_lines(text: bytes) -> int:
    """Return where the last certainly complete line ends."""
    # A CR alone ends a line too, but at the end of the text it may be half of a CRLF.
    return text.rfind(b"\n") + 1 or text.rfind(b"\r", 0, len(text) - 1) + 1


def _reader(text_lines: Iterable[str], delimiter: str) -> Any:
    return csv.reader(text_lines, delimiter=delimiter, strict=True)


def _read_quickly(text: bytes, delimiter: str, width: int) -> SomeRows | None:
    """Return the rows of whole lines, or None if any of them is odd."""
    try:
        rows = list(_reader(io.StringIO(text.decode(), newline=""), delimiter))
    except (csv.Error, UnicodeDecodeError):
        return None
    return _in_columns(rows, width) if {len(row) for row in rows if row} <= {width} else None


def _in_columns(rows: Sequence[_Row], width: int) -> SomeRows:
    nothing = ("",) * width
    cells = [nothing if isinstance(row, Refused) or not any(row) else row for row in rows]
    columns = [_column(pa.array(values, pa.string())) for values in zip(*cells, strict=True)]
    columns = columns or [pa.nulls(0, pa.string())] * width
    refused = {place: row for place, row in enumerate(rows) if isinstance(row, Refused)}
    return SomeRows(columns, len(rows), [place for place, row in enumerate(cells) if row is nothing], refused)


def _column(texts: pa.Array) -> pa.Array:
    """Return texts, with None in place of an empty one."""
    is_empty = pc.equal(texts, "")
    return pc.if_else(is_empty, pa.scalar(None, pa.string()), texts) if is_empty.true_count else texts


def _read_at_once(text: bytes, delimiter: str, width: int) -> SomeRows | None:
    """Return the rows of whole lines, None unless it is certain that each line end and quote is what it seems.

    Compiled code reads them, which takes a tenth of the time, and what is odd otherwise than Python's csv module.
    """
    is_plain = text.count(b"\r") == text.count(b"\r\n") and not (b"\n\n" in text or b"\n\r" in text)
    # At the beginning of any text, pyarrow drops a byte order mark, which here belongs to a cell.
    starts_oddly = text.startswith((b"\r", b"\n", BYTE_ORDER_MARK))
    if width < 2 or not is_plain or starts_oddly or not delimiter.isascii():
        return None
    if b'"' in text and not _quotes_are_in_place(text, delimiter.encode()):
        return None
    names = [str(place) for place in range(width)]
    try:
        table = pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException:
        return None
    columns = [column.combine_chunks() for column in table.columns]
    return SomeRows(columns, table.num_rows, _places_of_nothing(columns, table.num_rows))


def _quotes_are_in_place(text: bytes, delimiter: bytes) -> bool:
    """Whether every quote begins a cell, ends one, or is doubled within one, and none is open at the end."""
    data = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(data == ord('"'))
    begins_run = np.diff(quotes, prepend=-2) > 1
    starts = np.flatnonzero(begins_run)
    lengths = np.diff(starts, append=len(quotes))
    is_odd = lengths % 2 == 1
    is_open_after = np.cumsum(is_odd) % 2 == 1
    is_open_before = is_open_after ^ is_odd
    between = np.zeros(256, np.bool_)
    between[[*delimiter, *b"\r\n"]] = True
    before, after = quotes[starts] - 1, quotes[starts] + lengths
    is_at_beginning = (before < 0) | between[data[np.maximum(before, 0)]]
    is_at_end = (after >= len(data)) | between[data[np.minimum(after, len(data) - 1)]]
    is_in_place = (is_open_before | is_at_beginning) & (is_open_after | is_at_end)
    return bool(is_in_place.all() and not is_open_after[-1])


def _places_of_nothing(columns: Sequence[pa.Array], row_count: int) -> list[int]:
    """Return the places of rows that have no text in any column."""
    places = np.arange(row_count)
    for column in columns:
        if not (column.null_count and len(places)):
            return []
        places = places[column.take(pa.array(places)).is_null().to_numpy(zero_copy_only=False)]
    found: list[int] = places.tolist()
    return found


_NO_TEXT = re.compile("[\udc80-\udcff]")
"""What represents bytes that are not UTF-8."""


def _invalid(sentence: str) -> Rejection:
    return Rejection(ReasonCode.INVALID_ROW, None, sentence)


def _not_text(row: Sequence[str]) -> Rejection | None:
    """Return what is wrong with a row that has bytes other than UTF-8."""
    for place, cell in enumerate(row, 1):
        if not cell.isascii() and _NO_TEXT.search(cell):
            return Rejection(ReasonCode.INVALID_UTF8, None, f"Cell {place} is not UTF-8 text; the file must be UTF-8.")
    return None


def _other_width(row: Sequence[str], width: int) -> Rejection | None:
    if len(row) == width:
        return None
    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
    return _invalid(f"The row has {cells}, the header has {width}.")
