"""Checks without Alembic whether a database has the newest schema, and migrates it if not."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import DatabaseError as SqlalchemyDatabaseError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    make_ready,
    read_transaction,
)

VERSIONS = Path(__file__).resolve().parents[3] / "alembic" / "versions"


def migrate(
    database_url: str,
    *,
    info: Callable[[str], None] = lambda _: None,
    warning: Callable[[str], None] = lambda _: None,
    look: Callable[[], None] = lambda: None,
    is_copied: bool = True,
) -> list[str]:
    """Bring a database to the newest schema, and return the revisions applied; raises what `upgrade_to_head` does.

    `info` and `warning` receive what a migration does, and what of other people's is not as it was; `look` is called
    repeatedly while a copy is made (`is_copied` switches that off), and may end it by raising. Nearly every run finds
    the schema current, and does not import Alembic, which takes 0.4 s. WAL mode, which a run's file must also have, is
    set on a current one too.
    """
    if is_current(database_url):
        make_ready(create_database_engine(database_url))
        return []
    from src.marketing_messaging_service.infrastructure.migration_guard import Audience  # noqa: PLC0415  slow
    from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head  # noqa: PLC0415  slow

    return upgrade_to_head(database_url, Audience(info, warning, look), is_copied=is_copied)


def is_current(database_url: str) -> bool:
    """Return whether a database has the newest schema; if that cannot be found out, `migrate` says why."""
    return _has_revision(database_url, newest_revision())


def newest_revision() -> str:
    """Return the newest revision, by the number at the beginning of each revision's file name."""
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*_*.py"))


def _has_revision(database_url: str, revision: str) -> bool:
    """Return whether it is at that revision; if that cannot be found out, the migration says why."""
    try:
        with read_transaction(create_database_engine(database_url)) as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    except (DatabaseError, SqlalchemyDatabaseError):
        return False
    return list(found) == [revision]
