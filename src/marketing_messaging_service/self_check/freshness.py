"""Checks that events still come in, and look as they usually do."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, String, case, cast, func, literal, or_, select

from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.infrastructure.instants import hours_before
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import Load, Run, takes_everything
from src.marketing_messaging_service.unusual_hours import latest_run, unusual_hour
from src.marketing_messaging_service.vocabulary import Invariant


def fresh_loads(max_load_age_hours: int, now: datetime) -> Invariant:
    """Return the invariant that the newest file taken by an hourly run was loaded at most a number of hours ago."""
    # A backfill takes files of another time and a replay none, so they bring nothing new; and dates from a clock that
    # was a year ahead say nothing about today.
    hourly = select(Run.id).where(takes_everything())
    newest = (
        select(func.max(Load.loaded_at))
        .where(or_(Load.run_id.is_(None), Load.run_id.in_(hourly)), Load.loaded_at <= now)
        .scalar_subquery()
    )
    minute = func.substr(cast(newest, String), 1, len("2026-11-26 10:05"))
    loaded = told("the newest file was loaded at ", minute, " UTC")
    limit = literal(hours_before(now, max_load_age_hours), UtcDateTime)
    too_old = select(case((newest.is_(None), "no file was loaded yet"), else_=loaded)).where(
        or_(newest.is_(None), newest < limit)
    )
    return Invariant(
        "fresh_loads",
        f"No more than {max_load_age_hours} h have passed since a file was loaded",
        lambda _: [too_old],
        "See whether the producers still write into LANDING_PATH, and whether the hourly run takes what is there.",
    )


def _unusual(connection: Connection) -> Iterator[Select[Any]]:
    run_id = latest_run(connection)
    for sentence in unusual_hour(connection, run_id) if run_id else ():
        yield select(literal(sentence))


USUAL_HOUR = Invariant(
    "usual_hour",
    "The newest hour has its usual shares of rejected lines and messages",
    _unusual,
    "Look at the newest hourly run's report: at the lines it rejected, and at its rules.",
)
"""The invariant that the last hour looks like the same hours of the last four weeks; it holds with less history."""
