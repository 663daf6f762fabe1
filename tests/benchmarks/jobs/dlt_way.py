"""dlt from a file to SQLite: one wide table, nested keys as columns; nothing validated, nothing decided."""

import importlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
dlt = importlib.import_module("dlt")

ROWS_A_TIME = 5_000


def append(raw_file: Path, database: Path) -> dict[str, float]:
    """Append, whatever is there already."""
    return _run(raw_file, database, "append")


def merge(raw_file: Path, database: Path) -> dict[str, float]:
    """Merge on message_id, so that an event that is delivered twice is one row."""
    return _run(raw_file, database, "merge")


def _run(raw_file: Path, database: Path, disposition: str) -> dict[str, float]:
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=str(database.parent / "dlt"),
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{database}"),
        dataset_name="main",
    )
    pipeline.run(
        dlt.resource(_events(raw_file), name="events", write_disposition=disposition, primary_key="message_id")
    )
    return {}


def _events(raw_file: Path) -> Iterator[list[dict[str, Any]]]:
    with raw_file.open("rb") as lines:
        while rows := [json.loads(line) for line in itertools.islice(lines, ROWS_A_TIME)]:
            yield rows
