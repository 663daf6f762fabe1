"""Whether an hour looks like the same hours of the last four weeks: its share of rejected lines, and of messages.

The hour is that of the runs' logical time; only runs that take everything count: a backfill is of another time, and a
replay of lines that were rejected.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, pvariance
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from src.marketing_messaging_service.infrastructure.instants import hours_before
from src.marketing_messaging_service.models import Load, Run, SendRequest, takes_everything

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

HISTORY_DAYS = 28
"""How far the history reaches back; less of it is no history."""

FEWEST_DAYS = 20
"""Days of these on which the hour must have had lines, or events."""

FEWEST = 50
"""Lines, or events, below which an hour proves nothing."""

FEWEST_OFF = 10
"""Lines, or messages, that there must be too many of, or too few."""

MOST_RUNS = 10_000
"""Runs that are looked back at; an hourly run, and as many again by hand, are a tenth of it in four weeks."""

DEVIATIONS = 4.0
"""Standard deviations from the usual share from which on a share is unusual: by chance once in some years."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole: of `whole` lines or events, `part`."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share, 0 to 1 where a thing counts once; the whole is not 0."""
        return self.part / self.whole

    def __add__(self, other: Share) -> Share:
        return Share(self.part + other.part, self.whole + other.whole)


def is_unusual(share: Share, past: Sequence[Share]) -> bool:
    """Whether a share is outside all of the past ones, and so far from them that chance is no explanation.

    False, whatever the share, of a small whole or with little history.
    """
    known = [each for each in past if each.whole]
    if share.whole < FEWEST or len(known) < FEWEST_DAYS:
        return False
    values = [each.value for each in known]
    if min(values) <= share.value <= max(values):
        return False
    # One more of each kind than there were, so that what never happened is not held for impossible.
    usual = (sum(each.part for each in known) + 1) / (sum(each.whole for each in known) + 2)
    if abs(share.part - usual * share.whole) < FEWEST_OFF:
        return False
    chance = max(usual * (1 - usual), 0.0) / share.whole
    return abs(share.value - usual) > DEVIATIONS * sqrt(chance + pvariance(values, fmean(values)))


def unusual_sentence(what: str, of_what: str, share: Share, past: Sequence[Share]) -> str:
    """Return in a sentence how unusual a share is, such as that of `rejected` `lines`; nothing when it is not."""
    if not is_unusual(share, past):
        return ""
    values = [each.value for each in past if each.whole]
    return (
        f"Unusual: {share.part:,} {what} for {share.whole:,} {of_what} ({_percent(share.value)}); at this hour of the "
        f"last four weeks it was {_percent(min(values))} to {_percent(max(values))}."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def unusual_hour(connection: Connection, run_id: int) -> tuple[str, ...]:
    """Return what is unusual in the hour of a run so far, in sentences; none with less than four weeks of history."""
    runs = connection.execute(
        select(Run.id, Run.as_of, Run.decided_count).where(
            Run.id.between(run_id - MOST_RUNS, run_id), takes_everything()
        )
    ).all()
    if not runs or runs[-1].id != run_id:
        return ()
    as_of = runs[-1].as_of
    oldest = hours_before(as_of, 24 * HISTORY_DAYS)
    if min(run.as_of for run in runs) > oldest:
        return ()
    before_that = hours_before(as_of, 24 * HISTORY_DAYS + 1)
    same_hour = [run for run in runs if run.as_of.hour == as_of.hour and before_that < run.as_of <= as_of]
    lines = _lines(connection, [run.id for run in same_hour])
    sends = _sends(connection, [run.id for run in same_hour])
    rejected: dict[date, Share] = defaultdict(lambda: Share(0, 0))
    sent: dict[date, Share] = defaultdict(lambda: Share(0, 0))
    for run in same_hour:
        rejected[run.as_of.date()] += lines.get(run.id, Share(0, 0))
        sent[run.as_of.date()] += Share(sends.get(run.id, 0), run.decided_count or 0)
    today = as_of.date()
    sentences = (
        unusual_sentence(what, of_what, shares[today], [share for day, share in shares.items() if day < today])
        for what, of_what, shares in (
            ("rejected lines", "lines", rejected),
            ("messages and alerts", "decided events", sent),
        )
    )
    return tuple(filter(None, sentences))


def latest_run(connection: Connection) -> int | None:
    """Return the newest run that takes everything; None when there was none."""
    return connection.execute(select(func.max(Run.id)).where(takes_everything())).scalar_one()


def _lines(connection: Connection, run_ids: Sequence[int]) -> dict[int, Share]:
    rows = connection.execute(
        select(Load.run_id, func.sum(Load.rejected_count), func.sum(Load.read_count - Load.blank_count))
        .where(Load.run_id.in_(run_ids))
        .group_by(Load.run_id)
    )
    return {row[0]: Share(row[1], row[2]) for row in rows if row[0] is not None}


def _sends(connection: Connection, run_ids: Sequence[int]) -> dict[int, int]:
    # Alerts are among them: without the channel the index on run_id alone answers.
    rows = connection.execute(
        select(SendRequest.run_id, func.count()).where(SendRequest.run_id.in_(run_ids)).group_by(SendRequest.run_id)
    )
    return {row[0]: row[1] for row in rows if row[0] is not None}
