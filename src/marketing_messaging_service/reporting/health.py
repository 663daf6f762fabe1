"""Judges from a run's counts whether it is healthy, and which of its files somebody should look at first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from src.marketing_messaging_service.reporting.run_report import LineCounts, Problem
from src.marketing_messaging_service.reporting.tables import many, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from src.marketing_messaging_service.reporting.run_report import LoadReport, RejectedExample

FEWEST_REJECTED = 10
"""From this many rejected lines on, one file alone can make a run fail; fewer in a small file prove nothing."""

MOST_FILES = 25
"""How many files have an example shown; nobody reads more of ten thousand."""

LONGEST_EXPLANATION = 240


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A way in which a line is not an event; a run tolerates a share of these."""

    count: Callable[[LineCounts], int]
    subject: str
    """The subject of a problem that does not concern one file."""
    says: str
    cause: str
    remedy: str


_REJECTED = _Trouble(
    lambda lines: lines.rejected,
    "Rejected lines",
    "could not be read",
    "",
    "Correct the rejected lines, which are in rejected_rows: write them into a file (`python -m flows.replay --export "
    "FILE`), edit it, and take it (`--from FILE`); or deliver them in another file. If sources.yaml was wrong, correct "
    "it and run `python -m flows.replay`.",
)
_COLLISION = _Trouble(
    lambda lines: lines.collision,
    "Colliding lines",
    "have the message_id of another event",
    ": two producers seem to number their events alike",
    "Let one producer begin its message_ids with its name, or leave them out, and deliver its lines (they are in "
    "rejected_rows) in another file; or replay them with a message_id_prefix in sources.yaml.",
)
_TROUBLES = (_REJECTED, _COLLISION)


def is_over_limit(lines: LineCounts, max_percent: float) -> bool:
    """Whether more than the allowed share of a file's lines is in trouble, so that it alone makes a run fail.

    Unreadable lines and lines with another event's message_id are counted separately. A file counts alone from ten of
    them on, or if it has no other line.
    """
    return any(_is_over_limit(trouble, lines, max_percent) for trouble in _TROUBLES)


def seem_numbered_alike(loads: Sequence[LoadReport], max_percent: float) -> bool:
    """Whether more lines have another event's message_id than a run tolerates, in one file or in all."""
    return any(_is_over_limit(_COLLISION, load.lines, max_percent) for load in loads) or (
        _exceeds(_COLLISION, _all_lines(loads), max_percent)
    )


def _is_over_limit(trouble: _Trouble, lines: LineCounts, max_percent: float) -> bool:
    count = trouble.count(lines)
    counts = count >= FEWEST_REJECTED or count + lines.blank == lines.read
    return counts and _exceeds(trouble, lines, max_percent)


def problem_files_first(loads: Sequence[LoadReport], max_percent: float) -> tuple[LoadReport, ...]:
    """Return the files that make a run fail, then those with rejected, colliding or conflicting lines, then the others.

    Equal ones stay in order.
    """

    def place(load: LoadReport) -> int:
        if is_over_limit(load.lines, max_percent):
            return 0
        return 1 if load.lines.rejected or load.lines.collision or load.lines.conflict else 2

    return tuple(sorted(loads, key=place))


def failing_loads(loads: Sequence[LoadReport], max_percent: float) -> list[int]:
    """Return the ids of the loads whose files make a run fail, as many as are shown."""
    return [load.load_id for load in loads if is_over_limit(load.lines, max_percent)][:MOST_FILES]


def loads_with_examples(loads: Sequence[LoadReport], max_percent: float) -> list[int]:
    """Return the ids of the loads whose first rejected line is shown, problem files first."""
    return [load.load_id for load in problem_files_first(loads, max_percent) if load.lines.kept][:MOST_FILES]


def too_many_rejected(
    loads: Sequence[LoadReport],
    max_percent: float,
    firsts: Mapping[int, RejectedExample],
    *,
    earlier: frozenset[int] = frozenset(),
    is_preview: bool = False,
) -> list[Problem]:
    """Return what is wrong when a larger share of the lines was rejected than is allowed, in one file or in all.

    `firsts` has each load's first rejected line, by its id; `earlier` are the loads of earlier attempts of the same
    run, whose lines are still unread.
    """
    return _problems(_REJECTED, loads, max_percent, firsts, {}, earlier=earlier, is_preview=is_preview)


def too_many_collisions(
    loads: Sequence[LoadReport],
    max_percent: float,
    firsts: Mapping[int, RejectedExample],
    others: Mapping[int, str],
    *,
    earlier: frozenset[int] = frozenset(),
    is_preview: bool = False,
) -> list[Problem]:
    """Return what is wrong when more than the allowed share of the lines has another event's message_id.

    `others` has, by the id of the load, the file that brought most of those other events; the rest is as above.
    """
    return _problems(_COLLISION, loads, max_percent, firsts, others, earlier=earlier, is_preview=is_preview)


def _problems(
    trouble: _Trouble,
    loads: Sequence[LoadReport],
    max_percent: float,
    firsts: Mapping[int, RejectedExample],
    others: Mapping[int, str],
    *,
    earlier: frozenset[int],
    is_preview: bool,
) -> list[Problem]:
    explain = partial(_explained, trouble, max_percent=max_percent)
    over = [load for load in loads if _is_over_limit(trouble, load.lines, max_percent)]
    told = [(load, explain(load.lines, _first_of(load, firsts, others), is_preview=is_preview)) for load in over]
    problems = [Problem(load.path, explained) for load, explained in told if load.load_id not in earlier]
    problems += [
        Problem(load.path, f"An earlier attempt of this run took it, and a retry reads no line again. {explained}")
        for load, explained in told
        if load.load_id in earlier
    ]
    every = _all_lines(loads)
    if not problems and _exceeds(trouble, every, max_percent):
        load = next(load for load in loads if trouble.count(load.lines))
        first = _first_of(load, firsts, others)
        problems.append(Problem(trouble.subject, explain(every, first, in_file=load.path, is_preview=is_preview)))
    return problems


def _first_of(
    load: LoadReport, firsts: Mapping[int, RejectedExample], others: Mapping[int, str]
) -> tuple[RejectedExample | None, str]:
    """Return the first such line of a load, and the file that the other events came in."""
    other = others.get(load.load_id, "")
    return firsts.get(load.load_id), "the same file" if other == load.path else other


def _all_lines(loads: Sequence[LoadReport]) -> LineCounts:
    return sum((load.lines for load in loads), LineCounts())


def _exceeds(trouble: _Trouble, lines: LineCounts, max_percent: float) -> bool:
    return 100 * trouble.count(lines) > max_percent * lines.read


def _explained(
    trouble: _Trouble,
    lines: LineCounts,
    first_and_other: tuple[RejectedExample | None, str],
    *,
    max_percent: float,
    in_file: str = "",
    is_preview: bool = False,
) -> str:
    count = trouble.count(lines)
    first, other = first_and_other
    parts = [
        f"{count} of {many(lines.read, 'line')} {trouble.says} ({100 * count / lines.read:.1f} %), which is more than "
        f"the {max_percent:g} % that max_rejected_percent allows{trouble.cause}."
    ]
    if other:
        parts.append(f"Most of the other events came in {printable(other)}.")
    if first is not None:
        where = f"line {first.line_number}{f' of {printable(in_file)}' if in_file else ''}"
        parts.append(f"The first is {where}: {printable(first.explanation, LONGEST_EXPLANATION)}")
    if not is_preview:
        good = lines.inserted + lines.duplicate
        others = "The other line was taken." if good == 1 else f"The other {good} lines were taken."
        parts += [others] if good else []
        # A file refused as a whole cannot be replayed, and its explanation says what to do.
        parts += [] if count == 1 and first is not None and first.is_kept_in_part else [trouble.remedy]
    return " ".join(parts)
