"""How a SQLite file is opened, written and read."""

import os
import re
import shlex
import sqlite3
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    ExceptionContext,
    Insert,
    MetaData,
    NullPool,
    PoolProxiedConnection,
    Select,
    StaticPool,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.dialect import (
    MIGRATES_OPTION,
    READS_OPTION,
    Complaint,
    SeveralWriters,
)
from src.marketing_messaging_service.infrastructure.dialects.schema_object import SchemaObject
from src.marketing_messaging_service.infrastructure.dialects.sqlite import culprits, faults, wal
from src.marketing_messaging_service.infrastructure.dialects.sqlite.before_migrating import forget_copy
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import declared_objects, standing_objects
from src.marketing_messaging_service.infrastructure.dialects.sqlite.spelling import SPELLINGS
from src.marketing_messaging_service.infrastructure.dialects.sqlite.url import refuse_url
from src.marketing_messaging_service.infrastructure.file_lock import file_lock

BUSY_TIMEOUT_SECONDS = 60
"""How long a connection waits for another program's write lock, such as an analyst's, before it gives up."""

CACHE_KIBIBYTES = 32 * 1024
"""Page cache of a connection; sorting takes as much again. With 64 MB nothing measured is quicker; with SQLite's
default of 2 MB a million events load in 17.7 s instead of 11."""

SORTING_CACHE_KIBIBYTES = 8 * 1024
"""Page cache while matches are sorted: four million events are decided as fast with it, and in 60 MB less."""

INDEXING_CACHE_KIBIBYTES = 2 * 1024
"""Page cache while rows are appended and their indexes built. SQLite sorts as much at once as the cache holds, which is
quicker where the processor's own cache holds it too: three indexes of a million rows take 2.1 s of CPU, and with 8 MB
and two sorting threads 3.3 s and 30 MB more."""

_SCHEMA_FAULT = re.compile(
    "no such (table|column|index|view)|has no column|ON CONFLICT clause does not match|foreign key mismatch|"
    "cannot modify .* because it is a view"
)
"""What SQLite says when a table, column, index or view that a statement needs is missing or different."""

LOCK_LOOK_SECONDS = 0.25
"""How often a transaction that waits for the write lock checks whether it is still wanted."""

STEPS_BETWEEN_LOOKS = 1_000_000
"""How many steps of SQLite's machine between checks whether a statement is still wanted: about 20 ms."""

_LOOK = "is_over"
"""The key for the function of `interruptible` in a connection's info."""

_PRIMARY_CODE = 0xFF
"""The part of SQLite's extended result code that is the primary code."""

_CHECK_FILE = "Check that DATABASE_URL names a SQLite file that this user may write to."

_FREE_SPACE = (
    "Its disk, or the one for temporary files, is full: free some space, then run again. What was committed before is "
    "safe."
)

DAMAGED = "The file is damaged: put a copy from before back in its place, then run again."

_ADVICE = {
    "BUSY": f"Another program has held it for {BUSY_TIMEOUT_SECONDS} s; end that program, then run again.",
    "CANTOPEN": _CHECK_FILE,
    "CORRUPT": DAMAGED,
    "FULL": _FREE_SPACE,
    "INTERRUPT": "It was interrupted; run again.",
    # The error that a reader gets when there is no room for the -shm file that readers and writers share.
    "IOERR_SHMSIZE": _FREE_SPACE,
    "IOERR": "Its disk cannot be read or written: look at the disk, then run again.",
    "NOTADB": _CHECK_FILE,
    "PERM": _CHECK_FILE,
    "READONLY": _CHECK_FILE,
}
"""What to do about each of SQLite's result codes that come from outside and are not a defect."""


class _PreviewConnection(sqlite3.Connection):
    """Ends a transaction without keeping it: all are part of one that `preview_engine` rolls back at the end."""

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("RELEASE preview")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK TO preview")
            self.execute("RELEASE preview")


class SqliteDialect:
    """SQLite, in one file."""

    name = "sqlite"
    spellings = SPELLINGS
    times_are_text = True
    money_is_units = True
    has_frozen_views = True
    rebuilds_indexes = True
    holds_views = False
    lock_spans_machines = False
    holds_nul = True
    several_writers: SeveralWriters | None = None
    after_damage = DAMAGED

    def refuse_url(self, url: URL, as_written: str) -> None:
        """Raise ValueError when a URL names no file."""
        refuse_url(url, as_written)

    def copy_name(self, url: URL) -> str:
        """Return the name of a copy for analysts: that of the file."""
        return Path(url.database or "").name

    def copy_command(self, url: URL) -> str:
        """Return the command that copies the file, including what is still in the -wal."""
        return f'sqlite3 {shlex.quote(url.database or "")} ".backup copy.db"'

    def file_of(self, url: URL) -> Path | None:
        """Return the database's file."""
        return Path(url.database or "")

    def shown(self, url: URL) -> str:
        """Return the database as people see it: its file."""
        return str(self.file_of(url))

    def is_there(self, url: URL) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(url.database or "")  # noqa: PTH113  Path.is_file raises where a folder is closed

    def refuse_missing(self, url: URL) -> None:
        """Raise DatabaseError when there is no such file, or it may not be read."""
        path = Path(url.database or "")
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            problem = "does not exist; run the hourly job first, or correct DATABASE_URL"
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            problem = f"cannot be read ({reason}); let this user read it, or correct DATABASE_URL"
        else:
            if stat.S_ISREG(mode):
                return
            problem = "is not a file; correct DATABASE_URL"
        raise DatabaseError(f"DATABASE_URL names {path}, which {problem}.")

    def run_lock(
        self, database_url: str, timeout_seconds: float, on_wait: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Hold the lock file beside the database's."""
        return file_lock(Path(make_url(database_url).database or ""), timeout_seconds, on_wait)

    def copy_rows(
        self, connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], *, unique: str | None
    ) -> int | None:
        """Leave the rows to statements; nothing is quicker here."""
        del connection, table, columns, unique
        return None

    def insert_ignoring(self, table: Table) -> Insert:
        """Return the statement that inserts rows into a table, except those whose key is already there."""
        return insert(table).on_conflict_do_nothing()

    def text_of_json(self, column: str, key: str) -> str:
        """Return the SQL expression that takes the text of a key from a column of JSON."""
        return f"json_extract({column}, '$.{key}')"

    def write_engine(self, database_url: str, own: MetaData, *, foreign_keys: bool, create: bool) -> Engine:
        """Return an engine whose every transaction takes the write lock at its start.

        A transaction that begins as a reader and writes later can fail half-way with "database is locked", so BEGIN
        IMMEDIATE is the rule and reading the exception. Connections are not pooled: the last one to close leaves no
        -wal file behind. A missing file is an error, not a new, empty database, unless it is to be created.
        """
        del own
        engine = create_engine(database_url, poolclass=NullPool, execution_options={MIGRATES_OPTION: create})
        if not create:
            _refuse_missing_file(engine)
        configure_connections(engine, foreign_keys=foreign_keys)
        return engine

    def read_engine(self, database_url: str) -> Engine:
        """Return an engine that neither creates nor writes the file.

        SQLite itself may leave an empty -wal file and a -shm file; the next writer removes them. Text that is not UTF-8
        gets replacement characters instead of an error.
        """
        path = Path(make_url(database_url).database or "")
        url = URL.create("sqlite", database=path.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
        engine = create_engine(url, poolclass=NullPool)
        configure_connections(engine, foreign_keys=True)

        @event.listens_for(engine, "connect")
        def read_any_text(dbapi_connection: Any, _record: Any) -> None:
            dbapi_connection.text_factory = lambda content: content.decode("utf-8", errors="replace")

        return engine

    def make_ready(self, engine: Engine) -> None:
        """Bring the file into WAL mode, and remove a copy left by a migration that was killed at the very end."""
        with engine.connect() as connection:
            wal.bring_into_wal(driver_connection(connection), BUSY_TIMEOUT_SECONDS)
        forget_copy(Path(engine.url.database or ""))

    def remark_on_readers(self, engine: Engine) -> str | None:
        """Return a sentence about readers that let the -wal file grow, None when there is nothing to remark on."""
        with engine.connect() as connection:
            kept = wal.kept_by_readers(driver_connection(connection))
        if kept <= wal.LARGEST_UNREMARKED_BYTES:
            return None
        path = Path(engine.url.database or "")
        return (
            f"{path.name}-wal holds {kept / 1e6:.0f} MB that cannot be moved into {path.name}, because another "
            "program, such as a notebook with an open cursor, is still reading an older state; every run adds "
            f"to it and makes reading slower. End that program, or its query (`lsof {path}` lists who has the file "
            "open): the next run then empties it."
        )

    def damage(self, engine: Engine) -> str | None:
        """Return the first thing that SQLite finds wrong with the file itself, None if it is sound."""
        try:
            with engine.connect().execution_options(**{READS_OPTION: True}) as connection, connection.begin():
                found: str = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except DBAPIError as error:
            complaint = self.complaint(error.orig) if error.orig else None
            return "its pages cannot be read" if complaint and DAMAGED in complaint.sentence else None
        return None if found == "ok" else found

    def may_be_of_others(self, error: BaseException | None) -> bool:
        """Whether an error of SQLite can be caused by somebody else's object."""
        return culprits.may_be_of_others(error)

    def culprit_told(self, connection: Connection, error: BaseException | None, own: MetaData) -> str | None:
        """Return a sentence about somebody else's object that caused an error, None if there is none."""
        return culprits.culprit_told(connection, error, own)

    def after_moving(self, connection: Connection, own: MetaData) -> None:
        """Do nothing: SQLite works out the next id from the rows."""

    @contextmanager
    def preview_engine(self, database_url: str, own: MetaData, is_over: Callable[[], bool]) -> Iterator[Engine]:
        """Yield an engine on which everything works and nothing is kept; it holds the write lock all the while.

        All its transactions share one connection and one database transaction, which is rolled back at the end; each
        sees what earlier ones did. Once an error, such as a full disk, has made SQLite itself roll it back, every
        further transaction raises that error.
        """
        del own
        engine = create_engine(
            database_url,
            poolclass=StaticPool,
            pool_reset_on_return=None,
            connect_args={"factory": _PreviewConnection, "check_same_thread": False},
        )
        ended_by: list[BaseException] = []

        @event.listens_for(engine, "handle_error")
        def note_end(context: ExceptionContext) -> None:
            fairy = context.connection and context.connection.connection
            if isinstance(fairy, PoolProxiedConnection) and not getattr(
                fairy.driver_connection, "in_transaction", True
            ):
                ended_by.append(context.sqlalchemy_exception or context.original_exception)

        @event.listens_for(engine, "begin")
        def refuse_after_end(_connection: Connection) -> None:
            # Outside a transaction, a savepoint begins one, and its release would commit.
            if ended_by:
                raise ended_by[0]

        configure_connections(engine, foreign_keys=True, begin="SAVEPOINT preview")
        connection: Any = engine.raw_connection().driver_connection
        try:
            wal.bring_into_wal(connection, BUSY_TIMEOUT_SECONDS)
            _begin_writing(connection, is_over)
            yield engine
        finally:
            sqlite3.Connection.rollback(connection)
            engine.dispose()

    def complaint(self, error: BaseException) -> Complaint | None:
        """Return what an error of SQLite says about outside conditions, None for any other error."""
        if isinstance(error, UnicodeDecodeError):
            # The driver raises this when SQLite quotes damaged bytes in an error message.
            return Complaint(f"it holds text that is not UTF-8. {DAMAGED}")
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
        # An extended code such as SQLITE_READONLY_DIRECTORY begins with its primary one.
        advice = _ADVICE.get(code) or _ADVICE.get(code.partition("_")[0])
        if str(error).startswith("Could not decode to UTF-8"):
            # The driver's own complaint, which has no result code.
            advice = DAMAGED
        if advice is None:
            return None
        return Complaint(f"{error}. {advice}", may_pass=code.startswith(("BUSY", "LOCKED")))

    def words(self, error: BaseException) -> str:
        """Return SQLite's message of an error, which contains nothing from a row."""
        return str(error)

    def is_schema_fault(self, error: BaseException | None) -> bool:
        """Whether an error of SQLite says that a table, column, index or view is not there."""
        return isinstance(error, sqlite3.Error) and _SCHEMA_FAULT.search(str(error)) is not None

    @contextmanager
    def cache_for_sorting(self, connection: Connection, *, is_for_indexes: bool) -> Iterator[None]:
        """Give a connection the cache that is best for sorting matches, or for building indexes."""
        kibibytes = INDEXING_CACHE_KIBIBYTES if is_for_indexes else SORTING_CACHE_KIBIBYTES
        connection.exec_driver_sql(f"PRAGMA cache_size=-{kibibytes}")
        yield
        # Not after an error, which ends the transaction anyway.
        connection.exec_driver_sql(f"PRAGMA cache_size=-{CACHE_KIBIBYTES}")

    def tell_planner(self, connection: Connection, tables: Sequence[str]) -> None:
        """Do nothing: every statement is written for the plan that it should have, whatever the tables hold."""
        del connection, tables

    @contextmanager
    def interruptible(self, engine: Engine, is_over: Callable[[], bool]) -> Iterator[None]:
        """End a long statement of the engine with a DatabaseError soon after `is_over` has become true, once.

        Later statements, such as the record of how the run ended, are left alone. The check runs within the statement,
        so that Python handles signals while the main thread is busy in SQLite.
        """
        was_interrupted = False

        def look() -> bool:
            nonlocal was_interrupted
            if was_interrupted or not is_over():
                return False
            was_interrupted = True
            return True

        # At each checkout, because a preview's one connection is open already.
        def watch(dbapi_connection: Any, record: Any, _proxy: Any) -> None:
            dbapi_connection.set_progress_handler(look, STEPS_BETWEEN_LOOKS)
            record.info[_LOOK] = look

        event.listen(engine, "checkout", watch)
        try:
            yield
        finally:
            event.remove(engine, "checkout", watch)

    def triggers_on(self, connection: Connection, table_names: Collection[str]) -> list[str]:
        """Return the names of the triggers on some tables, none of which is this project's."""
        triggers = connection.exec_driver_sql("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'")
        return sorted(each.name for each in triggers if each.tbl_name.lower() in table_names)

    def prepare_migration(self, connection: Connection) -> None:
        """Allow tables that views read to be rebuilt; otherwise SQLite refuses."""
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")

    def damages(self) -> Sequence[Select[Any]]:
        """Return a query for what SQLite finds damaged."""
        return faults.damages()

    def dangling_references(self, connection: Connection, own: MetaData) -> Select[Any]:
        """Return a query for rows whose foreign key points at nothing, also in other people's tables."""
        return faults.dangling_references(connection, own)

    def other_modes(self, connection: Connection) -> Sequence[Select[Any]]:
        """Return a query that reports the mode of the file, unless it is WAL."""
        return faults.other_modes(connection)

    def other_timestamps(self, column: Column[Any]) -> Sequence[Select[Any]]:
        """Return a query for texts that are not in the one form of instants."""
        return faults.other_timestamps(column)

    def standing_objects(self, connection: Connection) -> list[SchemaObject]:
        """Return the objects of a file's schema, except those that SQLite makes for a table's constraints."""
        return standing_objects(connection)

    def declared_objects(
        self, connection: Connection, own: MetaData, views: Mapping[str, str]
    ) -> Iterable[SchemaObject]:
        """Return what the migrations make, as the statements that SQLite would keep."""
        del connection
        return declared_objects(own, views)

    def making_problem(self, error: BaseException | None) -> str | None:
        """Return SQLite's message about an index or view that cannot be made; None if the cause is outside."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        if code == sqlite3.SQLITE_CONSTRAINT:
            return f"rows stand against it ({error}); the self-check says which"
        return str(error) if code == sqlite3.SQLITE_ERROR else None


def _refuse_missing_file(engine: Engine) -> None:
    @event.listens_for(engine, "do_connect")
    def open_existing(_dialect: Any, _record: Any, arguments: list[str], options: dict[str, Any]) -> None:
        if not arguments[0].startswith("file:"):
            arguments[0] = f"{Path(arguments[0]).as_uri()}?mode=rw"
            options["uri"] = True


def configure_connections(engine: Engine, *, foreign_keys: bool, begin: str | None = None) -> None:
    """Set up each connection of an engine for this project, and begin each transaction as needed."""

    @event.listens_for(engine, "connect")
    def configure(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling commits around DDL; None hands BEGIN to the listener below.
        dbapi_connection.isolation_level = None
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
            "synchronous=NORMAL",
            f"cache_size=-{CACHE_KIBIBYTES}",
        ):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "handle_error")
    def keep_connection(context: ExceptionContext) -> None:
        # A connection interrupted by a signal is still good. SQLAlchemy would close it instead of rolling back, and
        # SQLite would keep its lock for as long as anything refers to the exception.
        if not isinstance(context.original_exception, Exception):
            context.is_disconnect = False

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        mode = "DEFERRED" if connection.get_execution_options().get(READS_OPTION) else "IMMEDIATE"
        if mode == "IMMEDIATE" and begin is None:
            driver = driver_connection(connection)
            wal.bring_into_wal(driver, BUSY_TIMEOUT_SECONDS)
            _begin_writing(driver, connection.info.get(_LOOK, lambda: False))
        else:
            connection.exec_driver_sql(begin or f"BEGIN {mode}")


def _begin_writing(connection: sqlite3.Connection, is_over: Callable[[], bool]) -> None:
    """Begin a write transaction, and wait for another program's as long as it may take.

    SQLite's own wait would not let Python handle signals. Raises sqlite3.OperationalError when the lock is not free in
    time, or `is_over` says that nobody wants it any more.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    connection.execute(f"PRAGMA busy_timeout={LOCK_LOOK_SECONDS * 1000:.0f}")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() >= deadline or is_over():
                    raise
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")


def driver_connection(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)  # noqa: S101  the only driver that a URL may name
    return found
