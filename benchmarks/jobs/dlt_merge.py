"""dlt from clean lines to SQLite, merging on message_id: nothing validated, nothing decided."""

import importlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
# With more than one, they find each other's lock on the database and try again after a while.
os.environ["LOAD__WORKERS"] = "1"
dlt = importlib.import_module("dlt")

ROWS_A_TIME = 5_000
CHILDREN = ("properties", "user_traits")


def merge(raw_file: Path, database: Path) -> None:
    """Merge the events, their properties and traits in child tables, as dlt makes them of lists."""
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=str(database.parent / "dlt"),
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{database}"),
        dataset_name="main",
    )
    pipeline.run(dlt.resource(_events(raw_file), name="events", write_disposition="merge", primary_key="message_id"))


def _events(raw_file: Path) -> Iterator[list[dict[str, Any]]]:
    with raw_file.open("rb") as lines:
        while rows := [json.loads(line) for line in itertools.islice(lines, ROWS_A_TIME)]:
            for row in rows:
                row.update({child: [row[child]] for child in CHILDREN if child in row})
            yield rows
