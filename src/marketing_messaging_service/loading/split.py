"""Splits a frame of staged events into the columns of three tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from src.marketing_messaging_service.infrastructure.bulk import Columns
from src.marketing_messaging_service.staging.results import LEFT_OUT
from src.marketing_messaging_service.vocabulary import PAYLOAD, Field, Part
from src.marketing_messaging_service.vocabulary.kinds import stored_instants


def event_columns(events: pd.DataFrame, event_ids: Sequence[int], load_ids: Sequence[int], created_at: str) -> Columns:
    """Return the columns of `events` for a frame of EVENT_SCHEMA, given id and load of each event."""
    return {
        "id": event_ids,
        "message_id": scalars(events, "message_id"),
        "user_id": scalars(events, "user_id"),
        "event_type": scalars(events, "event_type"),
        "event_timestamp": _values(stored_instants(pa.array(events["event_timestamp"]))),
        "load_id": load_ids,
        "created_at": [created_at] * len(events),
    }


def part_columns(events: pd.DataFrame, event_ids: np.ndarray[Any, np.dtype[np.int64]], part: Part) -> Columns:
    """Return the columns of a part's table: a row for each event with at least one of its fields.

    A field that no event has is left out, since most producers know only some fields, and writing nothing takes time.
    """
    has_values = {field: events[field.staged_name].notna().to_numpy(dtype=bool) for field in part.fields}
    fields = [field for field, has in has_values.items() if has.any()]
    has_value = sum(has_values.values(), np.zeros(len(events), dtype=bool))
    children = events.loc[has_value, [field.staged_name for field in fields]]
    values = {field.name: _stored(children, field) for field in fields}
    return {"event_id": event_ids[has_value].tolist()} | values


def left_out_columns(
    events: pd.DataFrame, load_ids: np.ndarray[Any, np.dtype[np.int64]], event_ids: np.ndarray[Any, np.dtype[np.int64]]
) -> Columns:
    """Return the columns of `left_out_values` for events that each lack at least one invalid value."""
    rows = [
        (load_id, number, each["field_path"], event_id, each["explanation"])
        for load_id, event_id, number, found in zip(
            load_ids.tolist(),
            event_ids.tolist(),
            scalars(events, "line_number"),
            scalars(events, LEFT_OUT),
            strict=True,
        )
        for each in found
    ]
    names = ("load_id", "line_number", "field_path", "event_id", "explanation")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def duplicate_columns(duplicates: pd.DataFrame) -> Columns:
    """Return every column of a frame of EVENT_SCHEMA, for comparing with the stored events."""
    return {
        **{name: scalars(duplicates, name) for name in ("line_number", "message_id", "user_id", "event_type")},
        "event_timestamp": _values(stored_instants(pa.array(duplicates["event_timestamp"]))),
        **{field.staged_name: _stored(duplicates, field) for field in PAYLOAD.fields},
    }


def scalars(frame: pd.DataFrame, name: str) -> list[Any]:
    """Return a column of texts, numbers or bytes as plain Python scalars, None where there is no value."""
    return _values(pa.array(frame[name]))


def _stored(frame: pd.DataFrame, field: Field) -> list[Any]:
    """Return the column of a field as plain Python scalars in the form that SQLite stores."""
    return _values(field.kind.stored(pa.array(frame[field.staged_name]), field))


def _values(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values
