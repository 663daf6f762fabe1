"""JSON: one object a line, or an array or objects that are not."""

from collections.abc import Iterator

from src.marketing_messaging_service.staging.lines import KEPT_BYTES_OF_REFUSED_FILE, Chunk, read_text_chunks
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.refused_files import refusal_of_table
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.staging.text_form import begins_with_json


def read_json_lines(text: Lookahead, beginning: bytes, _source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield all lines of a file in chunks of about `chunk_bytes`, or what else in it is as good as a line."""
    if (refusal := refusal_of_table(beginning)) is not None:
        return iter([Chunk(1, [], refusal, beginning[:KEPT_BYTES_OF_REFUSED_FILE])])
    return read_text_chunks(text, beginning, chunk_bytes=chunk_bytes)


def is_json(beginning: bytes, _source: Source) -> bool:
    """Whether a file begins with events in JSON."""
    return begins_with_json(beginning)
