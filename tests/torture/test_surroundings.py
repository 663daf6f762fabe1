"""What goes wrong around a run: full disks, missing rights, files that change or are damaged."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.torture import surroundings
from tests.torture.forks import ForkServer
from tests.torture.kills import Start
from tests.torture.scene import Scene


@pytest.fixture(scope="module")
def _small_disks() -> None:
    """Skip where no disk of a few pages can be had."""
    if reason := surroundings.why_no_small_disk():
        pytest.skip(reason)


@pytest.mark.usefixtures("_small_disks")
@pytest.mark.parametrize(
    ("beginning", "room"),
    [("no database", 0.25), ("taken before", 1.15), ("older schema", 1.5)],
)
def test_a_disk_that_fills_up_is_reported_and_once_there_is_room_nothing_was_lost(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, beginning: str, room: float
) -> None:
    was_full, breaches = surroundings.on_a_small_disk(server, starts[beginning], tmp_path / "scene", room)
    assert breaches == []
    assert was_full


@pytest.mark.parametrize(("beginning", "part"), [("older schema", 0.5)])
def test_a_database_that_cannot_grow_is_reported_and_once_it_can_nothing_was_lost(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, beginning: str, part: float
) -> None:
    was_full, breaches = surroundings.with_few_pages(server, starts[beginning], tmp_path / "scene", part)
    assert breaches == []
    assert was_full


@pytest.mark.usefixtures("_small_disks")
def test_a_disk_without_room_for_the_copy_from_before_a_migration_is_reported(tmp_path: Path) -> None:
    assert surroundings.copied_on_a_small_disk(tmp_path / "disk") == []


@pytest.mark.usefixtures("_small_disks")
@pytest.mark.parametrize("room", [0.0, 0.3, 0.8])
def test_a_disk_that_is_full_of_what_is_published_is_reported_and_that_stays_whole(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, room: float
) -> None:
    was_full, breaches = surroundings.published_on_a_small_disk(server, starts["no database"], tmp_path / "scene", room)
    assert breaches == []
    assert was_full


@pytest.mark.usefixtures("_small_disks")
def test_a_full_folder_for_temporary_files_is_reported_and_the_next_run_does_everything(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    start = starts["taken before"]
    assert surroundings.with_a_full_folder_for_temporary_files(server, start, tmp_path / "scene") == []


@pytest.mark.usefixtures("_small_disks")
def test_a_read_only_disk_is_reported_and_once_it_is_writable_the_next_run_does_everything(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    assert surroundings.on_a_read_only_disk(server, starts["taken before"], tmp_path / "scene") == []


@pytest.mark.skipif(os.name != "posix", reason="needs the rights of a POSIX file system")
@pytest.mark.parametrize(("deny", "told"), surroundings.DENIALS.values(), ids=surroundings.DENIALS)
def test_a_right_that_is_missing_is_reported_and_once_it_is_given_the_next_run_does_everything(
    server: ForkServer, starts: dict[str, Start], deny: Callable[[Scene], Path], told: str
) -> None:
    assert surroundings.without_rights(server, starts["taken before"], deny, told) == []


@pytest.mark.parametrize("fault", surroundings.LANDING_FAULTS)
def test_a_file_that_changes_beneath_a_run_is_taken_whole_by_this_run_or_the_next(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, fault: str
) -> None:
    chance = random.Random(fault)
    assert surroundings.changed_while_it_is_read(server, starts["no database"], tmp_path, fault, chance) == []


def test_a_file_that_is_still_being_written_waits_for_the_next_run(server: ForkServer, tmp_path: Path) -> None:
    first, breaches = surroundings.still_being_written(server, tmp_path, pause_seconds=0.1)
    assert breaches == []
    assert "0 new, 0 taken before, 1 still being written." in first.output


def test_of_a_file_taken_half_written_no_event_is_lost_or_doubled(server: ForkServer, tmp_path: Path) -> None:
    first, breaches = surroundings.still_being_written(server, tmp_path, pause_seconds=60)
    assert breaches == []
    assert "1 new, 0 taken before." in first.output


def test_a_damaged_database_is_reported_in_a_sentence_or_does_not_matter(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path
) -> None:
    assert surroundings.damaged(server, starts["taken before"], tmp_path / "scene", random.Random(1)) == []


@pytest.mark.parametrize(("fault", "label", "told"), surroundings.REPLACEMENTS.values(), ids=surroundings.REPLACEMENTS)
def test_a_database_that_is_replaced_beneath_a_run_is_reported_and_the_next_run_starts_again(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, fault: str, label: str, told: str
) -> None:
    assert surroundings.replaced(server, starts["taken before"], tmp_path / "scene", fault, label, told) == []


@pytest.mark.parametrize("fault", ["move over", "copy over"])
def test_a_database_that_is_replaced_by_one_of_another_schema_is_reported(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, fault: str
) -> None:
    start, other = starts["taken before"], starts["older schema"]
    assert surroundings.replaced_by_another_schema(server, start, other, tmp_path / "scene", fault) == []


@pytest.mark.parametrize(("make", "told"), surroundings.STRANGERS.values(), ids=surroundings.STRANGERS)
def test_a_file_that_is_none_of_ours_is_reported_and_stays_as_it_is(
    server: ForkServer, starts: dict[str, Start], tmp_path: Path, make: Callable[[Scene], None], told: str
) -> None:
    assert surroundings.beside_a_stranger(server, starts["taken before"], tmp_path / "scene", make, told) == []
