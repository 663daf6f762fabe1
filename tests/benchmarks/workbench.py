"""The raw files and databases that measurements start from, made when they are first asked for."""

import gzip
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import events
from tests.benchmarks.process import run_job

EVENTS_A_USER_AND_DAY = 10


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file, alone in its folder as in a landing of its own."""

    path: Path
    lines: int


@dataclass(frozen=True)
class Workbench:
    """A folder for what a benchmark needs."""

    folder: Path
    event_count: int
    """How many events an ordinary file holds."""
    batch_count: int
    """How many events an hourly batch holds."""
    _files: dict[str, RawFile] = field(default_factory=dict)

    def raw_file(
        self,
        name: str,
        count: int,
        shape: events.Shape = events.plain,
        *,
        first_day: int = 0,
        days: int = 1,
        extra: str = "",
    ) -> RawFile:
        """Return the file of a name; where count and days are the same, the events in it are the same."""
        if name not in self._files:
            path = self.folder / name / "events.jsonl"
            users = max(self.event_count // EVENTS_A_USER_AND_DAY, 1)
            raw_events = events.raw_events(count, seed=first_day, users=users, first_day=first_day, days=days)
            self._files[name] = RawFile(path, events.write(path, raw_events, shape, extra=extra))
        return self._files[name]

    def compressed(self, name: str, plain: RawFile) -> RawFile:
        """Return a file with the same lines, compressed."""
        if name not in self._files:
            path = self.folder / name / "events.jsonl.gz"
            path.parent.mkdir()
            with plain.path.open("rb") as source, gzip.open(path, "wb", compresslevel=6) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            self._files[name] = RawFile(path, plain.lines)
        return self._files[name]

    def empty_database(self) -> Path:
        """Return a migrated database without a row."""
        path = self.folder / "empty.db"
        if not path.exists():
            run_job("ours:migrate", path, path)
        return path

    def database(self, name: str, start: Path, job: str, raw_file: RawFile) -> Path:
        """Return a database that is another one after a job of ours."""
        path = self.folder / f"{name}.db"
        if not path.exists():
            shutil.copyfile(start, path)
            run_job(job, raw_file.path, path)
        return path
