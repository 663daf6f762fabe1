"""Parquet: each row is the JSON line that says the same."""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from src.marketing_messaging_service.errors import SpoolError
from src.marketing_messaging_service.staging.content import BEGINNING_BYTES, BYTE_ORDER_MARKS, refusal_of
from src.marketing_messaging_service.staging.formats.columns import Columns, wrong_columns
from src.marketing_messaging_service.staging.lines import (
    KEPT_BYTES_OF_REFUSED_FILE,
    Chunk,
    HashedReader,
    LinesInChunks,
    read_text_chunks,
)
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import unpacked
from src.marketing_messaging_service.staging.rejection import DamagedFileError, Rejection
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.vocabulary import ReasonCode

MAGIC = b"PAR1"

BATCH_ROWS = 2_000
"""Rows that are made lines of at once."""

BUFFER_BYTES = 1 << 20
"""How much of a column is read at once, so that memory does not follow the size of a row group."""


def read_parquet(reader: HashedReader, _source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file as JSON lines, in chunks of about `chunk_bytes`.

    Its end says where everything in it stands, so that it waits in a temporary file until it has been read whole. A
    file that is no Parquet is read for what it is. Raises SpoolError when there is no room for it.
    """
    content, _ = unpacked(Lookahead(iter(reader.read, b"")))
    beginning = content.beginning(BEGINNING_BYTES)
    if beginning in BYTE_ORDER_MARKS:
        return
    if not beginning.startswith(MAGIC):
        refusal = refusal_of(beginning)
        yield from (
            [Chunk(1, [], refusal, beginning[:KEPT_BYTES_OF_REFUSED_FILE])]
            if refusal
            else (read_text_chunks(content, beginning, chunk_bytes=chunk_bytes))
        )
        return
    lines = LinesInChunks(chunk_bytes)
    with tempfile.TemporaryFile() as file:
        try:
            _copy(content, file)
            yield from _rows(file, lines)
        except DamagedFileError as error:
            yield lines.chunk(error.rejection, b"")
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            yield lines.chunk(_damaged(error), b"")
        else:
            yield from lines.rest()


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


def _rows(file: IO[bytes], lines: LinesInChunks) -> Iterator[Chunk]:
    parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
    schema = parquet.schema_arrow
    objects = {each.name: [inner.name for inner in each.type] for each in schema if pa.types.is_struct(each.type)}
    if wrong := wrong_columns(schema.names, objects):
        yield lines.chunk(wrong, b"")
        return
    columns = Columns(schema.names)
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        values = [[_value(value) for value in column.to_pylist()] for column in batch.columns]
        rows = zip(*values, strict=True) if values else [()] * batch.num_rows
        yield from lines.add([columns.line(row) for row in rows])


def _value(value: Any) -> Any:
    """Return a value as JSON has it, exactly; None where it says nothing."""
    match value:
        case Mapping():
            return {str(key): found for key, inner in value.items() if (found := _value(inner)) is not None}
        case list():
            return [dict(each) if isinstance(each, tuple) else _value(each) for each in value]
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case Decimal():
            # Exact as text, which every number is also taken as; a JSON number would go through a float.
            return str(value)
    return value


def _damaged(error: Exception) -> Rejection:
    reason = " ".join(str(error).split())[:200].removesuffix(".")
    return Rejection(
        ReasonCode.CORRUPT_PARQUET, None, f"The Parquet file is damaged or breaks off ({reason}); deliver it again."
    )
