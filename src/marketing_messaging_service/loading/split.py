"""One frame of staged events, taken apart into the columns of three tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from src.marketing_messaging_service.loading.bulk import Columns
from src.marketing_messaging_service.results import EVENT_SCHEMA
from src.marketing_messaging_service.vocabulary import Part

_STORED_TIMESTAMP = pa.timestamp("us")


def event_columns(events: pd.DataFrame, event_ids: Sequence[int], load_id: int, created_at: str) -> Columns:
    """Return the columns of `events` for a frame of EVENT_SCHEMA."""
    return {
        "id": event_ids,
        "message_id": scalars(events, "message_id"),
        "user_id": scalars(events, "user_id"),
        "event_type": scalars(events, "event_type"),
        "event_timestamp": scalars(events, "event_timestamp"),
        "load_id": [load_id] * len(events),
        "created_at": [created_at] * len(events),
    }


def part_columns(events: pd.DataFrame, event_ids: np.ndarray[Any, np.dtype[np.int64]], part: Part) -> Columns:
    """Return the columns of a part's table: a row for each event with at least one of its fields."""
    children = events[[field.staged_name for field in part.fields]]
    has_value = children.notna().any(axis=1).to_numpy(dtype=bool)
    children = children.loc[has_value]
    values = {field.name: scalars(children, field.staged_name) for field in part.fields}
    return {"event_id": event_ids[has_value].tolist()} | values


def duplicate_columns(duplicates: pd.DataFrame) -> Columns:
    """Return every column of a frame of EVENT_SCHEMA, for comparing with the events that stand."""
    return {name: scalars(duplicates, name) for name in EVENT_SCHEMA.names}


def scalars(frame: pd.DataFrame, name: str) -> list[Any]:
    """Return a column as plain Python scalars: None where there is no value, an instant as SQLite stores it."""
    array = pa.array(frame[name])
    if pa.types.is_timestamp(array.type):
        array = pc.cast(pc.cast(array, _STORED_TIMESTAMP), pa.string())
    values: list[Any] = array.to_pylist()
    return values
