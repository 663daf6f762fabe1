"""Reports what a self-check found: for the terminal, for the Prefect UI, and in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.marketing_messaging_service.reporting.tables import (
    Table,
    escaped,
    many,
    markdown_table,
    printable,
    text_table,
)
from src.marketing_messaging_service.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from src.marketing_messaging_service.schema_drift.results import RepairedObject

    # Only their types are needed, and they bring pandas.
    from src.marketing_messaging_service.self_check.results import CheckReport, Finding


LONGEST_EXAMPLE = 240


def check_headline(report: CheckReport) -> str:
    """Return the whole self-check in one line."""
    promises = many(len(report.findings), "promise")
    if not report.broken:
        warnings = f" {many(len(report.warnings), 'warning')}." if report.warnings else ""
        return f"Everything holds: {promises}.{warnings}"
    names = ", ".join(finding.invariant for finding in report.broken)
    return f"BROKEN: {len(report.broken)} of {promises}: {names}."


def _advice(report: CheckReport) -> str:
    copying = report.copy_command
    return f"The check changed nothing. Keep a copy of the database as it is now, before anybody repairs it: {copying}"


def watch_sentence(report: CheckReport) -> str:
    """Return what the watch found in one sentence or two, with what to do."""
    if not report.broken:
        came_in = any(finding.invariant == "fresh_loads" for finding in report.findings)
        return "Files come in, and nothing unusual was found." if came_in else "Nothing unusual was found."
    parts = []
    for finding in report.broken:
        found = "; ".join(finding.examples) or finding.problem
        parts.append(f"{found[:1].upper()}{printable(found[1:], 10 * LONGEST_EXAMPLE).rstrip('.')}. {finding.advice}")
    return " ".join(parts).strip()


def check_text(report: CheckReport) -> str:
    """Return what was checked and found as plain text for a terminal."""
    parts = [f"Self-check of {report.database}: {_extent(report)}", check_headline(report), text_table(_table(report))]
    if report.broken:
        parts.extend("\n".join([_title(finding), *_lines(finding, "  ")]) for finding in report.broken)
        parts.append(_advice(report))
    if report.warnings:
        parts.append("\n".join(["Warnings:", *(f"  {warning}" for warning in report.warnings)]))
    return "\n\n".join(parts)


def check_markdown(report: CheckReport) -> str:
    """Return what was checked and found as Markdown for the Prefect UI, which shows the headline above it."""
    parts = [f"`{report.database}`: {_extent(report)}."]
    for finding in report.broken:
        parts.append("\n".join([f"### {_title(finding)}\n", *(f"- {escaped(line)}" for line in _lines(finding, ""))]))
    if report.broken:
        parts.append(_advice(report))
    if report.warnings:
        parts.append("\n".join(["### Warnings\n", *(f"- {escaped(warning)}" for warning in report.warnings)]))
    parts.append(markdown_table(_table(report)))
    return "\n\n".join(parts)


def repair_text(repaired: Sequence[RepairedObject]) -> str:
    """Return the result for each view and index that was to be rebuilt, as plain text for a terminal."""
    if not repaired:
        return "Every view and index is as it should be; none was rebuilt."
    return "\n".join(line for made in repaired for line in _repair_lines(made))


def _repair_lines(made: RepairedObject) -> list[str]:
    if made.problem:
        return [f"NOT REBUILT: the {made.kind} {made.name}: {printable(made.problem, LONGEST_EXAMPLE)}"]
    lines = [f"Rebuilt: the {made.kind} {made.name}."]
    if made.replaced_sql:
        replaced = (f"  {printable(line, len(line) * 10)}" for line in made.replaced_sql.splitlines())
        lines.extend(["It replaces:", *replaced])
    return lines


def _extent(report: CheckReport) -> str:
    counts = (f"{table} {count}" for table, count in report.row_counts.items())
    return f"version {VERSION}, schema {report.revision}, {', '.join(counts) or 'no table can be counted'}"


def _table(report: CheckReport) -> Table:
    return Table(
        title="What must hold, and what was found",
        # The findings come before the sentence, so that nobody has to scroll to them.
        head=("invariant", "found", "what must hold"),
        rows=tuple((finding.invariant, _found(finding), finding.sentence) for finding in report.findings),
    )


def _found(finding: Finding) -> str:
    """The outcome in at most two words; what is broken, and where, is with its examples."""
    if finding.holds:
        return "holds"
    return f"BROKEN {finding.breach_count}" if finding.breach_count else "NOT CHECKED"


def _title(finding: Finding) -> str:
    return f"{finding.invariant}: {finding.sentence}"


def _lines(finding: Finding, mark: str) -> list[str]:
    lines = [f"{mark}{printable(example, LONGEST_EXAMPLE)}" for example in finding.examples]
    beyond = finding.breach_count - len(finding.examples)
    if beyond > 0:
        lines.append(f"{mark}and {beyond} more")
    if finding.problem:
        lines.append(f"{mark}not checked to the end: {printable(finding.problem, LONGEST_EXAMPLE)}")
    if finding.advice:
        lines.append(f"{mark}What to do: {finding.advice}")
    return lines
