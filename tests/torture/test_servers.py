"""A few runs on a server to which something happens; the long form has many."""

import random
from collections.abc import Iterator

import pytest

from tests.postgresql import Server, server_or_skip
from tests.torture import servers
from tests.torture.forks import ForkServer
from tests.torture.scene import Scene, empty_scene, land_all, sample_files


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that no other test uses, because it comes to harm."""
    yield from server_or_skip()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return land_all(empty_scene(tmp_path_factory.mktemp("servers") / "scene"), sample_files())


@pytest.fixture(scope="module")
def start(server: ForkServer, own: Server, scene: Scene) -> servers.Undisturbed:
    return servers.undisturbed(server, own, scene)


@pytest.mark.parametrize("harm", servers.HARMS, ids=lambda harm: str(harm.__name__))
def test_whatever_happens_the_next_run_leaves_what_an_undisturbed_one_does(
    server: ForkServer, own: Server, scene: Scene, start: servers.Undisturbed, harm: servers.Harm
) -> None:
    for number in range(2):
        assert servers.survive(server, own, scene, start, harm, random.Random(number))[1] == []
