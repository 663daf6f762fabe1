"""Raw lines and raw files for the tests of staging, and what became of them in plain Python values."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.staging.landing import discover
from src.marketing_messaging_service.staging.landing_folder import FolderFile
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES
from src.marketing_messaging_service.staging.results import EVENT_SCHEMA, REJECTED_SCHEMA, LandingFile
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES, SourcesFile
from src.marketing_messaging_service.staging.stage import stage_file

Row = dict[str, Any]

PLAIN = {
    "message_id": '"m-1"',
    "user_id": '"u-1"',
    "event_type": '"payment_failed"',
    "event_timestamp": '"2026-11-03T10:00:00Z"',
}
"""The keys of an ordinary event with the JSON text of their values."""


def line(extra: str = "", **values: str | None) -> bytes:
    """An ordinary event with other values as JSON text, None to omit a key, and more text before its last brace."""
    pairs = {key: value for key, value in (PLAIN | values).items() if value is not None}
    body = ", ".join(f'"{key}": {value}' for key, value in pairs.items())
    return f"{{{body}{extra}}}".encode()


def line_with(path: str, value: str) -> bytes:
    """An ordinary event with one value, given as JSON text, at a path such as `properties.amount`."""
    parent, _, key = path.rpartition(".")
    return line(**({parent: f'{{"{key}": {value}}}'} if parent else {key: value}))


@dataclass(frozen=True)
class Staged:
    """What became of a raw file."""

    events: list[Row]
    rejected: list[Row]
    read_count: int
    blank_count: int
    unknown_keys: Mapping[str, int]
    dropped_count: int = 0

    @property
    def user_ids(self) -> list[str]:
        """The users of the events, in line order."""
        return [row["user_id"] for row in self.events]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        """The rejected rows as (line number, reason code)."""
        return [(row["line_number"], row["reason_code"]) for row in self.rejected]


def landed(
    folder: Path, content: bytes, name: str | bytes = "events.jsonl", sources: SourcesFile = SHIPPED_SOURCES
) -> LandingFile:
    """The only file of a folder, as it is discovered."""
    path = folder / os.fsdecode(name)
    path.write_bytes(content)
    [file] = discover(folder, KnownFiles(), sources=sources).new_files
    return file


def stage(
    folder: Path,
    content: bytes,
    name: str | bytes = "events.jsonl",
    *,
    chunk_bytes: int = CHUNK_BYTES,
    sources: SourcesFile = SHIPPED_SOURCES,
) -> Staged:
    """Stage bytes as a raw file, and check that its counts add up and every line is in its place."""
    staged = stage_file(landed(folder, content, name, sources), chunk_bytes=chunk_bytes, sources=sources)
    events = [row for frame in staged.event_chunks() for row in rows(frame, EVENT_SCHEMA)]
    rejected = [row for frame in staged.rejected_chunks() for row in rows(frame, REJECTED_SCHEMA)]
    staged.close()
    assert staged.valid_count == len(events)
    assert staged.rejected_count == len(rejected)
    without_event = staged.rejected_count + staged.blank_count + staged.dropped_count
    assert staged.read_count == staged.valid_count + without_event
    _assert_in_line_order(events)
    _assert_in_line_order(rejected)
    numbers = {row["line_number"] for row in [*events, *rejected]}
    assert len(numbers) == len(events) + len(rejected)
    assert numbers <= set(range(1, staged.read_count + 1))
    return Staged(events, rejected, staged.read_count, staged.blank_count, staged.unknown_keys, staged.dropped_count)


def rows(frame: pd.DataFrame, schema: pa.Schema) -> list[Row]:
    """A frame as plain Python values, None where there is none."""
    found: list[Row] = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).to_pylist()
    return found


def raw_line(row: Row) -> bytes:
    """The exact bytes of a rejected line."""
    exact: bytes = row["raw_line"].encode("utf-8") if row["raw_bytes"] is None else row["raw_bytes"]
    return exact


def _assert_in_line_order(found: list[Row]) -> None:
    numbers = [row["line_number"] for row in found]
    assert numbers == sorted(numbers)


def path_of(file: LandingFile) -> Path:
    """The place of a raw file found in a folder."""
    assert isinstance(file.place, FolderFile)
    return file.place.path
