"""Keeps staged rows in anonymous temporary files that vanish with the process, however it ends."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import pyarrow as pa

from src.marketing_messaging_service.errors import SpoolError

MEMORY_BYTES = 16 << 20
"""A spool stays in memory up to this size; the files of an ordinary hour never touch the disk."""


class SpoolWriter:
    """Writes tables of one schema as an Arrow stream: to an anonymous temporary file, or to a given one.

    A given file is in the folder that STAGED_PATH names, and errors say so. Whoever loads the rows closes the file;
    after an error it is closed here.
    """

    def __init__(self, schema: pa.Schema, file: IO[bytes] | None = None) -> None:
        self._schema = schema
        # It outlives this writer: whoever loads the staged file reads and closes it.
        self.file = file or cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES))  # noqa: SIM115
        self._errors_told = partial(errors_told, str(Path(file.name).parent), "STAGED_PATH") if file else errors_told
        self._writer = self._new_writer()

    def __enter__(self) -> "SpoolWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with self._closed_on_error():
                self._writer.close()
        else:
            self._close_file()

    def restart(self) -> None:
        """Discard what was written, and start again."""
        with self._closed_on_error():
            self._writer.close()
            self.file.seek(0)
            self.file.truncate()
            self._writer = self._new_writer()

    def _new_writer(self) -> pa.ipc.RecordBatchStreamWriter:
        return pa.ipc.new_stream(self.file, self._schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def write(self, table: pa.Table) -> None:
        """Append a table. Raises SpoolError when there is no room for it."""
        if len(table):
            with self._closed_on_error():
                self._writer.write_table(table)

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            with self._errors_told():
                yield
        except SpoolError:
            self._close_file()
            raise

    def _close_file(self) -> None:
        # On a full disk even closing fails, because something is left to write; the file is closed all the same.
        with contextlib.suppress(OSError):
            self.file.close()


@contextmanager
def errors_told(where: str = "the folder for temporary files", setting: str = "TMPDIR") -> Iterator[None]:
    """Turn an OSError from writing staged rows to a place that a setting names into a SpoolError."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SpoolError(
            f"The staged rows cannot be kept in {where}: {reason}. Free some space there, or let {setting} name "
            "another folder, then run again."
        ) from None
