"""A folder in which a run takes place: raw files in landing, rules and a database, all of them small."""

import gzip
import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.vocabulary import PAYLOAD

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "data" / "samples"
SHIPPED_RULES = PROJECT / "data" / "rules.yaml"

AS_OF = datetime(2026, 11, 23, 10, tzinfo=UTC)
"""The logical time of every run here."""

EVERYTHING = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
"""A window that contains every event of the samples."""

SECOND_HOUR = Window(datetime(2026, 11, 2, 23, tzinfo=UTC), datetime(2026, 11, 3, 0, tzinfo=UTC))
"""A window in which some files have all of their events, some a part and some none."""

SMALL_FILE_LINES = 7
"""Lines of a small file: fewer than a chunk has here, so that many are staged and loaded together."""

_OLDEST = datetime(2026, 11, 3, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scene:
    """One folder with everything that a run reads and writes; the pipeline finds it through its settings."""

    folder: Path

    @property
    def landing(self) -> Path:
        """Where raw files arrive."""
        return self.folder / "landing"

    @property
    def database(self) -> Path:
        """The database, which need not be there yet."""
        return self.folder / "messaging.db"

    @property
    def rules(self) -> Path:
        """The rules that decide."""
        return self.folder / "rules.yaml"

    @property
    def lenient_sources(self) -> Path:
        """Sources by which an invalid value costs an event nothing but that value, for a replay."""
        return self.folder / "lenient-sources.yaml"

    def settings(self) -> Mapping[str, str]:
        """The environment in which a run finds this scene, and no other."""
        return {
            "DATABASE_URL": f"sqlite:///{self.database}",
            "LANDING_PATH": str(self.landing),
            "LANDING_SETTLE_SECONDS": "0",
            "RULES_PATH": str(self.rules),
            "PUBLISH_PATH": str(self.folder / "published"),
            "REPORTS_PATH": str(self.folder / "reports"),
            "STAGED_PATH": str(self.folder / "staged"),
            "RUN_LOCK_TIMEOUT_SECONDS": "120",
            # So long that a slow machine renews it at the same points as a fast one.
            "RUN_LEASE_SECONDS": "3600",
        }

    def land(self, name: str, content: bytes) -> Path:
        """Write a raw file into landing, a minute younger than the one before."""
        path = self.landing / name
        age = _OLDEST + timedelta(minutes=len(list(self.landing.iterdir())))
        path.write_bytes(content)
        os.utime(path, (age.timestamp(), age.timestamp()))
        return path

    def copy_to(self, folder: Path) -> "Scene":
        """Return a scene of its own with the same content; the database must be at rest."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("*.lock", "output.txt", "points.txt"))
        return Scene(folder)

    def execute(self, *statements: str) -> None:
        """Execute statements on the database by hand."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)


def empty_scene(folder: Path) -> Scene:
    """Return a scene with the shipped rules, an empty landing folder and no database."""
    scene = Scene(folder)
    scene.landing.mkdir(parents=True)
    shutil.copyfile(SHIPPED_RULES, scene.rules)
    fields = ", ".join(f"{field.path}: {{on_invalid: null}}" for field in PAYLOAD.fields)
    scene.lenient_sources.write_text(
        "sources: [{files: ['*.jsonl', '*.jsonl.gz'], mapping: lenient}]\n"
        f"mappings: {{lenient: {{extends: native, fields: {{{fields}}}}}}}\n"
    )
    return scene


def sample_files() -> list[tuple[str, bytes]]:
    """The sample files by name, oldest first: welcome and refused, duplicate, contradicting, late and unreadable."""
    return [(path.name, path.read_bytes()) for path in sorted(SAMPLES.glob("events-*"))]


def small_files() -> list[tuple[str, bytes]]:
    """The lines of the sample files in their order, cut into many small files."""
    found = []
    for name, content in sample_files():
        text = gzip.decompress(content) if name.endswith(".gz") else content
        lines = text.splitlines(keepends=True)
        pieces = [lines[start : start + SMALL_FILE_LINES] for start in range(0, len(lines), SMALL_FILE_LINES)]
        found += [(f"{name.partition('.')[0]}-{place}.jsonl", b"".join(piece)) for place, piece in enumerate(pieces)]
    return found


def land_all(scene: Scene, files: Iterable[tuple[str, bytes]]) -> Scene:
    """Land files one after the other, and return the scene."""
    for name, content in files:
        scene.land(name, content)
    return scene
