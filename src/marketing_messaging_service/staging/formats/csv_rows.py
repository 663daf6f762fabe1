"""CSV as RFC 4180 has it, and as spreadsheets write it: each row is the JSON line that says the same."""

import csv
from collections.abc import Iterator
from typing import Any

from src.marketing_messaging_service.staging.content import (
    BEGINNING_BYTES,
    BYTE_ORDER_MARK,
    BYTE_ORDER_MARKS,
    refusal_of,
)
from src.marketing_messaging_service.staging.formats.columns import Columns, wrong_columns
from src.marketing_messaging_service.staging.lines import (
    KEPT_BYTES_OF_LONG_LINE,
    KEPT_BYTES_OF_REFUSED_FILE,
    MAX_LINE_BYTES,
    Chunk,
    HashedReader,
    LinesInChunks,
    too_long,
)
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import unpacked
from src.marketing_messaging_service.staging.rejection import DamagedFileError, Rejection
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.vocabulary import ReasonCode

DELIMITERS = ",;\t|"
"""What may separate cells without a word about it, the usual one first."""


def read_csv(reader: HashedReader, source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield the rows of a CSV as JSON lines, in chunks of about `chunk_bytes`.

    Rows are numbered as spreadsheets do: the header, which is no line of its own, is row 1. Every value is text, and
    an empty cell none. A row of empty cells is a blank line. A quoted cell that is not closed is the fault of the row
    that it begins in, and of all after it.
    """
    text, _ = unpacked(Lookahead(iter(reader.read, b"")))
    beginning = text.beginning(BEGINNING_BYTES)
    if beginning in BYTE_ORDER_MARKS:
        return
    if (refusal := refusal_of(beginning)) is not None:
        yield Chunk(1, [], refusal, beginning[:KEPT_BYTES_OF_REFUSED_FILE])
        return
    rows = _Rows(text, source.cells.delimiter or _delimiter_of(beginning))
    lines = LinesInChunks(chunk_bytes)
    try:
        yield from _lines(rows, lines)
    except (_TooLongError, DamagedFileError) as error:
        yield lines.chunk(error.rejection, rows.raw[:KEPT_BYTES_OF_LONG_LINE])
    else:
        yield from lines.rest()


def _lines(rows: "_Rows", lines: LinesInChunks) -> Iterator[Chunk]:
    header = rows.next_row()
    if header is None:
        return
    wrong = header if isinstance(header, Rejection) else _wrong_header(header)
    if wrong or isinstance(header, Rejection):
        yield lines.chunk(wrong, rows.raw[:KEPT_BYTES_OF_REFUSED_FILE])
        return
    columns = Columns([name.strip() for name in header])
    yield from lines.add([b""])
    while (row := rows.next_row()) is not None:
        if isinstance(row, Rejection):
            yield from lines.add_refused(rows.raw, row)
        elif not any(row):
            yield from lines.add([b""])
        elif wrong := _not_text(row) or _other_width(row, len(header)):
            yield from lines.add_refused(rows.raw, wrong)
        else:
            yield from lines.add([columns.line(cell or None for cell in row)])


def _wrong_header(header: list[str]) -> Rejection | None:
    return wrong_columns([name.strip() for name in header], {}) or _not_text(header)


def _delimiter_of(beginning: bytes) -> str:
    """Return what separates the cells of a header: a comma, or what stands there where there is none.

    A header of one column, which a comma would then make of it, has no event below it.
    """
    header = beginning.splitlines()[0] if beginning else b""
    return next((sign for sign in DELIMITERS if sign.encode() in header), DELIMITERS[0])


class _TooLongError(Exception):
    """A row goes on for longer than one may."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.explanation)
        self.rejection = rejection


class _Rows:
    """The rows of a CSV, one by one, and the bytes that the last one was read from."""

    def __init__(self, text: Iterator[bytes], delimiter: str) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        # One limit for the whole process; what is longer than a row may be is refused here before.
        csv.field_size_limit(MAX_LINE_BYTES + 1)
        self._reader: Any = csv.reader(self._lines(text), delimiter=delimiter, strict=True)

    @property
    def raw(self) -> bytes:
        """What the last row was read from, without its line end."""
        return b"".join(self._pieces).rstrip(b"\r\n")

    def next_row(self) -> list[str] | Rejection | None:
        """Return the cells of the next row, why it has none that are certain, or None at the end.

        Raises DamagedFileError where the file is damaged or breaks off, and _TooLongError.
        """
        self._pieces, self._size = [], 0
        try:
            row: list[str] | None = next(self._reader, None)
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise DamagedFileError(ReasonCode.BROKEN_OFF, _NOT_CLOSED) from None
            # What follows is read from the next line on, and is no row unless it has as many cells as the header.
            return Rejection(
                ReasonCode.INVALID_ROW, None, f"A quote mark within a quoted cell must stand twice ({error})."
            )
        return row

    def _lines(self, text: Iterator[bytes]) -> Iterator[str]:
        """Yield the lines, each with its end, and remember those of the row at work."""
        rest = b""
        is_first = True
        for piece in text:
            joined = (rest + piece).removeprefix(BYTE_ORDER_MARK) if is_first else rest + piece
            is_first = False
            *whole, rest = joined.splitlines(keepends=True) or [b""]
            if rest.endswith(b"\n"):
                whole.append(rest)
                rest = b""
            for line in whole:
                yield self._remembered(line)
            if len(rest) > MAX_LINE_BYTES:
                self._remembered(rest)
        if rest:
            yield self._remembered(rest)

    def _remembered(self, line: bytes) -> str:
        self._pieces.append(line)
        self._size += len(line)
        if self._size > MAX_LINE_BYTES:
            raise _TooLongError(too_long(self._size))
        return line.decode("utf-8", "surrogateescape")


_NOT_CLOSED = (
    "A cell of this row opens a quote that is not closed where the file ends, so that nothing from here on was taken; "
    "close it, or deliver the file again whole."
)


def _not_text(row: list[str]) -> Rejection | None:
    """Return what is wrong with a row that holds bytes that are no UTF-8."""
    for place, cell in enumerate(row, 1):
        if any("\udc80" <= character <= "\udcff" for character in cell):
            return Rejection(ReasonCode.INVALID_UTF8, None, f"Cell {place} is not UTF-8 text; the file must be UTF-8.")
    return None


def _other_width(row: list[str], width: int) -> Rejection | None:
    if len(row) == width:
        return None
    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
    return Rejection(ReasonCode.INVALID_ROW, None, f"The row has {cells}, the header has {width}.")
