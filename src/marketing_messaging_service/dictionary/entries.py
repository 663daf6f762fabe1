"""The dictionary as rows: one for each table, view and column."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.models import Suppression
from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.vocabulary import PAYLOAD, REASONS_SENTENCE, DataType, data_type_of

TABLE_ORDER = (
    "events",
    "event_properties",
    "user_traits",
    "send_requests",
    "suppressions",
    "former_suppressions",
    "waiting_matches",
    "ended_waits",
    "runs",
    "run_remarks",
    "loads",
    "source_files",
    "rejected_rows",
    "replay_counts",
    "conflicts",
    "left_out_values",
    "unknown_keys",
    "held_events",
    "event_types",
    "batches",
    "batch_shards",
    "batch_rules",
    "rulesets",
    "ruleset_rules",
    "run_leases",
    "data_dictionary",
)
"""The tables in reading order; one that is missing here comes last."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one table, view or column means. A table or view itself has no column_name and no data_type."""

    table_name: str
    column_position: int
    column_name: str | None
    kind: str
    data_type: DataType | None
    sentence: str


def entries() -> tuple[Entry, ...]:
    """Return the whole dictionary: the tables in their order, then the views, each followed by its columns."""
    return (*_tables(), *_views())


def _tables() -> Iterator[Entry]:
    sentences: dict[Any, str] = {field.column: field.sentence for field in PAYLOAD.fields}
    sentences[Suppression.__table__.c.suppression_reason] = REASONS_SENTENCE
    order = {name: position for position, name in enumerate(TABLE_ORDER)}
    for table in sorted(Base.metadata.tables.values(), key=lambda table: order.get(table.name, len(order))):
        yield Entry(table.name, 0, None, "table", None, table.comment or "")
        for position, column in enumerate(table.columns, start=1):
            sentence = sentences.get(column, column.comment or "")
            yield Entry(table.name, position, column.name, "table", data_type_of(column.type), sentence)


def _views() -> Iterator[Entry]:
    for view in VIEWS:
        yield Entry(view.name, 0, None, "view", None, view.sentence)
        for position, column in enumerate(view.columns, start=1):
            yield Entry(view.name, position, column.name, "view", column.data_type, column.sentence)
