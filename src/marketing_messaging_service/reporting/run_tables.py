"""Shows what a run did as tables that add up, for the Prefect UI and for the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.models import RemarkKind, ReplayOutcome
from src.marketing_messaging_service.reporting.health import failing_loads, problem_files_first
from src.marketing_messaging_service.reporting.rules_picture import drawn_rules
from src.marketing_messaging_service.reporting.tables import MOST_ROWS, Cell, Table, counted, printable, table_of
from src.marketing_messaging_service.vocabulary import PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from src.marketing_messaging_service.reporting.run_report import (
        ReasonReport,
        RejectedExample,
        RuleReport,
        RunReport,
    )

LONGEST_LINE = 120
"""How many characters of a rejected line are shown."""

KEEP_KEY = "docs/fields.md says how to keep it"

BEFORE_KEY = 20
"""How many characters are shown before the key that is wrong, so that a reader sees where it was."""


def rules_table(report: RunReport) -> Table:
    """Return the results of each rule: matched = sent + alerted + suppressed, and why suppressed."""
    reasons = sorted({reason for rule in report.rules for reason, _ in rule.suppressed})
    rows: list[tuple[Cell, ...]] = [(rule.rule_name, *_outcomes(rule, reasons)) for rule in report.rules]
    shown = drawn_rules(report.rules, MOST_ROWS)
    names = {rule.rule_name for rule in shown}
    beyond = len(rows) - len(shown)
    why = "matched = sent + alerted + suppressed; the columns after suppressed say why" if reasons else ""
    return table_of(
        "Decisions by rule, as they would be" if report.is_preview else "Decisions by rule",
        ("rule", "matched", "sent", "alerted", "suppressed", *(printable(reason) for reason in reasons)),
        (row for row in rows if row[0] in names),
        total=_total(rows, "rule"),
        remark=f"and {counted(beyond, 'more rule')}" if beyond else why,
    )


def _outcomes(rule: RuleReport, reasons: list[str]) -> tuple[int, ...]:
    counts = (rule.matched_count, rule.sent_count, rule.alerted_count, rule.suppressed_count)
    return (*counts, *(dict(rule.suppressed).get(reason, 0) for reason in reasons))


def files_table(report: RunReport) -> Table:
    """Return the counts of lines of each file; a rare count has a column only where any file has it.

    lines = inserted + duplicate + collision + rejected + blank + dropped + outside.
    """
    shown = [name for name in _LINES if name not in _RARE or getattr(report.lines, name)]
    rows: list[tuple[Cell, ...]] = [
        (load.path, *(getattr(load.lines, name) for name in shown))
        for load in problem_files_first(report.loads, report.max_rejected_percent)
    ]
    return table_of(
        f"Files {'that would be taken' if report.is_preview else 'taken'}, problem files first",
        ("file", "lines", *shown[1:]),
        rows,
        total=_total(rows, "file"),
        remark="; ".join(filter(None, (_RARE.get(name) for name in shown))),
    )


def ahead_table(report: RunReport) -> Table:
    """Return which files brought events that are too far in the future."""
    rows: list[tuple[Cell, ...]] = [
        (each.path, each.event_count, _instant(each.first_event_at), _instant(each.last_event_at))
        for each in report.ahead
    ]
    title = f"Events more than {report.max_event_ahead_hours} h ahead, which wait for their time"
    return table_of(title, ("file", "events", "from", "to"), rows, total=_total(rows, "file"))


_LINES = ("read", "inserted", "duplicate", "conflict", "collision", "rejected", "blank", "dropped", "outside")
"""The counts of the lines of a file, in the order of the columns."""

_RARE = {
    "conflict": "a conflict is a duplicate with another time",
    "collision": "a collision has the message_id of another event",
    "dropped": "",
    "outside": "",
}
"""The counts that most runs do not have, and what the word means where it does not say so itself."""


def reasons_table(report: RunReport) -> Table:
    """Return how many lines are in rejected_rows for each reason: the rejected ones and the collisions."""
    rows: list[tuple[Cell, ...]] = [(reason.reason_code, reason.line_count) for reason in report.reasons]
    return table_of("Lines kept aside, by reason", ("reason", "lines"), rows, total=_total(rows, "reason"))


def _total(rows: list[tuple[Cell, ...]], noun: str) -> tuple[Cell, ...]:
    """Return the row that sums up every column of numbers; the noun says what one row is."""
    numbers = [[cell for cell in column if isinstance(cell, int)] for column in zip(*rows, strict=True)]
    sums = (sum(column) if column else "" for column in numbers[1:])
    return (f"total of {counted(len(rows), noun)}", *sums) if rows else ()


def replay_table(report: RunReport) -> Table:
    """Return the outcomes of rejected lines that were read again, by the reason for which they had been rejected."""
    rows: list[tuple[Cell, ...]] = [
        (each.reason_code, each.line_count, REPLAY_OUTCOMES.get(each.outcome, f"still rejected: {each.outcome}"))
        for each in report.replayed
    ]
    title = (
        "Rejected lines, as they would be read today" if report.is_preview else "Rejected lines that were read again"
    )
    return table_of(
        title,
        ("rejected for", "lines", "what became of them"),
        rows,
        total=("total", sum(each.line_count for each in report.replayed), "") if rows else (),
        remark="lines still rejected stay in rejected_rows, for the reason given; docs/raw-events.md says how to "
        "correct such lines and read them again",
    )


REPLAY_OUTCOMES: Mapping[str, str] = {
    ReplayOutcome.TAKEN: "taken",
    ReplayOutcome.TAKEN_BEFORE: "replayed before",
    ReplayOutcome.KEPT_IN_PART: "kept in part, deliver the file again",
    ReplayOutcome.NO_SOURCE: "no pattern of sources.yaml matches the file",
    ReplayOutcome.FAILED: "could not be read or loaded",
}
"""The outcomes of rejected lines that were not rejected again, in words."""


def examples_table(report: RunReport) -> Table:
    """Return the first lines rejected for each reason and the first of each file, problem files first."""
    rows = [
        (reason.reason_code, example.path, example.line_number, example.explanation, _excerpt(example))
        for reason, example in _examples(report)
    ]
    return table_of(
        "Lines kept aside: the first three of each reason, and the first of each file",
        ("reason", "file", "line", "what is wrong", "what was there"),
        rows,
        remark="e-mail addresses are masked here; rejected_rows.raw_line has the lines as they came",
        longest=LONGEST_LINE,
        most=len(rows),
    )


def _examples(report: RunReport) -> list[tuple[ReasonReport, RejectedExample]]:
    failing = failing_loads(report.loads, report.max_rejected_percent)
    paths = {load.path for load in report.loads if load.load_id in failing}
    examples = [(reason, example) for reason in report.reasons for example in reason.examples]
    return sorted(examples, key=lambda each: each[1].path not in paths)


def _excerpt(example: RejectedExample) -> str:
    """Return a line from shortly before the key that is wrong, or from its beginning."""
    key = f'"{(example.field_name or "").rpartition(".")[2]}"'
    start = example.shown_line.find(key) - BEFORE_KEY
    return f"...{example.shown_line[start:]}" if start > BEFORE_KEY else example.shown_line


def rejected_table(report: RunReport) -> list[dict[str, str | int]]:
    """Return the same as the rows of a table of Prefect's."""
    table = examples_table(report)
    counts = [reason.line_count for reason, _ in _examples(report)]
    return [
        {**dict(zip(table.head, row, strict=True)), "lines of this reason": count}
        for row, count in zip(table.rows, counts, strict=True)
    ]


def keys_table(report: RunReport) -> Table:
    """Return how many lines had each unknown key, and how to keep those of the payload."""
    rows = ((key.key_path, key.line_count) for key in report.unknown_keys)
    parts = tuple(f"{part.key}." for part in PAYLOAD.parts)
    first = next((key for key in report.unknown_keys if key.key_path.startswith(parts)), None)
    note = f"{printable(first.key_path)} was on {counted(first.line_count, 'line')}; {KEEP_KEY}" if first else ""
    return table_of("Unknown keys (values not kept)", ("key", "lines"), rows, note=note)


def left_out_table(report: RunReport) -> Table:
    """Return which fields had invalid values that were left out of their events."""
    return table_of(
        f"Invalid values that {'would be' if report.is_preview else 'were'} left out",
        ("field", "events", "one of them"),
        ((each.field_path, each.event_count, each.example) for each in report.left_out),
        remark="left_out_values has all of them",
        longest=LONGEST_LINE,
    )


REASONS_TO_LEAVE = {
    RemarkKind.UNREADABLE: "no line can be read",
    RemarkKind.IGNORED: "not a name that raw event files have",
    RemarkKind.WAITING: "still being written",
    RemarkKind.PASSED_OVER: "begins with _ or a dot",
}
"""Why a run leaves files where they are, by the kind of its remark."""


def left_table(report: RunReport) -> Table:
    """Return the files that were left where they are, and why."""
    rows = (
        (files.names, files.file_count, why, files.explanation)
        for kind, why in REASONS_TO_LEAVE.items()
        for files in report.left_as(kind)
    )
    return table_of("Files left where they are", ("which", "files", "why", "what they are"), rows)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact about a run, and its name."""

    name: str
    text: str


def facts(report: RunReport) -> tuple[Fact, ...]:
    """Return what else there is to know about a run."""
    hours_ahead = report.max_event_ahead_hours
    window = report.window_start_at is not None and report.window_end_at is not None
    every = (
        ("run", "none, a preview" if report.is_preview else f"{report.run_id}"),
        ("flow", f"{report.flow_name}, {report.mode}"),
        ("flow run", report.flow_run_name or ""),
        ("state", "" if report.is_preview else report.state),
        ("as of", _instant(report.as_of)),
        ("window", f"{_instant(report.window_start_at)} to {_instant(report.window_end_at)}" if window else ""),
        ("oldest event", f"{report.max_event_age_hours:,} h before" if report.max_event_age_hours else ""),
        ("latest event", "" if hours_ahead is None else f"{hours_ahead:,} h after"),
        ("decide again", ", ".join(report.again_rules)),
        ("started", _instant(report.started_at)),
        ("took", _duration(report)),
        ("lines" if report.is_replay else "files from", report.source),
        ("taken before", "" if report.known_file_count is None else counted(report.known_file_count, "file")),
        ("nothing new in the window", counted(report.outside_file_count, "file") if report.outside_file_count else ""),
        ("database", report.database),
        ("ruleset", (report.ruleset_hash or "")[:12]),
        ("version", report.version or ""),
    )
    return tuple(Fact(name, text) for name, text in every if text)


def _instant(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant_text(instant, 'seconds')} UTC"


def _duration(report: RunReport) -> str:
    if report.ended_at is None:
        return ""
    loading = sum(load.load_seconds or 0 for load in report.loads)
    parts = [f"loading {loading:.1f} s"] if report.loads else []
    parts += [f"deciding {report.decide_seconds:.1f} s"] if report.decide_seconds is not None else []
    whole = f"{(report.ended_at - report.started_at).total_seconds():.1f} s"
    return f"{whole} ({', '.join(parts)})" if parts else whole
