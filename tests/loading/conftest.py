"""A file on its way into a fresh database."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.loading import load_file
from src.marketing_messaging_service.loading.results import LoadResult
from tests.loading.raw_files import Line, stage

AS_OF = datetime(2026, 3, 1, 13, tzinfo=UTC)

Load = Callable[..., LoadResult]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """The folder where raw files arrive."""
    return tmp_path / "landing"


@pytest.fixture
def load(engine: Engine, landing: Path) -> Load:
    """Load a file of the given name and lines; keywords go to `stage` (chunk_rows) and load_file (engine too)."""

    def load(name: str, *lines: Line, chunk_rows: int | None = None, **options: Any) -> LoadResult:
        with closing(stage(landing, name, *lines, chunk_rows=chunk_rows)) as staged:
            result = load_file(options.pop("engine", engine), staged, **{"as_of": AS_OF} | options)
        assert isinstance(result, LoadResult)
        return result

    return load
