"""The points of a run, reported as it passes them, so that a fault can be made to happen at any of them.

Nothing of the pipeline is changed: every statement passes the driver, every read of a raw file one class, and which
step they belong to is told by the functions that are at work.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

import pyarrow as pa
from sqlalchemy import Engine, event

from src.marketing_messaging_service.staging.lines import HashedReader
from src.marketing_messaging_service.staging.results import StagedRows

STEP_OF_FUNCTION = {
    "_has_revision": "migrate",
    "make_ready": "migrate",
    "remark_on_readers": "report",
    "upgrade_to_head": "migrate",
    "refresh_dictionary": "dictionary",
    "run_lease": "lease",
    "_renew": "lease",
    "_beat": "lease",
    "take_imprint": "record",
    "open_run": "record",
    "note_files": "record",
    "_record_end": "record",
    "known_files": "discover",
    "choose_rejected_lines": "choose",
    "note_replay": "record",
    "discover": "discover",
    "stage_files": "stage",
    "load_files": "load",
    "decide_pending": "decide",
    "undecided_event_count": "decide",
    "report": "report",
}
"""The step that a function of the pipeline does; what no such function does is the step `other`."""

PIPELINE = ("src.", "flows.pipeline.one_run")
"""Where these functions are at home."""

READING = "while reading"
STATEMENT = "before a statement"
BETWEEN_CHUNKS = "between chunks"
BEFORE_COMMIT = "before the commit"
AFTER_COMMIT = "after the commit"

OnPoint = Callable[[str], None]


def step_at_work() -> str:
    """Return the step whose function is at work, by the stack of calls."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        step = STEP_OF_FUNCTION.get(frame.f_code.co_name)
        if step is not None and frame.f_globals["__name__"].startswith(PIPELINE):
            return step
        frame = frame.f_back
    return "other"


def trace(on_point: OnPoint, *, on_statement: OnPoint = lambda _: None, most_pages: int | None = None) -> None:
    """Tell of every point from now on as `step: what`, and of the text of every statement, in this process.

    `most_pages` is how large a database may become, in pages; one more is reported as a full disk.
    """

    def tell(what: str) -> None:
        on_point(f"{step_at_work()}: {what}")

    @event.listens_for(Engine, "do_connect")
    def trace_connection(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        kind = options.get("factory", sqlite3.Connection)
        options["factory"] = _traced_connection(kind, tell, on_statement, most_pages)

    read = HashedReader.read

    def traced_read(reader: HashedReader) -> bytes:
        tell(READING)
        return read(reader)

    event_batches = StagedRows.event_batches

    def traced_batches(staged: StagedRows, *names: str) -> Iterator[pa.RecordBatch]:
        for batch in event_batches(staged, *names):
            tell(BETWEEN_CHUNKS)
            yield batch

    HashedReader.read = traced_read  # type: ignore[method-assign, assignment]
    StagedRows.event_batches = traced_batches  # type: ignore[method-assign, assignment]


OUTWARD = ("open", "os.listdir", "os.scandir", "os.system", "os.exec", "subprocess.Popen", "socket.connect")
"""What Python announces before it uses a file, a folder, a program or another machine."""


def watch(on_reach: OnPoint) -> None:
    """Tell of everything that is opened, listed, started or connected to from now on, as `what: which`."""

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name in OUTWARD and not isinstance(arguments[0], int):
            on_reach(f"{name}: {arguments[0]}")

    sys.addaudithook(hook)


def _traced_connection(
    kind: type[sqlite3.Connection], tell: OnPoint, on_statement: OnPoint, most_pages: int | None
) -> type[sqlite3.Connection]:
    class TracedCursor(sqlite3.Cursor):
        def execute(self, sql: str, *parameters: Any) -> Self:
            tell(STATEMENT)
            on_statement(sql)
            return super().execute(sql, *parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Self:
            tell(STATEMENT)
            on_statement(sql)
            return super().executemany(sql, parameters)

    class TracedConnection(kind):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if most_pages is not None:
                super().cursor().execute(f"PRAGMA max_page_count={most_pages}")

        def cursor(self, _factory: Any = None) -> Any:
            return super().cursor(TracedCursor)

        def commit(self) -> None:
            is_write = self.in_transaction and self.total_changes > 0
            if is_write:
                tell(BEFORE_COMMIT)
            super().commit()
            if is_write:
                tell(AFTER_COMMIT)

    return TracedConnection
