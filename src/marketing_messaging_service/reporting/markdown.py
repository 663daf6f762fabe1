"""Writes what a run did as Markdown, for the Prefect UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.marketing_messaging_service.reporting.check_queries import CheckQuery, check_queries
from src.marketing_messaging_service.reporting.funnel import funnel_image, funnel_steps, funnel_text
from src.marketing_messaging_service.reporting.manager_sentence import manager_sentence
from src.marketing_messaging_service.reporting.rules_image import rules_image
from src.marketing_messaging_service.reporting.rules_picture import rules_picture
from src.marketing_messaging_service.reporting.run_tables import (
    ahead_table,
    examples_table,
    facts,
    files_table,
    keys_table,
    left_out_table,
    left_table,
    reasons_table,
    replay_table,
    rules_table,
)
from src.marketing_messaging_service.reporting.sentences import problems_told, warnings_told
from src.marketing_messaging_service.reporting.tables import Table, code, escaped, markdown_table, printable, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from src.marketing_messaging_service.reporting.run_report import RunReport

LONGEST_PROBLEM = 1_000


def report_markdown(report: RunReport) -> str:
    """Return the report as Markdown; the Prefect UI shows the headline above it."""
    parts = [
        f"## {manager_sentence(report)}",
        _listed("Problems", problems_told(report)),
        _listed("Warnings", warnings_told(report)),
        _funnel(report),
        _table(rules_table(report)),
        _rules(report),
        _table(replay_table(report)),
        _table(files_table(report)),
        _table(ahead_table(report)),
        _table(left_table(report)),
        _table(reasons_table(report)),
        _examples(report),
        _table(left_out_table(report)),
        _table(keys_table(report)),
        _facts(report),
        _mermaid(report),
        _queries(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _listed(title: str, sentences: Sequence[str]) -> str:
    shown_ones = (escaped(printable(sentence.replace("\n", " "), LONGEST_PROBLEM)) for sentence in sentences)
    lines = [f"{place}. {sentence}" for place, sentence in enumerate(shown_ones, 1)]
    return "\n".join([f"### {title}\n", *lines]) if lines else ""


def _funnel(report: RunReport) -> str:
    steps = funnel_steps(report)
    return f"![{escaped(funnel_text(steps))}]({funnel_image(steps)})" if steps else ""


def _table(table: Table) -> str:
    return markdown_table(table) if table.rows else ""


def _rules(report: RunReport) -> str:
    """Return the rules as a picture that each of Prefect's UIs shows."""
    if not report.rules:
        return ""
    image = rules_image(report.rules, is_preview=report.is_preview)
    return f"### {_rules_title(report)}\n\n![From event types over conditions and rules to messages]({image})"


def _mermaid(report: RunReport) -> str:
    """Return the same in Mermaid, which only the newer UI draws."""
    if not report.rules:
        return ""
    mermaid = rules_picture(report.rules, is_preview=report.is_preview)
    return f"### {_rules_title(report)}, in Mermaid\n\n```mermaid\n{mermaid}\n```"


def _rules_title(report: RunReport) -> str:
    return f"The rules as they {'would be' if report.is_preview else 'were'} applied"


def _examples(report: RunReport) -> str:
    """Return the examples as a list, because a table of the Prefect UI would not break their long lines."""
    table = examples_table(report)
    lines = [
        f"- **{escaped(str(reason))}** {escaped(str(path))}, line {shown(number)}: {escaped(str(explanation))} "
        f"{code(str(excerpt))}"
        for reason, path, number, explanation, excerpt in table.rows
    ]
    return "\n".join([f"### {table.title}\n", *lines, f"\n{escaped(table.remark)}"]) if lines else ""


def _facts(report: RunReport) -> str:
    return "\n".join(["### This run\n", *(f"- **{fact.name}**: {escaped(fact.text)}" for fact in facts(report))])


def _queries(report: RunReport) -> str:
    queries = check_queries(report)
    if not queries:
        return "A preview keeps nothing, so there is nothing in the database to check its numbers against."
    return "\n\n".join(["### The SQL that checks every number", *(_query(query) for query in queries)])


def _query(query: CheckQuery) -> str:
    return f"{escaped(query.title)}:\n\n```sql\n{query.sql_with_numbers}\n```"
