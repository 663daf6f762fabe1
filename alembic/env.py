"""Runs migrations, called by the alembic command or by infrastructure/migrations.py."""

import logging.config
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.util import CommandError
from sqlalchemy import Connection

import src.marketing_messaging_service.models  # noqa: F401  registers every table on Base.metadata
from src.marketing_messaging_service.dictionary import write_dictionary
from src.marketing_messaging_service.errors import DatabaseError, PipelineError
from src.marketing_messaging_service.infrastructure.database import (
    Base,
    create_database_engine,
    url_of,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.migrations import (
    APPLIED_ATTRIBUTE,
    DATABASE_URL_ATTRIBUTE,
    SCRIPT_LOCATION,
    upgrade_to_head,
)
from src.marketing_messaging_service.settings import load_settings
from src.marketing_messaging_service.views.revision import complete_revision, render_type

target_metadata = Base.metadata


def database_url() -> str:
    """Return the URL the caller left, else DATABASE_URL from the environment or .env."""
    return str(context.config.attributes.get(DATABASE_URL_ATTRIBUTE) or load_settings().database_url)


def migrate_online() -> None:
    """Migrate in one transaction that holds the write lock from its start, so that two at once run one by one.

    Foreign keys are off: with them on, rebuilding a table in batch mode deletes the rows of its children
    (ON DELETE CASCADE). They are checked before the commit instead, and so are the views: rebuilding a table that
    one of them reads fails unless SQLite looks away (legacy_alter_table).
    """
    engine = create_database_engine(database_url(), foreign_keys=False, create=True)
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        context.configure(
            connection=connection,
            target_metadata=target_metadata,
            render_as_batch=True,
            transactional_ddl=True,
            on_version_apply=note_revision,
        )
        with context.begin_transaction():
            context.run_migrations()
        refuse_orphans(connection)
        refuse_broken_views(connection)
        if set(context.get_context().get_current_heads()) == set(context.script.get_heads()):
            write_dictionary(connection)


def compare() -> None:
    """Compare the models with what the migrations make of a new database, for a new revision.

    The database that DATABASE_URL names plays no part in it: whatever stands there, the revision is the same.
    """
    with TemporaryDirectory() as folder:
        url = url_of(Path(folder) / "compared.db")
        # By a process of its own, because Alembic's context is one for the whole of this one.
        migrating = f"from {upgrade_to_head.__module__} import upgrade_to_head as up; import sys; up(sys.argv[1])"
        subprocess.run([sys.executable, "-c", migrating, url], cwd=SCRIPT_LOCATION.parent, check=True)  # noqa: S603  our own
        with create_database_engine(url, foreign_keys=False).connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=target_metadata,
                render_as_batch=True,
                render_item=render_type,
                process_revision_directives=complete_revision,
            )
            with context.begin_transaction():
                context.run_migrations()


def note_revision(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Any) -> None:
    """Leave the id of a revision that was applied for a caller in Python."""
    context.config.attributes.setdefault(APPLIED_ATTRIBUTE, []).append(step.up_revision_id)


def refuse_orphans(connection: Connection) -> None:
    """Raise, and so roll back the migration, when a row points at a parent that is not there."""
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if orphans:
        tables = sorted({orphan[0] for orphan in orphans})
        raise DatabaseError(
            f"{len(orphans)} rows in {', '.join(tables)} have no parent, so the database was not migrated and keeps "
            "the schema it had. PRAGMA foreign_key_check lists them; delete or correct them, then run again."
        )


def refuse_broken_views(connection: Connection) -> None:
    """Raise, and so roll back the migration, when a view reads something that is no longer there."""
    for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        connection.exec_driver_sql(f'EXPLAIN SELECT * FROM "{name}"')  # noqa: S608  a name out of the schema itself


# Called from the pipeline, the loggers are Prefect's and must stay as they are.
if context.config.config_file_name and DATABASE_URL_ATTRIBUTE not in context.config.attributes:
    logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    raise CommandError("--sql is not supported: rebuilding SQLite tables needs the database itself; run without it.")
try:
    if getattr(context.config.cmd_opts, "autogenerate", False):
        compare()
    else:
        migrate_online()
except PipelineError as error:
    if DATABASE_URL_ATTRIBUTE in context.config.attributes:
        raise
    # The alembic command prints this one as a sentence, without a traceback.
    raise CommandError(str(error)) from None
