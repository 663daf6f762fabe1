"""What must be true of the schema itself: it is what the migrations make, and nothing is in the way of a run."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, literal, select

from src.marketing_messaging_service.dictionary import other_entries
from src.marketing_messaging_service.schema_drift import find_differences
from src.marketing_messaging_service.vocabulary import Invariant

REPAIR_COMMAND = "python -m flows.check --repair"


def _differences(connection: Connection) -> Iterator[Select[Any]]:
    for difference in find_differences(connection):
        yield select(literal(difference.sentence))


def _other_dictionary(connection: Connection) -> Iterator[Select[Any]]:
    for name in other_entries(connection):
        yield select(literal(name))


SCHEMA_INVARIANTS = (
    Invariant(
        "schema_as_made",
        "Tables, indexes and views are what the migrations make, and no table has a trigger",
        _differences,
        f"{REPAIR_COMMAND} rebuilds views and indexes. What a table lacks comes back with an earlier copy of the file. "
        "Drop a column, trigger or unique index that is not part of this project, or move it to your own table.",
    ),
    Invariant(
        "dictionary_as_made",
        "The table data_dictionary says what the code says",
        _other_dictionary,
        "The next run rewrites it.",
    ),
)
