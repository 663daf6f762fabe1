"""The lines that docs/notebooks.md shows, run on the sample events."""

import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.published_copies import publish
from tests.pipeline import AS_OF, Pipeline

ROOT = Path(__file__).parents[1]
LIVE, PUBLISHED, DUCKDB = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "notebooks.md").read_text(), re.M | re.S
)


@contextmanager
def silent(_label: str, _total: int | None):
    yield lambda _: None


@pytest.fixture(scope="module")
def folder(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database that the samples end in, and what was published of it."""
    folder = tmp_path_factory.mktemp("notebook")
    pipeline = Pipeline(folder, migrated_template)
    shutil.copytree(ROOT / "data" / "samples", pipeline.landing, dirs_exist_ok=True)
    pipeline.take()
    decide_pending(pipeline.engine, read_rules(ROOT / "data" / "rules.yaml"), decided_at=AS_OF)
    publish(url_of(pipeline.database_path), folder / "data" / "published", silent)
    return folder


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  the docs' own lines
    return names


def test_pandas_reads_the_live_file_with_zones_and_booleans(folder, monkeypatch):
    names = run(LIVE, folder, monkeypatch)
    names["connection"].close()
    assert len(names["sends"]) == 27
    for column in ("event_timestamp", "decided_at"):
        assert str(names["sends"][column].dtype) == "datetime64[us, UTC]"
    assert isinstance(names["traits"]["marketing_opt_in"].dtype, pd.BooleanDtype)
    assert str(names["traits"]["last_event_timestamp"].dtype) == "datetime64[us, UTC]"


def test_pandas_reads_what_was_published_with_types_kept(folder, monkeypatch):
    names = run(PUBLISHED, folder, monkeypatch)
    assert str(names["events"]["event_timestamp"].dtype) == "timestamp[us, tz=UTC][pyarrow]"
    assert str(names["traits"]["marketing_opt_in"].dtype) == "bool[pyarrow]"
    assert names["by_hour"].sum() == 180
    assert names["opted_in"] > 0


def test_duckdb_reads_what_was_published(folder, monkeypatch):
    names = run(DUCKDB, folder, monkeypatch)
    assert dict(zip(names["events"].columns, map(str, names["events"].types), strict=True))["event_timestamp"] == (
        "TIMESTAMP WITH TIME ZONE"
    )
    assert names["by_day"]["event_count"].sum() == 180
    assert names["sends"]["send_count"].sum() == 27
