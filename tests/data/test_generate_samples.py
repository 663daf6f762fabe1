"""The samples in the repo are what the generator writes."""

import gzip
import runpy
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data"


def content(path: Path) -> bytes:
    """A file's text; compressed bytes may differ between builds of zlib."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_the_samples_in_the_repo_are_what_the_generator_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate_samples.py", str(tmp_path)])
    runpy.run_path(str(DATA / "generate_samples.py"), run_name="__main__")
    written = {path.name: content(path) for path in tmp_path.glob("*.jsonl*")}
    assert len(written) == 6
    assert written == {path.name: content(path) for path in (DATA / "samples").iterdir()}
