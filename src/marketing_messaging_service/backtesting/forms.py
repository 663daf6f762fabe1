"""Writes a difference as data: JSON, and a CSV row per changed decision."""

import csv
from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, TextIO

from src.marketing_messaging_service.backtesting.difference import CHANGE_COLUMNS, Change, Counts, Difference

_CELLS = attrgetter(*CHANGE_COLUMNS)

VERSION = 1
"""Of the form that `--json` prints: raised when a reader of it would have to change."""


def difference_json(found: Difference, changes: Iterable[Change]) -> dict[str, Any]:
    """Return a difference as plain values: `version`, `sends`, `suppressions`, and `changes`, one per decision."""
    by_reason: dict[str, list[int]] = {}
    for each in found.reasons:
        both = by_reason.setdefault(each.reason, [0, 0])
        both[0] += each.suppressions.before
        both[1] += each.suppressions.after
    form: dict[str, Any] = {
        "version": VERSION,
        "before": found.before_name,
        "after": found.after_name,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "events": found.event_count,
        "sends": _counts(found.sends),
        "alerts": _counts(found.alerts),
        "suppressions": {
            **_counts(found.suppressions),
            "by_reason": {reason: _counts(Counts(*both)) for reason, both in sorted(by_reason.items())},
        },
        "new_warnings": list(found.new_warnings),
        "changes": [_change(each) for each in changes],
    }
    if found.late is not None:
        form["late"] = [
            {
                "event_type": each.event_type,
                "late_events": each.late_count,
                "changing_events": each.changing_count,
                "changes": each.change_count,
            }
            for each in found.late
        ]
        form["unexplained_changes"] = found.unexplained_count
    return form


def _counts(counts: Counts) -> dict[str, int]:
    return {"before": counts.before, "after": counts.after}


def _change(change: Change) -> dict[str, Any]:
    return {
        "message_id": change.message_id,
        "rule_name": change.rule_name,
        "before": change.before,
        "after": change.after,
        "kind": change.kind,
        "before_at": _instant(change.at_before),
        "after_at": _instant(change.at_after),
    }


def _instant(text: str | None) -> str | None:
    return None if text is None else datetime.fromisoformat(f"{text}+00:00").isoformat()


def write_changes(path: Path, changes: Iterable[Change]) -> int:
    """Write every changed decision into a CSV file, and return how many there are."""
    with path.open("w", encoding="utf-8", newline="") as file:
        return _write(file, changes)


def _write(file: TextIO, changes: Iterable[Change]) -> int:
    rows = csv.writer(file)
    rows.writerow(CHANGE_COLUMNS)
    count = 0
    for count, change in enumerate(changes, start=1):  # noqa: B007  the last number is how many there are
        rows.writerow(_CELLS(change))
    return count
