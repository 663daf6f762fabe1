"""What staging hands on: what it found in landing, and files as typed rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from src.marketing_messaging_service.earlier_runs import KeptLines
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.vocabulary import PAYLOAD, Payload, ReasonCode

FORMER_IDS = "former_ids"
"""The column of a frame of staged events with the ids, instead of message_id, under which an earlier version may have
loaded the event; null nearly everywhere."""

LEFT_OUT = "left_out"
"""The column with the invalid values that an event is kept without, and what is wrong with each; null nearly
everywhere."""


def event_schema(payload: Payload) -> pa.Schema:
    """Return the columns of a frame of staged events of that payload."""
    return pa.schema(
        [
            ("line_number", pa.int64()),
            ("message_id", pa.string()),
            ("user_id", pa.string()),
            ("event_type", pa.string()),
            ("event_timestamp", pa.timestamp("us", tz="UTC")),
            (FORMER_IDS, pa.list_(pa.string())),
            (LEFT_OUT, pa.list_(pa.struct([("field_path", pa.string()), ("explanation", pa.string())]))),
            *payload.staged_columns,
        ]
    )


EVENT_SCHEMA = event_schema(PAYLOAD)
"""The columns of staged events; in a frame each has the ArrowDtype of its type here."""

REJECTED_SCHEMA = pa.schema(
    [
        ("line_number", pa.int64()),
        ("raw_line", pa.string()),
        ("raw_bytes", pa.binary()),
        ("reason_code", pa.string()),
        ("field_name", pa.string()),
        ("explanation", pa.string()),
        ("header_line", pa.string()),
    ]
)
"""Columns of a frame of rejected rows; the model RejectedRow says what each means."""

READER_VERSION = 3
"""Raised whenever staging can read a file that it could not before: what was refused is then read once more."""


class RawPlace(Protocol):
    """Where a raw file is."""

    def open(self) -> IO[bytes]:
        """Open it for reading. Raises OSError when it cannot be read there."""

    def signature(self) -> str:
        """Return its signature now. Raises FileNotFoundError when it has vanished."""


@dataclass(frozen=True, slots=True)
class LandingFile:
    """A raw file in landing, known by its content; or what is left of one, of which a replay takes the lines.

    Then its content are lines that were rejected, and it lies nowhere.
    """

    place: RawPlace | None
    display_path: str
    """The path relative to landing, always printable text, for people and for the ledger."""
    content_hash: str
    """SHA-256 of the file's bytes, in hexadecimal."""
    size_bytes: int
    modified_at: datetime
    file_signature: str
    """Size, times and inode as the file system gives them; the same signature means the same content."""
    grown_from: tuple[str, ...] = ()
    """The content hashes of files that this one begins with and that were read before: it went on growing."""
    source_number: int = 0
    """The place, among the sources of sources.yaml, of the one that says how it is written."""
    reader_number: int = READER_VERSION
    """A number that changes when staging, or that source, comes to read it otherwise."""
    kept: KeptLines | None = None
    """The rejected lines of it that are taken; None for a file that is in landing."""


MOST_NAMED = 3
"""Files that have something in common are named one by one up to so many."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a run left undone, and why."""

    kind: RemarkKind
    subject: str
    """A file, the first few of many, or a step of the run."""
    explanation: str
    file_count: int = 1

    @classmethod
    def on(cls, kind: RemarkKind, names: Sequence[str], explanation: str) -> "Remark":
        """Return one remark on files that share a reason."""
        return cls(kind, first_names(names), explanation, len(names))


def first_names(names: Sequence[str]) -> str:
    """Return the names of files in order; of many, the first few and how many more there are."""
    shown = ", ".join(sorted(names)[:MOST_NAMED])
    return f"{shown} and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else shown


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A raw file that could not be taken, or many of them, and why; the other files are not held up by it."""

    display_path: str
    explanation: str
    file_count: int = 1


@dataclass(frozen=True, slots=True)
class Discovery:
    """What one look into landing found."""

    new_files: tuple[LandingFile, ...]
    """Files whose content no load has taken, oldest first."""
    known_count: int
    """Files whose content has been taken before, under whatever name."""
    problems: tuple[FileProblem, ...] = ()
    remarks: tuple[Remark, ...] = ()
    """What else lies there and is not taken, many files in one remark where they have the reason in common."""
    notes: tuple[str, ...] = ()
    """What is worth a line in the log."""

    def count(self, kind: RemarkKind) -> int:
        """Return how many files have a remark of one kind."""
        return sum(remark.file_count for remark in self.remarks if remark.kind is kind)


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line of a raw file as it came, without its line end."""

    number: int
    text: str
    exact_bytes: bytes | None
    """The bytes where the text is not exact."""


@dataclass(frozen=True)
class StagedRows:
    """Typed rows of one or several raw files, waiting on disk to be loaded; `close` frees the disk space.

    Lines are numbered through: those of each file follow on those of the file before.
    """

    event_spool: IO[bytes] = field(repr=False)
    rejected_spool: IO[bytes] = field(repr=False)
    has_former_ids: bool = False
    """Whether any event may have been loaded under another id by an earlier version."""
    raw_lines: ExitStack = field(default_factory=ExitStack, repr=False)
    """Closes what lines are read from that are in no file of landing."""

    def event_batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        """Yield the staged events in line order: all columns of EVENT_SCHEMA, or those named, in the schema's order."""
        return _read_spool(self.event_spool, [place for place, name in enumerate(EVENT_SCHEMA.names) if name in names])

    def rejected_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rejected rows in line order, with the columns of REJECTED_SCHEMA."""
        return _read_spool(self.rejected_spool)

    def close(self) -> None:
        """Give the disk space back."""
        self.event_spool.close()
        self.rejected_spool.close()
        self.raw_lines.close()


@dataclass(frozen=True, slots=True)
class ReplayedLines:
    """What became of rejected lines when they were read again."""

    row_ids: Sequence[int]
    """The ids in rejected_rows of those that are no longer rejected."""
    still_rejected: Mapping[tuple[ReasonCode, ReasonCode], int]
    """How many lines were rejected again, by the old reason and the new one."""


@dataclass(frozen=True)
class StagedFile:
    """A raw file as typed rows, its own or those of several files; `close` frees the disk space of all of them.

    read_count = valid_count + rejected_count + blank_count + dropped_count, all of them lines.
    """

    file: LandingFile
    read_count: int
    valid_count: int
    rejected_count: int
    blank_count: int
    unknown_keys: Mapping[str, int]
    """How often each unknown key was in the file, by path such as `properties.coupon`."""
    rows: StagedRows
    raw_lines: Callable[[Iterable[int]], Iterator[RawLine]] = field(repr=False)
    """Reads the lines of some numbers, which ascend, from the file again; to be gone through to its end, where it
    raises LandingError when the file is no longer the one that was staged."""
    lines_before: int = 0
    """Lines of other files that stand before its own in the rows, and are numbered before them."""
    dropped_count: int = 0
    """Events of types that the mapping of the file leaves out."""
    replayed: ReplayedLines | None = None
    """What became of the rejected lines that it is made of; None for a file that is in landing."""

    @property
    def last_line(self) -> int:
        """The number of its last line in the rows."""
        return self.lines_before + self.read_count

    def event_chunks(self) -> Iterator[pd.DataFrame]:
        """Yield its events in line order, as frames of EVENT_SCHEMA."""
        return self._own(self.rows.event_batches())

    def rejected_chunks(self) -> Iterator[pd.DataFrame]:
        """Yield its rejected rows in line order, as frames of REJECTED_SCHEMA."""
        return self._own(self.rows.rejected_batches())

    def close(self) -> None:
        """Give the disk space back."""
        self.rows.close()

    def _own(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pd.DataFrame]:
        for batch in lines_between(batches, self.lines_before, self.last_line):
            numbers = pc.subtract(batch["line_number"], self.lines_before)
            yield as_frame(with_column(batch, "line_number", numbers))


def lines_between(batches: Iterable[pa.RecordBatch], before: int, last: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches in line order whose line number is greater than `before` and not beyond `last`."""
    for batch in batches:
        start, end = np.searchsorted(batch["line_number"].to_numpy(), [before, last], side="right").tolist()
        if start < end:
            yield batch.slice(start, end - start)


def as_frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """Return a batch as a frame in which each column has the ArrowDtype of its type; no value is copied."""
    frame: pd.DataFrame = batch.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """Return a batch with a column in the place of the one that it has under that name."""
    place = batch.schema.get_field_index(name)
    return batch.set_column(place, batch.schema.field(place), column)


def _read_spool(spool: IO[bytes], places: Sequence[int] = ()) -> Iterator[pa.RecordBatch]:
    spool.seek(0)
    with pa.ipc.open_stream(spool, options=pa.ipc.IpcReadOptions(included_fields=list(places))) as reader:
        yield from reader


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A raw file that could not be staged, and why."""

    file: LandingFile
    error: PipelineError


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """What became of the first files of several: each is staged, all into the same rows, or has failed."""

    files: tuple[StagedFile, ...]
    failures: tuple[FileFailure, ...]
    rows: StagedRows

    @property
    def file_count(self) -> int:
        """How many files were looked at."""
        return len(self.files) + len(self.failures)
