"""The small database, built once and broken in copies."""

import shutil
from pathlib import Path

import pytest

from tests.checking import databases


@pytest.fixture(scope="session")
def sound_template(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which everything holds, to be copied and never written to."""
    return databases.build(tmp_path_factory.mktemp("sound") / "run", migrated_template)


@pytest.fixture
def sound(sound_template: Path, tmp_path: Path) -> Path:
    """The path of a database of the test's own in which everything holds."""
    return Path(shutil.copyfile(sound_template, tmp_path / "sound.db"))
