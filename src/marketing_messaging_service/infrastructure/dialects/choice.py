"""Chooses the kind of database, once, by its URL."""

from typing import Any

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from src.marketing_messaging_service.infrastructure.dialects.dialect import Dialect
from src.marketing_messaging_service.infrastructure.dialects.postgresql.dialect import PostgresqlDialect
from src.marketing_messaging_service.infrastructure.dialects.sqlite.dialect import SqliteDialect
from src.marketing_messaging_service.infrastructure.sql_function import SqlFunction

DIALECTS: tuple[Dialect, ...] = (SqliteDialect(), PostgresqlDialect())

# SQLAlchemy prints a statement for people in a dialect of its own.
_BY_NAME = {"default": DIALECTS[0], **{each.name: each for each in DIALECTS}}


def dialect_of(database_url: str) -> Dialect:
    """Return the kind of database that a URL names."""
    return dialect_named(make_url(database_url).get_backend_name())


def dialect_named(name: str) -> Dialect:
    """Return the kind of database that SQLAlchemy calls by a name."""
    return _BY_NAME[name]


@compiles(SqlFunction)
def _spelled(element: SqlFunction[Any], compiler: SQLCompiler, **options: Any) -> str:
    spelling = dialect_named(compiler.dialect.name).spellings[type(element).__name__]
    return spelling.format(*(compiler.process(argument, **options) for argument in element.clauses))


def checked_url(value: str) -> str:
    """Return a URL that names a database for a run.

    Raises ValueError, which says what is wrong and never repeats the value, because it may contain a password.
    """
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        # The ValueError for a port that is not a number repeats it, and it may be half a password.
        raise ValueError("is not a database URL; expected the form sqlite:///./messaging.db") from None
    dialect = next((each for each in DIALECTS if each.name == url.get_backend_name()), None)
    if dialect is None:
        raise ValueError(
            f"names a {url.get_backend_name()} database; only SQLite files (sqlite:///…) and PostgreSQL "
            "(postgresql+psycopg://…) are supported"
        )
    dialect.refuse_url(url, value)
    return value
