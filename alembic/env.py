"""Runs migrations, called by the alembic command or by infrastructure/migrations.py."""

import logging
import logging.config
import subprocess
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo, RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SAWarning

import src.marketing_messaging_service.models  # noqa: F401  registers every table on Base.metadata
from src.marketing_messaging_service.dictionary import write_dictionary
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure.database import (
    Base,
    create_database_engine,
    ended_by,
    file_of,
    interruptible,
    url_of,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.migration_guard import Audience, MigrationGuard
from src.marketing_messaging_service.infrastructure.migrations import (
    APPLIED_ATTRIBUTE,
    AUDIENCE_ATTRIBUTE,
    COPY_ATTRIBUTE,
    DATABASE_URL_ATTRIBUTE,
    SCRIPT_LOCATION,
    upgrade_to_head,
)
from src.marketing_messaging_service.infrastructure.view_keeper import ViewKeeper
from src.marketing_messaging_service.settings import load_settings
from src.marketing_messaging_service.views import selects_for
from src.marketing_messaging_service.views.revision import complete_revision, render_type

target_metadata = Base.metadata


def database_url() -> str:
    """Return the URL that the caller left, else DATABASE_URL from the environment or .env."""
    return str(context.config.attributes.get(DATABASE_URL_ATTRIBUTE) or load_settings().database_url)


def migrate_online() -> None:
    """Migrate in one transaction that holds the write lock from its start, so that two at once run one by one.

    Foreign keys are off: with them on, rebuilding a table in batch mode deletes the rows of its children
    (ON DELETE CASCADE). They are checked before the commit instead, and so are the views: rebuilding a table that one
    of them reads fails unless SQLite ignores that (legacy_alter_table).
    """
    # Somebody's own index on an expression, or column with a check: the guard handles both.
    warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index", SAWarning)
    warnings.filterwarnings("ignore", "Unnamed CHECK constraint on reflected table", UserWarning)
    engine = create_database_engine(database_url(), foreign_keys=False, create=True)
    dialect = dialect_named(engine.dialect.name)
    with interruptible(engine, ended_by(audience().look)), write_transaction(engine) as connection:
        dialect.prepare_migration(connection)
        context.configure(
            connection=connection,
            target_metadata=target_metadata,
            render_as_batch=True,
            transactional_ddl=True,
            on_version_apply=note_revision,
        )
        scripts = Path(context.script.dir)
        guard = guard_of(connection, engine, scripts)
        tell_of_steps(context.get_context(), guard)
        with context.begin_transaction():
            context.run_migrations()
        heads = context.get_context().get_current_heads()
        guard.end(heads)
        if set(heads) == set(context.script.get_heads()):
            write_dictionary(connection)
    guard.succeeded()


def guard_of(connection: Connection, engine: Engine, scripts: Path) -> MigrationGuard | ViewKeeper:
    """Return what accompanies a migration of this kind of database."""
    if (path := file_of(engine)) is not None:
        return MigrationGuard(connection, path, scripts, audience(), is_copied=is_copied())
    return ViewKeeper(connection, context.script.get_heads(), selects_for(engine.dialect.name))


def tell_of_steps(migration: MigrationContext, guard: MigrationGuard | ViewKeeper) -> None:
    """Start the guard when Alembic has worked out the revisions to apply, which it passes to nobody else."""
    steps_of = migration._migrations_fn
    assert steps_of is not None  # noqa: S101  Alembic sets it for every command that gets here

    def begin_and_return(heads: tuple[str, ...], ctx: MigrationContext) -> Any:
        steps = list(steps_of(heads, ctx))
        revisions = [step for step in steps if isinstance(step, RevisionStep)]
        guard.begin(heads, [(step.revision.module, step.is_upgrade) for step in revisions])
        return steps

    migration._migrations_fn = begin_and_return


def audience() -> Audience:
    """Return the audience for reports: a caller in Python, or the user of the alembic command."""
    from_python = context.config.attributes.get(AUDIENCE_ATTRIBUTE)
    if isinstance(from_python, Audience):
        return from_python
    log = logging.getLogger("alembic.runtime.migration")
    return Audience(log.info, log.warning)


def is_copied() -> bool:
    """Return whether a copy of the database is kept until the migration has succeeded."""
    from_python = context.config.attributes.get(COPY_ATTRIBUTE)
    return load_settings().migration_copy if from_python is None else bool(from_python)


def compare() -> None:
    """Compare the models with what the migrations make of a new database, for a new revision.

    The database that DATABASE_URL names does not matter: whatever it contains, the revision is the same.
    """
    with TemporaryDirectory() as folder:
        url = url_of(Path(folder) / "compared.db")
        # In its own process, because there is only one Alembic context per process.
        migrating = f"from {upgrade_to_head.__module__} import upgrade_to_head as up; import sys; up(sys.argv[1])"
        subprocess.run([sys.executable, "-c", migrating, url], cwd=SCRIPT_LOCATION.parent, check=True)  # noqa: S603  our own words
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
    """Leave the id of an applied revision for a caller in Python."""
    context.config.attributes.setdefault(APPLIED_ATTRIBUTE, []).append(step.up_revision_id)


# When called from the pipeline, the loggers are Prefect's and must stay as they are.
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
