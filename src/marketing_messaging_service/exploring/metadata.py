"""What Datasette learns about the file: the dictionary, useful facets, and the questions people ask."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from src.marketing_messaging_service.dictionary import Entry, entries
from src.marketing_messaging_service.exploring.query_files import Query, read_queries

FACETS: Mapping[str, Sequence[str]] = {
    "send_requests": ("template_name", "channel", "rule_name"),
    "suppressions": ("suppression_reason", "template_name", "rule_name"),
    "rejected_rows": ("reason_code", "field_name"),
    "loads": ("state",),
    "daily_messages": ("outcome", "template_name", "channel"),
    "rejected_lines": ("reason_code", "path"),
    "rejected_lines_by_reason": ("reason_code",),
    "load_history": ("state",),
    "rule_funnel": ("rule_name",),
    "waiting_messages": ("rule_name", "waits_for"),
    "data_dictionary": ("kind", "data_type"),
}
"""The columns worth grouping by; `events` has none, because grouping it would read all of history."""

LABELS = {"source_files": "path"}
"""Which column labels a row where another table points at it."""


def datasette_metadata(database_name: str) -> dict[str, Any]:
    """Return Datasette's metadata for a database of that name."""
    every = entries()
    return {
        "title": "Marketing messages",
        "description": "Every event, message, refusal and rejected line, with its reason. Times are UTC. The page "
        "reads the live file and cannot change it.",
        "databases": {
            database_name: {
                "description": "Start with a question, or with the views.",
                "tables": {"alembic_version": {"hidden": True}}
                | {entry.table_name: _table(entry, every) for entry in every if entry.column_name is None},
                "queries": {query.name: _query(query) for query in read_queries()},
            }
        },
    }


def _table(own: Entry, every: Sequence[Entry]) -> dict[str, Any]:
    name = own.table_name
    described: dict[str, Any] = {"description": _plain(own.sentence), "columns": _columns(name, every)}
    if name in FACETS:
        described["facets"] = list(FACETS[name])
    if name in LABELS:
        described["label_column"] = LABELS[name]
    return described


def _columns(table_name: str, every: Sequence[Entry]) -> dict[str, str]:
    return {
        entry.column_name: _plain(entry.sentence)
        for entry in every
        if entry.table_name == table_name and entry.column_name is not None
    }


def _plain(sentence: str) -> str:
    """Return a sentence without the marks of Markdown, which Datasette shows as they are."""
    return sentence.replace("`", "")


def _query(query: Query) -> dict[str, Any]:
    hints = "".join(f"<li><code>{name}</code>: {escape(hint)}</li>" for name, hint in query.parameters.items())
    return {
        "title": query.title,
        # For the front page, which lists questions by it.
        "subject": query.subject,
        "description_html": f"<p>{escape(query.sentence)}</p>" + (f"<ul>{hints}</ul>" if hints else ""),
        "sql": query.sql,
        "params": list(query.parameters),
        "hide_sql": True,
    }
