"""Checks a URL that names a database of a PostgreSQL server."""

from importlib.util import find_spec

from sqlalchemy import URL

MISSING_DRIVER = (
    "names a PostgreSQL database, whose driver psycopg is not installed; `make postgresql` installs it, or "
    "`pip install -r requirements-postgresql.lock`"
)

PARAMETERS = (
    "host",
    "passfile",
    "port",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
)
"""What a URL may contain after its question mark: nothing secret, and nothing that this program sets itself."""


def refuse_url(url: URL) -> None:
    """Raise ValueError, which says what is wrong, when a URL names no database, or its driver is not installed."""
    driver = url.drivername.partition("+")[2] or "psycopg2"
    if driver != "psycopg":
        raise ValueError(f"asks for the driver {driver}; expected postgresql+psycopg://…")
    if not url.database:
        raise ValueError("names no database; expected postgresql+psycopg://user@host/database")
    if not set(url.query) <= set(PARAMETERS):
        raise ValueError(f"has a parameter after the ? that is not supported; supported: {', '.join(PARAMETERS)}")
    if find_spec("psycopg") is None:
        raise ValueError(MISSING_DRIVER)


def shown(url: URL) -> str:
    """Return user, server and database, and nothing else from a URL, such as a password."""
    host = url.query.get("host") if url.host is None else None
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    return shown.render_as_string() + (f" ({host})" if isinstance(host, str) else "")
