"""What the tests of decisions share: a database of its own to land, take and decide in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline import Pipeline


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Iterator[Pipeline]:
    """The real stages on a fresh database."""
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template)
    yield pipeline
    pipeline.engine.dispose()
