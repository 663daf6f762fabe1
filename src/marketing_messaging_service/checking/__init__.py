"""Checks whether a database keeps the promises of the pipeline. Reads it in one snapshot and writes nothing."""

from src.marketing_messaging_service.checking.check import check_database
from src.marketing_messaging_service.checking.freshness import USUAL_HOUR, fresh_loads
from src.marketing_messaging_service.checking.invariants import INVARIANTS

__all__ = [
    "INVARIANTS",
    "USUAL_HOUR",
    "check_database",
    "fresh_loads",
]
