"""What a run did, in words and numbers: for the terminal, for the Prefect UI, and in one line."""

from collections import Counter
from collections.abc import Iterable, Sequence

from src.marketing_messaging_service.models import ALERT_CHANNEL
from src.marketing_messaging_service.reporting.tables import (
    Table,
    escaped,
    many,
    markdown_table,
    printable,
    text_table,
)
from src.marketing_messaging_service.results import DecisionResult, Discovery, FileProblem, LoadResult, RunReport

MOST_ROWS = 25
"""Rows of a table that are shown one by one; what lies beyond them is told in one line."""


def headline(report: RunReport) -> str:
    """Return the whole run in one line."""
    if not report.loads and report.decision is not None and report.decision.event_count == 0:
        known = f"Nothing new: {many(report.discovery.known_count, 'file')} in landing, all taken before."
        parts = [f"Nothing was taken: {many(len(report.problems), 'problem')}." if report.problems else known]
    else:
        parts = [f"{many(len(report.loads), 'file')}: {_line_equation(_total(report.loads))}."]
        if report.decision is not None:
            parts.append(decision_line(report.decision))
    if report.discovery.waiting_names:
        parts.append(f"{many(len(report.discovery.waiting_names), 'file')} still being written, left for the next run.")
    return " ".join(parts)


def discovery_line(discovery: Discovery) -> str:
    """Return what was found in landing in one line."""
    waiting = f", {len(discovery.waiting_names)} still being written" if discovery.waiting_names else ""
    return f"{len(discovery.new_files)} new, {discovery.known_count} taken before{waiting}."


def load_line(load: LoadResult) -> str:
    """Return one load in one line."""
    return f"Loaded {load.display_path}: {_line_equation(_total([load]))}."


def decision_line(decision: DecisionResult) -> str:
    """Return what deciding did in one line."""
    sends, suppressions, alerts = _outcome_counts(decision)
    return (
        f"{many(decision.event_count, 'event')} decided: {many(sends, 'send')}, "
        f"{many(suppressions, 'suppression')}, {many(alerts, 'alert')}."
    )


def problem_sentence(report: RunReport) -> str:
    """Return what went wrong, one line a problem, and what became of the rest."""
    lines = [_told(problem) for problem in report.problems]
    rest = "Everything else was loaded and decided." if report.decision is not None else "Everything else was loaded."
    return "\n".join([f"{many(len(lines), 'problem')}. {rest}", *lines])


def _told(problem: FileProblem) -> str:
    # Most explanations begin with the name already.
    is_named = problem.explanation.startswith(problem.display_path)
    return problem.explanation if is_named else f"{problem.display_path}: {problem.explanation}"


def summary_text(report: RunReport) -> str:
    """Return the summary as plain text for a terminal."""
    parts = [f"Run as of {_instant(report)} into {report.database}", headline(report)]
    parts.extend(text_table(table) for table in _tables(report))
    if report.problems:
        parts.append(problem_sentence(report))
    return "\n\n".join(parts)


def summary_markdown(report: RunReport) -> str:
    """Return the summary as Markdown for the Prefect UI, which shows the headline above it."""
    parts = [f"As of {_instant(report)}, into `{report.database}`."]
    if report.problems:
        parts.append("### Problems\n\n" + "\n".join(f"- {escaped(_told(problem))}" for problem in report.problems))
    parts.extend(markdown_table(table) for table in _tables(report))
    return "\n\n".join(parts)


def _tables(report: RunReport) -> list[Table]:
    return [
        table
        for table in (
            _decisions(report),
            _files(report),
            _waiting(report),
            _rejected(report),
            _unknown_keys(report),
            _ignored(report),
        )
        if table.rows
    ]


def _decisions(report: RunReport) -> Table:
    outcomes = report.decision.outcomes if report.decision is not None and report.decision.event_count else ()
    rows = tuple(
        (o.rule_name, o.template_name, o.channel, str(o.send_count), str(o.suppression_count)) for o in outcomes
    )
    ruleset = report.decision.ruleset_hash[:12] if report.decision is not None else ""
    return _table(f"Decisions by rule (ruleset {ruleset})", ("rule", "template", "channel", "sent", "suppressed"), rows)


def _files(report: RunReport) -> Table:
    rows = (
        (
            load.display_path,
            str(load.read_count),
            str(load.inserted_count),
            str(load.duplicate_count),
            str(load.conflict_count),
            str(load.rejected_count),
            str(load.blank_count),
        )
        for load in report.loads
    )
    head = ("file", "lines", "inserted", "duplicate", "conflict", "rejected", "blank")
    return _table("Files taken, oldest first", head, rows, remark="a conflict is a duplicate that says something else")


def _waiting(report: RunReport) -> Table:
    rows = ((name,) for name in report.discovery.waiting_names)
    return _table("Files still being written, left for the next run", ("file",), rows)


def _rejected(report: RunReport) -> Table:
    reasons: Counter[str] = Counter()
    for load in report.loads:
        reasons.update(load.rejected_by_reason)
    return _counted("Rejected lines by reason", "reason", reasons)


def _unknown_keys(report: RunReport) -> Table:
    keys: Counter[str] = Counter()
    for load in report.loads:
        keys.update(load.unknown_keys)
    return _counted("Keys not known, their values not kept", "key", keys)


def _ignored(report: RunReport) -> Table:
    rows = ((name,) for name in report.discovery.ignored_names)
    return _table("Files in landing with another ending, not taken", ("file",), rows)


def _counted(title: str, name: str, counts: Counter[str]) -> Table:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _table(title, (name, "lines"), ((key, str(count)) for key, count in ordered))


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]], remark: str = "") -> Table:
    shown = tuple(rows)
    beyond = len(shown) - MOST_ROWS
    numbers = frozenset(range(1, len(head))) if "template" not in head else frozenset({3, 4})
    return Table(
        title=title,
        head=head,
        rows=tuple(tuple(printable(cell) for cell in row) for row in shown[:MOST_ROWS]),
        numbers=numbers,
        remark=f"and {beyond} more" if beyond > 0 else remark,
    )


def _total(loads: Sequence[LoadResult]) -> Counter[str]:
    total: Counter[str] = Counter()
    for load in loads:
        total["read"] += load.read_count
        total["inserted"] += load.inserted_count
        total["duplicate"] += load.duplicate_count
        total["conflict"] += load.conflict_count
        total["rejected"] += load.rejected_count
        total["blank"] += load.blank_count
    return total


def _line_equation(total: Counter[str]) -> str:
    conflicts = f" ({many(total['conflict'], 'conflict')})" if total["conflict"] else ""
    return (
        f"{many(total['read'], 'line')} = {total['inserted']} inserted + {total['duplicate']} duplicate{conflicts} + "
        f"{total['rejected']} rejected + {total['blank']} blank"
    )


def _outcome_counts(decision: DecisionResult) -> tuple[int, int, int]:
    outcomes = decision.outcomes
    sends = sum(o.send_count for o in outcomes if o.channel != ALERT_CHANNEL)
    alerts = sum(o.send_count for o in outcomes if o.channel == ALERT_CHANNEL)
    return sends, sum(o.suppression_count for o in outcomes), alerts


def _instant(report: RunReport) -> str:
    return report.as_of.strftime("%Y-%m-%d %H:%M:%S UTC")
