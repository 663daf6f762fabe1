"""Checks whether a database keeps the promises of the pipeline. Reads it in one snapshot and writes nothing."""

from src.marketing_messaging_service.self_check.check import check_database
from src.marketing_messaging_service.self_check.freshness import USUAL_HOUR, fresh_loads
from src.marketing_messaging_service.self_check.invariants import INVARIANTS

__all__ = [
    "INVARIANTS",
    "USUAL_HOUR",
    "check_database",
    "fresh_loads",
]
