"""Summarises a run as plain text for a terminal."""

from textwrap import indent

from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.run_report import RunReport
from src.marketing_messaging_service.reporting.run_tables import (
    ahead_table,
    files_table,
    keys_table,
    left_out_table,
    left_table,
    reasons_table,
    replay_table,
)
from src.marketing_messaging_service.reporting.sentences import headline, problems_told, warnings_told
from src.marketing_messaging_service.reporting.tables import Table, many, table_of, text_table


def summary_text(report: RunReport) -> str:
    """Return the summary as plain text for a terminal."""
    as_of = f"as of {instant_text(report.as_of, 'seconds')} UTC"
    parts = [f"{_kind(report)} {as_of} into {report.database}", headline(report)]
    parts.extend(text_table(table) for table in _tables(report) if table.rows)
    problems = problems_told(report)
    if report.problems:
        parts.append(
            "\n".join([f"{many(len(report.problems), 'problem')}:", *(indent(each, "    ")[2:] for each in problems)])
        )
    else:
        parts.extend(problems)
    if report.warnings:
        parts.append("\n".join(["Warnings:", *(f"  {each}" for each in warnings_told(report))]))
    return "\n\n".join(parts)


def _kind(report: RunReport) -> str:
    kind = "Preview" if report.is_preview else "Run"
    if report.window_start_at is None or report.window_end_at is None:
        return kind
    return f"{kind} of {instant_text(report.window_start_at)} to {instant_text(report.window_end_at)} UTC"


def _tables(report: RunReport) -> list[Table]:
    return [
        _decisions(report),
        replay_table(report),
        files_table(report),
        ahead_table(report),
        left_table(report),
        reasons_table(report),
        left_out_table(report),
        keys_table(report),
    ]


def _decisions(report: RunReport) -> Table:
    """Return each rule's results, shorter than elsewhere: alerts count as sent."""
    would = "would be " if report.is_preview else ""
    rules = report.rules if report.decided_count or report.again_rules else ()
    return table_of(
        f"Decisions by rule (ruleset {(report.ruleset_hash or '')[:12]})",
        ("rule", "template", "channel", f"{would}sent", f"{would}suppressed"),
        ((r.rule_name, r.template_name, r.channel, r.sent_count + r.alerted_count, r.suppressed_count) for r in rules),
    )
