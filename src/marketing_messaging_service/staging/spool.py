"""Where staged rows wait: anonymous temporary files that vanish with the process, however it ends."""

import tempfile
from types import TracebackType
from typing import IO, cast

import pandas as pd
import pyarrow as pa

MEMORY_BYTES = 16 << 20
"""A spool stays in memory up to this size; the files of an ordinary hour never touch the disk."""


class SpoolWriter:
    """Writes frames of one schema to an anonymous temporary file, as an Arrow stream."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        # Closed by whoever loads what was staged, not here.
        self.file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES))  # noqa: SIM115
        self._writer = pa.ipc.new_stream(self.file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def __enter__(self) -> "SpoolWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if error is not None:
            self.file.close()

    def write(self, frame: pd.DataFrame) -> None:
        """Append a frame."""
        if len(frame):
            self._writer.write_table(pa.Table.from_pandas(frame, schema=self._schema, preserve_index=False))
