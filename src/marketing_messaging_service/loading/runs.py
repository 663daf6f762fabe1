"""Records runs: what each was asked to do, how it ended, and what it left undone."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, true, update

from src.marketing_messaging_service.infrastructure.database import read_transaction, utc_now, write_transaction
from src.marketing_messaging_service.infrastructure.several_writers import PlaceAmongWriters, writers_of
from src.marketing_messaging_service.infrastructure.written_rows import insert_one, refuse_lost_rows, update_all
from src.marketing_messaging_service.models import Run, RunRemark, RunState
from src.marketing_messaging_service.run_options import RunOptions
from src.marketing_messaging_service.staging.results import Remark
from src.marketing_messaging_service.version import VERSION


def runs_under_way(engine: Engine) -> dict[int, str | None]:
    """Return the runs that are recorded as running and were killed, each with its id in Prefect.

    The caller holds the lease, so each of them was killed; or is one of several writers, each of which shows that it is
    alive.
    """
    with read_transaction(engine) as connection:
        rows = connection.execute(select(Run.id, Run.flow_run_id).where(Run.state == RunState.RUNNING)).all()
        living = _living(connection, [row.id for row in rows])
        return {row.id: row.flow_run_id for row in rows if row.id not in living}


def open_run(engine: Engine, options: RunOptions, place: PlaceAmongWriters | None = None) -> int:
    """Record that a run begins, and return its id.

    The caller holds the lease, so a run still recorded as running was killed; or it has a place among several writers,
    and shows that it is alive before anybody can see that it runs.
    """
    with write_transaction(engine) as connection:
        running = select(Run.id).where(Run.state == RunState.RUNNING)
        living = _living(connection, connection.execute(running).scalars().all()) if place else set()
        killed = update(Run).where(Run.state == RunState.RUNNING, Run.id.not_in(living) if living else true())
        connection.execute(killed.values(state=RunState.KILLED))
        run_id = insert_one(connection, insert(Run).values(**_columns(options), is_beside_others=place is not None))
        if place is not None:
            place.show_life(run_id)
        return run_id


def _living(connection: Connection, run_ids: Sequence[int]) -> set[int]:
    several = writers_of(connection)
    return several.living_runs(connection, run_ids) if several else set()


def running_runs(engine: Engine) -> str | None:
    """Return a text that names the runs at work beside each other; None if there are none."""
    with read_transaction(engine) as connection:
        rows = connection.execute(
            select(Run.flow_name, Run.flow_run_name, Run.started_at)
            .where(Run.state == RunState.RUNNING, Run.is_beside_others)
            .order_by(Run.id)
        ).all()
    if not rows:
        return None
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    name = rows[0].flow_run_name or f"{rows[0].flow_name} run by hand"
    return f"{name}, at work since {rows[0].started_at:%Y-%m-%d %H:%M:%S} UTC{more}"


def note_files(engine: Engine, run_id: int, *, known_file_count: int, outside_file_count: int) -> None:
    """Record how many files a run skipped because they were taken before or are outside its window."""
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
    """Record what a run says about itself."""
    connection.execute(update(Run).where(Run.id == run_id).values(message=message))


def _columns(options: RunOptions) -> dict[str, Any]:
    return {
        "flow_name": options.flow_name,
        "mode": options.mode,
        "as_of": options.as_of,
        "window_start_at": options.window.start if options.window else None,
        "window_end_at": options.window.end if options.window else None,
        "source": options.what,
        "max_event_age_hours": options.max_event_age_hours or None,
        "oldest_event_at": options.oldest_event_at,
        "max_event_ahead_hours": options.max_event_ahead_hours,
        "latest_event_at": options.latest_event_at,
        "max_rejected_percent": options.max_rejected_percent,
        "flow_run_id": options.flow_run_id,
        "flow_run_name": options.flow_run_name,
        "version": VERSION,
        "state": RunState.RUNNING,
    }
