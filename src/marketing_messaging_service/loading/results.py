"""What loading hands on: what became of each file, and rejected lines that may be read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from src.marketing_messaging_service.staging.results import LandingFile
from src.marketing_messaging_service.vocabulary import ReasonCode


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
