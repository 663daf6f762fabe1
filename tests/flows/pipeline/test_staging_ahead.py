"""Files that others stage ahead: in order, within bounds, and what becomes of a run when they cannot."""

import errno
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prefect.client.schemas.objects import State

from flows.hourly import hourly
from flows.pipeline import dask_workers, staging_ahead, steps
from flows.pipeline.endings import exit_code, result_of
from flows.pipeline.staging_ahead import GROUPS_A_WORKER, GROUPS_MORE
from flows.pipeline.steps import RETRIES, step
from flows.pipeline.taking import Taking
from flows.replay import replay
from src.marketing_messaging_service.errors import DaskError, SpoolError
from src.marketing_messaging_service.reporting import RunReport
from src.marketing_messaging_service.staging import StagingOrder, Stored, landing_folder, small_files, store
from src.marketing_messaging_service.staging.results import LandingFile

LINE = (
    '{{"message_id": "m{0}", "user_id": "u{0}", "event_type": "signup_completed", '
    '"event_timestamp": "2026-11-23T10:00:00Z", "user_traits": {{"marketing_opt_in": true}}, "colour": "red"}}\n'
)

STEPS = ("loads", "source_files", "events", "user_traits", "send_requests", "rejected_rows", "unknown_keys")


class Pending:
    """Files that are staged in this process as soon as somebody waits for them, or before."""

    def __init__(self, workers: "FakeWorkers", order: StagingOrder) -> None:
        self.workers = workers
        self.order = order
        self.is_cancelled = False

    def result(self, check: Callable[[], None]) -> Sequence[Stored]:
        check()
        self.workers.waited.append([file.display_path for file in self.order.files])
        return self.workers.stage(self.order)

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeWorkers:
    """Two workers, which a test may make do as it likes."""

    def __init__(self) -> None:
        self.submitted: list[Pending] = []
        self.waited: list[list[str]] = []
        self.entered = 0
        self.stage: Callable[[StagingOrder], Sequence[Stored]] = store

    def count(self) -> int:
        return 2

    def submit(self, order: StagingOrder) -> Pending:
        self.submitted.append(Pending(self, order))
        return self.submitted[-1]


@pytest.fixture
def staged(landing: Path) -> Path:
    return landing.parent / "staged"


@pytest.fixture
def workers(landing: Path, staged: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    """The workers of a run, to whom every file is a group of its own."""
    fake = FakeWorkers()

    @contextmanager
    def entered(*_: Any) -> Iterator[FakeWorkers]:
        staged.mkdir(exist_ok=True)
        fake.entered += 1
        yield fake

    monkeypatch.setattr(dask_workers, "dask_workers", entered)
    monkeypatch.setattr(small_files, "SMALL_FILE_BYTES", 0)
    monkeypatch.setenv("DASK_SCHEDULER", "local:2")
    monkeypatch.setenv("STAGED_PATH", str(staged))
    return fake


def land(landing: Path, count: int) -> list[str]:
    """So many raw files, each with an event and a line that is none; return their names, oldest first."""
    names = [f"{number:02}.jsonl" for number in range(count)]
    for number, name in enumerate(names):
        (landing / name).write_text(LINE.format(number) + "no json\n")
        os.utime(landing / name, (1_700_000_000 + number,) * 2)
    return names


def run() -> State[Any]:
    return hourly(max_rejected_percent=100, return_state=True)


def rows(landing: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        return connection.execute(sql).fetchall()


def everything(landing: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, but for instants and durations."""
    told = {}
    for table in STEPS:
        names = [row[1] for row in rows(landing, f"PRAGMA table_info({table})")]
        kept = [name for name in names if not (name.endswith(("_at", "_seconds")) or name in {"flow_run_id", "as_of"})]
        told[table] = rows(landing, f"SELECT {', '.join(kept)} FROM {table}")
    return told


def problems(state: State[Any]) -> list[str]:
    report = result_of(state)
    assert isinstance(report, RunReport)
    return [f"{problem.subject}: {problem.explanation}" for problem in report.problems]


def test_the_rows_are_those_of_a_run_that_stages_by_itself_ids_included(
    landing: Path, workers: FakeWorkers, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = land(landing, 9)
    assert run().is_completed()
    ahead = everything(landing)
    assert workers.waited == [[name] for name in names]
    assert os.listdir(staged) == []  # noqa: PTH208
    (landing.parent / "messaging.db").unlink()
    monkeypatch.delenv("DASK_SCHEDULER")
    assert run().is_completed()
    assert everything(landing) == ahead
    assert len(ahead["events"]) == 9


def test_no_more_is_staged_ahead_than_keeps_the_workers_busy(landing: Path, workers: FakeWorkers, staged: Path) -> None:
    land(landing, 20)
    most = GROUPS_A_WORKER * 2 + GROUPS_MORE
    ahead = []

    def stage_all(order: StagingOrder) -> Sequence[Stored]:
        ahead.append(len(workers.submitted) - len(workers.waited) + 1)
        return store(order)

    workers.stage = stage_all
    assert run().is_completed()
    assert (max(ahead), len(ahead)) == (most, 20)


@pytest.mark.usefixtures("workers")
def test_an_hour_with_one_group_of_files_starts_no_workers(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_files, "SMALL_FILE_BYTES", 4 << 20)
    monkeypatch.setattr(dask_workers, "dask_workers", Mock(side_effect=AssertionError("workers were started")))
    land(landing, 3)
    assert run().is_completed()
    assert rows(landing, "SELECT count(*) FROM events") == [(3,)]


def test_workers_stay_for_all_that_a_run_claims_bit_by_bit(
    landing: Path, workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def portions(_: Taking, files: Sequence[LandingFile]) -> Iterator[Sequence[LandingFile]]:
        yield files[:3]
        yield files[3:]

    monkeypatch.setattr(Taking, "_portions", portions)
    land(landing, 6)
    assert run().is_completed()
    assert (workers.entered, len(workers.waited)) == (1, 6)


@pytest.mark.usefixtures("workers")
def test_rejected_lines_are_read_again_in_the_runs_own_process(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    land(landing, 3)
    run()
    monkeypatch.setattr(dask_workers, "dask_workers", Mock(side_effect=AssertionError("workers were started")))
    assert replay(return_state=True).is_completed()


def test_without_workers_what_was_loaded_stays_and_is_decided_and_the_next_run_takes_the_rest(
    landing: Path, workers: FakeWorkers
) -> None:
    def stage_two(order: StagingOrder) -> Sequence[Stored]:
        if len(workers.waited) > 2:
            raise DaskError("There is no worker; start one.")
        return store(order)

    land(landing, 5)
    workers.stage = stage_two
    state = run()
    assert state.is_failed()
    assert problems(state) == ["Staging on Dask: There is no worker; start one. 3 files wait for the next run."]
    assert rows(landing, "SELECT count(*) FROM send_requests") == [(2,)]
    assert [pending.is_cancelled for pending in workers.submitted] == [False, False, False, True, True]
    workers.stage = store
    assert run().is_completed()
    assert rows(landing, "SELECT count(*) FROM send_requests") == [(5,)]


def test_a_worker_that_has_no_room_costs_the_other_files_nothing(landing: Path, workers: FakeWorkers) -> None:
    def stage_all_but_one(order: StagingOrder) -> Sequence[Stored]:
        if order.files[0].display_path == "01.jsonl":
            raise SpoolError("There is no room.")
        return store(order)

    land(landing, 3)
    workers.stage = stage_all_but_one
    assert problems(run()) == ["01.jsonl: There is no room."]
    assert rows(landing, "SELECT count(*) FROM events") == [(2,)]


def without_network(error: OSError, times: int) -> Callable[[StagingOrder], Sequence[Stored]]:
    """How a worker stages that cannot open raw files, so many times."""
    left = [error] * times

    def stage_it(order: StagingOrder) -> Sequence[Stored]:
        with pytest.MonkeyPatch.context() as patched:
            if left:
                patched.setattr(landing_folder, "open_regular", Mock(side_effect=left.pop()))
            return store(order)

    return stage_it


def test_a_worker_that_cannot_read_what_the_run_can_says_what_to_do(
    landing: Path, workers: FakeWorkers, staged: Path
) -> None:
    land(landing, 2)
    workers.stage = without_network(FileNotFoundError(errno.ENOENT, "No such file or directory"), 1)
    [problem] = problems(run())
    assert "cannot read what this run can: 00.jsonl cannot be read: No such file or directory. Make sure" in problem
    assert problem.endswith("then run again. 2 files wait for the next run.")
    assert os.listdir(staged) == []  # noqa: PTH208


def test_a_file_that_neither_worker_nor_run_can_read_is_a_problem_of_its_own(
    landing: Path, workers: FakeWorkers
) -> None:
    def stage_late(order: StagingOrder) -> Sequence[Stored]:
        (landing / "01.jsonl").unlink(missing_ok=True)
        return store(order)

    land(landing, 3)
    workers.stage = stage_late
    assert problems(run()) == ["01.jsonl: 01.jsonl cannot be read: No such file or directory."]
    assert rows(landing, "SELECT count(*) FROM events") == [(2,)]


def test_a_file_that_a_network_cannot_give_for_a_moment_is_staged_again(
    landing: Path, workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "RETRY_SECONDS", (0.0, 0.0))
    again = step("stage {files}", retries=RETRIES)(staging_ahead.stage.__wrapped__)  # type: ignore[attr-defined]
    monkeypatch.setattr(staging_ahead, "stage", again)
    land(landing, 2)
    workers.stage = without_network(OSError(errno.EIO, "gone"), 2)
    assert run().is_completed()
    assert workers.waited == [["00.jsonl"]] * 3 + [["01.jsonl"]]


def test_ctrl_c_ends_the_wait_and_has_no_worker_begin_with_the_rest(landing: Path, workers: FakeWorkers) -> None:
    def stage_and_stop(order: StagingOrder) -> Sequence[Stored]:
        os.kill(os.getpid(), signal.SIGINT)
        return store(order)

    land(landing, 5)
    workers.stage = stage_and_stop
    state = run()
    assert str(state.message).startswith("Stopped by SIGINT at a safe point.")
    assert exit_code(state) == 130
    assert [pending.is_cancelled for pending in workers.submitted][1:] == [True] * 4


def test_what_a_killed_run_had_staged_is_swept_after_a_day(
    landing: Path, workers: FakeWorkers, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.mkdir()
    for name in (f"{'0' * 64}.arrow", f".{'1' * 64}.{'2' * 32}.partial"):
        (staged / name).touch()
        os.utime(staged / name, (1_700_000_000,) * 2)
    monkeypatch.delenv("DASK_SCHEDULER")
    run()
    assert os.listdir(staged) == []  # noqa: PTH208
