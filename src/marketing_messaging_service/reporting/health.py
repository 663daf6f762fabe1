"""Whether a run is well, as far as its counts tell, and which of its files somebody should look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.marketing_messaging_service.reporting.run_report import LineCounts, Problem
from src.marketing_messaging_service.reporting.tables import many, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from src.marketing_messaging_service.reporting.run_report import LoadReport, RejectedExample

FEWEST_REJECTED = 10
"""Rejected lines from which on one file alone makes a run fail; fewer in a small file prove nothing."""

MOST_FILES = 25
"""Files that an example is shown of; of ten thousand nobody reads more."""

LONGEST_EXPLANATION = 240


def is_over_limit(lines: LineCounts, max_percent: float) -> bool:
    """Whether a larger share of a file's lines was rejected than is allowed, so that it alone makes a run fail.

    A file counts alone from ten rejected lines on, or when no line of it could be read.
    """
    counts = lines.rejected >= FEWEST_REJECTED or lines.rejected + lines.blank == lines.read
    return counts and _exceeds(lines, max_percent)


def problem_files_first(loads: Sequence[LoadReport], max_percent: float) -> tuple[LoadReport, ...]:
    """Return the files that make a run fail, then those with rejected or conflicting lines, then the others.

    Among equals they stay in their order.
    """

    def place(load: LoadReport) -> int:
        if is_over_limit(load.lines, max_percent):
            return 0
        return 1 if load.lines.rejected or load.lines.conflict else 2

    return tuple(sorted(loads, key=place))


def failing_loads(loads: Sequence[LoadReport], max_percent: float) -> list[int]:
    """Return the ids of the loads whose files make a run fail, as many as are shown."""
    return [load.load_id for load in loads if is_over_limit(load.lines, max_percent)][:MOST_FILES]


def loads_with_examples(loads: Sequence[LoadReport], max_percent: float) -> list[int]:
    """Return the ids of the loads whose first rejected line is shown, problem files first."""
    return [load.load_id for load in problem_files_first(loads, max_percent) if load.lines.rejected][:MOST_FILES]


def too_many_rejected(
    loads: Sequence[LoadReport],
    max_percent: float,
    firsts: Mapping[int, RejectedExample],
    *,
    earlier: frozenset[int] = frozenset(),
    is_preview: bool = False,
) -> list[Problem]:
    """Return what is wrong when a larger share of the lines was rejected than is allowed, in one file or in all.

    `firsts` has the first rejected line of a load, by its id; `earlier` are the loads of earlier attempts of the same
    run, whose lines are as unread as they were.
    """
    problems = [
        Problem(load.path, _explained(load.lines, max_percent, firsts.get(load.load_id), is_preview=is_preview))
        for load in loads
        if is_over_limit(load.lines, max_percent) and load.load_id not in earlier
    ]
    problems += [
        Problem(load.path, f"An earlier attempt of this run took it, and a retry reads no line again. {explained}")
        for load in loads
        if is_over_limit(load.lines, max_percent) and load.load_id in earlier
        for explained in (_explained(load.lines, max_percent, firsts.get(load.load_id)),)
    ]
    every = sum((load.lines for load in loads), LineCounts())
    if not problems and _exceeds(every, max_percent):
        load = next(load for load in loads if load.lines.rejected)
        first = firsts.get(load.load_id)
        problems.append(
            Problem("Rejected lines", _explained(every, max_percent, first, in_file=load.path, is_preview=is_preview))
        )
    return problems


def _exceeds(lines: LineCounts, max_percent: float) -> bool:
    return 100 * lines.rejected > max_percent * lines.read


def _explained(
    lines: LineCounts,
    max_percent: float,
    first: RejectedExample | None,
    *,
    in_file: str = "",
    is_preview: bool = False,
) -> str:
    parts = [
        f"{lines.rejected} of {many(lines.read, 'line')} could not be read ({100 * lines.rejected / lines.read:.1f} %),"
        f" which is more than the {max_percent:g} % that max_rejected_percent allows."
    ]
    if first is not None:
        where = f"line {first.line_number}{f' of {printable(in_file)}' if in_file else ''}"
        parts.append(f"The first is {where}: {printable(first.explanation, LONGEST_EXPLANATION)}")
    if not is_preview:
        good = lines.inserted + lines.duplicate
        others = "The other line was taken." if good == 1 else f"The other {good} lines were taken."
        parts += [others] if good else []
        parts.append("Correct the rejected lines, which rejected_rows holds, and deliver them in another file.")
    return " ".join(parts)
