"""A backfill past one machine: out of a bucket, staged by two Dask workers, loaded and decided by two runs at once."""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url

from src.marketing_messaging_service.paths import Bucket
from tests.dask_cluster import Cluster
from tests.object_stores import new_bucket, put
from tests.postgresql import Server
from tests.torture import several
from tests.torture.forks import KILLED, Ending, ForkServer, Victim
from tests.torture.orders import AS_IN_EARNEST, Order

pytestmark = pytest.mark.server

FILES = 199
"""Files that are all different; with the second copy of one they are 200."""

FILES_AT_ONCE = 5
"""Files that a worker is given at once, so that it takes the two of them forty goes."""

LOADED_BEFORE_HARM = 20
"""Files that are loaded when something is killed."""

JOBS = ("load only", "hourly")
"""Two loaders; the second decides when nothing is left to load."""


@pytest.fixture(scope="module")
def files() -> Sequence[tuple[str, bytes]]:
    return several.shared_files(files=FILES)


@pytest.fixture(scope="module")
def wanted(
    server: ForkServer, files: Sequence[tuple[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> several.Expected:
    """What one process makes of the same files in a folder, on SQLite."""
    return several.expected(server, tmp_path_factory.mktemp("wanted"), files, **AS_IN_EARNEST)


@pytest.fixture(scope="module")
def filled(object_store: str, files: Sequence[tuple[str, bytes]]) -> Iterator[Bucket]:
    """A bucket with every file in it, which processes that start meanwhile find by their environment."""
    with pytest.MonkeyPatch.context() as environment:
        for bucket in new_bucket(object_store, environment):
            for name, content in files:
                put(bucket, name, content)
            yield bucket


@pytest.fixture(scope="module")
def cluster(filled: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler, with workers that find the bucket by their own environment."""
    made = Cluster(tmp_path_factory.mktemp("dask"))
    yield made
    made.stop()


class Backfill:
    """Runs that take the bucket's files into one database of a server."""

    def __init__(self, forks: ForkServer, url: str, wanted: several.Expected, bucket: Bucket, cluster: Cluster) -> None:
        self._forks = forks
        self._url = url
        self._wanted = wanted
        self._settings = {
            "LANDING_PATH": str(bucket),
            "DASK_SCHEDULER": cluster.scheduler.address,
            "STAGED_PATH": str(wanted.scene.folder / "staged"),
            # What forks the runs was started before there was a bucket.
            **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        }

    def start(self, job: str) -> Victim:
        """Start one of the runs."""
        return Victim(self._forks, self._order(job))

    def finish(self) -> Sequence[Ending]:
        """Let one more run load what is left, and another one decide what was loaded only."""
        return [self.start(job).wait() for job in ("hourly", "backfill")]

    def _order(self, job: str) -> Order:
        order = several.order(self._wanted.scene, self._url, job)
        sizes = {**AS_IN_EARNEST, "most_files": FILES_AT_ONCE}
        return replace(order, settings={**order.settings, **self._settings}, **sizes)


@pytest.mark.parametrize("killed", ["nothing", "a loader", "a Dask worker"])
def test_two_hundred_files_of_a_bucket_become_what_one_process_makes_of_them_on_sqlite(
    server: ForkServer,
    postgresql: Server,
    wanted: several.Expected,
    filled: Bucket,
    cluster: Cluster,
    tmp_path: Path,
    killed: str,
) -> None:
    url = postgresql.new_database()
    backfill = Backfill(server, url, wanted, filled, cluster)
    cluster.mend(2)
    loader, _ = victims = [backfill.start(job) for job in JOBS]
    several.wait_for(lambda: loads_of(postgresql, url) >= LOADED_BEFORE_HARM, 60)
    if killed == "a Dask worker":
        random.Random(1).choice(cluster.workers).kill()
    elif killed == "a loader":
        loader.send(signal.SIGKILL)
    at_harm = loads_of(postgresql, url)
    endings = [victim.wait() for victim in victims]
    expected = [KILLED if killed == "a loader" else 0, 0]
    assert [ending.exit_code for ending in endings] == expected, [ending.output for ending in endings]
    assert at_harm < len(wanted.rows["files"]), "it came too late to harm anything"
    assert all("Staging on Dask" in ending.output for ending in endings), "Dask took no part"
    after = backfill.finish()
    assert [ending.exit_code for ending in after] == [0, 0], [ending.output for ending in after]
    assert several.breaches(url, wanted, tmp_path / "read") == []
    assert len(wanted.rows["files"]) == FILES
    assert wanted.rows["send_requests"]
    assert wanted.rows["suppressions"]


def url_name(url: str) -> str:
    """Return the name of a database."""
    return str(make_url(url).database)


def loads_of(server: Server, url: str) -> int:
    """Return how many files are loaded, 0 also where there is no table yet."""
    there = server.ask("SELECT to_regclass('loads') IS NOT NULL", database=url_name(url))
    return int(server.ask("SELECT count(*) FROM loads", database=url_name(url))) if there else 0
