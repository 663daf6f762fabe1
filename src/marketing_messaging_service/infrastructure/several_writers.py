"""Runs that write at the same time, where the database is a server that lets them."""

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
    """Return what keeps runs apart that write at the same time; None where one at a time writes."""
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
    """Hold the right to run beside others that hold a place; no run that is to be alone begins meanwhile.

    `make_ready` is called, while no other run is at work, where the database is not ready. Raises RunInProgressError
    when a run that is alone does not end in time, and DatabaseError when the place cannot be asked for.
    """
    with ExitStack() as held:
        with foreseeable_errors():
            several = _several(database_url)
            place = held.enter_context(several.place(database_url, timeout_seconds, on_wait, is_ready, make_ready))
        yield place


def end_lease(engine: Engine) -> None:
    """Let a run that wrote alone, and was killed, or lives on and was forgotten by the server, hold no lease."""
    with write_transaction(engine) as connection:
        connection.execute(delete(LEASE))


def decide_transaction(engine: Engine) -> AbstractContextManager[Connection]:
    """Yield a connection inside the one transaction that decides; it sees one moment, whoever loads beside it."""
    if is_beside_others(engine):
        return write_transaction(engine.execution_options(**{DECIDES_OPTION: True}))
    return write_transaction(engine)


@contextmanager
def deciding_alone(engine: Engine) -> Iterator[Decider]:
    """Be the only one that decides, in several transactions. Raises DatabaseError when it takes others too long."""
    several = _several_of(engine)
    with ExitStack() as held:
        with foreseeable_errors():
            decider = held.enter_context(several.decider(engine))
        yield decider


@contextmanager
def alone_transaction(engine: Engine, decider: Decider) -> Iterator[tuple[Connection, Callable[[], str]]]:
    """Yield a connection inside a transaction that nobody writes beside, and how to keep the moment after it.

    That is for afterwards: it ends the transaction, and returns the name of a moment which holds what it wrote.
    """
    with foreseeable_errors(), decider.alone():
        moments: list[str] = []
        with write_transaction(engine.execution_options(**{ALONE_OPTION: True})) as connection:
            yield connection, lambda: moments[0]
        moments.append(decider.moment())


def transaction_of_moment(engine: Engine, moment: str) -> AbstractContextManager[Connection]:
    """Yield a connection inside a transaction that writes, and sees a moment that was kept."""
    return write_transaction(engine.execution_options(**{MOMENT_OPTION: moment}))


def by_index(connection: Connection) -> AbstractContextManager[None]:
    """Have statements look rows up by indexes where others fill the same tables meanwhile.

    To the planner such a table may be empty still, so that it would have all of it read for each row.
    """
    several = writers_of(connection)
    return several.by_index(connection) if several else nullcontext()


def next_ids(connection: Connection, model: type[Any], count: int) -> int:
    """Return the first of so many ids of a table that follow each other; nobody else is given any of them."""
    table = model.__table__
    assert isinstance(table, Table)  # noqa: S101  the type checker knows less of declarative classes
    if several := writers_of(connection):
        return several.next_ids(connection, table, count)
    # Whoever writes alone numbers rows as if nothing had ever been taken back.
    return int(connection.execute(select(func.coalesce(func.max(table.c.id), 0) + 1)).scalar_one())


def _several_of(engine: Engine) -> SeveralWriters:
    several = writers_of(engine)
    assert several is not None  # noqa: S101  whoever asks has made sure of it
    return several


def _several(database_url: str) -> SeveralWriters:
    several = dialect_of(database_url).several_writers
    assert several is not None  # noqa: S101  the settings let nobody ask elsewhere
    return several
