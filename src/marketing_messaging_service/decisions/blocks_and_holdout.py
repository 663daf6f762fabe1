"""Finds who gets no message whatever was sent before: the users whom a block holds back, and the holdout.

Blocks look at the run's logical time and not at a match's decision time, because nobody may get a message after saying
no. An event counts from its effective time: its own, or the logical time of the run that loaded it if that is earlier.
So a clock that runs ahead neither hides a no nor outlasts a later yes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Column as TableColumn
from sqlalchemy import (
    ColumnElement,
    Connection,
    MetaData,
    Select,
    String,
    Table,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union_all,
)

from src.marketing_messaging_service.decisions.conditions import Condition, latest_traits
from src.marketing_messaging_service.decisions.looks import meets, with_payload
from src.marketing_messaging_service.decisions.rules import Block, Holdout, Sign
from src.marketing_messaging_service.decisions.truth import Looks, MatchRow, holds
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models import Event, Load, UserTraits
from src.marketing_messaging_service.vocabulary import Field

USERS_AT_ONCE = 10_000

blocked_user = Table(
    "batch_blocked_users",
    MetaData(),
    TableColumn("user_id", String, primary_key=True),
    TableColumn("block_position", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    TableColumn("event_id", WHOLE_NUMBER),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""The users whom a block holds back, by the block's place in the file, and the event that blocks each."""

held_out_user = Table(
    "batch_held_out_users",
    MetaData(),
    TableColumn("user_id", String, primary_key=True),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""The users of the holdout."""

# An event loaded before loads were recorded counts from its own time.
_EFFECTIVE_TIME = case((Load.as_of < Event.event_timestamp, Load.as_of), else_=Event.event_timestamp)


def insert_blocked_users(connection: Connection, blocks: Sequence[Block], users: Select[Any], as_of: datetime) -> None:
    """Fill `batch_blocked_users` with the users, among those of a query of user_id, whom blocks hold back."""
    if not blocks:
        return
    _asked_user.create(connection, checkfirst=False)
    connection.execute(insert(_asked_user).from_select(["user_id"], users.distinct()))
    for position, block in enumerate(blocks):
        if block.from_ is not None:
            _insert_between(connection, position, block.from_, block.until, as_of)
        elif block.while_ is not None:
            _insert_while(connection, position, block.while_, as_of)
        else:
            raise AssertionError("a block has from or while")
    _asked_user.drop(connection, checkfirst=False)


_asked_user = Table(
    "batch_asked_users",
    MetaData(),
    TableColumn("user_id", String, primary_key=True),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)


_chosen_event = Table(
    "batch_chosen_events",
    MetaData(),
    TableColumn("user_id", String, primary_key=True),
    TableColumn("event_id", WHOLE_NUMBER),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""For each user, the event that may be the last to give a trait a value."""


@contextmanager
def _temporary(connection: Connection, table: Table) -> Iterator[Table]:
    table.create(connection, checkfirst=False)
    yield table
    table.drop(connection, checkfirst=False)


def _table_of_last(name: str, value: Field | None = None) -> Table:
    """Return a temporary table of one event per user, with its value of a trait.

    A table, not a subquery: SQLite looked through all of a joined subquery for each of 30,000 users.
    """
    columns = [TableColumn("value", value.column.type)] if value else []
    return Table(
        name,
        MetaData(),
        TableColumn("user_id", String, primary_key=True),
        TableColumn("event_id", WHOLE_NUMBER),
        TableColumn("event_timestamp", UtcDateTime),
        TableColumn("effective_time", UtcDateTime),
        *columns,
        prefixes=["TEMPORARY"],
        sqlite_with_rowid=False,
    )


def _insert_last(connection: Connection, table: Table, events: Select[Any]) -> None:
    """Fill a table with the last of some events for each user."""
    event = events.subquery("event")
    place = func.row_number().over(partition_by=event.c.user_id, order_by=_latest_first(event.c))
    ranked = select(event, place.label("place")).subquery("ranked")
    rows = select(*(ranked.c[column.name] for column in table.c)).where(ranked.c.place == 1)
    connection.execute(insert(table).from_select(list(table.c), rows))


def _latest_first(event: Any) -> list[ColumnElement[Any]]:
    return [event.effective_time.desc(), event.event_timestamp.desc(), event.event_id.desc()]


def _signs(sign: Sign) -> Select[Any]:
    """Return the events of these users that are such a sign."""
    columns = Event.user_id, Event.id.label("event_id"), Event.event_timestamp, _EFFECTIVE_TIME.label("effective_time")
    is_asked = Event.user_id.in_(select(_asked_user.c.user_id))
    events = select(*columns).select_from(Event).outerjoin(Load, Load.id == Event.load_id)
    events = events.where(is_asked, Event.event_type == sign.event_type, *meets(sign.where))
    return with_payload(events) if sign.where else events


def _insert_between(connection: Connection, position: int, begins: Sign, ends: Sign | None, as_of: datetime) -> None:
    with ExitStack() as tables:
        begin = tables.enter_context(_temporary(connection, _table_of_last("batch_begins")))
        _insert_last(connection, begin, _signs(begins))
        blocked = select(begin.c.user_id, literal(position), begin.c.event_id)
        if ends is not None:
            end = tables.enter_context(_temporary(connection, _table_of_last("batch_ends")))
            _insert_last(connection, end, _signs(ends).where(as_of >= _EFFECTIVE_TIME))
            has_ended = exists().where(end.c.user_id == begin.c.user_id, end.c.effective_time > begin.c.effective_time)
            blocked = blocked.where(~has_ended)
        connection.execute(insert(blocked_user).from_select(list(blocked_user.c), blocked))


def _insert_while(connection: Connection, position: int, condition: Condition, as_of: datetime) -> None:
    with ExitStack() as tables:
        latest: dict[Field, Table] = {}
        for path in latest_traits(condition):
            if path.field not in latest:
                table = _table_of_last(f"batch_trait_{path.field.name}", path.field)
                latest[path.field] = tables.enter_context(_temporary(connection, table))
        for trait, table in latest.items():
            _insert_latest_values(connection, table, trait, as_of)
        joined: Any = _asked_user
        for table in latest.values():
            joined = joined.outerjoin(table, table.c.user_id == _asked_user.c.user_id)
        # A block's conditions look at no event of their own.
        at = literal(as_of, UtcDateTime)
        row = MatchRow(literal(0), _asked_user.c.user_id, at, at, (_asked_user,))
        looks = Looks(_no_other_event, lambda trait, _: latest[trait].c.value)
        blocked = (
            select(_asked_user.c.user_id, literal(position), _last_giver(list(latest.values())))
            .select_from(joined)
            .where(holds(condition, row, looks))
        )
        connection.execute(insert(blocked_user).from_select(list(blocked_user.c), blocked))


def _insert_latest_values(connection: Connection, table: Table, trait: Field, as_of: datetime) -> None:
    """Fill a table with each user's last value of a trait, and the event that gave it.

    For most users that is their last event, which the index alone finds: if it counts from its own time, no other event
    can count from a later one. Only for the other users is every event looked at.
    """
    newest = select(Event.id).order_by(Event.event_timestamp.desc(), Event.id.desc())
    counts_from_own = or_(Load.id.is_(None), Event.event_timestamp <= Load.as_of)
    _insert_values(connection, table, trait, newest, Event.event_timestamp <= as_of, counts_from_own)
    last_giver = (
        _giving(select(Event.id), trait)
        .where(as_of >= _EFFECTIVE_TIME)
        .order_by(_EFFECTIVE_TIME.desc(), Event.event_timestamp.desc(), Event.id.desc())
    )
    _insert_values(connection, table, trait, last_giver)


def _insert_values(
    connection: Connection, table: Table, trait: Field, events: Select[int], *conditions: ColumnElement[bool]
) -> None:
    """For users who are not in a table yet, add the value that the first of their events gives a trait."""
    first = events.where(Event.user_id == _asked_user.c.user_id).limit(1).scalar_subquery()
    others = select(_asked_user.c.user_id, first).where(_asked_user.c.user_id.not_in(select(table.c.user_id)))
    with _temporary(connection, _chosen_event):
        connection.execute(insert(_chosen_event).from_select(list(_chosen_event.c), others))
        columns = Event.user_id, Event.id, Event.event_timestamp, _EFFECTIVE_TIME, trait.column
        values = _giving(select(*columns), trait).join(_chosen_event, _chosen_event.c.event_id == Event.id)
        connection.execute(insert(table).from_select(list(table.c), values.where(*conditions)))


def _giving(events: Select[Any], trait: Field) -> Select[Any]:
    """Return the events of a query that give a trait a value, joined to their loads."""
    joined = events.select_from(Event).outerjoin(Load, Load.id == Event.load_id)
    return joined.join(UserTraits, UserTraits.event_id == Event.id).where(trait.column.is_not(None))


def _last_giver(latest: Sequence[Table]) -> ColumnElement[Any]:
    """Return the last event that gave a user one of the traits; null if none did."""
    if len(latest) <= 1:
        return latest[0].c.event_id if latest else cast(null(), WHOLE_NUMBER)
    given = []
    for number, table in enumerate(latest):
        giver = table.alias(f"giver_{number}")
        columns = giver.c.event_id, giver.c.effective_time, giver.c.event_timestamp
        given.append(select(*columns).where(giver.c.user_id == _asked_user.c.user_id).correlate(_asked_user))
    every = union_all(*given).subquery("given").c
    return select(every.event_id).order_by(*_latest_first(every)).limit(1).scalar_subquery()


def _no_other_event(*_: Any) -> ColumnElement[bool]:
    raise AssertionError("a block looks at latest_traits alone")


def insert_held_out_users(connection: Connection, holdout: Holdout, users: Select[Any]) -> None:
    """Fill `batch_held_out_users` with the users, among those of a query of user_id, who are in the holdout."""
    every_user = connection.execute(users.distinct()).scalars()
    for some in every_user.partitions(USERS_AT_ONCE):
        rows = [{"user_id": user_id} for user_id in some if is_held_out(holdout, user_id)]
        if rows:
            connection.execute(insert(held_out_user), rows)


def is_held_out(holdout: Holdout, user_id: str) -> bool:
    """Return whether a user is in the holdout, by a hash that is the same in every run and on every machine."""
    digest = hashlib.md5(f"{holdout.salt}:{user_id}".encode(), usedforsecurity=False).hexdigest()
    # Percentages have at most two decimals, so they are compared as whole numbers.
    return int(digest[:8], 16) % 10_000 < int(holdout.percent * 100)
