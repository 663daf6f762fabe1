"""The raw files and databases that measurements start from, made on first use."""

import json
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.formats import WRITERS
from benchmarks.process import run_job
from benchmarks.raw_events import EVENTS_A_USER, RawFile, Shape, as_json, cut_into_files, write_raw_file
from benchmarks.rules_files import RulesFile, write_rules

SEED = 2026
HISTORY_FILES = 5
LINES_OF_SMALL_FILE = 25
"""On the average: from 1 to 50."""

BATCH_DAY = HISTORY_FILES
"""The day after the last one of the history."""


@dataclass(frozen=True)
class Workbench:
    """A folder for what a benchmark needs; what an earlier one left there is reused."""

    folder: Path
    scale: float
    """The share of every size that is made."""

    def scaled(self, count: int) -> int:
        """Return a count of lines at this bench's scale."""
        return max(round(count * self.scale), 1)

    def raw_file(
        self,
        line_count: int,
        *,
        malformed: bool = True,
        shape: Shape = as_json,
        user_count: int | None = None,
        name: str = "",
    ) -> RawFile:
        """Return a file of one day's events with that many lines or, if clean, fewer by those left out."""
        name = name or f"{line_count}-lines{'' if malformed else '-clean'}"
        return self._file(name, line_count, malformed=malformed, shape=shape, user_count=user_count)

    def rules(self, name: str, rules: RulesFile) -> Path:
        """Return a file of rules."""
        return write_rules(self.folder / "rules" / f"{name}.yaml", rules)

    def recast(self, raw_file: RawFile, kind: str) -> Path:
        """Return a file with the events of a clean one in another format or in other words."""
        name, write = WRITERS[kind]
        folder = raw_file.path.parent.with_name(f"{raw_file.path.parent.name}-{kind}")
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
                other.submit(write, raw_file.path, making / name).result()
            making.rename(folder)
        return folder / name

    def small_files(self, file_count: int) -> tuple[Path, RawFile]:
        """Return a folder of files of 1 to 50 lines, and one file with the same lines, all of them clean."""
        return self.files(file_count, file_count * LINES_OF_SMALL_FILE)

    def files(self, file_count: int, line_count: int) -> tuple[Path, RawFile]:
        """Return a folder of a number of files, and one file with the same lines, without those left out."""
        whole = self.raw_file(line_count, malformed=False)
        folder = self.folder / f"{file_count}-files-of-{line_count}-lines"
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            cut_into_files(whole, making, file_count, seed=SEED)
            making.rename(folder)
        return folder, whole

    def history_file(self, day: int, line_count: int) -> RawFile:
        """Return a day of a long history, all of whose days have the same users."""
        users = line_count * HISTORY_FILES // EVENTS_A_USER
        return self._file(f"history-{line_count}-{day}", line_count, day=day, user_count=users)

    def batch(self, line_count: int, history_count: int) -> RawFile:
        """Return a file of the day after a history, of the users of that history."""
        users = history_count // EVENTS_A_USER
        return self._file(f"batch-{line_count}-{history_count}", line_count, day=BATCH_DAY, user_count=users)

    def _file(self, name: str, line_count: int, **options: Any) -> RawFile:
        """Return the file with a name, alone in its folder as in its own landing."""
        path, known = self.folder / name / "events.jsonl", self.folder / f"{name}.json"
        if not known.exists():
            # In its own process, because a measured one begins with the peak memory of this one.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
                written = other.submit(partial(write_raw_file, path, line_count, seed=SEED, **options)).result()
            known.write_text(json.dumps(asdict(written) | {"path": None}))
        return RawFile(**json.loads(known.read_text()) | {"path": path})

    def empty_database(self) -> Path:
        """Return a migrated database without a row."""
        return self._database("empty", None, "ours:migrate", [self.folder / "none"])

    def history(self, line_count: int) -> Path:
        """Return a database in which five days of events are loaded and decided."""
        days = (self.history_file(day, line_count // HISTORY_FILES) for day in range(HISTORY_FILES))
        files = (file.path for file in days)
        return self._database(f"history-{line_count}", self.empty_database(), "ours:stage_load_and_decide", files)

    def loaded(self, name: str, start: Path, raw_file: RawFile) -> Path:
        """Return a copy of another database into which a raw file was loaded but not decided."""
        return self._database(f"{name}-loaded", start, "ours:stage_and_load", [raw_file.path])

    def _database(self, name: str, start: Path | None, job: str, raw_files: Iterable[Path]) -> Path:
        """Return a copy of another database, or a new one, after a job with each of the raw files."""
        path, work = self.folder / f"{name}.db", self.folder / "work.db"
        if not path.exists():
            for left in self.folder.glob("work.db*"):
                left.unlink()
            if start is not None:
                shutil.copyfile(start, work)
            for raw_file in raw_files:
                run_job(job, raw_file, work)
            work.rename(path)
        return path

    def ready_rows(self, name: str, start: Path, raw_file: RawFile) -> Path:
        """Return a file with the rows that a load of the raw file brings to a database, ready for the floor."""
        path = self.folder / f"{name}.rows"
        if not path.exists():
            run_job("floor:prepare", path, self.loaded(name, start, raw_file))
        return path
