"""The one place that knows how the database is opened, and how time is stored in it."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ExceptionContext,
    MetaData,
    NullPool,
    PoolProxiedConnection,
    StaticPool,
    Text,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.errors import DatabaseError, PipelineError, RefusedRowError
from src.marketing_messaging_service.infrastructure.dialects.sqlite import wal
from src.marketing_messaging_service.infrastructure.dialects.sqlite.culprits import culprit_told, may_be_of_others

BUSY_TIMEOUT_SECONDS = 60
"""How long a connection waits for another program's write lock, such as an analyst's, before it gives up."""

CACHE_KIBIBYTES = 32 * 1024
"""Page cache of a connection, and as much again while it sorts. With 64 MB nothing that was measured is quicker; with
SQLite's default of 2 MB a million events load in 17.7 s instead of 11."""

SORTING_CACHE_KIBIBYTES = 8 * 1024
"""Page cache while indexes are built or matches are sorted. SQLite sorts as much at once as the cache holds, and with
threads beside the next lot: three indexes of a million rows take 2.6 s and 40 MB, with the larger one 3.6 s and 150 MB.
Deciding four million events takes as long with either, and 60 MB less with this one."""

SORTING_THREADS = 2
"""Threads that help with sorting for indexes. Matches are sorted without: no quicker with them, and in 45 MB more."""

_SCHEMA_FAULT = re.compile(
    "no such (table|column|index|view)|has no column|ON CONFLICT clause does not match|foreign key mismatch|"
    "cannot modify .* because it is a view"
)
"""What SQLite says when a table, column, index or view is not there, or is another one, that a statement needs."""

_OTHER_SCHEMA = (
    "Its tables, indexes or views are not as this program makes them. `python -m flows.check` says which, and "
    "`python -m flows.check --repair` makes indexes and views anew; if nothing is wrong, please report it as a defect."
)

LOCK_LOOK_SECONDS = 0.25
"""How often a transaction that waits for the write lock looks whether it is still wanted."""

STEPS_BETWEEN_LOOKS = 1_000_000
"""How many steps of SQLite's machine lie between two looks whether a statement is still wanted: 20 ms or so."""

LONGEST_SHOWN = 40
"""Characters that are shown of a value that is not what it should be."""

_BEGIN_OPTION = "sqlite_begin"

_MIGRATES_OPTION = "migrates"

_LOOK = "is_over"
"""The function of `interruptible` among what is known of a connection."""

_CHECK_FILE = "Check that DATABASE_URL names a SQLite file that this user may write to."

_FREE_SPACE = (
    "Its disk, or the one for temporary files, is full: free some space, then run again. What was committed before is "
    "safe."
)

_DAMAGED = "The file is damaged: put a copy from before back in its place, then run again."

_ADVICE = {
    "BUSY": f"Another program has held it for {BUSY_TIMEOUT_SECONDS} s; end that, then run again.",
    "CANTOPEN": _CHECK_FILE,
    "CORRUPT": _DAMAGED,
    "FULL": _FREE_SPACE,
    "INTERRUPT": "It was interrupted; run again.",
    # What a reader is told when there is no room for the file that it shares with writers.
    "IOERR_SHMSIZE": _FREE_SPACE,
    "IOERR": "Its disk cannot be read or written: look at the disk, then run again.",
    "NOTADB": _CHECK_FILE,
    "PERM": _CHECK_FILE,
    "READONLY": _CHECK_FILE,
}
"""What to do about each of SQLite's result codes that come from the surroundings and not from a defect."""


class Base(DeclarativeBase):
    """Declarative base of every table; the naming convention lets migrations address each constraint."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in Python, UTC in the database: in SQLite text of one format.

    `DateTime(timezone=True)` on SQLite drops the offset without a word; this type turns every instant to
    UTC on the way in and raises ValueError on a naive one. SQLite's DATETIME would be a kind of number, in comparing
    with which `'2026'` is one too, and smaller than every text; TEXT is compared as it stands there.
    """

    impl = DateTime
    cache_ok = True
    elsewhere = DateTime()

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that holds it in a database."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else self.elsewhere)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an aware instant into what the database holds."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return timestamp_text(value)
        return _utc(value).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Turn what the database holds into an aware instant."""
        if value is None:
            return None
        instant = value if isinstance(value, datetime) else _read_timestamp(value)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _read_timestamp(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise DatabaseError(
            f"The database holds {str(value)[:LONGEST_SHOWN]!r} where a time belongs, as no run writes it. The "
            "self-check (`python -m flows.check`) names the row; correct it, then run again."
        ) from None


def utc_now() -> datetime:
    """Return the present instant, aware and in UTC."""
    return datetime.now(UTC)


def timestamp_text(instant: datetime) -> str:
    """Return an aware instant as the text that SQLite stores: UTC with six decimals, so that text order is time order.

    Raises ValueError on a naive one.
    """
    # strftime does not pad years below 1000, so the text is built from isoformat, which does.
    return _utc(instant).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"a naive datetime cannot be stored: {instant.isoformat()} has no UTC offset")
    return instant.astimezone(UTC)


def url_of(path: Path) -> str:
    """Return the URL of a SQLite file, whose name may hold what means something in a URL."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def file_of(engine: Engine) -> Path:
    """Return the path of the file that an engine is on."""
    return Path(engine.url.database or "")


def create_database_engine(database_url: str, *, foreign_keys: bool = True, create: bool = False) -> Engine:
    """Return an engine whose every transaction takes the write lock at its start, and brings the file into WAL mode.

    A transaction that begins as a reader and writes later can fail half-way with "database is locked", so
    BEGIN IMMEDIATE is the rule and `read_transaction` the exception. Connections are not pooled: the last
    one to close leaves no -wal file behind. `foreign_keys=False` is for migrations alone, which rebuild tables, and so
    is `create=True`: everywhere else a missing file is an error and not a new, empty database.
    """
    engine = create_engine(database_url, poolclass=NullPool, execution_options={_MIGRATES_OPTION: create})
    if not create:
        _refuse_missing_file(engine)
    _configure_connections(engine, foreign_keys=foreign_keys)
    return engine


def create_read_only_engine(database_path: Path) -> Engine:
    """Return an engine that neither creates nor writes the file, for use with `read_transaction`.

    SQLite itself may leave an empty -wal file and a -shm file beside it; the next writer takes them away. Text that
    is no UTF-8 comes with replacement characters instead of an error.
    """
    url = URL.create("sqlite", database=database_path.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
    engine = create_engine(url, poolclass=NullPool)
    _configure_connections(engine, foreign_keys=True)

    @event.listens_for(engine, "connect")
    def read_any_text(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.text_factory = lambda content: content.decode("utf-8", errors="replace")

    return engine


def _refuse_missing_file(engine: Engine) -> None:
    @event.listens_for(engine, "do_connect")
    def open_existing(_dialect: Any, _record: Any, arguments: list[str], options: dict[str, Any]) -> None:
        if not arguments[0].startswith("file:"):
            arguments[0] = f"{Path(arguments[0]).as_uri()}?mode=rw"
            options["uri"] = True


def _configure_connections(engine: Engine, *, foreign_keys: bool, begin: str | None = None) -> None:
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
        # A connection that a signal interrupts is as good as before. SQLAlchemy would close it instead of rolling
        # back, and SQLite would hold its lock for as long as anybody remembers the exception.
        if not isinstance(context.original_exception, Exception):
            context.is_disconnect = False

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        mode = connection.get_execution_options().get(_BEGIN_OPTION, "IMMEDIATE")
        if mode == "IMMEDIATE" and begin is None:
            driver_connection = _driver_connection(connection)
            wal.bring_into_wal(driver_connection, BUSY_TIMEOUT_SECONDS)
            _begin_writing(driver_connection, connection.info.get(_LOOK, lambda: False))
        else:
            connection.exec_driver_sql(begin or f"BEGIN {mode}")


def _begin_writing(connection: sqlite3.Connection, is_over: Callable[[], bool]) -> None:
    """Begin a write transaction, and wait for another program's as long as it may take.

    SQLite itself would wait without letting Python take the signals of the process. Raises sqlite3.OperationalError
    when the lock is not to be had in time, or `is_over` says that nobody wants it any more.
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


def _driver_connection(connection: Connection) -> sqlite3.Connection:
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, sqlite3.Connection)  # noqa: S101  the only driver that a URL may name
    return driver_connection


@contextmanager
def cache_for_sorting(connection: Connection, *, threads: int = 0) -> Iterator[None]:
    """Give a connection the cache that is best for sorting, and so many threads that may help with it."""
    connection.exec_driver_sql(f"PRAGMA cache_size=-{SORTING_CACHE_KIBIBYTES}")
    connection.exec_driver_sql(f"PRAGMA threads={threads}")
    yield
    # Not after an error, which speaks for itself and ends the transaction.
    connection.exec_driver_sql(f"PRAGMA cache_size=-{CACHE_KIBIBYTES}")
    connection.exec_driver_sql("PRAGMA threads=0")


@contextmanager
def interruptible(engine: Engine, is_over: Callable[[], bool]) -> Iterator[None]:
    """End a long statement of the engine with a DatabaseError soon after `is_over` has become true, once.

    So does the waiting for another program's write lock.

    What comes after that, such as the record of how the run ended, is left alone. It is looked at from within the
    statement, so that Python takes the signals of a process whose main thread is at work in SQLite.
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


def ended_by(look: Callable[[], None]) -> Callable[[], bool]:
    """Return for `interruptible` whether a function raises, which within SQLite would only end the statement."""

    def is_over() -> bool:
        try:
            look()
        except Exception:
            # It raises again when it is called elsewhere.
            return True
        return False

    return is_over


def is_reading(connection: Connection) -> bool:
    """Return whether a connection is inside a `read_transaction`."""
    return connection.get_execution_options().get(_BEGIN_OPTION) == "DEFERRED"


class _PreviewConnection(sqlite3.Connection):
    """Ends a transaction without keeping it: each is a part of one that `preview_engine` rolls back at the end."""

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("RELEASE preview")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK TO preview")
            self.execute("RELEASE preview")


@contextmanager
def preview_engine(database_url: str, is_over: Callable[[], bool] = lambda: False) -> Iterator[Engine]:
    """Yield an engine on which everything works and nothing is kept; it holds the write lock all the while.

    All its transactions share one connection and one transaction of the database, in which each sees what those
    before it did, and which is rolled back at the end. Once an error has made SQLite itself roll it back, as one of a
    full disk may, every further transaction raises that error. Raises DatabaseError for what comes from the
    surroundings, and when `is_over` says, while another program is waited for, that nobody wants it any more.
    """
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
        if isinstance(fairy, PoolProxiedConnection) and not getattr(fairy.driver_connection, "in_transaction", True):
            ended_by.append(context.sqlalchemy_exception or context.original_exception)

    @event.listens_for(engine, "begin")
    def refuse_after_end(_connection: Connection) -> None:
        # Outside of a transaction a savepoint begins one, and its release would commit.
        if ended_by:
            raise ended_by[0]

    _configure_connections(engine, foreign_keys=True, begin="SAVEPOINT preview")
    with foreseeable_errors():
        connection: Any = engine.raw_connection().driver_connection
        try:
            wal.bring_into_wal(connection, BUSY_TIMEOUT_SECONDS)
            _begin_writing(connection, is_over)
            yield engine
        finally:
            sqlite3.Connection.rollback(connection)
            engine.dispose()


def ensure_wal(engine: Engine) -> None:
    """Bring the file into WAL mode, for whoever reads it for so long that a run would wait.

    Raises DatabaseError when another program does not let go of it.
    """
    with foreseeable_errors(), engine.connect() as connection:
        wal.bring_into_wal(_driver_connection(connection), BUSY_TIMEOUT_SECONDS)


def remark_on_readers(engine: Engine) -> str | None:
    """Return a sentence about readers that let the -wal file grow, None when there is nothing to remark on."""
    with foreseeable_errors(), engine.connect() as connection:
        kept = wal.kept_by_readers(_driver_connection(connection))
    if kept <= wal.LARGEST_UNREMARKED_BYTES:
        return None
    name = file_of(engine).name
    return (
        f"{name}-wal holds {kept / 1e6:.0f} MB that cannot be moved into {name}, because another program, such as a "
        "notebook with an open cursor, goes on reading what stood there before; every run adds to it and makes reading "
        f"slower. End what that program reads (`lsof {file_of(engine)}` lists who has the file open): the next run "
        "then empties it."
    )


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection inside one write transaction: committed at the end, rolled back on any error.

    Raises DatabaseError for what comes from the surroundings: a full disk, a lock, a file that is no database or has
    another schema; and RefusedRowError when a constraint refuses a row.
    """
    try:
        with foreseeable_errors(), _schema_faults(engine), _strangers_faults(engine), engine.begin() as connection:
            yield connection
    except IntegrityError as error:
        raise RefusedRowError(
            f"The database refused a row because existing rows break one of its constraints ({error.orig}); nothing of "
            "this step was kept. Run the self-check, which says what is wrong with the file; if it finds nothing, this "
            "is a defect, please report it."
        ) from None


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that sees one consistent snapshot and never waits for a writer.

    Raises DatabaseError for what comes from the surroundings.
    """
    with (
        foreseeable_errors(),
        _schema_faults(engine),
        engine.connect().execution_options(**{_BEGIN_OPTION: "DEFERRED"}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def foreseeable_errors() -> Iterator[None]:
    """Turn SQLite's complaints about the surroundings into a DatabaseError; everything else passes as it is."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(original, "sqlite_errorname", "").removeprefix("SQLITE_")
        # An extended code such as SQLITE_READONLY_DIRECTORY begins with its primary one.
        advice = _ADVICE.get(code) or _ADVICE.get(code.partition("_")[0])
        if str(original).startswith("Could not decode to UTF-8"):
            # The driver's own complaint, which has no result code.
            advice = _DAMAGED
        if advice is None:
            raise
        may_pass = code.startswith(("BUSY", "LOCKED"))
        raise DatabaseError(f"The database cannot be used: {original}. {advice}", may_pass=may_pass) from None
    except UnicodeDecodeError:
        # What the driver raises when SQLite quotes damaged bytes in the message of an error.
        raise DatabaseError(f"The database cannot be used: it holds text that is not UTF-8. {_DAMAGED}") from None


@contextmanager
def _schema_faults(engine: Engine) -> Iterator[None]:
    """Turn SQLite's complaints about what is not in the schema into a DatabaseError, but for a migration's."""
    try:
        yield
    except OperationalError as error:
        if engine.get_execution_options().get(_MIGRATES_OPTION) or not _SCHEMA_FAULT.search(str(error.orig)):
            raise
        raise DatabaseError(f"The database cannot be used: {error.orig}. {_OTHER_SCHEMA}") from None


@contextmanager
def _strangers_faults(engine: Engine) -> Iterator[None]:
    """Turn what a trigger or index of somebody else does to a statement into a sentence that names it."""
    try:
        yield
    except (IntegrityError, OperationalError) as error:
        if not may_be_of_others(error.orig):
            raise
        told = None
        with suppress(DBAPIError, DatabaseError), read_transaction(engine) as connection:
            told = culprit_told(connection, error.orig, Base.metadata)
        if told is None:
            raise
        raise (RefusedRowError if isinstance(error, IntegrityError) else DatabaseError)(told) from None


@contextmanager
def damage_told(engine: Engine) -> Iterator[None]:
    """Turn an exception that nobody foresaw into a DatabaseError when the file is damaged.

    Rows of a damaged file can be read and yet lack what their table demands, which no code that uses them expects.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if (damage := _damage(engine)) is None:
            raise
        raise DatabaseError(f"The database cannot be used: {damage} ({error!r}). {_DAMAGED}") from None


def _damage(engine: Engine) -> str | None:
    """Return the first thing that SQLite finds wrong with the file itself, None when it is sound or not to be read."""
    try:
        with read_transaction(engine) as connection:
            found: str = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except DatabaseError as error:
        return "its pages cannot be read" if _DAMAGED in str(error) else None
    return None if found == "ok" else found


@contextmanager
def create_session(engine: Engine | None = None) -> Iterator[Session]:
    """Yield an ORM session in one transaction, on the configured database unless an engine is given.

    The pipeline itself loads and decides through Core; the session is for people and tests.
    """
    # Here alone, because what reads settings takes 0.1 s to import, which whoever brings an engine is spared.
    from src.marketing_messaging_service.settings import load_settings  # noqa: PLC0415

    session = Session(engine or create_database_engine(load_settings().database_url))
    with foreseeable_errors(), session, session.begin():
        yield session
