"""How PostgreSQL is opened, written and read."""

import re
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Insert,
    MetaData,
    NullPool,
    Select,
    StaticPool,
    Table,
    event,
    exists,
    make_url,
    select,
    text,
    union,
)
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.dialect import (
    MIGRATES_OPTION,
    READS_OPTION,
    Complaint,
    SeveralWriters,
)
from src.marketing_messaging_service.infrastructure.dialects.postgresql import (
    compiling,  # noqa: F401  registers what it compiles
    copying,
    errors,
    objects,
)
from src.marketing_messaging_service.infrastructure.dialects.postgresql.sequences import set_sequences
from src.marketing_messaging_service.infrastructure.dialects.postgresql.sessions import (
    LOOK_SECONDS,
    RUN_LOCK,
    WRITER_LOCK,
    engine_of,
    refuse_pooler,
)
from src.marketing_messaging_service.infrastructure.dialects.postgresql.spelling import SPELLINGS
from src.marketing_messaging_service.infrastructure.dialects.postgresql.url import MISSING_DRIVER, refuse_url, shown
from src.marketing_messaging_service.infrastructure.dialects.postgresql.writers import PostgresqlWriters
from src.marketing_messaging_service.infrastructure.dialects.schema_object import SchemaObject
from src.marketing_messaging_service.infrastructure.sql_text import row_told, told
from src.marketing_messaging_service.infrastructure.turns import take_turn

SAMPLE = 10
"""How large a sample of a table ANALYZE reads in a transaction: 3,000 rows, a tenth of the server's default."""

ORDERED_BY_CODE_POINT = ("C", "POSIX", "C.UTF-8", "C.utf8")

_PREVIEW = "preview"


class PostgresqlDialect:
    """PostgreSQL by psycopg.

    A transaction that writes takes an advisory lock before it begins, so only one writes at a time, as on SQLite: each
    sees everything committed before it, and none fails half-way because of another.
    """

    name = "postgresql"
    spellings = SPELLINGS
    times_are_text = False
    money_is_units = False
    has_frozen_views = False
    rebuilds_indexes = False
    holds_views = True
    lock_spans_machines = True
    holds_nul = False
    several_writers: SeveralWriters | None = PostgresqlWriters()
    after_damage = "Restore a backup, then run again."

    def refuse_url(self, url: URL, as_written: str) -> None:
        """Raise ValueError when a URL names no database of a server, or its driver is not there."""
        del as_written
        refuse_url(url)

    def copy_name(self, url: URL) -> str:
        """Return the name of a copy for analysts, which is that of the database."""
        return re.sub(r"[^\w.-]", "_", url.database or "") + ".db"

    def copy_command(self, url: URL) -> str:
        """Return the command that copies the database into a file."""
        return f"pg_dump --format=custom --file=copy.dump {shlex.quote(url.database or '')}"

    def file_of(self, url: URL) -> Path | None:
        """Return None: a server has the database."""
        del url
        return None

    def shown(self, url: URL) -> str:
        """Return user, server and database, and nothing else from a URL, such as a password."""
        return shown(url)

    def is_there(self, url: URL) -> bool:
        """Return True: the server itself will say if not."""
        del url
        return True

    def refuse_missing(self, url: URL) -> None:
        """Do nothing: the server will say so when connecting."""

    @contextmanager
    def run_lock(self, database_url: str, timeout_seconds: float, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold an advisory lock in its own session; it ends with the session."""
        url = make_url(database_url)
        engine = engine_of(url, poolclass=NullPool)

        def has_acquired(seconds: float) -> bool:
            deadline = time.monotonic() + seconds
            while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({RUN_LOCK})").scalar_one():
                if time.monotonic() >= deadline:
                    return False
                time.sleep(min(LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
            return True

        with engine.connect() as connection:
            refuse_pooler(engine, connection, self.shown(url))
            take_turn(has_acquired, self.shown(url), timeout_seconds, on_wait)
            try:
                yield
            finally:
                with suppress(Exception):
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({RUN_LOCK})")
                # If the server no longer answers, the lock goes with the session.
                connection.invalidate()

    def copy_rows(
        self, connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], *, unique: str | None
    ) -> int | None:
        """Append rows by COPY; with a unique column through a temporary table, in a fixed order."""
        return copying.copy_rows(connection, table, columns, unique=unique)

    def insert_ignoring(self, table: Table) -> Insert:
        """Return the statement that inserts rows into a table, except those whose key is already there."""
        # Those who use SQLite need only this dialect's name, and should not import SQLAlchemy's dialect.
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415

        return insert(table).on_conflict_do_nothing()

    def text_of_json(self, column: str, key: str) -> str:
        """Return the SQL expression that takes the text of a key from a column of JSON."""
        return f"(CAST({column} AS json) ->> '{key}')"

    def write_engine(self, database_url: str, own: MetaData, *, foreign_keys: bool, create: bool) -> Engine:
        """Return an engine whose every transaction holds the writer's lock, except those marked as reading.

        Rows are numbered as if nothing was ever rolled back: before the first transaction, and after a rollback, the
        sequences are set to where the rows end.
        """
        del foreign_keys  # SQLite's need: no table is rebuilt here.
        engine = engine_of(make_url(database_url), poolclass=NullPool, execution_options={MIGRATES_OPTION: create})

        uncertain = [True]

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get(READS_OPTION):
                connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return
            _take_lock_and_begin(connection)
            if uncertain:
                _set_sequences(connection, own)
                uncertain.clear()

        @event.listens_for(engine, "rollback")
        def note_rollback(connection: Connection) -> None:
            if not connection.get_execution_options().get(READS_OPTION):
                uncertain.append(True)

        return engine

    def read_engine(self, database_url: str) -> Engine:
        """Return an engine whose every transaction only reads."""
        return self.write_engine(database_url, MetaData(), foreign_keys=True, create=False).execution_options(
            **{READS_OPTION: True}
        )

    def make_ready(self, engine: Engine) -> None:
        """Do nothing: nothing else is needed."""

    def remark_on_readers(self, engine: Engine) -> str | None:
        """Return None: readers do not get in the way."""
        del engine
        return None

    def damage(self, engine: Engine) -> str | None:
        """Return None: the server reports damage when it meets it."""
        del engine
        return None

    def may_be_of_others(self, error: BaseException | None) -> bool:
        """Return False: the server names what refused."""
        del error
        return False

    def culprit_told(self, connection: Connection, error: BaseException | None, own: MetaData) -> str | None:
        """Return None: the server's own words name it."""
        del connection, error, own
        return None

    def after_moving(self, connection: Connection, own: MetaData) -> None:
        """Set the sequences to continue after the existing ids, and update the planner's statistics."""
        _set_sequences(connection, own)
        connection.exec_driver_sql(f"ANALYZE {', '.join(own.tables)}")

    @contextmanager
    def preview_engine(self, database_url: str, own: MetaData, is_over: Callable[[], bool]) -> Iterator[Engine]:
        """Yield an engine on which everything works and nothing is kept; it holds the writer's lock all the while.

        All its transactions are savepoints of one that is rolled back at the end; then the sequences are reset.
        """
        del is_over  # The server itself ends the waiting, in LOCK_TIMEOUT_SECONDS.
        engine = engine_of(
            make_url(database_url), poolclass=StaticPool, pool_reset_on_return=None, factory=_preview_connection()
        )
        with engine.connect() as connection:
            connection.rollback()
            driver: Any = connection.connection.driver_connection
            for statement in _lock_and_begin():
                driver.execute(statement)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            part: Any = connection.connection.driver_connection
            part.begin_part()

        try:
            yield engine
        finally:
            with suppress(Exception):
                driver.end()
                for statement in (*_lock_and_begin(), set_sequences(own), "COMMIT"):
                    driver.execute(statement)
            engine.dispose()

    def complaint(self, error: BaseException) -> Complaint | None:
        """Return what an error of psycopg says about outside conditions, None for any other error."""
        return errors.complaint(error)

    def words(self, error: BaseException) -> str:
        """Return the server's message of an error, without anything from a row."""
        return errors.words(error)

    def is_schema_fault(self, error: BaseException | None) -> bool:
        """Whether an error of psycopg says that a table, column, index or view is not there."""
        return errors.is_schema_fault(error)

    @contextmanager
    def cache_for_sorting(self, connection: Connection, *, is_for_indexes: bool) -> Iterator[None]:
        """Do nothing: the server sorts as it is configured."""
        del connection, is_for_indexes
        yield

    def tell_planner(self, connection: Connection, tables: Sequence[str]) -> None:
        """Analyze a sample of the rows: the server only does so a minute later, and plans by the old rows until then.

        A table locked by another statement, such as a manual VACUUM, is skipped.
        """
        connection.exec_driver_sql(f"SET LOCAL default_statistics_target = {SAMPLE}")
        connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {', '.join(tables)}")
        connection.exec_driver_sql("SET LOCAL default_statistics_target TO DEFAULT")

    @contextmanager
    def interruptible(self, engine: Engine, is_over: Callable[[], bool]) -> Iterator[None]:
        """Cancel the statements of the engine soon after `is_over` has become true, once."""
        at_work: set[Any] = set()
        ended = threading.Event()

        def begun(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
            at_work.add(dbapi_connection)

        def done(dbapi_connection: Any, _record: Any) -> None:
            at_work.discard(dbapi_connection)

        def watch() -> None:
            while not ended.wait(LOOK_SECONDS):
                if is_over():
                    for each in list(at_work):
                        with suppress(Exception):
                            each.cancel()
                    return

        event.listen(engine, "checkout", begun)
        event.listen(engine, "checkin", done)
        watcher = threading.Thread(target=watch, name="interruptible", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            event.remove(engine, "checkout", begun)
            event.remove(engine, "checkin", done)

    def triggers_on(self, connection: Connection, table_names: Collection[str]) -> list[str]:
        """Return the names of the triggers on some tables, none of which is this project's."""
        names = text(
            "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE NOT t.tgisinternal AND c.relname = ANY(:table_names) ORDER BY t.tgname"
        )
        return list(connection.execute(names, {"table_names": list(table_names)}).scalars())

    def prepare_migration(self, connection: Connection) -> None:
        """Raise DatabaseError where the database does not order text by code point, as every comparison here does."""
        collation, provider = connection.exec_driver_sql(
            "SELECT datcollate, datlocprovider FROM pg_database WHERE datname = current_database()"
        ).one()
        if provider == "i" or collation not in ORDERED_BY_CODE_POINT:
            raise DatabaseError(
                f"The database orders text by the collation {collation}, not by code point, so it would "
                "decide differently; nothing was changed. Create a new database (createdb --template "
                "template0 --locale C --encoding UTF8 NAME) and let DATABASE_URL name that one."
            )

    def damages(self) -> Sequence[Select[Any]]:
        """Return nothing: the server reports damage when it meets it."""
        return ()

    def dangling_references(self, connection: Connection, own: MetaData) -> Select[Any]:
        """Return a query for rows whose foreign key points at nothing; a dropped constraint would not refuse them."""
        del connection
        dangling = []
        for table in own.sorted_tables:
            for key in (element for each in table.foreign_key_constraints for element in each.elements):
                found = key.column.table.alias("found").c[key.column.name]
                place = told(row_told(table), f" points at no row of {key.column.table.name}")
                dangling.append(select(place).where(key.parent.is_not(None), ~exists().where(found == key.parent)))
        return select(*union(*dangling).subquery("dangling").c)

    def other_modes(self, connection: Connection) -> Sequence[Select[Any]]:
        """Return nothing: a server may be in any mode."""
        del connection
        return ()

    def other_timestamps(self, column: Column[Any]) -> Sequence[Select[Any]]:
        """Return nothing: the column can only hold instants."""
        del column
        return ()

    def standing_objects(self, connection: Connection) -> list[SchemaObject]:
        """Return the objects of the schema, except those that the server makes for a table's constraints."""
        return objects.standing_objects(connection, "current_schema()::regnamespace")

    def declared_objects(
        self, connection: Connection, own: MetaData, views: Mapping[str, str]
    ) -> Iterable[SchemaObject]:
        """Return what the migrations make, as the server describes it when it is made temporarily."""
        with engine_of(connection.engine.url, poolclass=NullPool).connect() as scratch:
            return objects.declared_objects(scratch, own, views)

    def making_problem(self, error: BaseException | None) -> str | None:
        """Return the server's message about an index or view that cannot be made; None if the cause is outside."""
        return errors.making_problem(error)


def _lock_and_begin() -> tuple[str, ...]:
    # Before the transaction: its snapshot, taken by its first statement, must not miss what the previous holder wrote.
    return (
        f"SELECT pg_advisory_lock({WRITER_LOCK})",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        f"SELECT pg_advisory_xact_lock({WRITER_LOCK}), pg_advisory_unlock({WRITER_LOCK})",
    )


def _take_lock_and_begin(connection: Connection) -> None:
    try:
        for statement in _lock_and_begin():
            connection.exec_driver_sql(statement)
    except DBAPIError:
        connection.invalidate()
        raise


def _set_sequences(connection: Connection, own: MetaData) -> None:
    connection.exec_driver_sql(set_sequences(own).replace("%", "%%"))


def _preview_connection() -> Any:
    """Return a connection class whose transactions are savepoints of one that is never committed."""
    try:
        import psycopg  # noqa: PLC0415  an extra that need not be installed
    except ModuleNotFoundError:
        raise DatabaseError(f"DATABASE_URL {MISSING_DRIVER}.") from None

    class PreviewConnection(psycopg.Connection[Any]):
        has_part = False

        def begin_part(self) -> None:
            self.execute(f"SAVEPOINT {_PREVIEW}")
            self.has_part = True

        def commit(self) -> None:
            if self.has_part:
                self.has_part = False
                self.execute(f"RELEASE {_PREVIEW}")

        def rollback(self) -> None:
            if self.has_part:
                self.has_part = False
                self.execute(f"ROLLBACK TO {_PREVIEW}")
                self.execute(f"RELEASE {_PREVIEW}")

        def end(self) -> None:
            super().rollback()

    return PreviewConnection
