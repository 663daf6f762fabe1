"""Writes what a run did as one HTML file that opens anywhere: no scripts, no network, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.check_queries import check_queries
from src.marketing_messaging_service.reporting.drawing import DARK
from src.marketing_messaging_service.reporting.funnel import funnel_image, funnel_steps, funnel_text
from src.marketing_messaging_service.reporting.manager_sentence import manager_sentence
from src.marketing_messaging_service.reporting.rules_picture import drawn_rules, grouped, rule_counts
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
from src.marketing_messaging_service.reporting.sentences import headline, problems_told, warnings_told
from src.marketing_messaging_service.reporting.tables import counted, printable, shown

if TYPE_CHECKING:
    from src.marketing_messaging_service.reporting.run_report import RunReport

TEMPLATE = "report.html.j2"

LONGEST_TEXT = 1_000


def report_html(report: RunReport) -> str:
    """Return the report as a whole HTML document."""
    steps = funnel_steps(report)
    drawn = drawn_rules(report.rules)
    left_out = len(report.rules) - len(drawn)
    run = "preview" if report.is_preview else f"run {report.run_id}"
    as_of = f"{instant_text(report.as_of)} UTC"
    return page(
        TEMPLATE,
        title=f"{printable(report.flow_name)} {as_of}, {run}",
        state="preview" if report.is_preview else report.state.value,
        eyebrow=(report.flow_name, run, f"as of {as_of}", report.flow_run_name or ""),
        sentence=manager_sentence(report),
        headline=headline(report),
        is_preview=report.is_preview,
        problems=problems_told(report),
        warnings=warnings_told(report),
        funnel_image=funnel_image(steps) if steps else "",
        dark_funnel_image=funnel_image(steps, DARK) if steps else "",
        funnel_text=funnel_text(steps),
        rules_table=rules_table(report),
        rule_groups=grouped(drawn),
        rules_left_out=counted(left_out, "more rule") if left_out else "",
        files_table=files_table(report),
        replay_table=replay_table(report),
        ahead_table=ahead_table(report),
        left_table=left_table(report),
        reasons_table=reasons_table(report),
        examples_table=examples_table(report),
        left_out_table=left_out_table(report),
        keys_table=keys_table(report),
        facts=facts(report),
        queries=check_queries(report),
        rule_counts=rule_counts,
    )


def page(template: str, *folders: Path, **values: Any) -> str:
    """Return a page from a template in one of the folders, or in this one, which has what pages share."""
    # Only writing a report should cost importing the template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = lambda text: printable(text, LONGEST_TEXT)
    return environment.get_template(template).render(shown=shown, **values)
