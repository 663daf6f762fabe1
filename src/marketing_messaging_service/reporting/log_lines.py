"""Writes a run's log while it works, one line per step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.marketing_messaging_service.models import ALERT_CHANNEL, RemarkKind
from src.marketing_messaging_service.reporting.run_report import LineCounts
from src.marketing_messaging_service.reporting.sentences import line_equation, outcome_equation
from src.marketing_messaging_service.reporting.tables import many

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    # Only their types are needed, and they bring pandas.
    from src.marketing_messaging_service.decisions.results import DecisionResult, RuleOutcome
    from src.marketing_messaging_service.loading.results import LoadResult, RejectedLines
    from src.marketing_messaging_service.staging.results import Discovery, StagedFile


LEFT = {
    RemarkKind.UNREADABLE: "without a readable line",
    RemarkKind.IGNORED: "not named like raw event files",
    RemarkKind.WAITING: "still being written",
    RemarkKind.PASSED_OVER: "passed over because their names begin with _ or a dot",
}
"""What the log says, after their number, about files left where they are."""


def discovery_line(discovery: Discovery) -> str:
    """Return what was found in landing in one line."""
    left = (f", {count} {words}" for kind, words in LEFT.items() if (count := discovery.count(kind)))
    return f"{len(discovery.new_files)} new, {discovery.known_count} taken before{''.join(left)}."


def choice_line(rejected: RejectedLines) -> str:
    """Return which rejected lines a replay is to read again in one line."""
    count = sum(sum(file.kept.line_counts.values()) for file in rejected.files if file.kept)
    parts = [f"{many(count, 'rejected line')} of {many(len(rejected.files), 'file')} to be read again"]
    if in_part := sum(rejected.in_part_counts.values()):
        parts.append(f"{in_part} kept only in part, which cannot be replayed")
    if before := sum(rejected.taken_before_counts.values()):
        parts.append(f"{before} edited lines passed over because they were replayed before")
    return f"{', '.join(parts)}."


def export_sentence(path: Path, count: int, in_part_count: int) -> str:
    """Return what was exported."""
    in_part = (
        f" {many(in_part_count, 'other line')} {'is' if in_part_count == 1 else 'are'} kept only in part and cannot "
        "be replayed; deliver the files again."
        if in_part_count
        else ""
    )
    return (
        f"{many(count, 'rejected line')} written to {path}, which only you may read: it has the lines as they came, "
        'with user ids and traits. Edit what is under "line", run '
        f"`python -m flows.replay --from {path}`, and remove the file.{in_part}"
    )


def staging_line(name: str, staged: Sequence[StagedFile], seconds: float) -> str:
    """Return in one line what staging found in files, which are given a name."""
    read, valid = sum(each.read_count for each in staged), sum(each.valid_count for each in staged)
    rejected, blank = sum(each.rejected_count for each in staged), sum(each.blank_count for each in staged)
    dropped = sum(each.dropped_count for each in staged)
    still = sum(sum(each.replayed.still_rejected.values()) for each in staged if each.replayed)
    begin = f"Staged {name} in {seconds:.1f} s: "
    if still and not read:
        return f"{begin}nothing to take; {many(still, 'line')} still rejected."
    parts = f"{many(valid, 'event')} + {rejected} rejected + {blank} blank{f' + {dropped} dropped' if dropped else ''}"
    rest = f"; {many(still, 'line')} still rejected" if still else ""
    return f"{begin}{many(read, 'line')} = {parts}{rest}."


def load_line(load: LoadResult) -> str:
    """Return one load in one line."""
    return loads_line(load.display_path, [load], load.seconds)


def loads_line(name: str, loads: Sequence[LoadResult], seconds: float) -> str:
    """Return loads of files, which are given a name, in one line."""
    lines = sum(
        (
            LineCounts(
                read=load.read_count,
                inserted=load.inserted_count,
                duplicate=load.duplicate_count,
                conflict=load.conflict_count,
                collision=load.collision_count,
                rejected=load.rejected_count,
                blank=load.blank_count,
                dropped=load.dropped_count,
                outside=load.outside_count,
            )
            for load in loads
        ),
        LineCounts(),
    )
    left_out = sum(load.left_out_count for load in loads)
    without = f"; {many(left_out, 'invalid value')} left out" if left_out else ""
    return f"Loaded {name} in {seconds:.1f} s: {line_equation(lines)}{without}."


def decision_line(decision: DecisionResult) -> str:
    """Return what deciding did in one line."""
    decided = f"{many(decision.event_count, 'event')} decided in {decision.seconds:.1f} s"
    if not decision.again:
        return f"{decided}: {_outcome(decision.outcomes)}."
    names = ", ".join(each.rule_name for each in decision.again)
    return (
        f"{decided}: {_outcome(decision.outcomes)}; on events decided before, by {names}: {_outcome(decision.again)}."
    )


def _outcome(outcomes: Sequence[RuleOutcome]) -> str:
    sends = sum(o.send_count for o in outcomes if o.channel != ALERT_CHANNEL)
    alerts = sum(o.send_count for o in outcomes if o.channel == ALERT_CHANNEL)
    suppressions = sum(o.suppression_count for o in outcomes)
    return outcome_equation(sends, suppressions, alerts)
