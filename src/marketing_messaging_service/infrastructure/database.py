"""The one place that knows how to open the database and how it stores time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import URL, Connection, DateTime, Engine, MetaData, Text, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.errors import DatabaseError, PipelineError, RefusedRowError
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER, HeldType
from src.marketing_messaging_service.infrastructure.dialects.choice import DIALECTS, dialect_named, dialect_of
from src.marketing_messaging_service.infrastructure.dialects.dialect import MIGRATES_OPTION, READS_OPTION, Dialect

_OTHER_SCHEMA = (
    "Its tables, indexes or views are not as this program makes them. `python -m flows.check` says which, and "
    "`python -m flows.check --repair` rebuilds indexes and views; if nothing is wrong, please report it as a defect."
)

FEW_ADDED = 1_000
"""With this few new rows no plan goes wrong, however few there were before."""

LONGEST_SHOWN = 40
"""How many characters of a wrong value are shown."""


class Base(DeclarativeBase):
    """Declarative base of every table; the naming convention lets migrations address each constraint."""

    type_annotation_map: ClassVar = {int: WHOLE_NUMBER}

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(HeldType[datetime]):
    """An aware datetime in Python, UTC in the database: in SQLite text of one format.

    `DateTime(timezone=True)` on SQLite silently drops the offset; this type converts every instant to UTC on the way in
    and raises ValueError on a naive one. SQLite's DATETIME has numeric affinity: compared with it, `'2026'` becomes a
    number too, and smaller than every text. TEXT is compared as it is.
    """

    impl = DateTime
    cache_ok = True

    def held_as(self, kind: Dialect) -> TypeEngine[Any]:
        """Return the type that holds it in a kind of database."""
        return Text() if kind.times_are_text else DateTime()

    def process_bind_param(self, value: datetime | None, dialect: sqlalchemy.Dialect) -> Any:
        """Turn an aware instant into what the database holds."""
        if value is None:
            return None
        if dialect_named(dialect.name).times_are_text:
            return timestamp_text(value)
        return _utc(value).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: sqlalchemy.Dialect) -> datetime | None:
        """Turn what the database holds into an aware instant."""
        if value is None:
            return None
        if isinstance(value, str):
            # In the expected form; adding the zone afterwards takes four times as long as reading both.
            with suppress(ValueError):
                value = datetime.fromisoformat(f"{value}+00:00")
        instant = value if isinstance(value, datetime) else _read_timestamp(value)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _read_timestamp(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise DatabaseError(
            f"The database holds {str(value)[:LONGEST_SHOWN]!r} where a time belongs, and no run writes that. The "
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
    """Return the URL of a SQLite file, whose name may contain characters with a meaning in URLs."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def file_of(engine: Engine) -> Path | None:
    """Return the path of an engine's database file, None if it is not a file."""
    return dialect_named(engine.dialect.name).file_of(engine.url)


def shown_database(database_url: str | URL) -> str:
    """Return a database as people see it, with no password: a file by its path."""
    url = make_url(database_url)
    return dialect_named(url.get_backend_name()).shown(url)


def shown_url(database_url: str | URL) -> str:
    """Return the URL of a database as people see it, with no password in it."""
    url = make_url(database_url)
    dialect = dialect_named(url.get_backend_name())
    return dialect.shown(url) if dialect.file_of(url) is None else url.render_as_string()


def copy_name(database_url: str) -> str:
    """Return the name of a copy of a database for analysts, which is a SQLite file."""
    return dialect_of(database_url).copy_name(make_url(database_url))


def copy_command(database_url: str) -> str:
    """Return the command that copies a database as it is."""
    return dialect_of(database_url).copy_command(make_url(database_url))


def is_there(database_url: str) -> bool:
    """Whether it is worth opening a database for reading; a server can only be asked."""
    return dialect_of(database_url).is_there(make_url(database_url))


def refuse_missing(database_url: str) -> None:
    """Raise DatabaseError, saying what is wrong, when there is nothing to open for reading."""
    dialect_of(database_url).refuse_missing(make_url(database_url))


def create_database_engine(database_url: str, *, foreign_keys: bool = True, create: bool = False) -> Engine:
    """Return an engine whose every transaction is the only one that writes, except a `read_transaction`.

    `foreign_keys=False` is only for migrations, which rebuild tables, and so is `create=True`: everywhere else a
    missing SQLite file is an error and not a new, empty database.
    """
    return dialect_of(database_url).write_engine(database_url, Base.metadata, foreign_keys=foreign_keys, create=create)


def create_read_only_engine(database_url: str) -> Engine:
    """Return an engine that neither creates nor writes anything, for use with `read_transaction`."""
    return dialect_of(database_url).read_engine(database_url)


def ended_by(look: Callable[[], None]) -> Callable[[], bool]:
    """Return, for `interruptible`, whether a function raises; within SQLite, raising would only end the statement."""

    def is_over() -> bool:
        try:
            look()
        except Exception:
            # It will raise again when it is called elsewhere.
            return True
        return False

    return is_over


def is_reading(connection: Connection) -> bool:
    """Return whether a connection is inside a `read_transaction`."""
    return bool(connection.get_execution_options().get(READS_OPTION))


def cache_for_sorting(connection: Connection, *, is_for_indexes: bool = False) -> AbstractContextManager[None]:
    """Give a connection the cache that is best for sorting matches, or for building indexes."""
    return dialect_named(connection.dialect.name).cache_for_sorting(connection, is_for_indexes=is_for_indexes)


def tell_planner(connection: Connection, tables: Sequence[type[Base]], *, added: int, stood: int) -> None:
    """Update the planner's statistics of tables in which the rows just added are a large part."""
    if added > FEW_ADDED and added > stood // 4:
        dialect_named(connection.dialect.name).tell_planner(connection, [table.__tablename__ for table in tables])


def interruptible(engine: Engine, is_over: Callable[[], bool]) -> AbstractContextManager[None]:
    """End a long statement of the engine with a DatabaseError soon after `is_over` has become true, once.

    A wait for another program's write lock ends in the same way. Later statements, such as the record of how the run
    ended, are left alone.
    """
    return dialect_named(engine.dialect.name).interruptible(engine, is_over)


@contextmanager
def preview_engine(database_url: str, is_over: Callable[[], bool] = lambda: False) -> Iterator[Engine]:
    """Yield an engine on which everything works and nothing is kept; it keeps every writer out all the while.

    All its transactions share one connection and one database transaction, which is rolled back at the end; each sees
    what earlier ones did. Raises DatabaseError for outside causes, and when `is_over` says during a wait for another
    program that nobody wants it any more.
    """
    with foreseeable_errors(), dialect_of(database_url).preview_engine(database_url, Base.metadata, is_over) as engine:
        yield engine


def make_ready(engine: Engine) -> None:
    """Establish what else is promised of a database whose schema is current, such as WAL mode.

    Raises DatabaseError when another program does not release it.
    """
    with foreseeable_errors():
        dialect_named(engine.dialect.name).make_ready(engine)


def remark_on_readers(engine: Engine) -> str | None:
    """Return a sentence about readers that are in the way, None if there are none."""
    with foreseeable_errors():
        return dialect_named(engine.dialect.name).remark_on_readers(engine)


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection inside one write transaction: committed at the end, rolled back on any error.

    Raises DatabaseError for outside causes (a full disk, a lock, a file that is not a database or has another schema),
    and RefusedRowError when a constraint refuses a row.
    """
    try:
        with foreseeable_errors(), _schema_faults(engine), _strangers_faults(engine), engine.begin() as connection:
            yield connection
    except IntegrityError as error:
        words = words_of(engine, error)
        raise RefusedRowError(
            f"The database refused a row because existing rows break one of its constraints ({words}); nothing of this "
            "step was kept. Run the self-check, which says what is wrong with the database; if it finds nothing, this "
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
        engine.connect().execution_options(**{READS_OPTION: True}) as connection,
        connection.begin(),
    ):
        yield connection


def words_of(engine: Engine, error: DBAPIError) -> str:
    """Return the database's message of an error, without anything from a row."""
    return dialect_named(engine.dialect.name).words(error.orig or error)


@contextmanager
def foreseeable_errors() -> Iterator[None]:
    """Turn a database's complaints about outside conditions into a DatabaseError; everything else passes unchanged."""
    try:
        yield
    except Exception as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        complaint = next(filter(None, (each.complaint(original) for each in DIALECTS)), None) if original else None
        if complaint is None:
            raise
        raise DatabaseError(complaint.told, may_pass=complaint.may_pass) from None


@contextmanager
def _schema_faults(engine: Engine) -> Iterator[None]:
    """Turn a database's complaints about missing parts of the schema into a DatabaseError, except in a migration."""
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        is_fault = dialect_named(engine.dialect.name).is_schema_fault(error.orig)
        if engine.get_execution_options().get(MIGRATES_OPTION) or not is_fault:
            raise
        raise DatabaseError(f"The database cannot be used: {words_of(engine, error)}. {_OTHER_SCHEMA}") from None


@contextmanager
def _strangers_faults(engine: Engine) -> Iterator[None]:
    """Turn an error caused by somebody else's trigger or index into a sentence that names it."""
    try:
        yield
    except (IntegrityError, OperationalError) as error:
        dialect = dialect_named(engine.dialect.name)
        if not dialect.may_be_of_others(error.orig):
            raise
        told = None
        with suppress(DBAPIError, DatabaseError), read_transaction(engine) as connection:
            told = dialect.culprit_told(connection, error.orig, Base.metadata)
        if told is None:
            raise
        raise (RefusedRowError if isinstance(error, IntegrityError) else DatabaseError)(told) from None


@contextmanager
def damage_told(engine: Engine) -> Iterator[None]:
    """Turn an unforeseen exception into a DatabaseError if the file is damaged.

    Rows of a damaged file can be readable and yet lack what their table demands, which no code expects.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        dialect = dialect_named(engine.dialect.name)
        if (damage := dialect.damage(engine)) is None:
            raise
        raise DatabaseError(f"The database cannot be used: {damage} ({error!r}). {dialect.after_damage}") from None
