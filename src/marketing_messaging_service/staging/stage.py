"""Stages raw files: a large one alone, many small ones at once."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import IO

import numpy as np
import pyarrow as pa

from src.marketing_messaging_service.errors import MAY_PASS, LandingError
from src.marketing_messaging_service.models import OTHER_KEYS
from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.columnar import SortedLines, Stager, as_text, stager_for
from src.marketing_messaging_service.staging.envelopes import opened
from src.marketing_messaging_service.staging.formats import read_rows
from src.marketing_messaging_service.staging.kept import KeptFile
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES, Chunk, HashedReader
from src.marketing_messaging_service.staging.mapped import MappedLines
from src.marketing_messaging_service.staging.results import (
    EVENT_SCHEMA,
    REJECTED_SCHEMA,
    FileFailure,
    LandingFile,
    RawLine,
    StagedFile,
    StagedFiles,
    StagedRows,
)
from src.marketing_messaging_service.staging.small_files import MOST_BYTES
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES, SourcesFile
from src.marketing_messaging_service.staging.sources.shipped import NATIVE
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.staging.spool import SpoolWriter
from src.marketing_messaging_service.staging.tables import TableLines
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS

MOST_UNKNOWN_KEYS = 1_000
"""How many unknown keys a file counts by name (the first ones met); all others are counted together."""

LONGEST_KEY_PATH = 255


def stage_file(
    file: LandingFile,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    sources: SourcesFile = SHIPPED_SOURCES,
    delivery_keys: Collection[str] = (),
    on_progress: Callable[[int], None] = lambda _: None,
) -> StagedFile:
    """Read a raw file once, chunk by chunk, and return its lines as typed rows and rejected rows.

    Raises LandingError when the file cannot be read, or is no longer the one that was discovered; otherwise as
    `stage_files`.
    """
    batch = stage_files(
        [file], chunk_bytes=chunk_bytes, sources=sources, delivery_keys=delivery_keys, on_progress=on_progress
    )
    for failure in batch.failures:
        batch.rows.close()
        raise failure.error
    return batch.files[0]


def stage_files(
    files: Sequence[LandingFile],
    *,
    chunk_bytes: int = CHUNK_BYTES,
    sources: SourcesFile = SHIPPED_SOURCES,
    delivery_keys: Collection[str] = (),
    on_progress: Callable[[int], None] = lambda _: None,
    event_file: IO[bytes] | None = None,
) -> StagedFiles:
    """Read raw files once, and return the first of them staged: as many as can be staged together.

    A file with more than one chunk (which a small packed file may have) is staged alone, while it is read. Other files
    are typed together. One that cannot be read, or is no longer the one that was discovered, is a failure that does not
    affect the others. `sources` are those that the files were discovered with; each file names its own. The given
    top-level keys of a line, and DELIVERY_KEYS, describe its delivery and are not content. `on_progress` gets the
    number of bytes read since the last call. The events are written to `event_file` if an (empty) one is given. Raises
    SpoolError when there is no room for the rows.
    """
    stager = stager_for(frozenset(delivery_keys))
    readers = readers_of(files, sources, frozenset(delivery_keys))
    with ExitStack() as kept:
        for each in readers:
            kept.callback(each.close)
        try:
            with SpoolWriter(EVENT_SCHEMA, event_file) as events, SpoolWriter(REJECTED_SCHEMA) as rejected:
                reading = _Reading(readers, chunk_bytes, on_progress)
                typing = _Typing(stager, events, rejected)
                _stage_in_two_threads(reading.groups(), typing.add)
        except LandingError as error:
            # Only a first file can fail here: any other is read to its end before it is typed.
            return StagedFiles((), (FileFailure(files[0], error),), StagedRows(events.file, rejected.file))
        rows = StagedRows(events.file, rejected.file, typing.has_former_ids, kept.pop_all())
    return StagedFiles(tuple(each.staged(rows) for each in reading.taken), tuple(reading.failures), rows)


@dataclass(frozen=True, slots=True)
class _FileReader:
    """Reads the lines of a file, by its source."""

    file: LandingFile
    source: Source
    sort_lines: Callable[[Chunk], SortedLines]
    """Looks at each line of a chunk, and separates those that hold an event from the others."""
    replayed: None = None

    def chunks(self, chunk_bytes: int, on_progress: Callable[[int], None]) -> Generator[Chunk]:
        """Yield its lines.

        Raises LandingError when it cannot be read, and, at its end, when it has changed.
        """
        file, source = self.file, self.source
        assert file.place is not None  # noqa: S101  only replayed lines are in no place
        try:
            with file.place.open() as stream:
                reader = HashedReader(stream, on_progress)
                chunks = read_rows(reader, source, chunk_bytes)
                yield from opened(chunks, source.mapping.batch) if source.mapping.batch else chunks
                if reader.content_hash() != file.content_hash:
                    raise LandingError(
                        f"{file.display_path} changed while it was read; nothing of it was taken, the next run takes "
                        "it."
                    )
        except OSError as error:
            sentence = f"{file.display_path} cannot be read: {error.strerror or error}."
            raise LandingError(sentence, may_pass=error.errno in MAY_PASS) from None

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def raw_lines(self, numbers: Iterable[int]) -> Iterator[RawLine]:
        """Yield the lines with the given ascending numbers. Raises LandingError as `chunks` does, at the end."""
        wanted = iter(numbers)
        number = next(wanted, None)
        for chunk in self.chunks(CHUNK_BYTES, lambda _: None):
            while number is not None and number < chunk.first_line_number + len(chunk.lines):
                yield RawLine(number, *as_text(chunk.lines[number - chunk.first_line_number]))
                number = next(wanted, None)


_Reader = _FileReader | KeptFile


def readers_of(files: Sequence[LandingFile], sources: SourcesFile, delivery_keys: frozenset[str]) -> list[_Reader]:
    """Return a reader for each file; it can read the file's lines again."""
    used = {file.source_number: sources.sources[file.source_number] for file in files}
    sort_lines = {number: _sorter(source, delivery_keys) for number, source in used.items()}
    stager = stager_for(delivery_keys)
    return [
        _FileReader(file, used[file.source_number], sort_lines[file.source_number])
        if file.kept is None
        else KeptFile(file, used[file.source_number], sort_lines[file.source_number], stager)
        for file in files
    ]


def _sorter(source: Source, delivery_keys: frozenset[str]) -> Callable[[Chunk], SortedLines]:
    mapped = MappedLines(source.mapping, delivery_keys=delivery_keys.union(DELIVERY_KEYS))
    native = stager_for(delivery_keys)

    def sort_lines(chunk: Chunk) -> SortedLines:
        # Files that have our own keys need no mapping, and most of their lines no close look.
        is_native = source.mapping is NATIVE and not (chunk.cells or isinstance(chunk.lines, TableLines))
        return (native if is_native else mapped).sort_lines(chunk)

    return sort_lines


@dataclass(slots=True)
class _FileLines:
    """A file whose lines have been read, and what is known about them."""

    reader: _Reader
    lines_before: int
    read_count: int = 0
    valid_count: int = 0
    rejected_count: int = 0
    dropped_count: int = 0
    unknown_keys: Counter[str] = field(default_factory=Counter)

    def staged(self, rows: StagedRows) -> StagedFile:
        return StagedFile(
            file=self.reader.file,
            read_count=self.read_count,
            valid_count=self.valid_count,
            rejected_count=self.rejected_count,
            blank_count=self.read_count - self.valid_count - self.rejected_count - self.dropped_count,
            dropped_count=self.dropped_count,
            unknown_keys=dict(sorted(self.unknown_keys.items())),
            rows=rows,
            raw_lines=self.reader.raw_lines,
            lines_before=self.lines_before,
            replayed=self.reader.replayed,
        )


class _Group:
    """Lines of one or several files that are typed at once, numbered continuously."""

    def __init__(self) -> None:
        self.files: list[_FileLines] = []
        self.lines = SortedLines()
        self.line_count = 0
        self.size_bytes = 0
        self.replaces_all = False
        """Whether it replaces every group before it, because nothing of the file is taken after all."""

    def add(self, file: _FileLines, chunk: Chunk) -> None:
        """Add the next lines of a file."""
        if not self.files or self.files[-1] is not file:
            self.files.append(file)
        line_count = len(chunk.lines) + (chunk.fault is not None)
        file.read_count += line_count
        self.line_count += line_count
        renumbered = replace(chunk, first_line_number=file.lines_before + chunk.first_line_number)
        found = file.reader.sort_lines(renumbered)
        file.dropped_count += found.dropped_count
        self.lines.extend(found)

    def is_full(self, chunk_bytes: int) -> bool:
        """Whether it is as large as a chunk."""
        return self.size_bytes >= chunk_bytes or self.line_count >= lines.CHUNK_LINES


class _Reading:
    """Reads files one after the other, until they are enough for one transaction."""

    def __init__(self, files: Sequence[_Reader], chunk_bytes: int, on_progress: Callable[[int], None]) -> None:
        self._files = files
        self._chunk_bytes = chunk_bytes
        self._on_progress = on_progress
        self.taken: list[_FileLines] = []
        self.failures: list[FileFailure] = []

    def groups(self) -> Iterator[_Group]:
        """Yield the lines of the files. Raises LandingError of a first file that is larger than a chunk."""
        group = _Group()
        size_bytes = 0
        for file in self._files:
            with closing(file.chunks(self._chunk_bytes, self._on_progress)) as chunks:
                try:
                    beginning, is_whole = self._beginning(chunks)
                except LandingError as error:
                    self.failures.append(FileFailure(file.file, error))
                    continue
                if not is_whole:
                    if not (self.taken or self.failures):
                        yield from self._as_it_is_read(self._take(file), chain(beginning, chunks))
                    break
            taken = self._take(file)
            for chunk in beginning:
                group.add(taken, chunk)
                group.size_bytes += _size(chunk)
                size_bytes += _size(chunk)
            if group.is_full(self._chunk_bytes):
                yield group
                group = _Group()
            if size_bytes >= MOST_BYTES:
                break
        if group.files:
            yield group

    def _beginning(self, chunks: Iterator[Chunk]) -> tuple[list[Chunk], bool]:
        """Return the first chunks of a file, up to one full chunk, and whether that is the whole file."""
        beginning: list[Chunk] = []
        for chunk in chunks:
            if chunk.replaces_all:
                beginning.clear()
            beginning.append(chunk)
            if sum(map(_size, beginning)) >= self._chunk_bytes or (
                sum(len(each.lines) for each in beginning) >= lines.CHUNK_LINES
            ):
                return beginning, False
        return beginning, True

    def _take(self, file: _Reader) -> _FileLines:
        before = self.taken[-1] if self.taken else None
        self.taken.append(_FileLines(file, before.lines_before + before.read_count if before else 0))
        return self.taken[-1]

    def _as_it_is_read(self, file: _FileLines, chunks: Iterable[Chunk]) -> Iterator[_Group]:
        for chunk in chunks:
            group = _Group()
            if chunk.replaces_all:
                file.read_count = file.dropped_count = 0
                group.replaces_all = True
            group.add(file, chunk)
            yield group


def _size(chunk: Chunk) -> int:
    lines = chunk.lines
    size = lines.size_bytes if isinstance(lines, TableLines) else sum(map(len, lines))
    return size + len(chunk.fault_bytes)


def _stage_in_two_threads(groups: Iterable[_Group], add: Callable[[_Group], None]) -> None:
    """Type groups of lines, in order; while one is made into columns, the lines of the next are looked at.

    Compiled code makes the columns and releases the interpreter meanwhile: a million lines take 3.4 s like this and 5.1
    s one after the other. Only one group is ahead, so memory stays bounded.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="columns") as columns:
        ahead: Future[None] | None = None
        for group in groups:
            if ahead is not None:
                ahead.result()
            ahead = columns.submit(add, group)
        if ahead is not None:
            ahead.result()


class _Typing:
    """Makes rows from groups of lines, as they come."""

    def __init__(self, stager: Stager, events: SpoolWriter, rejected: SpoolWriter) -> None:
        self._stager = stager
        self._events = events
        self._rejected = rejected
        self.has_former_ids = False

    def add(self, group: _Group) -> None:
        """Write the rows of a group, and count them by file."""
        if group.replaces_all:
            self._start_again(group.files[0])
        staged = self._stager.into_tables(group.lines)
        self.has_former_ids |= bool(group.lines.former_ids)
        self._events.write(staged.events)
        self._rejected.write(staged.rejected)
        befores = [file.lines_before for file in group.files]
        valid_counts = _counts_by_file(staged.events, befores)
        rejected_counts = _counts_by_file(staged.rejected, befores)
        for file, valid_count, rejected_count in zip(group.files, valid_counts, rejected_counts, strict=True):
            file.valid_count += valid_count
            file.rejected_count += rejected_count
        if len(group.files) == 1:
            _count(staged.unknown_keys, group.files[0].unknown_keys)
            return
        by_file: dict[int, Counter[str]] = {}
        for number, paths in group.lines.unknown_keys.items():
            by_file.setdefault(bisect_left(befores, number) - 1, Counter()).update(paths)
        for place, found_keys in by_file.items():
            _count(found_keys, group.files[place].unknown_keys)

    def _start_again(self, file: _FileLines) -> None:
        self._events.restart()
        self._rejected.restart()
        file.valid_count = file.rejected_count = 0
        file.unknown_keys.clear()


def _counts_by_file(table: pa.Table, befores: Sequence[int]) -> list[int]:
    """Return how many of the rows, in line order, belong to each file, given how many lines precede the file's."""
    numbers = table["line_number"].to_numpy()
    counts: list[int] = np.diff([*np.searchsorted(numbers, befores, side="right"), len(numbers)]).tolist()
    return counts


def _count(found_keys: Counter[str], unknown_keys: Counter[str]) -> None:
    """Add a chunk's unknown keys to its file's; the names stay few and short whatever an event invents.

    The names that come first in the file are counted by name, so chunk borders do not matter.
    """
    for key, count in found_keys.items():
        name = _storable_form(key)
        if name not in unknown_keys and len(unknown_keys) >= MOST_UNKNOWN_KEYS:
            name = OTHER_KEYS
        unknown_keys[name] += count


def _storable_form(key: str) -> str:
    return key.encode("utf-8", errors="backslashreplace").decode("utf-8").replace("\0", "\\x00")[:LONGEST_KEY_PATH]
