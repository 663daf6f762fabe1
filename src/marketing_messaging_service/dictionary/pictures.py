"""The schema as pictures, in Mermaid."""

from typing import Any

from sqlalchemy import Column, PrimaryKeyConstraint, UniqueConstraint

from src.marketing_messaging_service.dictionary.entries import TABLE_ORDER
from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.vocabulary import data_type_of

_STEPS = (
    ("raw_files", "stage and load", ("events", "event_properties", "user_traits")),
    (
        "raw_files",
        "stage and load",
        ("source_files", "loads", "rejected_rows", "conflicts", "left_out_values", "unknown_keys", "event_types"),
    ),
    ("raw_files", "load only", ("held_events",)),
    ("rules_yaml", "decide", ("rulesets", "ruleset_rules")),
    ("flows", "decide", ("batches", "batch_shards")),
    ("flows", "decide again", ("batch_rules",)),
    ("events", "decide", ("send_requests", "suppressions")),
    ("events", "wait", ("waiting_matches",)),
    ("waiting_matches", "decide", ("ended_waits",)),
    ("suppressions", "decide again", ("former_suppressions",)),
    ("rejected_rows", "replay", ("replay_counts",)),
    ("flows", "each run", ("runs", "run_remarks", "run_leases")),
)
"""Which step of a run fills which tables from what; the views declare what they read."""


def entity_picture() -> str:
    """Return the tables with their columns, and the foreign keys between them."""
    lines = ["erDiagram"]
    for name in TABLE_ORDER:
        table = Base.metadata.tables[name]
        lines.append(f"    {name} {{")
        lines.extend(f"        {data_type_of(column.type)} {column.name}{_keys(column)}" for column in table.columns)
        lines.append("    }")
    for name in TABLE_ORDER:
        for column in Base.metadata.tables[name].columns:
            for key in column.foreign_keys:
                parent = "|o" if column.nullable else "||"
                child = "o|" if _is_unique(column) else "o{"
                lines.append(f"    {key.column.table.name} {parent}--{child} {name} : {column.name}")
    return "\n".join(lines) + "\n"


def lineage_picture() -> str:
    """Return what each table and view comes from."""
    lines = ["flowchart LR", '    raw_files[/"raw files"/]', '    rules_yaml[/"rules.yaml"/]', "    flows"]
    for source, step, tables in _STEPS:
        for table in tables:
            lines.append(f"    {table}[({table})]")
            lines.append(f"    {source} -->|{step}| {table}")
    for view in VIEWS:
        lines.append(f"    {view.name}[{view.name}]")
        lines.extend(f"    {source} -.-> {view.name}" for source in view.reads)
    return "\n".join(lines) + "\n"


def _keys(column: Column[Any]) -> str:
    words = [
        word
        for word, holds in (
            ("PK", column.primary_key),
            ("FK", bool(column.foreign_keys)),
            ("UK", _is_unique(column) and not column.primary_key),
        )
        if holds
    ]
    return f" {', '.join(words)}" if words else ""


def _is_unique(column: Column[Any]) -> bool:
    """Whether no two rows of the table have the same value."""
    keys = [each for each in column.table.constraints if isinstance(each, (PrimaryKeyConstraint, UniqueConstraint))]
    # A partial index covers only a part of the rows.
    indexes = [each for each in column.table.indexes if each.unique and each.dialect_options["sqlite"]["where"] is None]
    return any(each.columns.keys() == [column.name] for each in (*keys, *indexes))
