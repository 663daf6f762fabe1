"""The record of runs: what each was asked to do, how it ended, and what it left undone."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from src.marketing_messaging_service.infrastructure.database import read_transaction, utc_now, write_transaction
from src.marketing_messaging_service.infrastructure.written_rows import insert_one, refuse_lost_rows, update_all
from src.marketing_messaging_service.models import Run, RunRemark, RunState
from src.marketing_messaging_service.results import Remark, RunOrder


def runs_under_way(engine: Engine) -> dict[int, str | None]:
    """Return the runs that are recorded as running, each with its id in Prefect.

    Whoever calls this holds the lease, so that each of them was killed.
    """
    with read_transaction(engine) as connection:
        rows = connection.execute(select(Run.id, Run.flow_run_id).where(Run.state == RunState.RUNNING))
        return {row.id: row.flow_run_id for row in rows}


def open_run(engine: Engine, order: RunOrder) -> int:
    """Record that a run begins, and return its id.

    Whoever calls this holds the lease, so that a run which is still recorded as running was killed.
    """
    with write_transaction(engine) as connection:
        connection.execute(update(Run).where(Run.state == RunState.RUNNING).values(state=RunState.KILLED))
        return insert_one(connection, insert(Run).values(**_columns(order)))


def note_files(engine: Engine, run_id: int, *, known_file_count: int, outside_file_count: int) -> None:
    """Record how many files a run left alone, because they were taken before or lie outside its window."""
    with write_transaction(engine) as connection:
        connection.execute(
            update(Run)
            .where(Run.id == run_id)
            .values(known_file_count=known_file_count, outside_file_count=outside_file_count)
        )


def close_run(connection: Connection, run_id: int, state: RunState, remarks: Sequence[Remark] = ()) -> None:
    """Record how a run ended, and what it left undone."""
    update_all(connection, update(Run).where(Run.id == run_id).values(state=state, ended_at=utc_now()))
    # An empty list would insert one row of defaults.
    if remarks:
        standing = connection.execute(
            insert(RunRemark),
            [
                {
                    "run_id": run_id,
                    "remark_position": position,
                    "kind": remark.kind,
                    "subject": remark.subject,
                    "explanation": remark.explanation,
                    "file_count": remark.file_count,
                }
                for position, remark in enumerate(remarks, start=1)
            ],
        ).rowcount
        refuse_lost_rows(connection, {RunRemark.__tablename__: (len(remarks), standing)})


def note_message(connection: Connection, run_id: int, message: str) -> None:
    """Record what a run says of itself."""
    connection.execute(update(Run).where(Run.id == run_id).values(message=message))


def _columns(order: RunOrder) -> dict[str, Any]:
    return {
        "flow_name": order.flow_name,
        "mode": order.mode,
        "as_of": order.as_of,
        "window_start_at": order.window.start if order.window else None,
        "window_end_at": order.window.end if order.window else None,
        "source": order.what,
        "max_event_age_hours": order.max_event_age_hours or None,
        "oldest_event_at": order.oldest_event_at,
        "max_event_ahead_hours": order.max_event_ahead_hours,
        "latest_event_at": order.latest_event_at,
        "max_rejected_percent": order.max_rejected_percent,
        "flow_run_id": order.flow_run_id,
        "flow_run_name": order.flow_run_name,
        "state": RunState.RUNNING,
    }
