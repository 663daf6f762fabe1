"""The dictionary and the pictures as pages of docs/, in Markdown."""

from collections.abc import Iterable
from itertools import groupby

from src.marketing_messaging_service.dictionary.entries import Entry, entries
from src.marketing_messaging_service.dictionary.pictures import entity_picture, lineage_picture

_WRITTEN = "<!-- Written by `make docs` from the models and views; a change here is lost. -->"

_FOREWORD = """\
Every table, view and column of the SQLite file, and what it means. The same sentences are in the file itself:

```sql
SELECT column_name, data_type, sentence FROM data_dictionary WHERE table_name = 'events' ORDER BY column_position;
```

A timestamp is UTC, always as text of the form `2026-11-23 10:00:00.000000`; a date is text of the form `2026-11-23`; a
boolean is 1 or 0; a number is a double."""


def dictionary_page() -> str:
    """Return docs/data-dictionary.md."""
    parts = ["# Data dictionary", _WRITTEN, _FOREWORD]
    for kind, title in (("table", "Tables"), ("view", "Views")):
        parts.append(f"## {title}")
        parts.extend(_sections(entry for entry in entries() if entry.kind == kind))
    return "\n\n".join(parts) + "\n"


def schema_page() -> str:
    """Return docs/schema.md."""
    return (
        "\n\n".join(
            [
                "# Schema",
                _WRITTEN,
                "What each of them means: [data-dictionary.md](data-dictionary.md).",
                "## Tables, and what points at what",
                f"```mermaid\n{entity_picture()}```",
                "## Where each table and view comes from",
                "Boxes are raw files, tables and views; a dotted line is a view that reads another.",
                f"```mermaid\n{lineage_picture()}```",
                "",
            ]
        ).rstrip("\n")
        + "\n"
    )


def _sections(kept: Iterable[Entry]) -> Iterable[str]:
    for name, group in groupby(kept, key=lambda entry: entry.table_name):
        own, *columns = group
        rows = [f"| `{column.column_name}` | {column.data_type} | {_cell(column.sentence)} |" for column in columns]
        yield "\n".join([f"### {name}", "", own.sentence, "", "| column | holds | |", "|---|---|---|", *rows])


def _cell(sentence: str) -> str:
    return sentence.replace("\\", "\\\\").replace("|", "\\|")
