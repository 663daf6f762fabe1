"""Decides a part of the past again, as hourly runs with every event on time would have."""

from datetime import datetime

from src.marketing_messaging_service.backtesting.schedule import (
    HOUR,
    Span,
    ends_of_batches,
    without_what_cannot_expire,
)
from src.marketing_messaging_service.backtesting.scratch import Scratch
from src.marketing_messaging_service.backtesting.snapshot import Look
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.infrastructure.database import read_transaction


def replay(scratch: Scratch, rules: RulesFile, span: Span, look: Look) -> None:
    """Decide the events of a span by some rules, in the hourly runs that would have loaded them on time."""
    scratch.seed(span.since)
    rules = without_what_cannot_expire(rules, HOUR)
    with read_transaction(scratch.engine) as connection:
        ends = list(ends_of_batches(connection, rules.whole, span))
    start: datetime = span.since
    for as_of in ends:
        look()
        end = min(as_of, span.until)
        scratch.decide(rules, scratch.slice(start, end), as_of)
        start = end
