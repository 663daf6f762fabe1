"""What a run did, as its rows in the database say."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from src.marketing_messaging_service.models import FlowName, RemarkKind, ReplayOutcome, RunMode, RunState
from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.vocabulary import SuppressionReason

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Counts of lines; read = inserted + duplicate + collision + rejected + blank + dropped + outside.

    A conflict is a duplicate that names another time, a collision a line with the message_id of another event; what is
    dropped is of a type that the mapping of its file leaves out.
    """

    read: int = 0
    inserted: int = 0
    duplicate: int = 0
    conflict: int = 0
    collision: int = 0
    rejected: int = 0
    blank: int = 0
    dropped: int = 0
    outside: int = 0

    @property
    def kept(self) -> int:
        """Lines kept as they came, in rejected_rows."""
        return self.rejected + self.collision

    def __add__(self, other: LineCounts) -> LineCounts:
        return LineCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a run took from one file."""

    load_id: int
    path: str
    lines: LineCounts
    load_seconds: float | None


@dataclass(frozen=True, slots=True)
class RejectedExample:
    """One rejected line, fit to be shown: cut, and with e-mail addresses masked; the whole line is in rejected_rows."""

    path: str
    line_number: int
    field_name: str | None
    explanation: str
    shown_line: str
    is_kept_in_part: bool = False
    """Whether too little of the line, or file, is kept for a replay."""


@dataclass(frozen=True, slots=True)
class ReasonReport:
    """How many lines were rejected for one reason, and the first few of them."""

    reason_code: str
    line_count: int
    examples: tuple[RejectedExample, ...]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How many lines rejected for one reason had an outcome when they were read again."""

    reason_code: str
    outcome: str
    """One of ReplayOutcome, or today's reason code."""
    line_count: int


@dataclass(frozen=True, slots=True)
class KeyReport:
    """How many lines had one unknown key."""

    key_path: str
    line_count: int


@dataclass(frozen=True, slots=True)
class LeftOutReport:
    """How many events were loaded without the value of one field, because it was invalid, and what is wrong."""

    field_path: str
    event_count: int
    example: str


@dataclass(frozen=True, slots=True)
class AheadReport:
    """How many events of one file were too far in the future to be decided, and between which times."""

    path: str
    event_count: int
    first_event_at: datetime
    last_event_at: datetime


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One enabled rule as it was applied, and its results."""

    rule_name: str
    description: str
    trigger_event_type: str
    condition_text: str
    exclusive_group: str | None
    template_name: str
    channel: str
    suppression_mode: str
    sent_count: int = 0
    alerted_count: int = 0
    suppressed: tuple[tuple[str, int], ...] = ()
    """Refused matches by reason, in the order of the reasons' names."""
    is_applied: bool = True
    """Whether a run has applied it, so there is something to count."""

    @property
    def shown_condition(self) -> str:
        """The conditions, fit to be shown: a rule may name the address of a user."""
        return masked(self.condition_text)

    @property
    def shown_description(self) -> str:
        """The description, fit to be shown."""
        return masked(self.description)

    @property
    def suppressed_count(self) -> int:
        """Matches refused, for whatever reason."""
        return sum(count for _, count in self.suppressed)

    @property
    def matched_count(self) -> int:
        """Events on which the rule decided."""
        return self.sent_count + self.alerted_count + self.suppressed_count


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong with a file or a step, and what to do."""

    subject: str
    explanation: str


@dataclass(frozen=True, slots=True)
class LeftFiles:
    """Files that a run left where they are, for one reason."""

    kind: RemarkKind
    names: str
    """The first few of them."""
    explanation: str
    """What is wrong with them, what they seem to be, or nothing."""
    file_count: int = 1


@dataclass(frozen=True, slots=True)
class WaitsReport:
    """What a run did with matches of rules that wait for their decision time."""

    begun_count: int = 0
    """Matches that began to wait."""
    decided_count: int = 0
    """Matches whose wait was over and whose conditions held."""
    no_match_count: int = 0
    """Those whose conditions did not hold."""
    lapsed: tuple[tuple[str, int], ...] = ()
    """Those that no rule took over, by name of the rule."""
    waiting_count: int = 0
    """Matches that waited when the run had decided."""
    late_count: int = 0
    """Those of them whose time had come, but which waited for the data to reach it."""

    @property
    def ended_count(self) -> int:
        """Matches whose wait was over."""
        return self.decided_count + self.no_match_count + sum(count for _, count in self.lapsed)


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything a run did, for people; `read_run_report` reads it from the database, for any run at any time."""

    run_id: int
    flow_name: str
    mode: RunMode
    state: RunState
    database: str
    """The URL it was read from."""
    source: str
    as_of: datetime
    started_at: datetime
    ended_at: datetime | None = None
    came_in_since: datetime | None = None
    """When the previous hourly run began, for an hourly run: what is new came in since."""
    window_start_at: datetime | None = None
    window_end_at: datetime | None = None
    max_event_age_hours: int | None = None
    max_rejected_percent: float = 100
    max_event_ahead_hours: int | None = None
    flow_run_name: str | None = None
    version: str | None = None
    """The version of this project that ran; None on runs from before it was recorded."""
    message: str | None = None
    known_file_count: int | None = None
    outside_file_count: int | None = None
    loads: tuple[LoadReport, ...] = ()
    reasons: tuple[ReasonReport, ...] = ()
    """Why lines were rejected, the most frequent reason first."""
    replayed: tuple[ReplayReport, ...] = ()
    """The outcomes of the rejected lines that a replay read again."""
    unknown_keys: tuple[KeyReport, ...] = ()
    left_out: tuple[LeftOutReport, ...] = ()
    """The fields with invalid values that events were loaded without, the most frequent one first."""
    held_count: int = 0
    """Events of its loads that it held for a backfill, whether or not one has decided them since."""
    decided_count: int | None = None
    """Events decided, including those loaded by an earlier run; None if it did not get to deciding."""
    ahead_count: int = 0
    """Events left undecided because they were too far in the future, whether or not they have been decided since."""
    ahead: tuple[AheadReport, ...] = ()
    """The same by file, without those that an earlier run had only loaded; most events first."""
    waits: WaitsReport = WaitsReport()
    again_rules: tuple[str, ...] = ()
    """Rules that decided events again that had been decided before."""
    again_count: int = 0
    """What these decided on such events; included in the outcomes of the rules."""
    decide_seconds: float | None = None
    ruleset_hash: str | None = None
    rules: tuple[RuleReport, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    """What somebody should look at, one sentence each; it held nothing up."""
    unusual: tuple[str, ...] = ()
    """How this hour differs from the same hour of the last four weeks, in sentences."""
    left: tuple[LeftFiles, ...] = ()
    """Files in the folder that were not taken, though nothing went wrong with them in this run."""

    def left_as(self, kind: RemarkKind) -> tuple[LeftFiles, ...]:
        """Return the files that were left for one kind of reason."""
        return tuple(files for files in self.left if files.kind is kind)

    def replayed_as(self, *outcomes: ReplayOutcome) -> int:
        """Return how many of the rejected lines to be read again had one of some outcomes."""
        return sum(each.line_count for each in self.replayed if each.outcome in outcomes)

    @property
    def is_replay(self) -> bool:
        """Whether it took rejected lines instead of files."""
        return self.flow_name == FlowName.REPLAY

    @property
    def is_preview(self) -> bool:
        """Whether nothing of it was kept."""
        return self.mode is RunMode.PREVIEW

    @property
    def lines(self) -> LineCounts:
        """The counts of all lines."""
        return sum((load.lines for load in self.loads), LineCounts())

    @property
    def earlier_count(self) -> int:
        """Events decided that earlier runs had loaded."""
        return max((self.decided_count or 0) + self.ahead_count - self.lines.inserted, 0)

    @property
    def matched_count(self) -> int:
        """Matches of all rules, which is sent + alerted + suppressed; an event may match several rules."""
        return sum(rule.matched_count for rule in self.rules)

    @property
    def sent_count(self) -> int:
        """Messages to users."""
        return sum(rule.sent_count for rule in self.rules)

    @property
    def alerted_count(self) -> int:
        """Alerts to our own people."""
        return sum(rule.alerted_count for rule in self.rules)

    @property
    def suppressed_count(self) -> int:
        """Messages refused."""
        return sum(rule.suppressed_count for rule in self.rules)

    @property
    def expired_count(self) -> int:
        """The part of the messages refused whose event was too old."""
        return sum(
            count for rule in self.rules for reason, count in rule.suppressed if reason == SuppressionReason.EXPIRED
        )
