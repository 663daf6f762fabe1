"""Everything that is published, of one moment."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from src.marketing_messaging_service.dictionary import entries
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import create_database_engine, read_transaction, url_of
from src.marketing_messaging_service.publishing.copy import vacuum_into
from src.marketing_messaging_service.publishing.files import partial_path, put_in_place
from src.marketing_messaging_service.publishing.parquet import write_parquet

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Given what is being done and how much of it there is: a context in which a function takes how much was done."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file that others may take away; the copy of the database has no row_count."""

    path: Path
    size_bytes: int
    row_count: int | None


def publish(database_path: Path, folder: Path, progress: Progress) -> tuple[PublishedFile, ...]:
    """Write a copy of the database and Parquet of each table and view into a folder, all of one moment.

    Everything is written beside first and put in place at the end, so that a reader finds whole files only, the old
    ones or the new. A run may go on writing meanwhile. The schema must be the newest.
    """
    if not database_path.is_file():
        raise DatabaseError(f"There is no database at {database_path} to publish; run the hourly job first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _publish(database_path, folder, progress)
    except OSError as error:
        raise DatabaseError(
            f"PUBLISH_PATH names {folder}, which cannot be written to ({error.strerror}); what was published before "
            "stays. Free its disk, or correct PUBLISH_PATH."
        ) from None


def _publish(database_path: Path, folder: Path, progress: Progress) -> tuple[PublishedFile, ...]:
    copy_path = folder / database_path.name
    partials = {copy_path: partial_path(copy_path)}
    row_counts: dict[Path, int] = {}
    try:
        with progress(f"Copying {database_path.name}", database_path.stat().st_size) as advance:
            vacuum_into(database_path, partials[copy_path], advance)
        with read_transaction(create_database_engine(url_of(partials[copy_path]))) as connection:
            for name, group in groupby(entries(), key=lambda entry: entry.table_name):
                path = folder / f"{name}.parquet"
                partials[path] = partial_path(path)
                total = connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()  # noqa: S608  own name
                with progress(f"Writing {path.name}", total) as advance:
                    columns = [entry for entry in group if entry.column_name is not None]
                    row_counts[path] = write_parquet(connection, columns, partials[path], advance)
        put_in_place(partials)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return tuple(PublishedFile(path, path.stat().st_size, row_counts.get(path)) for path in partials)
