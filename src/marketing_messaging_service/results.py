"""What passes from one stage to the next: small frozen records, and the shape of a staged file."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import IO, Any, Protocol

import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection, Select

from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure.instants import hours_after, hours_before, instant_text
from src.marketing_messaging_service.models import RemarkKind, RunMode
from src.marketing_messaging_service.places import Place
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
"""Columns of a frame of staged events; in pandas each has the ArrowDtype of its type here."""

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


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, both ends aware; the start is in it, the end is not."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class EditedLine:
    """A rejected line as somebody has edited it."""

    line: bytes
    number: int
    """Where it is in the file of edited lines, counted from 1."""


@dataclass(frozen=True, slots=True)
class ReplayChoice:
    """Which rejected lines a replay reads again: all of them, or those that every part of it names."""

    reason_code: ReasonCode | None = None
    path: str = ""
    """The path of their file from landing, or a pattern of it as in sources.yaml."""
    since: datetime | None = None
    """They were rejected then, or later."""
    edited: Mapping[int, EditedLine] | None = None
    """The lines by their ids in rejected_rows, as somebody has edited them; None for the lines as they came."""
    edited_path: str = ""
    """The file in which these stand."""

    def __str__(self) -> str:
        parts = (
            f"of the reason {self.reason_code}" if self.reason_code else "",
            f"of {self.path}" if self.path else "",
            f"since {instant_text(self.since)} UTC" if self.since else "",
            f"as edited in {self.edited_path}" if self.edited is not None else "",
        )
        return f"rejected lines {', '.join(filter(None, parts))}".strip()


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is asked to do."""

    flow_name: str
    mode: RunMode
    as_of: datetime
    source: Place
    """The folder or bucket to take raw files from."""
    window: Window | None = None
    """The events to take by their time, or None for all."""
    max_event_age_hours: int = 0
    """Events older than that at `as_of` earn no message any more; 0 for no limit."""
    max_rejected_percent: float = 100
    """The share of rejected lines above which the run fails."""
    flow_run_id: str | None = None
    flow_run_name: str | None = None
    source_name: str = "LANDING_PATH"
    """The setting or parameter that named the folder."""
    max_event_ahead_hours: int | None = None
    """Events further ahead of `as_of` wait for their time; None for no limit."""
    decide_again: tuple[str, ...] = ()
    """Rules that decide events of the window that were decided without them, or when they had expired."""
    replay: ReplayChoice | None = None
    """The rejected lines to take in place of files."""

    @property
    def what(self) -> str:
        """What it takes: the folder, or which rejected lines."""
        return str(self.replay or self.source)

    @property
    def oldest_event_at(self) -> datetime | None:
        """The instant before which an event is too old to earn a message, None for no limit."""
        return hours_before(self.as_of, self.max_event_age_hours) if self.max_event_age_hours else None

    @property
    def latest_event_at(self) -> datetime | None:
        """The instant after which an event is not decided yet, None for no limit."""
        return None if self.max_event_ahead_hours is None else hours_after(self.as_of, self.max_event_ahead_hours)


READER_VERSION = 3
"""Raised whenever staging can read a file that it could not before: what was refused is then read once more."""


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A rejected line, as it is kept or as somebody has edited it."""

    row_id: int
    """Its id in rejected_rows."""
    line: bytes
    reason_code: ReasonCode
    header_line: bytes | None = None
    """The header of the CSV in which it is a row; None where the line says by itself what its values are."""
    other_message_id: str | None = None
    """The message_id for which it was rejected, because another event has it."""


@dataclass(frozen=True, slots=True)
class KeptLines:
    """Rejected lines of one file that stand for the content of a file of their own."""

    source_file_id: int
    """The file in which they came, in source_files."""
    line_counts: Mapping[ReasonCode, int]
    has_header: bool
    """Whether any of them is a row that is kept with the header of its CSV."""
    read: Callable[[], Generator[Sequence[KeptLine]]] = field(repr=False)
    """Reads them in their order, many at once; it holds on to a snapshot of the database until it is closed."""


class RawPlace(Protocol):
    """Where a raw file lies."""

    def open(self) -> IO[bytes]:
        """Open it for reading. Raises OSError when it cannot be read there."""

    def signature(self) -> str:
        """Return what it is known by as it lies there now. Raises FileNotFoundError when it has vanished."""


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


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A rejected line with the reason, as it is exported to be edited."""

    row_id: int
    path: str
    line_number: int
    reason_code: str
    field_name: str | None
    explanation: str
    rejected_at: datetime
    header_line: str | None
    raw_line: str


@dataclass(frozen=True, slots=True)
class RejectedLines:
    """The rejected lines that a replay is to read again, by their files."""

    files: tuple[LandingFile, ...]
    """A file for each file that has any which are kept whole, in the order in which these came."""
    in_part_counts: Mapping[ReasonCode, int]
    """How many others there are, of which too little is kept."""
    taken_before_counts: Mapping[ReasonCode, int]
    """How many of those that were asked for one by one a replay has taken before."""


MOST_NAMED = 3
"""Files that have something in common are named one by one up to so many."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A raw file as the ledger knows it: taken to the end, or refused because no line of it could be read."""

    path: str
    """Its display path when it was read last."""
    content_hash: str
    size_bytes: int
    file_signature: str
    refused_code: ReasonCode | None = None
    """Why no line of it could be read; None for a file that was taken."""
    reader_number: int = READER_VERSION
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """What the ledger knows of files, those that it came to know last at the end."""

    files: tuple[KnownFile, ...] = ()


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
        """Return the one remark on files that have the reason in common."""
        return cls(kind, first_names(names), explanation, len(names))


def first_names(names: Sequence[str]) -> str:
    """Return the names of files in order, of many the first few and how many more they are."""
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
        """Return how many files are remarked on in one way."""
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

    def event_chunks(self) -> Iterator[pd.DataFrame]:
        """Yield the staged events in line order, as frames of EVENT_SCHEMA."""
        return _read_spool(self.event_spool)

    def rejected_chunks(self) -> Iterator[pd.DataFrame]:
        """Yield the rejected rows in line order, as frames of REJECTED_SCHEMA."""
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
    """How many of the others there are, by the reason for which they were rejected and the one of today."""


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
        return self._own(self.rows.event_chunks())

    def rejected_chunks(self) -> Iterator[pd.DataFrame]:
        """Yield its rejected rows in line order, as frames of REJECTED_SCHEMA."""
        return self._own(self.rows.rejected_chunks())

    def close(self) -> None:
        """Give the disk space back."""
        self.rows.close()

    def _own(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in lines_between(frames, self.lines_before, self.last_line):
            yield frame.assign(line_number=frame["line_number"] - self.lines_before) if self.lines_before else frame


def lines_between(frames: Iterable[pd.DataFrame], before: int, last: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of frames in line order whose line number is greater than `before` and not beyond `last`."""
    for frame in frames:
        numbers = frame["line_number"]
        if before < numbers.iloc[0] and numbers.iloc[-1] <= last:
            yield frame
            continue
        wanted = frame.loc[(before < numbers) & (numbers <= last)]
        if len(wanted):
            yield wanted


def _read_spool(spool: IO[bytes]) -> Iterator[pd.DataFrame]:
    spool.seek(0)
    with pa.ipc.open_stream(spool) as reader:
        for batch in reader:
            yield batch.to_pandas(types_mapper=pd.ArrowDtype)


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


class NotLoaded(Enum):
    """Why nothing of a file was loaded, as the end of a sentence that names it."""

    TAKEN = "another run has taken it meanwhile"
    OUTSIDE = "no event in it is in the window"
    NOTHING_NEW = "every event of the window in it is known already"
    STILL_REJECTED = "none of its rejected lines is an event today"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file of which no line can be read, as was known of its content: nothing of it was loaded."""

    file: LandingFile
    reason_code: ReasonCode
    """That of its first line, as it was read now."""
    is_delivered_again: bool
    """Whether the same reader has read it in vain before; otherwise an older one had."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one load did, in lines: read = inserted + duplicate + collision + rejected + blank + dropped + outside."""

    display_path: str
    read_count: int
    inserted_count: int
    duplicate_count: int
    conflict_count: int
    """The part of the duplicates whose time differed from that of the event that stands."""
    collision_count: int
    """Lines with the message_id of another event, kept among the rejected rows."""
    rejected_count: int
    blank_count: int
    outside_count: int
    """Lines whose event is outside the run's window."""
    seconds: float
    """How long the transaction took."""
    rejected_by_reason: Mapping[str, int]
    unknown_keys: Mapping[str, int]
    left_out_count: int = 0
    """Invalid values that inserted events were kept without."""
    dropped_count: int = 0
    """Lines with events of types that the mapping of the file leaves out."""


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule decided in a run."""

    rule_name: str
    template_name: str
    channel: str
    send_count: int
    suppression_count: int


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """What deciding did: events looked at, and the outcome of every enabled rule in file order."""

    ruleset_hash: str
    event_count: int
    seconds: float
    """How long the transaction took."""
    outcomes: tuple[RuleOutcome, ...]
    again: tuple[RuleOutcome, ...] = ()
    """What came of the rules that decided again, on events that had been decided before; apart from `outcomes`."""
    ahead_count: int = 0
    """Events left undecided because they lie too far in the future."""
    waiting_count: int = 0
    """Events left undecided because no rule is enabled."""
    warnings: tuple[str, ...] = ()
    """What is odd about the rules, a sentence each."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must hold in every database, and the queries that find where it does not."""

    name: str
    sentence: str
    queries: Callable[[Connection], Iterable[Select[Any]]]
    """The queries for one database; each gives a row for each breach, its one column telling a person where it is."""
    advice: str = ""
    """What to do when it does not hold, beyond what holds of every breach, or nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What checking one invariant found."""

    invariant: str
    sentence: str
    breach_count: int
    examples: tuple[str, ...]
    """The first few breaches."""
    problem: str = ""
    """Why it could not be checked to the end, or nothing."""
    advice: str = ""
    """What to do about it, or nothing."""

    @property
    def holds(self) -> bool:
        """Whether it was checked to the end and no breach was found."""
        return self.breach_count == 0 and not self.problem


@dataclass(frozen=True, slots=True)
class RepairedObject:
    """What became of a view or index that was missing or another than it should be."""

    kind: str
    """What it is: view or index."""
    name: str
    problem: str = ""
    """Why it could not be made or cannot be used, or nothing."""
    replaced_sql: str = ""
    """The statement of what was in its place, for whoever made it."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a self-check looked at, and what it found of every invariant."""

    database: str
    copy_command: str
    """The command that keeps a copy of the database."""
    revision: str
    """The schema's."""
    row_counts: Mapping[str, int]
    """Rows by table, as far as they can be counted, for telling how much was checked."""
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    """What breaks no promise and is odd all the same, a sentence each."""

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The findings of what does not hold, or could not be checked."""
        return tuple(finding for finding in self.findings if not finding.holds)
