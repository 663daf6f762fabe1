"""Lets several runs write at the same time: what each holds on the server, and how their transactions begin.

A run holds advisory locks in one session, which are released when the run is gone, however it ends:

- the run lock, shared with runs like it, so that no run that writes alone begins meanwhile; - a lock for each file that
  it is taking, by content, and one that shows that it is alive.

Their transactions share the writer's lock, which a run that writes alone takes exclusively. A deciding transaction
starts when no other one is under way, and shares the lock as soon as it has its snapshot. So loads are numbered in an
order that every batch agrees with: it sees those up to one number, and none after it.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, NullPool, Table, bindparam, event, make_url, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from src.marketing_messaging_service.errors import WHO_DOES_THE_REST, LeaseLostError
from src.marketing_messaging_service.infrastructure.dialects.dialect import (
    ALONE_OPTION,
    BESIDE_OTHERS_OPTION,
    DECIDES_OPTION,
    MOMENT_OPTION,
    READS_OPTION,
    PlaceAmongWriters,
)
from src.marketing_messaging_service.infrastructure.dialects.dialect import Decider as DeciderProtocol
from src.marketing_messaging_service.infrastructure.dialects.postgresql import copying
from src.marketing_messaging_service.infrastructure.dialects.postgresql.sequences import raise_sequences
from src.marketing_messaging_service.infrastructure.dialects.postgresql.sessions import (
    LOOK_SECONDS,
    RUN_LOCK,
    WRITER_LOCK,
    engine_of,
    refuse_pooler,
)
from src.marketing_messaging_service.infrastructure.dialects.postgresql.url import shown
from src.marketing_messaging_service.infrastructure.turns import take_turn

DECIDER_LOCK = 6_017_342_203
"""The advisory lock that a deciding transaction holds from before its beginning to its end."""

NUMBERS_LOCK = 6_017_342_204
"""The advisory lock held briefly while blocks of ids are given out."""

LOCK_TIMEOUT_SECONDS = 600
"""How long a transaction waits for others: for one that loads the same events, or that decides."""

BITS = 64

_KEYS = bindparam("keys", type_=ARRAY(BIGINT))
_TRY = text("SELECT key, pg_try_advisory_lock(key) FROM unnest(:keys) AS wanted (key)").bindparams(_KEYS)
_UNLOCK = text("SELECT pg_advisory_unlock(key) FROM unnest(:keys) AS had (key)").bindparams(_KEYS)

_HELD = (
    "SELECT (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) FROM pg_locks WHERE locktype = 'advisory' AND "
    "objsubid = 1 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""The keys of all advisory locks held in the database."""


def key_of(name: str) -> int:
    """Return the key of an advisory lock that has a name instead of a number: its hash as a signed 64-bit number."""
    return int.from_bytes(blake2b(name.encode(), digest_size=BITS // 8).digest(), signed=True)


def _key_of_run(run_id: int) -> int:
    return key_of(f"run {run_id}")


class Place:
    """What one run holds, as long as its session lives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        self._turn = threading.Lock()

    def claim(self, names: Collection[str]) -> set[str]:
        """Claim the names that are not claimed yet, by this or any other run; return those claimed."""
        by_key = {key_of(name): name for name in names}
        if not by_key:
            return set()
        with self._turn:
            self._refuse_lost()
            tried = self._connection.execute(_TRY, {"keys": list(by_key)}).all()
        return {by_key[key] for key, is_had in tried if is_had}

    def let_go(self, names: Collection[str]) -> None:
        """Release claimed names; those of a killed run are released automatically."""
        # The claims of a broken session are released automatically, too.
        with self._turn, suppress(DBAPIError, PendingRollbackError):
            self._connection.execute(_UNLOCK, {"keys": [key_of(name) for name in names]})

    def show_life(self, run_id: int) -> None:
        """Show everybody that the run with that number is alive, for as long as it is."""
        with self._turn:
            self._refuse_lost()
            self._connection.exec_driver_sql(f"SELECT pg_advisory_lock({_key_of_run(run_id)})")

    def _refuse_lost(self) -> None:
        """Raise LeaseLostError when releasing names has already shown that the session broke."""
        if self._connection.invalidated:
            raise _lost_place()

    @contextmanager
    def guarding(self, engine: Engine) -> Iterator[None]:
        """Have each transaction of an engine that writes fail before its commit when the place is lost.

        If it were lost between the check and the commit, a run that writes alone would still wait for the commit,
        because the transaction shares the writer's lock until then.
        """

        def look(connection: Connection) -> None:
            if not connection.get_execution_options().get(READS_OPTION) and not self._is_held(connection):
                raise _lost_place()

        event.listen(engine, "commit", look)
        try:
            yield
        finally:
            event.remove(engine, "commit", look)

    def _is_held(self, connection: Connection) -> bool:
        held = connection.exec_driver_sql(f"{_HELD} AND pid = {self._session} AND mode = 'ShareLock'")
        return RUN_LOCK in set(held.scalars())


def _lost_place() -> LeaseLostError:
    return LeaseLostError(
        "The connection with which this run held its place among the writers broke, so another "
        f"run may be at work instead. Its uncommitted work was rolled back. {WHO_DOES_THE_REST}"
    )


class PostgresqlWriters:
    """Several runs on one PostgreSQL database."""

    @contextmanager
    def place(
        self,
        database_url: str,
        timeout_seconds: float,
        on_wait: Callable[[], None],
        is_ready: Callable[[], bool],
        make_ready: Callable[[], None],
    ) -> Iterator[PlaceAmongWriters]:
        """Hold the run lock, shared, in its own session; everything that the run holds ends with that session."""
        url = make_url(database_url)
        engine = engine_of(url, poolclass=NullPool)

        def tried(function: str) -> bool:
            return bool(connection.exec_driver_sql(f"SELECT {function}({RUN_LOCK})").scalar_one())

        def has_place() -> bool:
            if tried("pg_try_advisory_lock_shared"):
                if is_ready():
                    return True
                tried("pg_advisory_unlock_shared")
                # If several find it not ready at once, the later ones find it ready when they check again.
                if tried("pg_try_advisory_lock"):
                    make_ready()
                    connection.exec_driver_sql(f"SELECT pg_advisory_lock_shared({RUN_LOCK})")
                    return tried("pg_advisory_unlock")
            return False

        def has_acquired(seconds: float) -> bool:
            deadline = time.monotonic() + seconds
            while not has_place():
                if time.monotonic() >= deadline:
                    return False
                time.sleep(min(LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
            return True

        with engine.connect() as connection:
            refuse_pooler(engine, connection, shown(url))
            try:
                take_turn(has_acquired, shown(url), timeout_seconds, on_wait)
                yield Place(connection)
            finally:
                with suppress(Exception):
                    connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
                # If the server no longer answers, the locks go with the session.
                connection.invalidate()

    def engine(self, database_url: str, own: MetaData) -> Engine:
        """Return an engine whose transactions write beside those of other runs; those that decide, one at a time."""
        engine = engine_of(
            make_url(database_url),
            poolclass=NullPool,
            lock_timeout_seconds=LOCK_TIMEOUT_SECONDS,
            execution_options={BESIDE_OTHERS_OPTION: True},
        )
        first = [True]

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            if options.get(READS_OPTION):
                connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return
            try:
                for statement in _beginning(options):
                    connection.exec_driver_sql(statement)
                if first:
                    with _numbers_in_turn(connection):
                        connection.exec_driver_sql(raise_sequences(own).replace("%", "%%"))
                    first.clear()
            except DBAPIError:
                connection.invalidate()
                raise

        return engine

    @contextmanager
    def decider(self, engine: Engine) -> Iterator[DeciderProtocol]:
        """Be the only one that decides, by a lock in its own session."""
        with engine.connect() as connection:
            session: Any = connection.connection.driver_connection
            try:
                session.execute(f"SELECT pg_advisory_lock({DECIDER_LOCK})")
                yield Decider(session)
            finally:
                # The lock goes with the session, and so does the kept snapshot.
                connection.invalidate()

    def next_ids(self, connection: Connection, table: Table, count: int) -> int:
        """Return the first of `count` consecutive ids of a table that nobody else gets.

        The table's ids come from its sequence only in this way; those of a transaction that is rolled back are not
        given again.
        """
        counter = f"pg_get_serial_sequence('\"{table.name}\"', 'id')"
        with _numbers_in_turn(connection):
            first: int = connection.exec_driver_sql(f"SELECT nextval({counter})").scalar_one()
            if count > 1:
                connection.exec_driver_sql(f"SELECT setval({counter}, {first + count - 1})")
        return first

    def copy_new_rows(
        self, connection: Connection, table: Table, parts: Iterable[Mapping[str, Sequence[Any]]], *, unique: str
    ) -> int:
        """Append rows, some of which may be there already, by one statement, and return how many went in.

        If another run inserts the same ones, the statement waits until they are committed or rolled back. All go in the
        order of their keys, so two such statements never wait for each other.
        """
        return copying.copy_new_rows(connection, table, parts, unique=unique)

    @contextmanager
    def by_index(self, connection: Connection) -> Iterator[None]:
        """Use indexes for lookups instead of reading whole tables."""
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        yield
        connection.exec_driver_sql("SET LOCAL enable_seqscan TO DEFAULT")

    def take_turns(self, connection: Connection, what: str) -> None:
        """Let one transaction at a time do something, from here to its end."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({key_of(what)})")

    def living_runs(self, connection: Connection, run_ids: Collection[int]) -> set[int]:
        """Return which of some runs show that they are alive."""
        held = set(connection.exec_driver_sql(_HELD).scalars())
        return {run_id for run_id in run_ids if _key_of_run(run_id) in held}


_WRITING = (
    # Each statement sees what others have committed: what was new a moment ago may be stored by now.
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    f"SELECT pg_advisory_xact_lock_shared({WRITER_LOCK})",
)

_DECIDING = (
    f"SELECT pg_advisory_lock({DECIDER_LOCK})",
    f"SELECT pg_advisory_lock({WRITER_LOCK})",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    f"SELECT pg_advisory_xact_lock({DECIDER_LOCK}), pg_advisory_xact_lock_shared({WRITER_LOCK})",
    f"SELECT pg_advisory_unlock({WRITER_LOCK}), pg_advisory_unlock({DECIDER_LOCK})",
)
"""Between the last two, no transaction of another run is under way, so every load is committed or yet to come."""


_ALONE = ("BEGIN ISOLATION LEVEL REPEATABLE READ",)


def _beginning(options: Mapping[str, Any]) -> Sequence[str]:
    """Return how a transaction that writes begins."""
    if moment := options.get(MOMENT_OPTION):
        # Before its first query. It sees what was committed before, nothing since.
        seen = f"SET TRANSACTION SNAPSHOT '{moment}'"
        return (*_ALONE, seen, f"SELECT pg_advisory_xact_lock_shared({WRITER_LOCK})")
    if options.get(ALONE_OPTION):
        return _ALONE
    return _DECIDING if options.get(DECIDES_OPTION) else _WRITING


class Decider:
    """The session of whoever decides in several transactions."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._has_moment = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the writer's lock for itself."""
        self._session.execute(f"SELECT pg_advisory_lock({WRITER_LOCK})")
        yield
        self._session.execute(f"SELECT pg_advisory_unlock({WRITER_LOCK})")

    def moment(self) -> str:
        """Export the snapshot of a transaction that lasts until the next snapshot is kept, or the session ends."""
        if self._has_moment:
            self._session.execute("ROLLBACK")
        self._has_moment = True
        self._session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        name: str = self._session.execute("SELECT pg_export_snapshot()").fetchone()[0]
        return name


@contextmanager
def _numbers_in_turn(connection: Connection) -> Iterator[None]:
    """Give out ids exclusively; a session that fails in between is closed, and the lock with it."""
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({NUMBERS_LOCK})")
    yield
    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({NUMBERS_LOCK})")
