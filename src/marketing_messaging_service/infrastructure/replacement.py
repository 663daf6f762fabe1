"""Finds out whether the database that a run began with was replaced by another."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, Integer, column, select, table
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import (
    DatabaseError,
    LeaseLostError,
    LostRowsError,
    PipelineError,
    RefusedRowError,
)
from src.marketing_messaging_service.infrastructure.database import (
    UtcDateTime,
    file_of,
    read_transaction,
    shown_database,
)

FileIdentity = tuple[int, int] | None
"""Device and inode of a file, None where there is none."""

_RUNS = table("runs", column("id", Integer), column("started_at", UtcDateTime))
_VERSION = table("alembic_version", column("version_num"))


@dataclass(frozen=True, slots=True)
class Imprint:
    """What identifies a database: its file, its schema, and the last run that it records."""

    file: FileIdentity
    revisions: tuple[str, ...]
    last_run: tuple[object, ...] | None


def take_imprint(engine: Engine) -> Imprint:
    """Return what identifies the database at this moment; its schema must be the newest."""
    with read_transaction(engine) as connection:
        last_run = connection.execute(
            select(_RUNS.c.id, _RUNS.c.started_at).order_by(_RUNS.c.id.desc()).limit(1)
        ).first()
        return Imprint(file_identity(file_of(engine)), _revisions(connection), tuple(last_run) if last_run else None)


def refuse_another_file(path: Path | None, identity: FileIdentity) -> None:
    """Raise DatabaseError if the path now leads to another file; this costs one look at the file system."""
    if path is not None and file_identity(path) != identity:
        raise DatabaseError(_sentence(str(path), "another file lies there"))


_MAY_FOLLOW = (DatabaseError, LeaseLostError, LostRowsError, RefusedRowError)
"""What can be said about a database that is not the one a run began with."""


@contextmanager
def replacement_told(engine: Engine, imprint: Imprint) -> Iterator[None]:
    """Turn a failure caused by a replaced database into a sentence.

    Such a run finds its lease gone, or different tables, although nobody took over and nothing is defective.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PipelineError) and not isinstance(error, _MAY_FOLLOW):
            raise
        if (difference := _difference(engine, imprint)) is None:
            raise
        raise DatabaseError(_sentence(shown_database(engine.url), difference)) from None


def _sentence(database: str, difference: str) -> str:
    return (
        f"The database {database} was replaced while this run was at work: {difference}. What this run had committed "
        "is in the one that was there before. Do not replace a database while a run is at work; then run "
        "again, which takes every file that this database does not know."
    )


def _difference(engine: Engine, imprint: Imprint) -> str | None:
    """Return what differs from before, None if it is the same database, or cannot be read."""
    path = file_of(engine)
    if file_identity(path) != imprint.file:
        return "another file lies there"
    try:
        with read_transaction(engine) as connection:
            revisions = _revisions(connection)
            if revisions != imprint.revisions:
                return f"its schema is another one ({', '.join(revisions) or 'none of this project'})"
            if imprint.last_run is None:
                return None
            run_id, started_at = imprint.last_run
            found = connection.execute(select(_RUNS.c.started_at).where(_RUNS.c.id == run_id)).scalar_one_or_none()
    except (DatabaseError, DBAPIError):
        return None
    return None if found == started_at else f"it does not know the run {run_id}, so it is an older copy or another one"


def _revisions(connection: Connection) -> tuple[str, ...]:
    try:
        return tuple(sorted(connection.execute(select(_VERSION.c.version_num)).scalars()))
    except DBAPIError as error:
        if error.connection_invalidated:
            # Not a missing table: the connection is lost.
            raise
        return ()


def file_identity(path: Path | None) -> FileIdentity:
    """Return the file system's identity of the file that a path leads to, None if there is none."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
