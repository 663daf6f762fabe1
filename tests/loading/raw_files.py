"""Raw files small enough to read, staged as the pipeline stages them."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.infrastructure.database import Base, read_transaction
from src.marketing_messaging_service.staging import discover, stage_file
from src.marketing_messaging_service.staging.results import EVENT_SCHEMA, REJECTED_SCHEMA, StagedFile
from src.marketing_messaging_service.staging.spool import SpoolWriter

Line = dict[str, Any] | str | bytes


def raw(message_id: str | None = "m1", **keys: Any) -> dict[str, Any]:
    """A raw event, by default of user u at noon."""
    return {
        "message_id": message_id,
        "user_id": "u",
        "event_type": "payment_failed",
        "event_timestamp": "2026-03-01T12:00:00Z",
        **keys,
    }


def stage(folder: Path, name: str, *lines: Line, chunk_rows: int | None = None) -> StagedFile:
    """Write a raw file of these lines into a folder, find it there and stage it, in small chunks if wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(_bytes_of(line) + b"\n" for line in lines))
    [file] = [file for file in discover(folder, KnownFiles()).new_files if file.display_path == name]
    staged = stage_file(file)
    return staged if chunk_rows is None else _in_small_chunks(staged, chunk_rows)


def _in_small_chunks(staged: StagedFile, chunk_rows: int) -> StagedFile:
    """The same staged file, but with few rows in each of its chunks, as if it had been a long one."""
    with closing(staged), SpoolWriter(EVENT_SCHEMA) as events, SpoolWriter(REJECTED_SCHEMA) as rejected:
        for writer, frames in ((events, staged.event_chunks()), (rejected, staged.rejected_chunks())):
            for frame in frames:
                table = pa.Table.from_pandas(frame, preserve_index=False)
                for start in range(0, len(table), chunk_rows):
                    writer.write(table.slice(start, chunk_rows))
        rows = replace(staged.rows, event_spool=events.file, rejected_spool=rejected.file)
        return replace(staged, rows=rows)


def _bytes_of(line: Line) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()


def rows(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with read_transaction(engine) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def everything(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of ours, in the order of the primary key."""
    return {
        name: rows(engine, f"SELECT * FROM {name} ORDER BY 1, 2")
        for name in sorted(Base.metadata.tables.keys() - {"data_dictionary"})
    }
