"""Parquet: rows of a table of typed columns."""

import tempfile
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from src.marketing_messaging_service.errors import SpoolError
from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.rejection import DamagedFileError, Rejection
from src.marketing_messaging_service.staging.sources.mapping import SourceMapping
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.staging.tables import AROUND_A_ROW, TableLines, without_event, wrong_columns
from src.marketing_messaging_service.vocabulary import ReasonCode

MAGIC = b"PAR1"

BATCH_ROWS = 2_000
"""How many rows are read at once."""

BUFFER_BYTES = 1 << 20
"""How much of a column is read at once, so that memory does not follow the size of a row group."""


def read_parquet(content: Lookahead, _beginning: bytes, source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file as those of a table, in chunks of about `chunk_bytes`.

    Its end says where everything in it is, so it is kept in a temporary file until all of it has been read. Raises
    SpoolError when there is no room for it.
    """
    filling = _Filling(chunk_bytes)
    with tempfile.TemporaryFile() as file:
        try:
            _copy(content, file)
            yield from _rows(file, filling, source.mapping)
        except DamagedFileError as error:
            yield filling.chunk(error.rejection)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            yield filling.chunk(_damaged(error))
        else:
            if filling.count:
                yield filling.chunk()


def is_parquet(beginning: bytes, _source: Source) -> bool:
    """Whether a file begins as Parquet does."""
    return beginning.startswith(MAGIC)


def _copy(content: Iterator[bytes], file: IO[bytes]) -> None:
    try:
        for piece in content:
            file.write(piece)
        file.flush()
    except OSError as error:
        raise SpoolError(
            f"A Parquet file cannot be kept in the folder for temporary files: {error.strerror or error}. Free some "
            "space there, or let TMPDIR name another folder, then run again."
        ) from None


def _rows(file: IO[bytes], filling: "_Filling", mapping: SourceMapping) -> Iterator[Chunk]:
    import pyarrow.parquet as pq  # noqa: PLC0415  brings clients of object stores along, and most runs read none

    parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
    schema = parquet.schema_arrow
    objects = {each.name: [inner.name for inner in each.type] for each in schema if pa.types.is_struct(each.type)}
    if wrong := wrong_columns(schema.names, objects) or without_event(schema.names, mapping, "name them so"):
        yield filling.chunk(wrong)
        return
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        yield from filling.add(batch)


class _Filling:
    """Rows on their way into chunks, numbered in order."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._next_line_number = 1
        self._batches: list[pa.RecordBatch] = []
        self._size = 0
        self.count = 0
        """How many rows are on their way."""

    def add(self, batch: pa.RecordBatch) -> Iterator[Chunk]:
        """Take further rows, and yield the chunk that they fill."""
        self._batches.append(batch)
        self.count += batch.num_rows
        self._size += batch.nbytes + AROUND_A_ROW * batch.num_rows
        if self._size >= self._chunk_bytes or self.count + BATCH_ROWS > lines.CHUNK_LINES:
            yield self.chunk()

    def chunk(self, fault: Rejection | None = None) -> Chunk:
        """Return the rows that have not been given yet, with a fault in the place of the row after them."""
        names: tuple[str, ...] = ()
        columns: list[pa.Array] = []
        if self._batches:
            names = tuple(self._batches[0].schema.names)
            columns = [pa.chunked_array(column).combine_chunks() for column in zip(*self._batches, strict=True)]
        chunk = Chunk(self._next_line_number, TableLines(names, columns, self.count, self._size), fault)
        self._next_line_number += self.count + (fault is not None)
        self._batches, self._size, self.count = [], 0, 0
        return chunk


def _damaged(error: Exception) -> Rejection:
    reason = " ".join(str(error).split())[:200].removesuffix(".")
    return Rejection(
        ReasonCode.CORRUPT_PARQUET, None, f"The Parquet file is damaged or ends too early ({reason}); deliver it again."
    )
