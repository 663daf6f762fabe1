"""Hostile lines, bombs, values and rules."""

import json
from pathlib import Path

import pytest

from tests.torture import hostile, traps
from tests.torture.forks import ForkServer
from tests.torture.hostile import Bomb
from tests.torture.kills import Start
from tests.torture.orders import AS_IN_EARNEST, Order
from tests.torture.scene import Scene, empty_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A scene with nothing landed."""
    return empty_scene(tmp_path_factory.mktemp("hostile") / "scene")


def test_every_hostile_line_is_an_event_or_rejected_with_its_bytes_or_blank(server: ForkServer, scene: Scene) -> None:
    order = Order(str(scene.folder), job="fuzz", seed=1, count=hostile.LINES_A_FILE, **AS_IN_EARNEST)
    ending = server.run(order)
    assert ending.exit_code == 0, ending.output
    for job in ("hourly", "check"):
        assert server.run(Order(str(scene.folder), job=job)).exit_code == 0


@pytest.mark.parametrize("bomb", hostile.bombs(size=20), ids=lambda bomb: bomb.name)
def test_a_bomb_is_reported_in_bounded_memory(server: ForkServer, scene: Scene, tmp_path: Path, bomb: Bomb) -> None:
    path = tmp_path / f"bomb{bomb.ending}"
    bomb.write(path)
    ending = server.run(Order(str(scene.folder), job="bomb", target=str(path), **AS_IN_EARNEST))
    path.unlink()
    assert ending.exit_code == 0, ending.output
    result = json.loads(ending.output)
    assert not bomb.became_other(result["counts"]), result
    assert result["grown_bytes"] < hostile.MOST_GROWN_BYTES


def test_hostile_values_are_kept_as_they_came_and_neither_opened_nor_executed(
    server: ForkServer, tmp_path: Path
) -> None:
    assert traps.values_are_only_kept(server, tmp_path / "scene") == []


@pytest.mark.parametrize("trap", ["tag that builds an object", "aliases that unfold", "name that repeats"])
def test_a_rules_file_that_is_a_trap_is_reported_and_its_events_wait_for_a_good_one(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, trap: str
) -> None:
    text, told = traps.RULES_TRAPS[trap]
    assert traps.rules_trap(server, starts["taken before"], tmp_path / "scene", text, told) == []
