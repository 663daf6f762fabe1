"""Turns the rows of a run into what a person reads."""

from src.marketing_messaging_service.reporting.finding import (
    last_runs,
    latest_run,
    run_of_flow_run,
    run_of_load,
    runs_text,
)
from src.marketing_messaging_service.reporting.html import report_html
from src.marketing_messaging_service.reporting.log_lines import (
    choice_line,
    decision_line,
    discovery_line,
    export_sentence,
    load_line,
    loads_line,
    staging_line,
)
from src.marketing_messaging_service.reporting.manager_sentence import manager_sentence
from src.marketing_messaging_service.reporting.markdown import report_markdown
from src.marketing_messaging_service.reporting.published import published_markdown
from src.marketing_messaging_service.reporting.reading import read_rejection_problems, read_run_report
from src.marketing_messaging_service.reporting.report_file import write_report
from src.marketing_messaging_service.reporting.run_report import RunReport
from src.marketing_messaging_service.reporting.run_tables import rejected_table
from src.marketing_messaging_service.reporting.self_check import (
    check_headline,
    check_markdown,
    check_text,
    repair_text,
    watch_sentence,
)
from src.marketing_messaging_service.reporting.sentences import (
    ahead_sentence,
    headline,
    no_rule_sentence,
    problem_sentence,
)
from src.marketing_messaging_service.reporting.summary import summary_text

__all__ = [
    "RunReport",
    "ahead_sentence",
    "check_headline",
    "check_markdown",
    "check_text",
    "choice_line",
    "decision_line",
    "discovery_line",
    "export_sentence",
    "headline",
    "last_runs",
    "latest_run",
    "load_line",
    "loads_line",
    "manager_sentence",
    "no_rule_sentence",
    "problem_sentence",
    "published_markdown",
    "read_rejection_problems",
    "read_run_report",
    "rejected_table",
    "repair_text",
    "report_html",
    "report_markdown",
    "run_of_flow_run",
    "run_of_load",
    "runs_text",
    "staging_line",
    "summary_text",
    "watch_sentence",
    "write_report",
]
