"""Chooses the kind of database, once, by its URL."""

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from src.marketing_messaging_service.infrastructure.dialects.dialect import Dialect
from src.marketing_messaging_service.infrastructure.dialects.postgresql.dialect import PostgresqlDialect
from src.marketing_messaging_service.infrastructure.dialects.sqlite.dialect import SqliteDialect

DIALECTS: tuple[Dialect, ...] = (SqliteDialect(), PostgresqlDialect())


def dialect_of(database_url: str) -> Dialect:
    """Return the kind of database that a URL names."""
    return dialect_named(make_url(database_url).get_backend_name())


def dialect_named(name: str) -> Dialect:
    """Return the kind of database that SQLAlchemy calls by a name."""
    return next(each for each in DIALECTS if each.name == name)


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
