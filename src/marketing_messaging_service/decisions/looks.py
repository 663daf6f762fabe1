"""Looks up what conditions ask about other events, so that no match costs more than a few steps into an index.

A small count without further comparisons is read from the index on (user_id, event_type, event_timestamp), which stops
at the count. Everything else comes from temporary tables for the users in question: the events that qualify, numbered
in order of time for each user and each value of `same`, so that a count is the difference of two numbers; and every
value of a trait, in the same order. Then 200,000 events of one user are 200,000 steps, and not their square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column as TableColumn
from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Insert,
    MetaData,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    String,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    true,
)

from src.marketing_messaging_service.decisions.conditions import (
    Condition,
    EventCondition,
    Happened,
    happenings,
    latest_traits,
)
from src.marketing_messaging_service.decisions.not_by_index import NotByIndex
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.sql_time import SecondsBefore
from src.marketing_messaging_service.decisions.truth import Looks, MatchRow
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import Event, EventProperties, UserTraits
from src.marketing_messaging_service.vocabulary import Field

# Made once, as making an alias takes longer than most of a statement.
_PRIOR = Event.__table__.alias("prior")
_BEFORE = Event.__table__.alias("before")

MOST_COUNTED = 10
"""The largest count that is read from the index of events, step by step."""


def is_counted_directly(happened: Happened) -> bool:
    """Return whether a few look-ups in the index of events are enough to count how often another event happened."""
    return not happened.where and not happened.same and _enough(happened) <= MOST_COUNTED


def looks_directly(happened: Happened, row: MatchRow) -> ColumnElement[bool]:
    """Return whether another event happened as often as asked, read from `events` up to the count that decides it."""
    found = others(happened, row, "id")
    enough = _enough(happened)
    if enough == 1:
        is_there = exists(found)
        return is_there if happened.at_most is None else ~is_there
    few = found.limit(enough).subquery("few")
    counted = select(func.count()).select_from(few).scalar_subquery()
    return _is_between(counted, happened)


def others(happened: Happened, row: MatchRow, column: str) -> Select[Any]:
    """Return a column of the other events of a type that are in the window of a match."""
    other = _PRIOR.c
    found: Select[Any] = select(other[column]).where(
        other.user_id == row.user_id,
        other.event_type == happened.event_type,
        _lies_within(other.event_timestamp, happened, row),
        other.id != row.event_id,
    )
    return found.correlate(*row.sources)


def _enough(happened: Happened) -> int:
    """Return the number at which counting can stop."""
    return happened.least if happened.at_most is None else happened.at_most + 1


def _is_between(count: ColumnElement[int], happened: Happened) -> ColumnElement[bool]:
    bounds = [count >= happened.least] if happened.least else []
    if happened.at_most is not None:
        bounds.append(count <= happened.at_most)
    return and_(true(), *bounds)


def _start(happened: Happened, row: MatchRow) -> SQLColumnExpression[datetime] | None:
    """Return when the window begins, None if it has no beginning."""
    if happened.within_hours is not None:
        return SecondsBefore(row.decision_time, seconds_of(happened.within_hours))
    return row.event_timestamp if happened.since_trigger else None


def _lies_within(at: SQLColumnExpression[datetime], happened: Happened, row: MatchRow) -> ColumnElement[bool]:
    start = _start(happened, row)
    return at <= row.decision_time if start is None else at.between(start, row.decision_time)


def with_payload(
    events: Select[Any], event_id: SQLColumnExpression[int] = Event.id, *, after: ColumnElement[int] | None = None
) -> Select[Any]:
    """Return a query of events joined to their properties and traits, where they have some.

    With `after`, all the events must have larger ids. PostgreSQL does not conclude by itself that it need not read the
    properties and traits of all the others.
    """
    for table in (EventProperties, UserTraits):
        of_event = table.event_id == event_id
        events = events.outerjoin(table, of_event if after is None else and_(of_event, table.event_id > after))
    return events


def meets(where: Iterable[EventCondition]) -> list[ColumnElement[bool]]:
    """Return the comparisons with an event that is joined to its payload."""
    return [each.compared(each.field.field.column) for each in where]


_OTHERS = ("event_type", "where", "same")


def _key(happened: Happened) -> str:
    """Return the key under which looks can share a table."""
    return happened.model_dump_json(include=set(_OTHERS))


def _temporary(name: str, *columns: TableColumn[Any]) -> Table:
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"], sqlite_with_rowid=False)


_users = _temporary(
    "batch_users",
    TableColumn("user_id", String, primary_key=True),
    TableColumn("first_at", UtcDateTime),
    TableColumn("last_at", UtcDateTime),
)
"""The users of the matches in question, and the decision times of their first and last match."""


_chosen = _temporary(
    "batch_chosen", TableColumn("user_id", String, primary_key=True), TableColumn("event_id", WHOLE_NUMBER)
)
"""The event that may give the latest trait, for some of these users."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """The events of one kind that a look counts, numbered in order of time per user and values of `same`."""

    happened: Happened
    table: Table

    @classmethod
    def of(cls, happened: Happened, name: str) -> _Counted:
        same = [
            TableColumn(f"same_{place}", path.field.column.type, primary_key=True)
            for place, path in enumerate(happened.same)
        ]
        return cls(
            happened,
            _temporary(
                name,
                TableColumn("user_id", String, primary_key=True),
                *same,
                TableColumn("at", UtcDateTime, primary_key=True),
                TableColumn("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
                TableColumn("number", WHOLE_NUMBER),
            ),
        )

    def filled(self) -> Sequence[Insert | Delete]:
        """Return the statement that fills the table."""
        same = [path.field.column for path in self.happened.same]
        number = func.row_number().over(partition_by=[Event.user_id, *same], order_by=[Event.event_timestamp, Event.id])
        rows = with_payload(select(Event.user_id, *same, Event.event_timestamp, Event.id, number).select_from(Event))
        rows = rows.where(
            Event.user_id.in_(select(_users.c.user_id)),
            Event.event_type == self.happened.event_type,
            *(column.is_not(None) for column in same),
            *meets(self.happened.where),
        )
        return [insert(self.table).from_select(list(self.table.c), rows)]

    def holds(self, happened: Happened, row: MatchRow) -> ColumnElement[bool]:
        """Return whether a match has the required number of them in its window, not counting itself."""
        start = _start(happened, row)
        count = self._number(row, lambda at: at <= row.decision_time)
        own: ColumnElement[bool] = exists().where(
            *self._of_match(row), self.table.c.at == row.event_timestamp, self.table.c.event_id == row.event_id
        )
        if start is not None:
            count = count - self._number(row, lambda at: at < start)
            own = and_(row.event_timestamp >= start, own)
        return _is_between(count - case((own, 1), else_=0), happened)

    def _of_match(self, row: MatchRow) -> list[ColumnElement[bool]]:
        same = (self.table.c[f"same_{place}"] == row.value(path.field) for place, path in enumerate(self.happened.same))
        return [self.table.c.user_id == row.user_id, *same]

    def _number(self, row: MatchRow, lies: Any) -> ColumnElement[int]:
        """Return how many are before a border."""
        last = (
            select(self.table.c.number)
            .where(*self._of_match(row), lies(self.table.c.at))
            .order_by(self.table.c.at.desc(), self.table.c.event_id.desc())
            .limit(1)
            .scalar_subquery()
        )
        return func.coalesce(last, 0)


@dataclass(frozen=True, slots=True)
class _Latest:
    """The values of a trait that may be the latest of a match, in the order of time."""

    trait: Field
    table: Table

    @classmethod
    def of(cls, trait: Field) -> _Latest:
        return cls(
            trait,
            _temporary(
                f"batch_latest_{trait.name}",
                TableColumn("user_id", String, primary_key=True),
                TableColumn("at", UtcDateTime, primary_key=True),
                TableColumn("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
                TableColumn("value", trait.column.type),
            ),
        )

    def filled(self) -> Sequence[Insert | Delete]:
        """Return the statements, in order, that fill the table with the possible latest values of the matches.

        First the values given from a user's first match to the last: mostly just the event being decided. Before that
        only the last value counts, and only where the first match has none at its own time. It is mostly in the newest
        event of that time, which the index alone finds, so few users have all of their events read.
        """
        event, user = Event.__table__.c, _users.c
        newest = (
            select(_BEFORE.c.id)
            .where(_BEFORE.c.user_id == user.user_id, _BEFORE.c.event_timestamp < user.first_at)
            .order_by(_BEFORE.c.event_timestamp.desc(), _BEFORE.c.id.desc())
            .limit(1)
        )
        said_before = UserTraits.__table__.alias("said_before")
        newest_that_says = newest.join(said_before, said_before.c.event_id == _BEFORE.c.id).where(
            said_before.c[self.trait.column.key].is_not(None)
        )
        is_missing = ~exists().where(self.table.c.user_id == user.user_id, self.table.c.at <= user.first_at)
        between = and_(
            event.user_id == NotByIndex(user.user_id), event.event_timestamp.between(user.first_at, user.last_at)
        )
        statements: list[Insert | Delete] = [self._filled_from(_users, between)]
        for found in (newest, newest_that_says):
            # Into a table first, because PostgreSQL would otherwise read all traits rather than join what a look finds.
            chosen = select(user.user_id, found.correlate(_users).scalar_subquery()).where(is_missing)
            statements += [
                insert(_chosen).from_select(list(_chosen.c), chosen),
                self._filled_from(_chosen, event.id == NotByIndex(_chosen.c.event_id)),
                delete(_chosen),
            ]
        return statements

    def _filled_from(self, users: Table, belongs: ColumnElement[bool]) -> Insert:
        """Return the statement that adds the values of the events that belong to users."""
        column = self.trait.column
        rows = (
            select(Event.user_id, Event.event_timestamp, Event.id, column)
            .select_from(users)
            .join(Event, belongs)
            .join(UserTraits, UserTraits.event_id == Event.id)
            .where(column.is_not(None))
        )
        return insert(self.table).from_select(list(self.table.c), rows)

    def value(self, row: MatchRow) -> ScalarSelect[Any]:
        """Return the last value at or before a match's decision time."""
        return (
            select(self.table.c.value)
            .where(self.table.c.user_id == row.user_id, self.table.c.at <= row.decision_time)
            .order_by(self.table.c.at.desc(), self.table.c.event_id.desc())
            .limit(1)
            .scalar_subquery()
        )


@dataclass(slots=True)
class LookTables:
    """The temporary tables that some conditions need; there are none before `create` and after `drop`."""

    conditions: Mapping[int, Condition]
    """The conditions, by a number of their owner, such as the position of a rule."""
    _counted: dict[str, _Counted] = field(init=False)
    _latest: dict[str, _Latest] = field(init=False)
    _askers: dict[str, set[int]] = field(init=False)
    """The numbers of the owners that need a table, by the table's name."""

    def __post_init__(self) -> None:
        """Find out what the conditions ask for; conditions that ask the same share a table."""
        self._counted, self._latest, self._askers = {}, {}, defaultdict(set)
        for number, condition in self.conditions.items():
            for each in happenings(condition):
                if not is_counted_directly(each):
                    name = f"batch_happened_{len(self._counted) + 1}"
                    counted = self._counted.setdefault(_key(each), _Counted.of(each, name))
                    self._askers[counted.table.name].add(number)
            for path in latest_traits(condition):
                latest = self._latest.setdefault(path.field.path, _Latest.of(path.field))
                self._askers[latest.table.name].add(number)

    @property
    def _tables(self) -> Sequence[_Counted | _Latest]:
        return [*self._counted.values(), *self._latest.values()]

    @property
    def are_needed(self) -> bool:
        """Whether any condition needs a table."""
        return bool(self._counted or self._latest)

    def create(self, connection: Connection, matches_of: Callable[[frozenset[int]], FromClause]) -> None:
        """Create the tables, each filled for the matches of the owners that need it.

        `matches_of` has the user_id of each match, and its decision time as `at`.
        """
        if not self.are_needed:
            return
        for table in (_users, _chosen):
            table.create(connection, checkfirst=False)
        known: frozenset[int] | None = None
        for each in sorted(self._tables, key=lambda each: sorted(self._askers[each.table.name])):
            askers = frozenset(self._askers[each.table.name])
            if askers != known:
                connection.execute(delete(_users))
                match = matches_of(askers).c
                users = select(match.user_id, func.min(match.at), func.max(match.at)).group_by(match.user_id)
                connection.execute(insert(_users).from_select(list(_users.c), users))
                known = askers
            each.table.create(connection, checkfirst=False)
            for statement in each.filled():
                connection.execute(statement)

    def drop(self, connection: Connection) -> None:
        """Drop the tables."""
        if self.are_needed:
            for table in (_users, _chosen, *(each.table for each in self._tables)):
                table.drop(connection, checkfirst=False)

    @property
    def looks(self) -> Looks:
        """How conditions look things up while the tables are there."""
        return Looks(self._happened, self._latest_value)

    def _happened(self, happened: Happened, row: MatchRow) -> ColumnElement[bool]:
        if is_counted_directly(happened):
            return looks_directly(happened, row)
        return self._counted[_key(happened)].holds(happened, row)

    def _latest_value(self, trait: Field, row: MatchRow) -> ColumnElement[Any]:
        return self._latest[trait.path].value(row)
