"""A PostgreSQL server whose disk fills up: a run says what to do, and once there is room nothing was lost or twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import Server, skip_without_server
from tests.torture import full_servers, servers
from tests.torture.forks import ForkServer
from tests.torture.scene import Scene, empty_scene, land_all, sample_files
from tests.torture.surroundings import why_no_small_disk

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def on_disk() -> Iterator[tuple[Server, Path]]:
    """A server on a disk of its own, or a skip with why there is none."""
    if reason := why_no_small_disk():
        pytest.skip(reason)
    skip_without_server()
    with full_servers.on_a_disk_of_its_own() as (server, disk):
        yield server, disk


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return land_all(empty_scene(tmp_path_factory.mktemp("full") / "scene"), sample_files())


@pytest.fixture(scope="module")
def start(server: ForkServer, on_disk: tuple[Server, Path], scene: Scene) -> servers.Undisturbed:
    return servers.undisturbed(server, on_disk[0], scene)


# With nothing left nobody can even connect; the migration needs some 1.5 MB, and the rows the rest.
@pytest.mark.parametrize("kibibytes", [0, 1_000, 2_000])
def test_a_full_disk_is_reported_and_once_there_is_room_the_rows_are_those_of_an_undisturbed_run(
    server: ForkServer, on_disk: tuple[Server, Path], scene: Scene, start: servers.Undisturbed, kibibytes: int
) -> None:
    said, breaches = full_servers.run_on_a_full_disk(server, *on_disk, scene, start, kibibytes)
    assert breaches == []
    assert full_servers.FULL in said


def test_a_server_whose_log_finds_no_room_is_reported_and_nothing_is_lost(
    server: ForkServer, on_disk: tuple[Server, Path], scene: Scene, start: servers.Undisturbed
) -> None:
    said, breaches = full_servers.run_on_a_full_disk(server, *on_disk, scene, start, 4_000, with_its_log=True)
    assert breaches == []
    # It goes down where that is found in the midst of a write, and can still say that its disk is full elsewhere.
    assert any(each in said for each in (full_servers.FULL, *full_servers.GONE)), said
