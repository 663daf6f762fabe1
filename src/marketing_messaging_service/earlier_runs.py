"""What the database knows from earlier runs: files that were read, and rejected lines that were kept.

Loading writes these records and staging reads them, against the flow of data, so they belong to neither room.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from src.marketing_messaging_service.vocabulary import ReasonCode


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A rejected line, as it was kept or as somebody has edited it."""

    row_id: int
    """Its id in rejected_rows."""
    line: bytes
    reason_code: ReasonCode
    header_line: bytes | None = None
    """The header of the CSV in which it is a row; None if the line itself names its values."""
    other_message_id: str | None = None
    """The message_id for which it was rejected, because another event has it."""


@dataclass(frozen=True, slots=True)
class KeptLines:
    """Rejected lines of one file that become a file of their own."""

    source_file_id: int
    """The file in which they came, in source_files."""
    line_counts: Mapping[ReasonCode, int]
    has_header: bool
    """Whether any of them is a row that is kept with the header of its CSV."""
    read: Callable[[], Generator[Sequence[KeptLine]]] = field(repr=False)
    """Reads them in order, many at once; it keeps a snapshot of the database until it is closed."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A raw file as the ledger knows it: taken completely, or refused because no line of it could be read."""

    path: str
    """Its display path when it was last read."""
    content_hash: str
    size_bytes: int
    file_signature: str
    refused_code: ReasonCode | None = None
    """Why no line of it could be read; None for a file that was taken."""
    reader_number: int = 0
    """The number of the reader that read it last."""
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """What the ledger knows about files, the latest ones last."""

    files: tuple[KnownFile, ...] = ()
