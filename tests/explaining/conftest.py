"""Trials on a copy of the migrated template of all tests: making one takes a second each time."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.marketing_messaging_service.infrastructure import schema
from tests.pipeline import Pipeline


@pytest.fixture(autouse=True)
def _no_migration(monkeypatch: pytest.MonkeyPatch, migrated_template: Path) -> None:
    def copy(url: str) -> None:
        shutil.copyfile(migrated_template, url.removeprefix("sqlite:///"))

    monkeypatch.setattr(schema, "migrate", copy)


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Iterator[Pipeline]:
    """Runs on a fresh migrated database."""
    made = Pipeline(tmp_path, migrated_template)
    yield made
    made.engine.dispose()
