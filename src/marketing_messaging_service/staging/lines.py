"""Turns a file's bytes into numbered lines, whatever is wrong with the bytes."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from src.marketing_messaging_service.staging.documents import Document, DocumentScanner
from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.rejection import DamagedFileError, Rejection
from src.marketing_messaging_service.staging.sources.source import Cells
from src.marketing_messaging_service.staging.text_form import form_of
from src.marketing_messaging_service.vocabulary import ReasonCode

READ_BYTES = 1 << 20
"""How much of a file is read at once."""

CHUNK_BYTES = 8 << 20
"""How much text one chunk holds, give or take a line. Memory depends on this, never on the file's size."""

CHUNK_LINES = 50_000
"""The most lines in one chunk, so that a file of blank or tiny lines does not fill the memory either."""

MAX_LINE_BYTES = 16 << 20
"""The longest line taken; a longer one is rejected with its beginning kept, so that memory stays bounded."""

KEPT_BYTES_OF_LONG_LINE = 64 << 10

KEPT_BYTES_OF_REFUSED_FILE = 1 << 10
"""How much is kept of a file that is refused as a whole; the file is in landing, and its beginning shows what it is."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of a file, without their line ends.

    `fault` is set when the line after the last one of `lines` cannot be read as a line at all; `fault_bytes` is what
    there is of it.
    """

    first_line_number: int
    lines: Sequence[bytes]
    fault: Rejection | None = None
    fault_bytes: bytes = b""
    replaces_all: bool = False
    """Whether nothing of the file can be taken after all; then this last chunk replaces all others."""
    refused: Mapping[int, Rejection] = field(default_factory=dict)
    """Why some lines cannot be read as such, by their places in `lines`, where there is what is left of them."""
    cells: Cells | None = None
    """How values are written if these are rows of a CSV, where every value is text; otherwise None."""

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Return the lines that can be read as such with their numbers."""
        lines = enumerate(self.lines, self.first_line_number)
        if not self.refused:
            return lines
        return ((number, line) for number, line in lines if number - self.first_line_number not in self.refused)

    def refused_lines(self) -> list[tuple[int, bytes, Rejection]]:
        """Return the other lines with their numbers, and the reasons."""
        first = self.first_line_number
        refused = [(first + place, self.lines[place], reason) for place, reason in sorted(self.refused.items())]
        if self.fault is not None:
            refused.append((first + len(self.lines), self.fault_bytes, self.fault))
        return refused


class HashedReader:
    """Reads a stream to its end and knows the SHA-256 of what it read."""

    def __init__(self, stream: IO[bytes], on_read: Callable[[int], None]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._on_read = on_read

    def read(self) -> bytes:
        """Return the next bytes, empty at the end."""
        data = self._stream.read(READ_BYTES)
        self._digest.update(data)
        self._on_read(len(data))
        return data

    def content_hash(self) -> str:
        """Read what is left, and return the hash of the whole stream."""
        while self.read():
            pass
        return self._digest.hexdigest()


def read_text_chunks(text: Lookahead, beginning: bytes, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield the lines of an unpacked file in chunks of about `chunk_bytes`, given its beginning.

    A line ends at LF; a CR before it belongs to the line end, and a last line without LF is a line. In an array, or
    where objects are not one per line, each element or object is a line and is counted as one. A file that cannot hold
    events is one fault. If that is found only after chunks have been given, the last chunk replaces them all.
    """
    splitter: _Splitter = (_DocumentSplitter if form_of(beginning).is_documents else _LineSplitter)(chunk_bytes)
    try:
        for piece in text:
            for chunk in splitter.feed(piece):
                yield chunk
                if chunk.replaces_all:
                    return
    except DamagedFileError as error:
        yield splitter.damaged(error.rejection)
    else:
        yield from splitter.finish()


class _Splitter(Protocol):
    """Cuts text that arrives in pieces into chunks of numbered lines."""

    def feed(self, piece: bytes) -> Iterator[Chunk]:
        """Take the next piece of text, and yield the chunks that it completes."""

    def finish(self) -> Iterator[Chunk]:
        """Yield what is left when the text has ended properly."""

    def damaged(self, rejection: Rejection) -> Chunk:
        """Return what is left when the text breaks off, with what is unfinished as its fault."""


class LinesInChunks:
    """Collects lines into chunks, and numbers them in order."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._next_line_number = 1
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, lines: list[bytes]) -> Iterator[Chunk]:
        """Add lines, and yield the chunks that they fill."""
        while lines:
            taken = CHUNK_LINES - len(self._lines)
            added, lines = lines[:taken], lines[taken:]
            self._lines.extend(added)
            self._size += sum(map(len, added))
            if self._size >= self._chunk_bytes or len(self._lines) >= CHUNK_LINES:
                yield self.chunk()

    def chunk(self, fault: Rejection | None = None, fault_bytes: bytes = b"") -> Chunk:
        """Return the lines that have not been given yet, with a fault in the place of the line after them."""
        chunk = Chunk(self._next_line_number, self._lines, fault, fault_bytes)
        self._next_line_number += len(self._lines) + (fault is not None)
        self._lines, self._size = [], 0
        return chunk

    @property
    def count(self) -> int:
        """How many lines were taken so far."""
        return self._next_line_number - 1 + len(self._lines)

    def rest(self) -> Iterator[Chunk]:
        """Yield the lines that have not been given yet."""
        if self._lines:
            yield self.chunk()


BROKEN_OFF = Rejection(
    ReasonCode.BROKEN_OFF,
    None,
    "The file ends too early here, with an open bracket; deliver the whole file again.",
)


class _DocumentSplitter:
    """Makes a line of each document of a text."""

    def __init__(self, chunk_bytes: int) -> None:
        self._lines = LinesInChunks(chunk_bytes)
        self._scanner = DocumentScanner(MAX_LINE_BYTES, KEPT_BYTES_OF_LONG_LINE)

    def feed(self, piece: bytes) -> Iterator[Chunk]:
        """Take the next piece of text, and yield the chunks that it completes."""
        found = self._scanner.feed(piece)
        while found:
            whole = list(itertools.takewhile(_fits, found))
            yield from self._lines.add([document.text for document in whole])
            found = found[len(whole) :]
            if found:
                yield self._overlong(found.pop(0))
        if self._scanner.is_astray:
            yield self._refusal()

    def finish(self) -> Iterator[Chunk]:
        """Yield what is left; that a bracket is missing is the fault of the last line."""
        if self._scanner.is_broken_off:
            yield self._lines.chunk(BROKEN_OFF, self._unfinished())
        elif self._scanner.rest():
            yield self._refusal()
        else:
            yield from self._lines.rest()

    def damaged(self, rejection: Rejection) -> Chunk:
        """Return what is left, with the unfinished document as its fault."""
        return self._lines.chunk(rejection, self._unfinished())

    def _unfinished(self) -> bytes:
        rest = self._scanner.rest()
        return rest.text[:KEPT_BYTES_OF_LONG_LINE] if rest else b""

    def _refusal(self) -> Chunk:
        place = f"object {self._lines.count}" if self._lines.count else "the beginning"
        explanation = (
            f"What follows {place} of the file is not the next one, so nothing of it was taken; "
            "correct the file, and deliver it again."
        )
        fault = Rejection(ReasonCode.ASTRAY, None, explanation)
        return Chunk(1, [], fault, self._unfinished(), replaces_all=True)

    def _overlong(self, document: Document) -> Chunk:
        return self._lines.chunk(too_long(document.length), document.text)


def _fits(document: Document) -> bool:
    return document.length <= MAX_LINE_BYTES


def too_long(length: int) -> Rejection:
    """Return why a line of this many bytes is refused."""
    return Rejection(
        ReasonCode.LINE_TOO_LONG,
        None,
        f"The line has {length} bytes; at most {MAX_LINE_BYTES} are taken, and the first "
        f"{KEPT_BYTES_OF_LONG_LINE} are kept here, which is too little for a replay.",
    )


def _with_little_padding(line: bytes) -> bytes:
    """Return a line, or the beginning of one, without the zero bytes before its text and with one of those after it."""
    text = line.lstrip(b"\0")
    without = text.rstrip(b"\0")
    return without if without and len(without) == len(text) else without + b"\0"


class _LineSplitter:
    """Cuts text into lines at LF."""

    def __init__(self, chunk_bytes: int) -> None:
        self._lines = LinesInChunks(chunk_bytes)
        self._rest = b""
        """The beginning of a line whose end has not come yet."""
        self._long_line = b""
        self._long_length = 0
        """Length so far of an overlong line, 0 when there is none; `_long_line` holds its beginning."""
        self._at_start = True

    def feed(self, piece: bytes) -> Iterator[Chunk]:
        """Take the next piece of text, and yield the chunks that it completes."""
        if self._long_length:
            skipped, line_end, piece = piece.partition(b"\n")
            self._long_length += len(skipped)
            if not line_end:
                return
            yield self._overlong()
        text = self._rest + piece
        has_returns = b"\r" in text
        complete = text.split(b"\n")
        self._rest = complete.pop()
        if complete and len(complete[0]) > MAX_LINE_BYTES:
            complete[0] = _with_little_padding(complete[0])
            if len(complete[0]) > MAX_LINE_BYTES:
                self._let_go(complete.pop(0))
                yield self._overlong()
        if complete:
            # One search through all of them is quicker than one search per line.
            yield from self._add(complete, has_returns=has_returns)
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest = _with_little_padding(self._rest)
            if len(self._rest) > MAX_LINE_BYTES:
                self._let_go(self._rest)
                self._rest = b""

    def finish(self) -> Iterator[Chunk]:
        """Yield what is left when the text has ended properly."""
        if self._long_length:
            yield self._overlong()
        elif self._rest:
            yield from self._add([self._rest])
        yield from self._lines.rest()

    def damaged(self, rejection: Rejection) -> Chunk:
        """Return what is left when the text breaks off, with the unfinished line as its fault."""
        return self._lines.chunk(rejection, self._rest or self._long_line)

    def _let_go(self, line: bytes) -> None:
        self._long_line, self._long_length = line[:KEPT_BYTES_OF_LONG_LINE], len(line)

    def _add(self, lines: list[bytes], *, has_returns: bool = True) -> Iterator[Chunk]:
        if self._at_start:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
            self._at_start = False
        return self._lines.add([line.removesuffix(b"\r") for line in lines] if has_returns else lines)

    def _overlong(self) -> Chunk:
        chunk = self._lines.chunk(too_long(self._long_length), self._long_line)
        self._long_line, self._long_length = b"", 0
        self._at_start = False
        return chunk
