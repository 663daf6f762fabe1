"""The formats in which raw files hold events, whatever they are packed with: each gives lines, in chunks.

To add one, add a record here and a module that reads it.
"""

from collections.abc import Iterator, Mapping

from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARKS
from src.marketing_messaging_service.staging.formats.csv_rows import looks_like_csv, read_csv
from src.marketing_messaging_service.staging.formats.file_format import FileFormat
from src.marketing_messaging_service.staging.formats.json_lines import is_json, read_json_lines
from src.marketing_messaging_service.staging.formats.parquet_rows import is_parquet, read_parquet
from src.marketing_messaging_service.staging.lines import KEPT_BYTES_OF_REFUSED_FILE, Chunk, HashedReader
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import unpacked
from src.marketing_messaging_service.staging.refused_files import refusal_of
from src.marketing_messaging_service.staging.sources.source import Source
from src.marketing_messaging_service.staging.text_form import BEGINNING_BYTES

JSON_LINES = FileFormat(
    name="ndjson",
    endings=(".jsonl", ".ndjson", ".json"),
    read=read_json_lines,
    is_certain=is_json,
)

FORMATS: Mapping[str, FileFormat] = {
    each.name: each
    for each in (
        JSON_LINES,
        FileFormat(
            name="csv",
            endings=(".csv",),
            read=read_csv,
            is_certain=looks_like_csv,
            has_header=True,
        ),
        FileFormat(
            name="parquet",
            endings=(".parquet",),
            read=read_parquet,
            is_certain=is_parquet,
            is_text=False,
        ),
    )
}
"""Every format by the name that sources.yaml has for it."""


def format_of_row(source: Source) -> FileFormat:
    """Return the format of a row that is kept with its header: that of the source, or else the first with a header."""
    said = FORMATS[source.format_name]
    return said if said.has_header else next(each for each in FORMATS.values() if each.has_header)


def read_rows(reader: HashedReader, source: Source, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield all lines of a file in chunks of about `chunk_bytes`.

    The file is unpacked and read as what it is; where it does not show its format, its source names it.
    """
    content, _ = unpacked(Lookahead(iter(reader.read, b"")))
    beginning = content.beginning(BEGINNING_BYTES)
    if beginning in BYTE_ORDER_MARKS:
        return
    file_format = next((each for each in FORMATS.values() if each.is_certain(beginning, source)), None)
    if file_format is None:
        if (refusal := refusal_of(beginning)) is not None:
            yield Chunk(1, [], refusal, beginning[:KEPT_BYTES_OF_REFUSED_FILE])
            return
        said = FORMATS[source.format_name]
        file_format = said if said.is_text else JSON_LINES
    yield from file_format.read(content, beginning, source, chunk_bytes)
