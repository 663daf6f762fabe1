"""JSON: one object a line, or an array or objects that are not."""

from collections.abc import Iterator

from src.marketing_messaging_service.staging.lines import Chunk, HashedReader, read_chunks
from src.marketing_messaging_service.staging.sources.source import Source


def read_json_lines(reader: HashedReader, _source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield all lines of a file in chunks of about `chunk_bytes`, or what else in it is as good as a line."""
    return read_chunks(reader, chunk_bytes=chunk_bytes)
