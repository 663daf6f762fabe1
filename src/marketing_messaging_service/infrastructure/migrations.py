"""Brings a database to the schema that this code expects."""

from functools import cache
from pathlib import Path
from typing import Any

from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, DateTime, Text, TextClause, inspect
from sqlalchemy.exc import DatabaseError as SqlalchemyDatabaseError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.database import create_database_engine, read_transaction
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.indexes import partial
from src.marketing_messaging_service.infrastructure.migration_guard import Audience

__all__ = [
    "APPLIED_ATTRIBUTE",
    "AUDIENCE_ATTRIBUTE",
    "COPY_ATTRIBUTE",
    "DATABASE_URL_ATTRIBUTE",
    "INSTANT",
    "MOVING",
    "SCRIPT_LOCATION",
    "WHOLE_NUMBER",
    "alembic_config",
    "create_view",
    "current_revision",
    "drop_view",
    "missing_revisions",
    "revisions_after",
    "text_of_json",
    "times_are_text",
    "upgrade_to_head",
    "where",
]

SCRIPT_LOCATION = Path(__file__).resolve().parents[3] / "alembic"

DATABASE_URL_ATTRIBUTE = "database_url"
"""Where a caller in Python leaves the URL for alembic/env.py; on the command line it is absent."""

MOVING = "moving"
"""The revision recorded while rows are moved into a database, so that no run begins with part of them."""

AUDIENCE_ATTRIBUTE = "audience"
"""Where a caller in Python leaves an Audience for alembic/env.py."""

COPY_ATTRIBUTE = "is_copied"
"""Where a caller in Python leaves whether to keep a copy during a migration; otherwise the settings decide."""

INSTANT = Text().with_variant(DateTime(), "postgresql")
"""An instant in a column that a migration adds: UTC, as text in SQLite."""

APPLIED_ATTRIBUTE = "applied_revisions"
"""Where alembic/env.py leaves the ids of the revisions that it actually applied, in order."""


def alembic_config(database_url: str) -> Config:
    """Return an Alembic configuration for one database, without logging set-up and without an .ini file."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPT_LOCATION).replace("%", "%%"))
    config.attributes[DATABASE_URL_ATTRIBUTE] = database_url
    return config


def upgrade_to_head(database_url: str, audience: Audience | None = None, *, is_copied: bool = True) -> list[str]:
    """Apply every migration that the database lacks, in one transaction, and return their revision ids in order.

    A new database is created. SQLite's write lock serialises two upgrades at once: the second finds nothing left to do.
    Before tables are rebuilt, a copy is kept beside the database until everything is committed, unless `is_copied` is
    false; the audience hears how long it may take, and what of other people's is not as it was. Raises DatabaseError,
    before anything is written, when the file is not a SQLite database, its schema is not one of this code's, or the
    disk has no room; and when a migration fails, which leaves the schema unchanged.
    """
    config = alembic_config(database_url)
    config.attributes[AUDIENCE_ATTRIBUTE] = audience or Audience()
    config.attributes[COPY_ATTRIBUTE] = is_copied
    if not _missing_revisions(database_url):
        return []
    try:
        command.upgrade(config, "head")
    except SqlalchemyDatabaseError as error:
        raise DatabaseError(
            f"The database could not be migrated and keeps the schema it had: {error.orig}. If somebody has changed "
            "its tables, indexes or views by hand, undo that and run again; if not, please report it as a defect."
        ) from None
    applied: list[str] = config.attributes.get(APPLIED_ATTRIBUTE, [])
    return applied


def _missing_revisions(database_url: str) -> list[str]:
    """Return the revisions that the database lacks; raise DatabaseError when its schema is not one of this code's."""
    try:
        # One snapshot: another run may be migrating at this moment.
        with read_transaction(create_database_engine(database_url, create=True)) as connection:
            return missing_revisions(connection)
    except SqlalchemyDatabaseError as error:
        raise DatabaseError(
            f"The database cannot be used: {error.orig}. Check that DATABASE_URL names a SQLite file that this "
            "user may write to."
        ) from None


def missing_revisions(connection: Connection) -> list[str]:
    """Return the revisions that the database lacks, oldest first; raise DatabaseError when it is not of this code."""
    try:
        revision = current_revision(connection)
        if revision == MOVING:
            raise DatabaseError(
                "The database is being moved here, and has only a part of its rows. Let `python -m flows.move` end, or "
                "start it again as before: it continues where it was. Then run again."
            )
        missing = revisions_after(alembic_config(connection.engine.url.render_as_string(hide_password=False)), revision)
    except (CommandError, RevisionError) as error:
        raise DatabaseError(
            f"The database's schema is not one this version knows ({error}). Run the newest version of the code, "
            "or point DATABASE_URL at another file."
        ) from None
    tables = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
    if revision is None and tables:
        raise DatabaseError(
            f"The database holds tables ({', '.join(tables)}) but no record of this project's migrations; nothing was "
            "changed. Point DATABASE_URL at another file."
        )
    return missing


def current_revision(connection: Connection) -> str | None:
    """Return the database's revision id, or None if no migration has run yet."""
    return MigrationContext.configure(connection).get_current_revision()


def revisions_after(config: Config, revision: str | None) -> list[str]:
    """Return the revision ids that lead from one revision (None: an empty database) to head, oldest first."""
    script = _history(str(config.get_main_option("script_location")))
    return [entry.revision for entry in script.iterate_revisions("head", revision or "base")][::-1]


@cache
def _history(location: str) -> ScriptDirectory:
    """Return the migrations of a folder, each a module that is loaded once in a process."""
    return ScriptDirectory(location)


def where(condition: TextClause) -> dict[str, Any]:
    """Return the options of an index that holds the rows of a condition; for migrations."""
    return partial(condition)


def times_are_text() -> bool:
    """Return whether the database being migrated stores instants as text; for migrations."""
    return dialect_named(op.get_bind().dialect.name).times_are_text


def text_of_json(column: str, key: str) -> str:
    """Return the expression that takes the text of a key from a column of JSON; for migrations."""
    return dialect_named(op.get_bind().dialect.name).text_of_json(column, key)


def create_view(name: str, *, version: int) -> None:
    """Create a view from its text frozen in alembic/views, replacing the existing version; for migrations.

    A database that does not understand these texts, which are SQLite's, has views only at the newest revision.
    """
    if not dialect_named(op.get_bind().dialect.name).has_frozen_views:
        return
    select = (SCRIPT_LOCATION / "views" / f"{name}_v{version}.sql").read_text(encoding="utf-8")
    drop_view(name)
    op.get_bind().exec_driver_sql(f"CREATE VIEW {name} AS\n{select}")


def drop_view(name: str) -> None:
    """Drop a view if it is there; for migrations."""
    op.get_bind().exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
