"""Finds the run that somebody asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Row, or_, select

from src.marketing_messaging_service.errors import ReportError
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.models import Load, Run
from src.marketing_messaging_service.reporting.tables import table_of, text_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LISTS_THEM = "`python -m flows.report --list` lists the last ones."

LastRun = tuple[int, str, str, "datetime", str, "str | None"]
"""Id, flow, mode, logical time, state and message of a run."""


def latest_run(connection: Connection) -> int:
    """Return the last run. Raises ReportError when there was none."""
    run_id = connection.execute(select(Run.id).order_by(Run.id.desc()).limit(1)).scalar_one_or_none()
    if run_id is None:
        raise ReportError("No run is recorded in this database yet; run the hourly job first.")
    return run_id


def run_of_load(connection: Connection, load_id: int) -> int:
    """Return the run that made a load. Raises ReportError when there is no such load, or its run was not recorded."""
    load = connection.execute(select(Load.run_id).where(Load.id == load_id)).one_or_none()
    if load is None:
        raise ReportError(f"There is no load {load_id}; the view load_history lists all loads.")
    if load.run_id is None:
        raise ReportError(
            f"Load {load_id} is from before runs were recorded, so its run has no report; the view load_history "
            "has what is known about it."
        )
    run_id: int = load.run_id
    return run_id


def run_of_flow_run(connection: Connection, flow_run: str) -> int:
    """Return the last run of a Prefect flow run, by its id or name. Raises ReportError when there is none."""
    run_id = connection.execute(
        select(Run.id)
        .where(or_(Run.flow_run_id == flow_run, Run.flow_run_name == flow_run))
        .order_by(Run.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    if run_id is None:
        raise ReportError(f"There is no run of a flow run {flow_run}; {LISTS_THEM}")
    return run_id


def last_runs(connection: Connection, most: int) -> Sequence[Row[*LastRun]]:
    """Return the last runs, the newest first."""
    return connection.execute(
        select(Run.id, Run.flow_name, Run.mode, Run.as_of, Run.state, Run.message).order_by(Run.id.desc()).limit(most)
    ).all()


def runs_text(runs: Sequence[Row[*LastRun]]) -> str:
    """Return runs as a table for a terminal."""
    if not runs:
        return "No run is recorded in this database yet."
    return text_table(
        table_of(
            "The last runs",
            ("run", "flow", "mode", "as of (UTC)", "state", "what it reported"),
            (
                (run_id, flow_name, mode, instant_text(as_of), state, (message or "").partition("\n")[0])
                for run_id, flow_name, mode, as_of, state, message in runs
            ),
            longest=110,
        )
    )
