"""Which kind of database it is: chosen once, by its URL."""

from sqlalchemy import make_url

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
