"""The small database, built once and broken in copies."""

import shutil
from functools import cache
from pathlib import Path

import pytest

from src.marketing_messaging_service.infrastructure.database import create_read_only_engine
from src.marketing_messaging_service.self_check import check
from tests.self_check import databases


@pytest.fixture(scope="session")
def sound_template(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which everything holds, to be copied and never written to."""
    return databases.build(tmp_path_factory.mktemp("sound") / "run", migrated_template)


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each test finds its own copy, so that the engine of one test is as good for the next."""
    return tmp_path_factory.mktemp("sound")


_engine = cache(create_read_only_engine)
"""An engine keeps the SQL of the statements that it has compiled, which take longer than to run on so few rows."""


@pytest.fixture
def sound(sound_template: Path, sound_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a database of the test's own in which everything holds."""
    monkeypatch.setattr(check, "create_read_only_engine", _engine)
    for left in sound_folder.iterdir():
        left.unlink()
    return Path(shutil.copyfile(sound_template, sound_folder / "sound.db"))
