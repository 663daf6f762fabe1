"""The same events in the other formats and words that raw files may have."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from src.marketing_messaging_service.vocabulary import PAYLOAD

OWN_COLUMNS = ("message_id", "user_id", "event_type", "event_timestamp")

SOURCES = """
sources:
  - {files: "*.segment.jsonl", mapping: segment}
  - {files: "*.jsonl"}
  - {files: "*.csv", format: csv}
  - {files: "*.parquet", format: parquet}
"""


def as_csv(lines: Path, path: Path) -> None:
    """Write the events of JSON lines as a CSV."""
    names = [*OWN_COLUMNS, *(field.path for field in PAYLOAD.fields)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for event in _events(lines):
            flat = event | {f"{part}.{key}": value for part in _parts(event) for key, value in event[part].items()}
            values = (flat.get(name) for name in names)
            writer.writerow(json.dumps(value) if isinstance(value, bool) else value for value in values)


def as_parquet(lines: Path, path: Path) -> None:
    """Write the events of JSON lines as Parquet, their properties and traits as objects."""
    table = pj.read_json(lines, read_options=pj.ReadOptions(block_size=64 << 20))
    place = table.schema.get_field_index("event_timestamp")
    times = table.column(place).cast(pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(place, "event_timestamp", times), path)


def as_segment(lines: Path, path: Path) -> None:
    """Write the events of JSON lines as an archive of Segment has them."""
    with path.open("w", encoding="utf-8") as file:
        for event in _events(lines):
            call = {
                "anonymousId": "507f191e810c19729de860ea",
                "channel": "client",
                "context": {
                    "ip": "8.8.8.8",
                    "library": {"name": "analytics.js", "version": "next-1.70.0"},
                    "traits": event.get("user_traits") or {},
                    "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
                },
                "event": event["event_type"],
                "integrations": {},
                "messageId": event["message_id"],
                "properties": event.get("properties") or {},
                "receivedAt": event["event_timestamp"],
                "timestamp": event["event_timestamp"],
                "type": "track",
                "userId": event["user_id"],
                "version": 2,
            }
            file.write(json.dumps(call, separators=(",", ":")) + "\n")


def _events(lines: Path) -> Iterator[dict[str, Any]]:
    with lines.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _parts(event: Mapping[str, Any]) -> list[str]:
    return [part.key for part in PAYLOAD.parts if event.get(part.key)]


WRITERS: Mapping[str, tuple[str, Callable[[Path, Path], None]]] = {
    "csv": ("events.csv", as_csv),
    "parquet": ("events.parquet", as_parquet),
    "segment": ("events.segment.jsonl", as_segment),
}
"""By its key, what a file of a kind is called, and what writes one."""
