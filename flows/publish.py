"""Publishing: a consistent copy of the database and Parquet of each table and view, for people who take files away.

`python -m flows.publish` does it once, with no Prefect server needed.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import named_place
from flows.command_line.run_once import final_state
from flows.pipeline.ctrl_c import refused
from flows.pipeline.endings import RunPage, exit_code
from flows.pipeline.steps import RETRIES, flow_logger, named_by_start, outcome, progress_bar, step
from flows.pipeline.stopping import CANCEL, StopRequest, Waiting
from src.marketing_messaging_service import published_copies
from src.marketing_messaging_service.dictionary import refresh_dictionary
from src.marketing_messaging_service.errors import MAY_PASS, DatabaseError, PipelineError
from src.marketing_messaging_service.infrastructure import schema
from src.marketing_messaging_service.infrastructure.buckets import put_file
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    interruptible,
    is_there,
    shown_database,
)
from src.marketing_messaging_service.infrastructure.file_lock import file_lock
from src.marketing_messaging_service.paths import Bucket, Place, refuse_overlaps
from src.marketing_messaging_service.published_copies import PublishedFile
from src.marketing_messaging_service.reporting import published_markdown
from src.marketing_messaging_service.settings import Settings, load_settings

_UNPUBLISHED = "Readers still find the previous files; start it again."

_CUT_OFF = f"Stopped by {CANCEL}. {_UNPUBLISHED}"

LONG_WORK = 200_000
"""From this many rows, or bytes, a progress bar is shown on a terminal."""

TELL_SECONDS = 10.0
"""How often the log reports a publication's progress."""


class Course:
    """A publication's progress, logged now and then by a separate thread.

    A thread, because a view may compute for minutes before its first row.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[Any], seconds: float) -> None:
        self._log = log
        self._seconds = seconds
        self._began = time.monotonic()
        self._label = "Beginning"
        self._total: int | None = None
        self._done = 0

    @contextmanager
    def progress(self, stop: StopRequest, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts how much of something is done."""
        self._label, self._total, self._done = label, total, 0
        is_long = total is None or total >= LONG_WORK
        with progress_bar(label, total, is_long=is_long) as advance_bar:

            def advance(amount: int) -> None:
                self._done += amount
                advance_bar(amount)

            yield stop.checking(advance)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Log it from now on, until the end."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._tell, args=(is_over,), name="publish log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _tell(self, is_over: threading.Event) -> None:
        while not is_over.wait(self._seconds):
            self._log.info("%s: %s, after %.0f s.", self._label, self._part(), time.monotonic() - self._began)

    def _part(self) -> str:
        if self._total:
            return f"{min(100, 100 * self._done // self._total)} %"
        return f"{self._done} rows so far"


@step("migrate")
def migrate(settings: Settings, stop: StopRequest) -> None:
    """Bring the database to the newest schema, the one that is published."""
    log = flow_logger()
    schema.migrate(
        settings.database_url,
        info=log.info,
        warning=log.warning,
        look=stop.check,
        is_copied=settings.migration_copy,
    )
    engine = create_database_engine(settings.database_url)
    with interruptible(engine, lambda: stop.is_made):
        refresh_dictionary(engine)


@step("write")
def write(database_url: str, folder: Path, stop: StopRequest) -> tuple[PublishedFile, ...]:
    """Write everything under temporary names, then put it in place."""
    course = Course(flow_logger(), TELL_SECONDS)
    with course.telling():
        return published_copies.publish(database_url, folder, partial(course.progress, stop))


@flow(name="publish", flow_run_name=named_by_start("publish"))
def publish(publish_path: str = "") -> State[tuple[PublishedFile, ...]]:
    """Write a consistent copy of the database, and Parquet of each table and view, all as of one moment.

    Safe to start at any time, also during an hourly run, which it does not hold up. Readers always find whole files,
    either the old ones or the new.

    Args:
        publish_path: Folder to write into, or `s3://bucket/prefix`. Left empty, the setting PUBLISH_PATH is used.
    """
    page, stop = RunPage("published-files"), StopRequest(_UNPUBLISHED)
    try:
        settings = load_settings()
        places = settings.places
        if publish_path:
            places = replace(places, publish=named_place("publish_path", publish_path), publish_name="publish_path")
        refuse_overlaps(places)
        with (
            stop.listening(),
            page.cut_off(_CUT_OFF),
            stop.told_as_such(),
        ):
            files = _publish_into(places.publish, settings, stop)
    except PipelineError as error:
        return page.failed(error)
    total = sum(file.size_bytes for file in files) / 1e6
    sentence = f"Published {len(files)} files, {total:.1f} MB, in {places.publish}."
    table = published_markdown([(file.path.name, file.row_count, file.size_bytes) for file in files])
    page.keep(lambda: page.show(table, sentence))
    return page.completed(sentence, files)


def _publish_into(place: Place, settings: Settings, stop: StopRequest) -> tuple[PublishedFile, ...]:
    """Write into a folder, or into a temporary one whose files are then put into a bucket."""
    if isinstance(place, Path):
        return _run(settings, place, stop)
    with TemporaryDirectory(prefix="published-") as folder:
        files = _run(settings, Path(folder), stop)
        outcome(upload(files, place, stop))
        return files


@step("upload", retries=RETRIES)
def upload(files: Sequence[PublishedFile], bucket: Bucket, stop: StopRequest) -> None:
    """Put published files into a bucket, with the copy of the database last, because it is complete on its own."""
    for file in reversed(files):
        stop.check()
        try:
            put_file(bucket, file.path.name, file.path)
        except OSError as error:
            raise DatabaseError(
                f"PUBLISH_PATH names {bucket}, which cannot be written to ({error.strerror}); files written before "
                "stay. Correct that, then start it again.",
                may_pass=error.errno in MAY_PASS,
            ) from None


def _run(settings: Settings, folder: Path, stop: StopRequest) -> tuple[PublishedFile, ...]:
    log = get_run_logger()
    if not is_there(settings.database_url):
        shown = shown_database(settings.database_url)
        raise DatabaseError(f"There is no database at {shown} to publish; run the hourly job first.")
    outcome(migrate(settings, stop))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"PUBLISH_PATH names {folder}, which cannot be made ({error.strerror}).") from None
    # One at a time: the folder has its own lock, so that publishing never waits for a long hourly run.
    waiting = Waiting(log, stop, settings.run_lock_timeout_seconds)
    own = folder / settings.places.copy_name
    with file_lock(own, settings.run_lock_timeout_seconds, waiting.go_on, setting="PUBLISH_PATH"):
        files: tuple[PublishedFile, ...] = outcome(write(settings.database_url, folder, stop))
    for file in files:
        rows = "" if file.row_count is None else f"{file.row_count} rows, "
        log.info("Wrote %s: %s%.1f MB.", file.path.name, rows, file.size_bytes / 1e6)
    return files


def main() -> int:
    """Publish once; return the exit code, which is not 0 when anything went wrong."""
    parser = command_line_of("publish", "Write a copy of the database, and every table and view as Parquet.")
    parser.add_argument("--publish-path", default="", help="folder to write into, instead of the setting PUBLISH_PATH")
    options = parser.parse_args()
    try:
        state = final_state(publish, {"publish_path": options.publish_path})
    except PipelineError as error:
        return refused(error)
    if state.is_completed():
        logging.getLogger("prefect").setLevel(logging.WARNING)
        print(state.message, flush=True)
    return exit_code(state)


if __name__ == "__main__":
    sys.exit(main())
