"""One frame of staged events, taken apart into the columns of three tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from src.marketing_messaging_service.loading.bulk import Columns
from src.marketing_messaging_service.results import EVENT_SCHEMA, PROPERTY_COLUMNS, TRAIT_COLUMNS

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


def property_columns(events: pd.DataFrame, event_ids: np.ndarray[Any, np.dtype[np.int64]]) -> Columns:
    """Return the columns of `event_properties`: a row for each event with at least one property."""
    return _child_columns(events, event_ids, PROPERTY_COLUMNS)


def trait_columns(events: pd.DataFrame, event_ids: np.ndarray[Any, np.dtype[np.int64]]) -> Columns:
    """Return the columns of `user_traits`: a row for each event with at least one trait."""
    return _child_columns(events, event_ids, TRAIT_COLUMNS)


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


def _child_columns(
    events: pd.DataFrame, event_ids: np.ndarray[Any, np.dtype[np.int64]], names: Sequence[str]
) -> Columns:
    children = events[list(names)]
    has_value = children.notna().any(axis=1).to_numpy(dtype=bool)
    children = children.loc[has_value]
    return {"event_id": event_ids[has_value].tolist()} | {name: scalars(children, name) for name in names}
