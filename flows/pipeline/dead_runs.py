"""Runs that died with their worker, which Prefect would show as running for ever."""

from itertools import count
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from src.marketing_messaging_service.errors import WHO_DOES_THE_REST

WORK_POOL = "messaging"
"""The work pool that every deployment in prefect.yaml belongs to."""

FOUND_AT_START = f"The worker, or the whole machine, stopped in the middle of this run. {WHO_DOES_THE_REST}"

PAGE = 200
"""The most runs that Prefect puts into one answer."""

UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def mark_leftovers_crashed(client: SyncPrefectClient, message: str) -> int:
    """Mark every unfinished run of the work pool Crashed, with its tasks; return how many there were.

    The concurrency slots that they held become free.
    """
    runs = _unfinished_runs(client)
    for run in runs:
        _mark_crashed(client, run, message)
    return len(runs)


def _unfinished_runs(client: SyncPrefectClient) -> list[FlowRun]:
    runs: list[FlowRun] = []
    for page in count():
        more = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL])),
            limit=PAGE,
            offset=page * PAGE,
        )
        runs.extend(more)
        if len(more) < PAGE:
            break
    return runs


def _mark_crashed(client: SyncPrefectClient, run: FlowRun, message: str) -> None:
    mark_tasks_crashed(client, run.id, message)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def mark_tasks_crashed(client: SyncPrefectClient, flow_run_id: UUID, message: str) -> None:
    """Mark every unfinished task of a run Crashed."""
    tasks = client.read_task_runs(
        task_run_filter=TaskRunFilter(
            flow_run_id=TaskRunFilterFlowRunId(any_=[flow_run_id]),
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED)),
        )
    )
    # Forced, because the normal rules would restart a run with retries, or keep one that is being cancelled.
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message=message), force=True)
