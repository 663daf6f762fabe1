"""Reads CSV as RFC 4180 defines it, and as spreadsheets write it, into rows of text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.formats.csv_text import (
    SEPARATOR_LINE,
    BadEndError,
    CsvText,
    Refused,
    SomeRows,
)
from src.marketing_messaging_service.staging.lines import (
    KEPT_BYTES_OF_LONG_LINE,
    KEPT_BYTES_OF_REFUSED_FILE,
    Chunk,
)
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.sources.mapping import SourceMapping
from src.marketing_messaging_service.staging.sources.source import Cells, Source
from src.marketing_messaging_service.staging.tables import AROUND_A_ROW, TableLines, without_event, wrong_columns

DELIMITERS = ",;\t|"
"""What may separate cells without being declared, the usual one first."""


def read_csv(text: Lookahead, beginning: bytes, source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield the rows of a CSV as those of a table, in chunks of about `chunk_bytes`.

    Rows are numbered as spreadsheets do: the header, which is no line of its own, is row 1. Every value is text, and
    an empty cell none. A row of empty cells is a blank line. A quoted cell that is not closed is a fault of the row in
    which it begins, and of all later ones.
    """
    rows = CsvText(text, source.cells.delimiter or _delimiter_of(beginning))
    filling = _Filling(source.cells, chunk_bytes)
    try:
        for some in rows.rows():
            if not filling.names and rows.header is not None:
                if wrong := _wrong_header(rows.header, source.mapping):
                    yield Chunk(1, [], wrong, beginning[:KEPT_BYTES_OF_REFUSED_FILE])
                    return
                filling.names, filling.header_line = _names(rows.header), rows.header_line
            yield from filling.add(some)
    except BadEndError as error:
        yield filling.chunk(error.rejection, error.raw[:KEPT_BYTES_OF_LONG_LINE].rstrip(b"\r\n"))
    else:
        if filling.count:
            yield filling.chunk()


def looks_like_csv(beginning: bytes, source: Source) -> bool:
    """Whether a file begins with a header that has what every event needs."""
    text = SEPARATOR_LINE.sub(b"", beginning.removeprefix(BYTE_ORDER_MARK))
    first, line_end, _ = text.partition(b"\n")
    rows = CsvText(iter([first]), source.cells.delimiter or _delimiter_of(beginning))
    if not line_end:
        return False
    try:
        list(rows.rows())
    except BadEndError:
        return False
    names = set() if rows.header is None else set(_names(rows.header))
    mapping = source.mapping
    return all(
        any(".".join(place.keys) in names for place in places) for places in (mapping.user_id, mapping.event_timestamp)
    )


def _delimiter_of(beginning: bytes) -> str:
    """Return what separates the cells of a header: a comma, or what it has instead.

    A header of one column, which a comma would then make of it, has no event below it.
    """
    text = beginning.removeprefix(BYTE_ORDER_MARK)
    if said := SEPARATOR_LINE.match(text):
        return said[1].decode("latin-1")
    header = text.lstrip().partition(b"\n")[0]
    return next((sign for sign in DELIMITERS if sign.encode() in header), DELIMITERS[0])


def _names(header: Sequence[str] | Refused) -> tuple[str, ...]:
    return () if isinstance(header, Refused) else tuple(name.strip() for name in header)


_NO_HEADER = "put a row with the column names first"


def _wrong_header(header: Sequence[str] | Refused, mapping: SourceMapping) -> Rejection | None:
    if isinstance(header, Refused):
        return header.rejection
    return wrong_columns(_names(header), {}) or without_event(_names(header), mapping, _NO_HEADER)


class _Filling:
    """Collects rows into chunks, and numbers them in order."""

    def __init__(self, cells: Cells, chunk_bytes: int) -> None:
        self.names: tuple[str, ...] = ()
        self.header_line = ""
        self._cells = cells
        self._chunk_bytes = chunk_bytes
        self._next_line_number = 1
        self._start()

    def _start(self) -> None:
        self.count = 0
        """How many rows are on their way."""
        self._size = 0
        self._columns: list[list[pa.Array]] = [[] for _ in self.names]
        self._others: dict[int, bytes] = {}
        self._refused: dict[int, Rejection] = {}

    def add(self, rows: SomeRows) -> Iterator[Chunk]:
        """Add rows, and yield the chunks that they fill."""
        start = 0
        while start < rows.count:
            room = lines.CHUNK_LINES - self.count
            self._take(rows.part(start, start + room) if start or rows.count > room else rows)
            start += room
            if self._size >= self._chunk_bytes or self.count >= lines.CHUNK_LINES:
                yield self.chunk()

    def chunk(self, fault: Rejection | None = None, fault_bytes: bytes = b"") -> Chunk:
        """Return the rows that have not been given yet, with a fault in the place of the row after them."""
        columns = [pa.concat_arrays(parts) for parts in self._columns if parts]
        names = self.names if columns else ()
        table = TableLines(names, columns, self.count, self._size, self._cells, self._others)
        chunk = Chunk(self._next_line_number, table, fault, fault_bytes, refused=self._refused)
        self._next_line_number += self.count + (fault is not None)
        self._start()
        return chunk

    def _take(self, rows: SomeRows) -> None:
        self._columns = self._columns or [[] for _ in self.names]
        for parts, column in zip(self._columns, rows.columns, strict=True):
            parts.append(column)
        for place in rows.empty:
            refused = rows.refused.get(place)
            self._others[self.count + place] = refused.raw if refused else b""
            if refused:
                self._refused[self.count + place] = replace(refused.rejection, header_line=self.header_line)
        self.count += rows.count
        self._size += sum(column.nbytes for column in rows.columns) + AROUND_A_ROW * rows.count
