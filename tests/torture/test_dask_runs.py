"""A few runs on Dask to which something happens; the long form has many."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dask_cluster import Cluster
from tests.torture import dask_runs, several
from tests.torture.forks import ForkServer

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def wanted(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> several.Expected:
    return several.expected(server, tmp_path_factory.mktemp("wanted"), several.shared_files())


@pytest.mark.parametrize("harm", dask_runs.HARMS, ids=lambda harm: str(harm.__name__))
def test_whatever_happens_the_runs_leave_what_one_process_does(
    server: ForkServer, cluster: Cluster, wanted: several.Expected, tmp_path: Path, harm: dask_runs.Harm
) -> None:
    files = several.shared_files()
    assert dask_runs.survive(server, cluster, wanted, files, harm, random.Random(1), tmp_path / "scene")[1] == []
