"""One fork server and one set of beginnings for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.torture import kills
from tests.torture.forks import ForkServer
from tests.torture.kills import Start


@pytest.fixture(scope="package")
def server() -> Iterator[ForkServer]:
    """What forks the victims."""
    with ForkServer() as fork_server:
        yield fork_server


@pytest.fixture(scope="package")
def starts(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Start]:
    """What a run can begin with, by name."""
    return {start.name: start for start in kills.starts(server, tmp_path_factory.mktemp("starts"))}
