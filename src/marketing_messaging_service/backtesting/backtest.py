"""Runs a backtest: decides the history twice, side by side, and finds the differences."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection as Driver
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import func, select

from src.marketing_messaging_service.backtesting import difference
from src.marketing_messaging_service.backtesting.comparison import compared
from src.marketing_messaging_service.backtesting.decided import ONLY_REPLAYED, replay_decided
from src.marketing_messaging_service.backtesting.difference import MANY_A_WEEK, Change, Counts, Difference
from src.marketing_messaging_service.backtesting.lateness import late_events
from src.marketing_messaging_service.backtesting.replay import replay
from src.marketing_messaging_service.backtesting.schedule import Span, run_of
from src.marketing_messaging_service.backtesting.scratch import Scratch
from src.marketing_messaging_service.backtesting.snapshot import (
    Look,
    bytes_needed,
    refuse_full_disk,
    take_snapshot,
)
from src.marketing_messaging_service.decisions.rule_warnings import rules_warnings
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.waiting import data_reach
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.infrastructure.database import (
    create_read_only_engine,
    ended_by,
    interruptible,
    read_transaction,
    refuse_missing,
    url_of,
)
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.schema_drift import refuse_older_schema

ROOM = 2.5
"""How many times the database's size a backtest takes on the disk: for the copy, and for deciding twice."""

SECONDS_A_MILLION = 12
"""About how long a million events take to be decided twice and compared."""

WHAT_WAS_DECIDED = "what was decided"
THE_SAME_ON_TIME = "the same with every event on time"


@dataclass(frozen=True, slots=True)
class NamedRules:
    """A version of the rules, and its name."""

    name: str
    file: RulesFile


@dataclass(frozen=True, slots=True)
class Question:
    """The question: what other rules would have decided or, without rules, what came too late."""

    before: NamedRules | None = None
    after: NamedRules | None = None
    since: datetime | None = None
    until: datetime | None = None
    more_than: int = MANY_A_WEEK


@dataclass(frozen=True, slots=True)
class Backtest:
    """The result."""

    difference: Difference
    _connection: Driver

    def changes(self) -> Iterator[Change]:
        """Yield every changed decision, in the order of the events."""
        return difference.every_change(self._connection)


@contextmanager
def backtest(
    database_url: str, question: Question, *, look: Look = lambda: None, info: Callable[[str], None] = lambda _: None
) -> Iterator[Backtest]:
    """Decide the history twice on a copy of what is needed, and yield what differs; the database is only read.

    `look` is called now and then and may stop the work by raising; `info` receives the estimate of time and space.
    Raises ParameterError if there is nothing in the window, and DatabaseError for outside causes.
    """
    began = time.monotonic()
    refuse_missing(database_url)
    with read_transaction(create_read_only_engine(database_url)) as connection:
        refuse_older_schema(connection)
    with TemporaryDirectory(prefix="backtest-") as name:
        folder = Path(name)
        needed = round(ROOM * bytes_needed(database_url))
        refuse_full_disk(folder, needed)
        history = folder / "history.db"
        take_snapshot(database_url, history, look)
        span = _span(history, question)
        seconds = max(1, round(span.event_count * SECONDS_A_MILLION / 1e6))
        info(
            f"Deciding {span.event_count:,} events twice, from {instant_text(span.since)} to "
            f"{instant_text(span.until)} UTC: some {seconds} s, and up to {needed / 1e6:.0f} MB in {folder.parent}."
        )
        with _decided_twice(folder, history, question, span, look) as found:
            yield replace(found, difference=replace(found.difference, seconds=round(time.monotonic() - began, 1)))


def _span(history: Path, question: Question) -> Span:
    """Return the window, cut to the existing events, with the number of its events."""
    with read_transaction(create_read_only_engine(url_of(history))) as connection:
        first = connection.execute(select(func.min(Event.event_timestamp))).scalar()
        reach = data_reach(connection)
        if first is None or reach is None:
            raise ParameterError("There is no event to decide: nothing has been loaded yet. Run the hourly job first.")
        end = run_of(reach)
        span = Span(max(question.since or first, first), min(question.until or end, end))
        within = Event.event_timestamp >= span.since, Event.event_timestamp < span.until
        count = connection.execute(select(func.count()).select_from(Event).where(*within)).scalar_one()
    if not count:
        raise ParameterError(
            f"No event is in the window; the loaded ones reach from {instant_text(first)} to "
            f"{instant_text(end)} UTC. Choose another since or until."
        )
    return replace(span, event_count=count)


@contextmanager
def _decided_twice(folder: Path, history: Path, question: Question, span: Span, look: Look) -> Iterator[Backtest]:
    is_over = ended_by(look)
    after = Scratch(folder / "after.db", history)
    before_path, notes, only, warnings = history, [], "", {}
    if question.after is None:
        with interruptible(after.engine, is_over):
            count = replay_decided(after, span, look)
        notes.append(f"Decided by {count:,} recorded batches, each with its own rules and logical time.")
        only = ONLY_REPLAYED
    else:
        asked = [(after, question.after.file)]
        if question.before is not None:
            before = Scratch(folder / "before.db", history)
            before_path = before.path
            asked.append((before, question.before.file))
        _replay_at_once(asked, span, look)
        if question.before is not None:
            warnings = _warnings(before, question.before, question.after)
    look()
    with compared(before_path, after.path, history, span, is_over, only=only) as connection:
        found = replace(
            _difference(connection, question, span),
            notes=tuple(notes),
            **warnings,
        )
        if question.after is None:
            late, unexplained = late_events(connection)
            found = replace(found, late=late, unexplained_count=unexplained)
        yield Backtest(found, connection)


def _replay_at_once(asked: Sequence[tuple[Scratch, RulesFile]], span: Span, look: Look) -> None:
    """Decide the span by each of some rules files, each in its own thread: SQLite lets others work meanwhile."""
    is_over = ended_by(look)

    def replay_one(scratch: Scratch, file: RulesFile) -> None:
        with interruptible(scratch.engine, is_over):
            replay(scratch, file, span, look)

    with ThreadPoolExecutor(len(asked), thread_name_prefix="backtest") as threads:
        for each in [threads.submit(replay_one, *one) for one in asked]:
            each.result()


def _difference(connection: Driver, question: Question, span: Span) -> Difference:
    rules, reasons = difference.outcomes(connection)
    user_count, users = difference.users(connection)
    weeks, crowded_users = difference.weeks(connection, question.more_than)
    return Difference(
        before_name=question.before.name if question.before else WHAT_WAS_DECIDED,
        after_name=question.after.name if question.after else THE_SAME_ON_TIME,
        since=span.since,
        until=span.until,
        event_count=span.event_count,
        sends=_sum([rule.sends for rule in rules]),
        alerts=_sum([rule.alerts for rule in rules]),
        suppressions=_sum([rule.suppressions for rule in rules]),
        rules=rules,
        reasons=reasons,
        kinds=difference.kinds(connection),
        days=difference.days(connection),
        weeks=weeks,
        more_than=question.more_than,
        crowded_users=crowded_users,
        user_count=user_count,
        users=users,
        stops_before=difference.stops(connection, "before"),
        stops_after=difference.stops(connection, "after"),
        examples=difference.examples(connection),
    )


def _sum(counts: list[Counts]) -> Counts:
    return Counts(sum(each.before for each in counts), sum(each.after for each in counts))


def _warnings(decided_before: Scratch, old: NamedRules, new: NamedRules) -> dict[str, Any]:
    """Return what is odd about the one file and not about the other, where the old rules decided last."""
    with read_transaction(decided_before.engine) as connection:
        before = rules_warnings(connection, old.file.whole)
        after = rules_warnings(connection, new.file.whole)
    return {
        "new_warnings": tuple(each for each in after if each not in before),
        "gone_warnings": tuple(each for each in before if each not in after),
    }
