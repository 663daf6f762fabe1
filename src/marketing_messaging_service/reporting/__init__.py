"""From counts to what a person reads. Knows neither files nor database."""

from src.marketing_messaging_service.reporting.summary import (
    decision_line,
    headline,
    load_line,
    problem_sentence,
    summary_markdown,
    summary_text,
)

__all__ = ["decision_line", "headline", "load_line", "problem_sentence", "summary_markdown", "summary_text"]
