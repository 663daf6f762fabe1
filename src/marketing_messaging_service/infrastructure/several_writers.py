"""Lets several runs write at the same time, where the database is a server that allows it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, select

from src.marketing_messaging_service.infrastructure.database import Base, foreseeable_errors, write_transaction
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named, dialect_of
from src.marketing_messaging_service.infrastructure.dialects.dialect import (
    ALONE_OPTION,
    BESIDE_OTHERS_OPTION,
    DECIDES_OPTION,
    MOMENT_OPTION,
    Decider,
    PlaceAmongWriters,
    SeveralWriters,
)
from src.marketing_messaging_service.infrastructure.run_lease import LEASE

__all__ = [
    "PlaceAmongWriters",
    "alone_transaction",
    "by_index",
    "create_engine_beside_others",
    "decide_transaction",
    "deciding_alone",
    "end_lease",
    "is_beside_others",
    "next_ids",
    "place_among_writers",
    "transaction_of_moment",
    "writers_of",
]


def writers_of(bind: Connection | Engine) -> SeveralWriters | None:
    """Return what keeps runs that write at the same time apart; None if only one writes at a time."""
    return dialect_named(bind.dialect.name).several_writers if is_beside_others(bind) else None


def is_beside_others(bind: Connection | Engine) -> bool:
    """Return whether other runs may write while this engine, or a connection of it, does."""
    return bool(bind.get_execution_options().get(BESIDE_OTHERS_OPTION))


def create_engine_beside_others(database_url: str) -> Engine:
    """Return an engine whose transactions write beside those of other runs."""
    return _several(database_url).engine(database_url, Base.metadata)


@contextmanager
def place_among_writers(
    database_url: str,
    timeout_seconds: float,
    on_wait: Callable[[], None],
    *,
    is_ready: Callable[[], bool],
    make_ready: Callable[[], None],
) -> Iterator[PlaceAmongWriters]:
    """Hold the right to run beside others with a place; no run that has to be alone begins meanwhile.

    If the database is not ready, `make_ready` is called while no other run is at work. Raises RunInProgressError when a
    run that works alone does not end in time, and DatabaseError when the place cannot be requested.
    """
    with ExitStack() as held:
        with foreseeable_errors():
            several = _several(database_url)
            place = held.enter_context(several.place(database_url, timeout_seconds, on_wait, is_ready, make_ready))
        yield place


def end_lease(engine: Engine) -> None:
    """Take the lease from a run that wrote alone and was killed, or is alive but was dropped by the server."""
    with write_transaction(engine) as connection:
        connection.execute(delete(LEASE))


def decide_transaction(engine: Engine) -> AbstractContextManager[Connection]:
    """Yield a connection inside the one deciding transaction; it sees one snapshot, whatever others load meanwhile."""
    if is_beside_others(engine):
        return write_transaction(engine.execution_options(**{DECIDES_OPTION: True}))
    return write_transaction(engine)


@contextmanager
def deciding_alone(engine: Engine) -> Iterator[Decider]:
    """Be the only one that decides, in several transactions. Raises DatabaseError when others take too long."""
    several = _several_of(engine)
    with ExitStack() as held:
        with foreseeable_errors():
            decider = held.enter_context(several.decider(engine))
        yield decider


@contextmanager
def alone_transaction(engine: Engine, decider: Decider) -> Iterator[tuple[Connection, Callable[[], str]]]:
    """Yield a connection in a transaction during which nobody else writes, and a function that keeps a snapshot.

    Call the function last: it ends the transaction, and returns the name of a snapshot that contains what it wrote.
    """
    with foreseeable_errors(), decider.alone():
        moments: list[str] = []
        with write_transaction(engine.execution_options(**{ALONE_OPTION: True})) as connection:
            yield connection, lambda: moments[0]
        moments.append(decider.moment())


def transaction_of_moment(engine: Engine, moment: str) -> AbstractContextManager[Connection]:
    """Yield a connection inside a transaction that writes, and that sees a kept snapshot."""
    return write_transaction(engine.execution_options(**{MOMENT_OPTION: moment}))


def by_index(connection: Connection) -> AbstractContextManager[None]:
    """Make statements look rows up by indexes where others are filling the same tables.

    To the planner such a table may still be empty, so it would read all of it for each row.
    """
    several = writers_of(connection)
    return several.by_index(connection) if several else nullcontext()


def next_ids(connection: Connection, model: type[Any], count: int) -> int:
    """Return the first of `count` consecutive ids of a table; nobody else gets any of them."""
    table = model.__table__
    assert isinstance(table, Table)  # noqa: S101  the type checker knows less of declarative classes
    if several := writers_of(connection):
        return several.next_ids(connection, table, count)
    # A run that writes alone numbers rows as if nothing had ever been rolled back.
    return int(connection.execute(select(func.coalesce(func.max(table.c.id), 0) + 1)).scalar_one())


def _several_of(engine: Engine) -> SeveralWriters:
    several = writers_of(engine)
    assert several is not None  # noqa: S101  whoever asks has made sure of it
    return several


def _several(database_url: str) -> SeveralWriters:
    several = dialect_of(database_url).several_writers
    assert several is not None  # noqa: S101  the settings let nobody ask elsewhere
    return several
