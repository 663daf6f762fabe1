"""Dask's own scheduler and workers, as processes that are killed, missing, or not what they should be."""

import json
import logging
import os
import pickle
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from flows.hourly import hourly
from flows.pipeline import dask_workers as module
from flows.pipeline.dask_workers import DaskWorkers, dask_workers
from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.errors import DaskError
from src.marketing_messaging_service.infrastructure.schedulers import DaskScheduler
from src.marketing_messaging_service.paths import Bucket
from src.marketing_messaging_service.staging import StagingOrder, discover, open_stored, small_files
from src.marketing_messaging_service.staging.results import LandingFile
from src.marketing_messaging_service.staging.small_files import SMALL_FILE_BYTES
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES
from tests.dask_cluster import ROOT, Cluster, wait_until
from tests.flows.pipeline.test_staging_ahead import everything
from tests.object_stores import put

pytestmark = [pytest.mark.server, pytest.mark.slow]

LARGE_LINES = 15_000

LOG = logging.getLogger(__name__)


def write_files(landing: Path, *, large: int, small: int) -> None:
    """Files among each other, of which the large ones are each a group of their own; oldest first by name."""
    number = 0
    every = (large + small) // large if large else 0
    for place in range(large + small):
        is_large = large > 0 and place % every == 0 and place < large * every
        with (landing / f"{place:03}.jsonl").open("w") as file:
            for _ in range(LARGE_LINES if is_large else 20):
                number += 1
                event = {
                    "message_id": f"m{number}",
                    "user_id": f"user-{number % 5_000}",
                    "event_type": ("signup_completed", "payment_failed", "link_bank_success")[number % 3],
                    "event_timestamp": f"2026-11-{1 + number % 20:02}T10:00:00Z",
                    "properties": {"amount": number / 7, "failure_reason": "INSUFFICIENT_FUNDS", "attempt_number": 3},
                    "user_traits": {"email": f"user-{number}@mail.example", "marketing_opt_in": True},
                }
                file.write(json.dumps(event) + "\n")
            file.write("no json\n")
        assert ((landing / f"{place:03}.jsonl").stat().st_size > SMALL_FILE_BYTES) == is_large
        os.utime(landing / f"{place:03}.jsonl", (1_700_000_000 + place,) * 2)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A scheduler without a worker, and a run that is less patient than a real one."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 5.0)
    monkeypatch.setattr(module, "NO_WORKER_SECONDS", 4.0)
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.5)
    made = Cluster(tmp_path / "dask")
    yield made
    made.stop()


@pytest.fixture
def files(tmp_path: Path) -> Sequence[LandingFile]:
    """Two raw files."""
    (tmp_path / "raw").mkdir()
    write_files(tmp_path / "raw", large=0, small=2)
    return discover(tmp_path / "raw", KnownFiles()).new_files


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return tmp_path / "staged"


def sentence_of(workers: DaskWorkers, files: Sequence[LandingFile], folder: Path, within: float) -> str:
    """What a run says that gives files to workers, within so many seconds."""
    began = time.monotonic()
    with pytest.raises(DaskError) as caught:
        workers.submit(StagingOrder(files, SHIPPED_SOURCES, (), folder)).result(lambda: None)
    assert time.monotonic() - began < within
    return str(caught.value)


def test_a_run_on_two_workers_of_its_own_leaves_the_rows_that_it_leaves_without(
    landing: Path, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(landing, large=6, small=50)
    monkeypatch.setenv("STAGED_PATH", str(staged))
    with monkeypatch.context() as patched:
        patched.setenv("DASK_SCHEDULER", "local:2")
        assert hourly(return_state=True).is_completed()
    spread = everything(landing)
    assert list(staged.iterdir()) == []
    (landing.parent / "messaging.db").unlink()
    assert hourly(return_state=True).is_completed()
    assert everything(landing) == spread
    assert len(spread["events"]) == 6 * LARGE_LINES + 50 * 20


def test_two_workers_take_files_from_a_bucket(
    landing: Path, bucket: Bucket, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "MOST_FILES", 5)
    monkeypatch.setenv("LANDING_PATH", str(bucket))
    monkeypatch.setenv("STAGED_PATH", str(staged))
    monkeypatch.setenv("DASK_SCHEDULER", "local:2")
    write_files(staged.parent, large=0, small=20)
    for path in staged.parent.glob("*.jsonl"):
        put(bucket, path.name, path.read_bytes())
    assert hourly(return_state=True).is_completed()
    assert len(everything(landing)["events"]) == 20 * 20


def test_a_worker_of_a_runs_own_that_is_killed_is_started_again_and_none_hears_of_ctrl_c(
    files: Sequence[LandingFile], staged: Path
) -> None:
    order = StagingOrder(files, SHIPPED_SOURCES, (), staged)
    with dask_workers(DaskScheduler(worker_count=1), staged, LOG) as workers:
        [process_id] = workers._client.run(os.getpid).values()
        if (status := Path(f"/proc/{process_id}/status")).exists():
            [blocked] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigBlk")]
            assert int(blocked, 16) & 1 << (signal.SIGINT - 1)
        os.kill(process_id, signal.SIGKILL)
        [made] = workers.submit(order).result(lambda: None)
    with closing(open_stored(made, files, order).rows) as rows:
        assert sum(map(len, rows.event_batches())) == 40
    assert str(process_id) not in made.worker


def test_a_worker_that_is_killed_at_work_costs_nothing(
    landing: Path, staged: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(landing, large=6, small=6)
    victim, _ = cluster.start_worker(), cluster.start_worker()
    wait_until(lambda: cluster.worker_count() == 2)
    staged.mkdir()

    def kill_at_work() -> None:
        while not any(path.suffix == ".partial" for path in staged.iterdir()):
            time.sleep(0.005)
        victim.kill()

    killing = threading.Thread(target=kill_at_work, daemon=True)
    killing.start()
    monkeypatch.setenv("STAGED_PATH", str(staged))
    monkeypatch.setenv("DASK_SCHEDULER", cluster.scheduler.address)
    assert hourly(return_state=True).is_completed()
    killing.join(1)
    assert victim.wait(1) == -signal.SIGKILL
    assert len(everything(landing)["events"]) == 6 * LARGE_LINES + 6 * 20
    with closing(sqlite3.connect(landing.parent / "messaging.db")) as connection:
        assert connection.execute("SELECT count(DISTINCT message_id) FROM events").fetchone() == (
            6 * LARGE_LINES + 6 * 20,
        )


def test_when_the_last_worker_dies_the_run_says_so_within_the_stated_time(
    cluster: Cluster, files: Sequence[LandingFile], staged: Path
) -> None:
    with dask_workers(cluster.scheduler, staged, LOG) as workers:
        worker = cluster.start_worker()
        wait_until(lambda: workers.count() == 1)
        os.kill(worker.pid, signal.SIGSTOP)
        pending = workers.submit(StagingOrder(files, SHIPPED_SOURCES, (), staged))
        worker.kill()
        with pytest.raises(DaskError, match=r"has had no worker for 4 s\. Start workers in the project's folder"):
            pending.result(lambda: None)
        assert "has had no worker for 4 s" in sentence_of(workers, files, staged, within=7)


def test_a_worker_that_comes_in_time_does_the_work(
    cluster: Cluster, files: Sequence[LandingFile], staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NO_WORKER_SECONDS", 60.0)
    order = StagingOrder(files, SHIPPED_SOURCES, (), staged)
    with dask_workers(cluster.scheduler, staged, LOG) as workers:
        pending = workers.submit(order)
        cluster.start_worker()
        [made] = pending.result(lambda: None)
    with closing(open_stored(made, files, order).rows) as rows:
        assert sum(map(len, rows.event_batches())) == 40


def test_a_scheduler_that_dies_or_stands_still_is_reported_within_the_stated_time(
    cluster: Cluster, files: Sequence[LandingFile], staged: Path
) -> None:
    with dask_workers(cluster.scheduler, staged, LOG) as workers:
        cluster.scheduler_process.send_signal(signal.SIGSTOP)
        assert "no longer answers" in sentence_of(workers, files, staged, within=10)
        cluster.scheduler_process.kill()
        assert "no longer answers" in sentence_of(workers, files, staged, within=10)


def test_a_scheduler_that_is_not_there_is_reported_within_the_stated_time(
    staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 2.0)
    nowhere = DaskScheduler(address="tcp://127.0.0.1:9")
    began = time.monotonic()
    with (
        pytest.raises(DaskError, match=r"tcp://127\.0\.0\.1:9 does not answer \(.*\)\. Start it, or correct DASK_SCH"),
        dask_workers(nowhere, staged, LOG),
    ):
        pytest.fail("there is no scheduler")
    assert time.monotonic() - began < 5


def test_a_worker_without_the_program_says_where_to_start_it(
    cluster: Cluster, files: Sequence[LandingFile], staged: Path, tmp_path: Path
) -> None:
    with dask_workers(cluster.scheduler, staged, LOG) as workers:
        cluster.start_worker(tmp_path)
        wait_until(lambda: workers.count() == 1)
        sentence = sentence_of(workers, files, staged, within=20)
    assert "(ModuleNotFoundError: No module named 'src'). Start them in the project's folder" in sentence


def test_a_worker_of_another_version_says_what_to_do(
    cluster: Cluster, files: Sequence[LandingFile], staged: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "older" / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "older" / "src" / "marketing_messaging_service" / "run_options.py").open("a") as file:
        file.write("\n# another version\n")
    with dask_workers(cluster.scheduler, staged, LOG) as workers:
        cluster.start_worker(tmp_path / "older")
        wait_until(lambda: workers.count() == 1)
        sentence = sentence_of(workers, files, staged, within=20)
    assert "runs a different version of the program from this run" in sentence


def test_files_that_kill_every_worker_are_reported_as_such() -> None:
    error = KilledWorker("stage", Mock(address="tcp://127.0.0.1:1"), 3)
    pending = module._Pending(Mock(result=Mock(side_effect=error)), DaskWorkers(Mock(), DaskScheduler(worker_count=1)))
    with pytest.raises(DaskError, match=r"^4 Dask workers died one after another while staging the same"):
        pending.result(lambda: None)


def test_a_connection_that_breaks_while_a_result_is_fetched_is_a_lost_scheduler() -> None:
    future = Mock(result=Mock(side_effect=CommClosedError("in <TCP>")), status="cancelled")
    pending = module._Pending(future, DaskWorkers(Mock(), DaskScheduler(address="tcp://127.0.0.1:1")))
    with pytest.raises(DaskError, match="no longer answers") as caught:
        pending.result(lambda: None)
    assert caught.value.may_pass


@pytest.mark.parametrize("error", [ClosedClientError("Client is closed."), TimeoutError(), RuntimeError("closed")])
def test_a_client_that_has_given_its_scheduler_up_is_a_lost_scheduler(
    files: Sequence[LandingFile], staged: Path, error: Exception
) -> None:
    closed = Mock(submit=Mock(side_effect=error), sync=Mock(side_effect=error))
    workers = DaskWorkers(closed, DaskScheduler(address="tcp://127.0.0.1:1"))
    for ask in (workers.count, lambda: workers.submit(StagingOrder(files, SHIPPED_SOURCES, (), staged))):
        with pytest.raises(DaskError, match="no longer answers"):
            ask()
    # Nothing is left to be cancelled, and the error that was raised before is the one to be seen.
    module._Pending(Mock(cancel=Mock(side_effect=error)), workers).cancel()


def test_a_defect_of_staging_is_no_fault_of_the_worker(
    cluster: Cluster, files: Sequence[LandingFile], staged: Path
) -> None:
    order: Any = StagingOrder(files, SHIPPED_SOURCES, (), staged)
    order.sources = None
    with dask_workers(cluster.scheduler, staged, LOG) as workers:
        cluster.start_worker()
        with pytest.raises(AttributeError, match="NoneType"):
            workers.submit(order).result(lambda: None)


def test_what_a_worker_is_given_names_no_database(
    files: Sequence[LandingFile], staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://me:secret@host/db")
    given = Mock()
    DaskWorkers(given, DaskScheduler(worker_count=1)).submit(StagingOrder(files, SHIPPED_SOURCES, (), staged))
    function, payload = given.submit.call_args.args
    assert function is pickle.loads
    assert b"store" in payload
    assert b"secret" not in payload
