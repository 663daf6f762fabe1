"""The formats in which raw files hold events, whatever they are packed with: each gives lines of JSON, in chunks.

A further one is a record here, with a module that reads it.
"""

from collections.abc import Mapping

from src.marketing_messaging_service.staging.formats.csv_rows import read_csv
from src.marketing_messaging_service.staging.formats.file_format import FileFormat
from src.marketing_messaging_service.staging.formats.json_lines import read_json_lines
from src.marketing_messaging_service.staging.formats.parquet_rows import read_parquet

FORMATS: Mapping[str, FileFormat] = {
    each.name: each
    for each in (
        FileFormat(
            name="ndjson",
            endings=(".jsonl", ".ndjson", ".json"),
            read=read_json_lines,
        ),
        FileFormat(
            name="csv",
            endings=(".csv",),
            read=read_csv,
            has_text_alone=True,
        ),
        FileFormat(
            name="parquet",
            endings=(".parquet",),
            read=read_parquet,
        ),
    )
}
"""Every format by the name that sources.yaml has for it."""
