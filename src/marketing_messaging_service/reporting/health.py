"""Whether a run is well, as far as its counts tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.marketing_messaging_service.reporting.run_report import Problem
from src.marketing_messaging_service.reporting.tables import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from src.marketing_messaging_service.results import LoadResult

FEWEST_REJECTED = 10
"""Rejected lines from which on one file alone makes a run fail; fewer in a small file prove nothing."""


def too_many_rejected(loads: Sequence[LoadResult], max_percent: float, *, is_preview: bool = False) -> list[Problem]:
    """Return what is wrong when a larger share of the lines was rejected than is allowed, in all or in one file.

    A file counts alone from ten rejected lines on, or when no line of it could be read.
    """
    problems = [
        _problem(load.display_path, load.rejected_count, load.read_count, max_percent, is_preview=is_preview)
        for load in loads
        if _exceeds(load.rejected_count, load.read_count, max_percent)
        and (load.rejected_count >= FEWEST_REJECTED or load.rejected_count + load.blank_count == load.read_count)
    ]
    rejected, read = sum(load.rejected_count for load in loads), sum(load.read_count for load in loads)
    if not problems and _exceeds(rejected, read, max_percent):
        problems.append(_problem("Rejected lines", rejected, read, max_percent, is_preview=is_preview))
    return problems


def _exceeds(rejected: int, read: int, max_percent: float) -> bool:
    return 100 * rejected > max_percent * read


def _problem(subject: str, rejected: int, read: int, max_percent: float, *, is_preview: bool) -> Problem:
    kept = "" if is_preview else " What is good was kept; rejected_rows has the rest with its reasons."
    return Problem(
        subject,
        f"{rejected} of {many(read, 'line')} could not be read ({100 * rejected / read:.1f} %), which is more than the "
        f"{max_percent:g} % that max_rejected_percent allows.{kept}",
    )
