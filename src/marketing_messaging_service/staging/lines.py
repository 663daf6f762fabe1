"""From a file's bytes to numbered lines, whatever is wrong with the bytes."""

import contextlib
import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from src.marketing_messaging_service.vocabulary import ReasonCode

READ_BYTES = 1 << 20
"""How much of a file is read at once."""

CHUNK_BYTES = 8 << 20
"""How much text one chunk holds, give or take a line. Memory follows this, never the file's size."""

CHUNK_LINES = 50_000
"""How many lines one chunk holds at most, so that a file of blank or tiny lines does not fill the memory either."""

MAX_LINE_BYTES = 16 << 20
"""The longest line taken; a longer one is rejected with its beginning kept, so that memory stays bounded."""

KEPT_BYTES_OF_LONG_LINE = 64 << 10

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a line cannot become an event."""

    reason_code: ReasonCode
    field_name: str | None
    explanation: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of a file, without their line ends.

    `fault` is set when the line after the last one of `lines` cannot be read as a line at all; `fault_bytes` is
    what there is of it.
    """

    first_line_number: int
    lines: list[bytes]
    fault: Rejection | None = None
    fault_bytes: bytes = b""


class CorruptGzipError(Exception):
    """The compressed stream breaks off or is damaged; everything before the break has been given."""


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


def read_chunks(reader: HashedReader, *, named_gzip: bool, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield all lines of a plain or compressed file in chunks of about `chunk_bytes`.

    Whether a file is compressed is read off its first bytes; one that is named `.gz` and is not compressed is
    damaged. A line ends at LF; a CR before it belongs to the line end. A last line without LF is a line.
    """
    splitter = _LineSplitter(chunk_bytes)
    try:
        for piece in _text_pieces(reader, named_gzip):
            yield from splitter.feed(piece)
    except CorruptGzipError as error:
        yield splitter.damaged(Rejection(ReasonCode.CORRUPT_GZIP, None, str(error)))
    else:
        yield from splitter.finish()


def _text_pieces(reader: HashedReader, named_gzip: bool) -> Iterator[bytes]:
    first = reader.read()
    if first.startswith(GZIP_MAGIC):
        yield from _decompress(first, reader)
    elif named_gzip and first:
        raise CorruptGzipError("The file is named .gz but does not begin like a gzip file; deliver it again.")
    else:
        yield first
        while piece := reader.read():
            yield piece


def _decompress(first: bytes, reader: HashedReader) -> Iterator[bytes]:
    """Yield the text of a gzip file of one or more members, at most READ_BYTES at a time however well it packs."""
    compressed = first
    while compressed:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            before = member.copy()
            try:
                text = member.decompress(compressed, READ_BYTES)
            except zlib.error as error:
                yield _text_before_damage(before, compressed)
                raise CorruptGzipError(f"The gzip file is damaged from here on ({error}); deliver it again.") from None
            yield text
            compressed = member.unconsumed_tail or (b"" if member.eof else reader.read())
            if not compressed and not member.eof and not text:
                raise CorruptGzipError("The gzip file breaks off here; deliver it again whole.")
        compressed = _after_padding(member.unused_data, reader)


def _text_before_damage(member: "zlib._Decompress", compressed: bytes) -> bytes:
    """Return the text that a call of `decompress` had worked out when it met the damage, and kept to itself."""
    pieces = []
    with contextlib.suppress(zlib.error):
        for position in range(len(compressed)):
            pieces.append(member.decompress(compressed[position : position + 1]))
    return b"".join(pieces)


def _after_padding(data: bytes, reader: HashedReader) -> bytes:
    """Return what follows the zero bytes that some writers put after a gzip member, empty at the end."""
    while not (data := data.lstrip(b"\0")):
        data = reader.read()
        if not data:
            break
    return data


class _LineSplitter:
    """Cuts text that comes in pieces into chunks of numbered lines."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._next_line_number = 1
        self._lines: list[bytes] = []
        self._size = 0
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
        *complete, self._rest = (self._rest + piece).split(b"\n")
        if complete and len(complete[0]) > MAX_LINE_BYTES:
            self._let_go(complete.pop(0))
            yield self._overlong()
        while complete:
            taken = CHUNK_LINES - len(self._lines)
            self._add(complete[:taken])
            complete = complete[taken:]
            if self._size >= self._chunk_bytes or len(self._lines) >= CHUNK_LINES:
                yield self._chunk()
        if len(self._rest) > MAX_LINE_BYTES:
            self._let_go(self._rest)
            self._rest = b""

    def finish(self) -> Iterator[Chunk]:
        """Yield what is left when the text has ended in good order."""
        if self._long_length:
            yield self._overlong()
        elif self._rest and not (self._at_start and self._rest == BYTE_ORDER_MARK):
            self._add([self._rest])
        if self._lines:
            yield self._chunk()

    def damaged(self, rejection: Rejection) -> Chunk:
        """Return what is left when the text breaks off, with the unfinished line as its fault."""
        return self._chunk(rejection, self._rest or self._long_line)

    def _let_go(self, line: bytes) -> None:
        self._long_line, self._long_length = line[:KEPT_BYTES_OF_LONG_LINE], len(line)

    def _add(self, lines: list[bytes]) -> None:
        if self._at_start:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
            self._at_start = False
        self._lines.extend(line.removesuffix(b"\r") for line in lines)
        self._size += sum(map(len, lines))

    def _overlong(self) -> Chunk:
        rejection = Rejection(
            ReasonCode.LINE_TOO_LONG,
            None,
            f"The line has {self._long_length} bytes; at most {MAX_LINE_BYTES} are taken, and the first "
            f"{KEPT_BYTES_OF_LONG_LINE} are kept here.",
        )
        chunk = self._chunk(rejection, self._long_line)
        self._long_line, self._long_length = b"", 0
        return chunk

    def _chunk(self, fault: Rejection | None = None, fault_bytes: bytes = b"") -> Chunk:
        chunk = Chunk(self._next_line_number, self._lines, fault, fault_bytes)
        self._next_line_number += len(self._lines) + (fault is not None)
        self._lines, self._size = [], 0
        self._at_start = False
        return chunk
