"""What a run is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from src.marketing_messaging_service.infrastructure.instants import hours_after, hours_before, instant_text
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.paths import Place
from src.marketing_messaging_service.vocabulary import ReasonCode


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, both ends aware; the start is in it, the end is not."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class EditedLine:
    """A rejected line that somebody has edited."""

    line: bytes
    number: int
    """Where it is in the file of edited lines, counted from 1."""


@dataclass(frozen=True, slots=True)
class ReplayChoice:
    """Which rejected lines a replay reads again: all of them, or those that meet every given part."""

    reason_code: ReasonCode | None = None
    path: str = ""
    """The path of their file from landing, or a pattern of it as in sources.yaml."""
    since: datetime | None = None
    """Only lines rejected at this instant or later."""
    edited: Mapping[int, EditedLine] | None = None
    """The edited lines, by their ids in rejected_rows; None for the lines as they came."""
    edited_path: str = ""
    """The file that contains these."""

    def __str__(self) -> str:
        parts = (
            f"of the reason {self.reason_code}" if self.reason_code else "",
            f"of {self.path}" if self.path else "",
            f"since {instant_text(self.since)} UTC" if self.since else "",
            f"as edited in {self.edited_path}" if self.edited is not None else "",
        )
        return f"rejected lines {', '.join(filter(None, parts))}".strip()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is asked to do."""

    flow_name: str
    mode: RunMode
    as_of: datetime
    source: Place
    """The folder or bucket to take raw files from."""
    window: Window | None = None
    """The events to take by their time, or None for all."""
    max_event_age_hours: int = 0
    """Events older than this at `as_of` no longer lead to a message; 0 for no limit."""
    max_rejected_percent: float = 100
    """The share of rejected lines above which the run fails."""
    flow_run_id: str | None = None
    flow_run_name: str | None = None
    source_name: str = "LANDING_PATH"
    """The setting or parameter that named the folder."""
    max_event_ahead_hours: int | None = None
    """Events further ahead of `as_of` than this wait for their time; None for no limit."""
    decide_again: tuple[str, ...] = ()
    """Rules that decide again events of the window that were decided without them, or when they had expired."""
    replay: ReplayChoice | None = None
    """The rejected lines to take instead of files."""

    @property
    def what(self) -> str:
        """What it takes: the folder, or which rejected lines."""
        return str(self.replay or self.source)

    @property
    def oldest_event_at(self) -> datetime | None:
        """The instant before which an event is too old for a message, None for no limit."""
        return hours_before(self.as_of, self.max_event_age_hours) if self.max_event_age_hours else None

    @property
    def latest_event_at(self) -> datetime | None:
        """The instant after which an event is not yet decided, None for no limit."""
        return None if self.max_event_ahead_hours is None else hours_after(self.as_of, self.max_event_ahead_hours)
