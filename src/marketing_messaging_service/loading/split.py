"""Splits staged events into the columns of three tables."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from src.marketing_messaging_service.infrastructure.bulk import Columns
from src.marketing_messaging_service.loading.first_deliveries import Mask, Numbers
from src.marketing_messaging_service.staging.results import LEFT_OUT
from src.marketing_messaging_service.vocabulary import PAYLOAD, Field, Part
from src.marketing_messaging_service.vocabulary.kinds import stored_instants


def event_columns(
    events: pa.RecordBatch, event_ids: Sequence[int], load_ids: Sequence[int], created_at: str
) -> Columns:
    """Return the columns of `events` for staged events, given id and load of each."""
    return {
        "id": event_ids,
        "message_id": scalars(events, "message_id"),
        "user_id": scalars(events, "user_id"),
        "event_type": scalars(events, "event_type"),
        "event_timestamp": stored_instants(events["event_timestamp"]).to_pylist(),
        "load_id": load_ids,
        "created_at": [created_at] * len(events),
    }


def part_columns(events: pd.DataFrame, event_ids: Numbers, part: Part) -> Columns:
    """Return the columns of a part's table: a row for each event of a frame with at least one of the part's fields.

    A field that no event has is left out, since most producers know only some fields, and writing nothing takes time.
    """
    has_values = events[[field.staged_name for field in part.fields]].notna()
    has_value = has_values.any(axis="columns").to_numpy()
    children = events.loc[has_value, has_values.columns[has_values.any()]]
    values = {
        field.name: _stored(pa.array(children[field.staged_name]), field)
        for field in part.fields
        if field.staged_name in children
    }
    return {"event_id": event_ids[has_value].tolist()} | values


def left_out_columns(
    events: pa.RecordBatch,
    load_ids: Numbers,
    event_ids: Numbers,
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


def duplicate_columns(duplicates: pa.RecordBatch) -> Columns:
    """Return every column of staged events, for comparing with the stored ones."""
    return {
        **{name: scalars(duplicates, name) for name in ("line_number", "message_id", "user_id", "event_type")},
        "event_timestamp": stored_instants(duplicates["event_timestamp"]).to_pylist(),
        **{field.staged_name: _stored(duplicates[field.staged_name], field) for field in PAYLOAD.fields},
    }


def scalars(rows: pa.RecordBatch, name: str) -> list[Any]:
    """Return a column as plain Python scalars, None where there is no value."""
    values: list[Any] = rows[name].to_pylist()
    return values


def are_there(rows: pa.RecordBatch, name: str) -> Mask:
    """Return which rows have a value in a column."""
    found: Mask = rows[name].is_valid().to_numpy(zero_copy_only=False)
    return found


def _stored(array: pa.Array, field: Field) -> list[Any]:
    """Return the staged values of a field as plain Python scalars in the form that SQLite stores."""
    values: list[Any] = field.kind.stored(array, field).to_pylist()
    return values
