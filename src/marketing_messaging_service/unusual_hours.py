"""Checks whether an hour looks like the same hours of the last four weeks: its shares of rejected lines and messages.

The hour is that of the runs' logical time. Only runs that take everything count: a backfill covers another time, and a
replay covers rejected lines.
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
"""How far back the history must reach."""

FEWEST_DAYS = 20
"""On how many of these days the hour must have had lines, or events."""

FEWEST = 50
"""With fewer lines, or events, an hour proves nothing."""

FEWEST_OFF = 10
"""By how many lines, or messages, it must be too many or too few."""

MOST_RUNS = 10_000
"""How many runs are looked back at; four weeks of hourly runs, and as many again by hand, are a tenth of it."""

DEVIATIONS = 4.0
"""From this many standard deviations a share is unusual: by chance that happens once in some years."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole: of `whole` lines or events, `part`."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share, 0 to 1 if each thing counts once; the whole is not 0."""
        return self.part / self.whole

    def __add__(self, other: Share) -> Share:
        return Share(self.part + other.part, self.whole + other.whole)


def is_unusual(share: Share, past: Sequence[Share]) -> bool:
    """Whether a share is outside all past ones, and too far from them for chance to explain it.

    Always False for a small whole or little history.
    """
    known = [each for each in past if each.whole]
    if share.whole < FEWEST or len(known) < FEWEST_DAYS:
        return False
    values = [each.value for each in known]
    if min(values) <= share.value <= max(values):
        return False
    # One more of each kind than there were, so that what never happened is not taken to be impossible.
    usual = (sum(each.part for each in known) + 1) / (sum(each.whole for each in known) + 2)
    if abs(share.part - usual * share.whole) < FEWEST_OFF:
        return False
    chance = max(usual * (1 - usual), 0.0) / share.whole
    return abs(share.value - usual) > DEVIATIONS * sqrt(chance + pvariance(values, fmean(values)))


def unusual_sentence(what: str, of_what: str, share: Share, past: Sequence[Share]) -> str:
    """Return in a sentence how unusual a share is, such as that of `rejected` `lines`; nothing if it is usual."""
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
    """Return in sentences what is unusual so far in a run's hour; none with less than four weeks of history."""
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
    """Return the newest run that takes everything; None if there was none."""
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
