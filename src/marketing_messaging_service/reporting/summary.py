"""What a run did, as plain text for a terminal."""

from src.marketing_messaging_service.reporting.run_report import RunReport
from src.marketing_messaging_service.reporting.sentences import headline, problem_sentence
from src.marketing_messaging_service.reporting.tables import Table, table_of, text_table


def summary_text(report: RunReport) -> str:
    """Return the summary as plain text for a terminal."""
    run = "Preview" if report.is_preview else "Run"
    parts = [f"{run} as of {report.as_of:%Y-%m-%d %H:%M:%S} UTC into {report.database}", headline(report)]
    parts.extend(text_table(table) for table in _tables(report) if table.rows)
    parts.extend(filter(None, [problem_sentence(report)]))
    return "\n\n".join(parts)


def _tables(report: RunReport) -> list[Table]:
    return [
        _decisions(report),
        _files(report),
        _waiting(report),
        _rejected(report),
        _unknown_keys(report),
        _ignored(report),
    ]


def _decisions(report: RunReport) -> Table:
    would = "would be " if report.is_preview else ""
    return table_of(
        f"Decisions by rule (ruleset {(report.ruleset_hash or '')[:12]})",
        ("rule", "template", "channel", f"{would}sent", f"{would}suppressed"),
        (
            (
                rule.rule_name,
                rule.template_name,
                rule.channel,
                rule.sent_count + rule.alerted_count,
                rule.suppressed_count,
            )
            for rule in (report.rules if report.decided_count else ())
        ),
    )


def _files(report: RunReport) -> Table:
    has_outside = bool(report.lines.outside)
    head = ("file", "lines", "inserted", "duplicate", "conflict", "rejected", "blank", *["outside"] * has_outside)
    rows: list[tuple[str | int, ...]] = []
    for load in report.loads:
        lines = load.lines
        counts = (lines.read, lines.inserted, lines.duplicate, lines.conflict, lines.rejected, lines.blank)
        rows.append((load.path, *counts, *[lines.outside] * has_outside))
    taken = "Files that would be taken" if report.is_preview else "Files taken"
    return table_of(f"{taken}, oldest first", head, rows, remark="a conflict is a duplicate that says something else")


def _waiting(report: RunReport) -> Table:
    return _names("Files still being written, left for the next run", report.waiting_names)


def _rejected(report: RunReport) -> Table:
    rows = ((reason.reason_code, reason.line_count) for reason in report.reasons)
    return table_of("Rejected lines by reason", ("reason", "lines"), rows)


def _unknown_keys(report: RunReport) -> Table:
    rows = ((key.key_path, key.line_count) for key in report.unknown_keys)
    return table_of("Keys not known, their values not kept", ("key", "lines"), rows)


def _ignored(report: RunReport) -> Table:
    return _names("Files in landing with another ending, not taken", report.ignored_names)


def _names(title: str, names: tuple[str, ...]) -> Table:
    return table_of(title, ("file",), ((name,) for name in names))
