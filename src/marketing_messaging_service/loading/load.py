"""One file's transaction: everything of it appears in the tables together, or nothing does."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from src.marketing_messaging_service.errors import LoadError
from src.marketing_messaging_service.infrastructure.database import timestamp_text, utc_now, write_transaction
from src.marketing_messaging_service.loading.bulk import bulk_insert
from src.marketing_messaging_service.loading.conflicts import DuplicateCheck
from src.marketing_messaging_service.loading.ledger import close_load, is_taken, open_load
from src.marketing_messaging_service.loading.split import (
    Columns,
    event_columns,
    property_columns,
    scalars,
    trait_columns,
)
from src.marketing_messaging_service.models import Event, EventProperties, RejectedRow, UnknownKey, UserTraits
from src.marketing_messaging_service.results import REJECTED_SCHEMA, LoadResult, StagedFile

_INSERT_EVENTS = sqlite_insert(Event).on_conflict_do_nothing(index_elements=[Event.message_id])


@dataclass(slots=True)
class _Progress:
    """How far a load has come."""

    load_id: int
    created_at: str
    next_event_id: int
    first_event_id: int | None = None
    last_event_id: int | None = None
    inserted_count: int = 0
    rejected_by_reason: Counter[str] = field(default_factory=Counter)


def load_file(
    engine: Engine,
    staged: StagedFile,
    *,
    as_of: datetime,
    flow_run_id: str | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> LoadResult | None:
    """Put a staged file into the tables in one transaction, and return its counts.

    Events whose message_id is known, in this file or any before, are left out and counted; those among them
    that say something else are recorded in `conflicts`. Returns None, and changes nothing, when another run has
    taken the same content meanwhile. `on_progress` is told how many events were handled since the last call.
    Raises LoadError, and keeps nothing, when the counts do not add up.
    """
    loaded_at = utc_now()
    began = time.monotonic()
    with write_transaction(engine) as connection:
        if is_taken(connection, staged.file.content_hash):
            return None
        load_id = open_load(connection, staged.file, as_of=as_of, flow_run_id=flow_run_id, loaded_at=loaded_at)
        next_event_id = connection.execute(select(func.coalesce(func.max(Event.id), 0) + 1)).scalar_one()
        progress = _Progress(load_id, timestamp_text(loaded_at), next_event_id)
        duplicates = DuplicateCheck(connection)
        for events in staged.event_chunks():
            duplicates.add(_insert_chunk(connection, events, progress))
            on_progress(len(events))
        for rejected in staged.rejected_chunks():
            _insert_rejected(connection, rejected, progress)
        _insert_unknown_keys(connection, staged, load_id)
        result = LoadResult(
            display_path=staged.file.display_path,
            read_count=staged.read_count,
            inserted_count=progress.inserted_count,
            duplicate_count=duplicates.count,
            conflict_count=duplicates.record_conflicts(load_id),
            rejected_count=progress.rejected_by_reason.total(),
            blank_count=staged.blank_count,
            rejected_by_reason=dict(progress.rejected_by_reason.most_common()),
            unknown_keys=staged.unknown_keys,
        )
        _refuse_wrong_counts(result)
        close_load(
            connection,
            load_id,
            read_count=result.read_count,
            inserted_count=result.inserted_count,
            duplicate_count=result.duplicate_count,
            conflict_count=result.conflict_count,
            rejected_count=result.rejected_count,
            blank_count=result.blank_count,
            first_event_id=progress.first_event_id,
            last_event_id=progress.last_event_id,
            load_seconds=round(time.monotonic() - began, 3),
        )
    return result


def _insert_chunk(connection: Connection, events: pd.DataFrame, progress: _Progress) -> pd.DataFrame:
    """Insert the events of a chunk that are not known yet, with their children, and return the others."""
    event_ids = np.arange(progress.next_event_id, progress.next_event_id + len(events))
    progress.next_event_id += len(events)
    inserted_count = bulk_insert(
        connection,
        _INSERT_EVENTS,
        event_columns(events, event_ids.tolist(), progress.load_id, progress.created_at),
    )
    progress.inserted_count += inserted_count
    duplicates = events.iloc[:0]
    if inserted_count < len(events):
        is_new = np.isin(event_ids, _ids_present(connection, int(event_ids[0]), int(event_ids[-1])))
        duplicates, events, event_ids = events.loc[~is_new], events.loc[is_new], event_ids[is_new]
    if inserted_count:
        progress.first_event_id = progress.first_event_id or int(event_ids[0])
        progress.last_event_id = int(event_ids[-1])
    bulk_insert(connection, insert(EventProperties), property_columns(events, event_ids))
    bulk_insert(connection, insert(UserTraits), trait_columns(events, event_ids))
    return duplicates


def _ids_present(connection: Connection, first_id: int, last_id: int) -> list[int]:
    return list(connection.execute(select(Event.id).where(Event.id.between(first_id, last_id))).scalars())


def _insert_rejected(connection: Connection, rejected: pd.DataFrame, progress: _Progress) -> None:
    columns: Columns = {name: scalars(rejected, name) for name in REJECTED_SCHEMA.names}
    progress.rejected_by_reason.update(columns["reason_code"])
    bulk_insert(connection, insert(RejectedRow), columns | {"load_id": [progress.load_id] * len(rejected)})


def _insert_unknown_keys(connection: Connection, staged: StagedFile, load_id: int) -> None:
    bulk_insert(
        connection,
        insert(UnknownKey),
        {
            "load_id": [load_id] * len(staged.unknown_keys),
            "key_path": list(staged.unknown_keys),
            "occurrence_count": list(staged.unknown_keys.values()),
        },
    )


def _refuse_wrong_counts(result: LoadResult) -> None:
    accounted = result.inserted_count + result.duplicate_count + result.rejected_count + result.blank_count
    if result.read_count != accounted:
        raise LoadError(
            f"{result.display_path}: {result.read_count} lines were read but {accounted} are accounted for "
            f"({result.inserted_count} inserted, {result.duplicate_count} duplicate, {result.rejected_count} rejected, "
            f"{result.blank_count} blank). Nothing of the file was kept; this is a defect, please report it."
        )
