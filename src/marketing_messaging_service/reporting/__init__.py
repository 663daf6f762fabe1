"""From counts to what a person reads. Knows neither files nor database."""

from src.marketing_messaging_service.reporting.self_check import check_headline, check_markdown, check_text
from src.marketing_messaging_service.reporting.summary import (
    decision_line,
    discovery_line,
    headline,
    load_line,
    problem_sentence,
    summary_markdown,
    summary_text,
)

__all__ = [
    "check_headline",
    "check_markdown",
    "check_text",
    "decision_line",
    "discovery_line",
    "headline",
    "load_line",
    "problem_sentence",
    "summary_markdown",
    "summary_text",
]
