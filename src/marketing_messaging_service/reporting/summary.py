"""What a run did, in words and numbers: for the terminal, for the Prefect UI, and in one line."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from src.marketing_messaging_service.models import ALERT_CHANNEL
from src.marketing_messaging_service.results import DecisionResult, LoadResult, RunReport

MOST_ROWS = 25
"""Rows of a table that are shown one by one; what lies beyond them is told in one line."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text; the columns named in `numbers` are set to the right."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int]
    remark: str = ""


def headline(report: RunReport) -> str:
    """Return the whole run in one line."""
    if not report.loads and report.decision is not None and report.decision.event_count == 0:
        return f"Nothing new: {_many(report.discovery.known_count, 'file')} in landing, all taken before."
    total = _total(report.loads)
    parts = [f"{_many(len(report.loads), 'file')}: {_line_equation(total)}."]
    if report.decision is not None:
        parts.append(decision_line(report.decision))
    return " ".join(parts)


def load_line(load: LoadResult) -> str:
    """Return one load in one line."""
    return f"Loaded {load.display_path}: {_line_equation(_total([load]))}."


def decision_line(decision: DecisionResult) -> str:
    """Return what deciding did in one line."""
    sends, suppressions, alerts = _outcome_counts(decision)
    return (
        f"{_many(decision.event_count, 'event')} decided: {_many(sends, 'send')}, "
        f"{_many(suppressions, 'suppression')}, {_many(alerts, 'alert')}."
    )


def problem_sentence(report: RunReport) -> str:
    """Return what went wrong, one line a problem, and what became of the rest."""
    lines = [f"{problem.display_path}: {problem.explanation}" for problem in report.problems]
    rest = "Everything else was loaded and decided." if report.decision is not None else "Everything else was loaded."
    return "\n".join([f"{_many(len(lines), 'problem')}. {rest}", *lines])


def summary_text(report: RunReport) -> str:
    """Return the summary as plain text for a terminal."""
    parts = [f"Run as of {_instant(report)} into {report.database}", headline(report)]
    parts.extend(_text_table(table) for table in _tables(report))
    if report.problems:
        parts.append(problem_sentence(report))
    return "\n\n".join(parts)


def summary_markdown(report: RunReport) -> str:
    """Return the summary as Markdown for the Prefect UI, which shows the headline above it."""
    parts = [f"As of {_instant(report)}, into `{report.database}`."]
    if report.problems:
        parts.append(
            "### Problems\n\n" + "\n".join(f"- {_escaped(p.display_path)}: {p.explanation}" for p in report.problems)
        )
    parts.extend(_markdown_table(table) for table in _tables(report))
    return "\n\n".join(parts)


def _tables(report: RunReport) -> list[Table]:
    return [
        table
        for table in (_decisions(report), _files(report), _rejected(report), _unknown_keys(report), _ignored(report))
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
        rows=tuple(tuple(_printable(cell) for cell in row) for row in shown[:MOST_ROWS]),
        numbers=numbers,
        remark=f"and {beyond} more" if beyond > 0 else remark,
    )


def _text_table(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    lines = [
        "  "
        + "  ".join(
            cell.rjust(width) if position in table.numbers else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (table.head, *table.rows)
    ]
    remark = [f"  ({table.remark})"] if table.remark else []
    return "\n".join([table.title, *lines, *remark])


def _markdown_table(table: Table) -> str:
    rule = ["---:" if position in table.numbers else "---" for position in range(len(table.head))]
    rows = [table.head, rule, *(tuple(_escaped(cell) for cell in row) for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    remark = [f"\n({table.remark})"] if table.remark else []
    return "\n".join([f"### {table.title}\n", *lines, *remark])


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
    conflicts = f" ({_many(total['conflict'], 'conflict')})" if total["conflict"] else ""
    return (
        f"{_many(total['read'], 'line')} = {total['inserted']} inserted + {total['duplicate']} duplicate{conflicts} + "
        f"{total['rejected']} rejected + {total['blank']} blank"
    )


def _outcome_counts(decision: DecisionResult) -> tuple[int, int, int]:
    outcomes = decision.outcomes
    sends = sum(o.send_count for o in outcomes if o.channel != ALERT_CHANNEL)
    alerts = sum(o.send_count for o in outcomes if o.channel == ALERT_CHANNEL)
    return sends, sum(o.suppression_count for o in outcomes), alerts


def _instant(report: RunReport) -> str:
    return report.as_of.strftime("%Y-%m-%d %H:%M:%S UTC")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _printable(text: str) -> str:
    """Return text that comes from raw data with nothing in it that a terminal or a table would act on."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
