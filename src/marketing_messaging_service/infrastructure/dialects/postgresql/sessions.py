"""Sessions of a PostgreSQL server, and the advisory locks that they hold."""

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.postgresql.url import MISSING_DRIVER

WRITER_LOCK = 6_017_342_201
"""The advisory lock that a writing transaction holds from before its beginning to its end."""

RUN_LOCK = 6_017_342_202
"""The advisory lock that a run holds, in its own session, from beginning to end."""

LOCK_TIMEOUT_SECONDS = 60
"""How long a transaction waits for another one that writes before it gives up."""

CONNECT_TIMEOUT_SECONDS = 10

LOOK_SECONDS = 0.2
"""How often to check whether a long statement is still wanted."""

_SESSION = {
    "timezone": "UTC",
    # So that a killed client's locks are released within a second, and not at the end of its statement.
    "client_connection_check_interval": "1s",
    "standard_conforming_strings": "on",
    # Compiling one of our statements takes seconds, executing it uncompiled a fraction.
    "jit": "off",
    # A session that holds the run lock has nothing else to do.
    "idle_session_timeout": "0",
}

_CONNECTING: dict[str, Any] = {
    # The listeners of an engine begin its transactions.
    "autocommit": True,
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "marketing_messaging_service",
}


def engine_of(
    url: URL, *, factory: Any = None, lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS, **options: Any
) -> Engine:
    """Return an engine whose connections do not begin transactions on their own."""
    settings = {**_SESSION, "lock_timeout": f"{lock_timeout_seconds}s"}
    each_set = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
    try:
        engine = create_engine(url, connect_args=_CONNECTING, **options)
    except ModuleNotFoundError:
        raise DatabaseError(f"DATABASE_URL {MISSING_DRIVER}.") from None
    # Otherwise SQLAlchemy forgets the row count of an INSERT … SELECT, and gives -1.
    engine = engine.execution_options(preserve_rowcount=True)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], connecting: dict[str, Any]) -> Any:
        return None if factory is None else factory.connect(*arguments, **connecting)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # Not as connection options: a pooler refuses them, or silently drops them.
        connection.execute(f"SELECT {each_set}")

    return engine


def refuse_pooler(engine: Engine, connection: Connection, database: str) -> None:
    """Raise DatabaseError if sessions are not what they seem: one becomes another later, or two are the same."""
    with engine.connect() as other:
        asked = (connection, other, connection, other)
        first, second, *again = [each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in asked]
    if first == second or again != [first, second]:
        raise DatabaseError(
            f"Between this program and {database} is a pooler that shares one session among many (pool_mode "
            "transaction or statement), so no lock holds. Let DATABASE_URL name the server itself, or a pool in "
            "session mode."
        )
