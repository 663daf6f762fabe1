"""Reads rejected lines again: those that are now events become the lines of a separate file."""

import hashlib
import io
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import IO, cast

import pyarrow as pa

from src.marketing_messaging_service.earlier_runs import KeptLine, KeptLines
from src.marketing_messaging_service.staging import spool
from src.marketing_messaging_service.staging.columnar import SortedLines, Stager, as_text
from src.marketing_messaging_service.staging.documents import on_one_line
from src.marketing_messaging_service.staging.envelopes import events_on
from src.marketing_messaging_service.staging.formats import FORMATS, format_of_row
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES, Chunk, LinesInChunks
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.results import LandingFile, RawLine, ReplayedLines
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.staging.text_form import BEGINNING_BYTES
from src.marketing_messaging_service.vocabulary import ReasonCode


class KeptFile:
    """The rejected lines of a file, read as its source says today.

    A line is taken when all that is on it could be loaded, and stays as it is otherwise. One that was rejected for its
    message_id is not taken as long as that is the same. What is taken waits in a temporary file.
    """

    def __init__(
        self, file: LandingFile, source: Source, sort_lines: Callable[[Chunk], SortedLines], stager: Stager
    ) -> None:
        """Take the lines that a file keeps; both of the last look at lines as at those of every other file."""
        assert file.kept is not None  # noqa: S101  no other file is one of these
        self._kept: KeptLines = file.kept
        self._source = source
        self._stager = stager
        self.file = file
        self.sort_lines = sort_lines
        self._taken: IO[bytes] = io.BytesIO()
        self._row_ids: array[int] = array("q")
        self._still_rejected: Counter[tuple[ReasonCode, ReasonCode]] = Counter()

    @property
    def replayed(self) -> ReplayedLines:
        """The outcomes of the lines, once they were read."""
        return ReplayedLines(self._row_ids, self._still_rejected)

    def chunks(self, chunk_bytes: int, on_progress: Callable[[int], None]) -> Generator[Chunk]:
        """Yield the lines that are events today. Raises SpoolError when there is no room for them."""
        self._read(on_progress)
        lines = LinesInChunks(chunk_bytes)
        for line in self._lines():
            yield from (self._as_written(chunk) for chunk in lines.add([line]))
        yield from map(self._as_written, lines.rest())

    def _as_written(self, chunk: Chunk) -> Chunk:
        """Return lines as what they are: rows below a header say their values in texts."""
        are_rows = self._kept.has_header or FORMATS[self._source.format_name].has_header
        return replace(chunk, cells=self._source.cells) if are_rows else chunk

    def close(self) -> None:
        """Release the disk space."""
        self._taken.close()

    def raw_lines(self, numbers: Iterable[int]) -> Iterator[RawLine]:
        """Yield the lines of the given numbers, which ascend."""
        wanted = iter(numbers)
        number = next(wanted, None)
        for place, line in enumerate(self._lines(), start=1):
            while number == place:
                yield RawLine(place, *as_text(line))
                number = next(wanted, None)

    def _read(self, on_progress: Callable[[int], None]) -> None:
        """Look at every line, and keep those that are taken."""
        # Closed with the rows that come of them.
        self._taken = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=spool.MEMORY_BYTES))  # noqa: SIM115
        self._row_ids, self._still_rejected = array("q"), Counter()
        # No line is taken twice, so that no other replay has this content; and no delivered file is like it.
        content, size_bytes = hashlib.sha256(b"rejected lines"), 0
        with closing(self._kept.read()) as reading:
            for some in reading:
                for kept, lines in self._look_at(some):
                    self._row_ids.append(kept.row_id)
                    text = b"".join(on_one_line(line) + b"\n" for line in lines)
                    content.update(b"%d\0%d\0" % (kept.row_id, len(text)) + text)
                    size_bytes += len(text)
                    with spool.errors_told():
                        self._taken.write(text)
                on_progress(sum(len(kept.line) for kept in some))
        self.file = replace(self.file, content_hash=content.hexdigest(), size_bytes=size_bytes)

    def _look_at(self, some: Sequence[KeptLine]) -> Iterator[tuple[KeptLine, Sequence[bytes]]]:
        """Yield the lines that are taken, each as the lines of events that are on it; count the others."""
        every: list[bytes] = []
        refused: dict[int, Rejection] = {}
        ends = []
        for kept in some:
            for line, rejection in self._lines_on(kept):
                if rejection is not None:
                    refused[len(every)] = rejection
                every.append(line)
            ends.append(len(every))
        staged = self._stager.into_tables(self.sort_lines(self._as_written(Chunk(1, every, refused=refused))))
        reasons = _by_line(staged.rejected, "reason_code")
        message_ids = _by_line(staged.events, "message_id")
        start = 0
        for kept, end in zip(some, ends, strict=True):
            numbers = range(start + 1, end + 1)
            reason = next((ReasonCode.of(reasons[number]) for number in numbers if number in reasons), None)
            if reason is None and kept.other_message_id in {message_ids.get(number, "") for number in numbers}:
                reason = ReasonCode.MESSAGE_ID_COLLISION
            if reason is None:
                yield kept, every[start:end]
            else:
                self._still_rejected[kept.reason_code, reason] += 1
            start = end

    def _lines_on(self, kept: KeptLine) -> Iterator[tuple[bytes, Rejection | None]]:
        """Yield the lines that are on a kept one as its source says, and why one of them cannot be read as such."""
        if kept.header_line is None:
            batch = self._source.mapping.batch
            yield from ((line, None) for line in (events_on(kept.line, batch) if batch else (kept.line,)))
            return
        # The header is a blank line of its own.
        table = kept.header_line + b"\n" + kept.line
        read = format_of_row(self._source).read
        for chunk in read(Lookahead(iter([table])), table[:BEGINNING_BYTES], self._source, CHUNK_BYTES):
            yield from ((line, None) for _, line in chunk.numbered() if line)
            yield from ((line, rejection) for _, line, rejection in chunk.refused_lines())

    def _lines(self) -> Iterator[bytes]:
        self._taken.seek(0)
        return (line.removesuffix(b"\n") for line in self._taken)


def _by_line(table: pa.Table, name: str) -> dict[int, str]:
    return dict(zip(table["line_number"].to_pylist(), table[name].to_pylist(), strict=True))
