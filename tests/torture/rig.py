"""What the sections of the long form share: fork servers, beginnings, and folders that are thrown away."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import TypeVar

from tests.torture import kills
from tests.torture.forks import ForkServer
from tests.torture.kills import Start

Result = TypeVar("Result")

Job = Callable[[ForkServer, Path], Result]
"""Something to do with a fork server, in a folder of its own that does not exist yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a section did, and everything that was not as it should be."""

    count: int
    told: str
    breaches: tuple[str, ...]
    details: tuple[str, ...] = ()
    """More lines for a person to read."""


class Rig:
    """Fork servers that work side by side, and the beginnings that their victims start from."""

    def __init__(self, folder: Path, seed: int, servers: int) -> None:
        self.folder = folder
        self.seed = seed
        self._server_count = servers
        self._stack = ExitStack()
        self._idle: Queue[ForkServer] = Queue()
        self._number = itertools.count()
        self.starts: list[Start] = []

    def __enter__(self) -> "Rig":
        for _ in range(self._server_count):
            self._idle.put(self._stack.enter_context(ForkServer()))
        server = self._idle.get()
        self.starts = kills.starts(server, self.folder / "starts")
        self._idle.put(server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, name: str) -> Start:
        """Return a beginning by its name."""
        return next(start for start in self.starts if start.name == name)

    def run_all(self, jobs: Sequence[Job[Result]]) -> list[Result]:
        """Do all jobs, as many at once as there are fork servers, and return what they gave in their order."""
        with ThreadPoolExecutor(self._server_count) as pool:
            return list(pool.map(self._run, jobs))

    def _run(self, job: Job[Result]) -> Result:
        server = self._idle.get()
        folder = self.folder / f"job-{next(self._number)}"
        try:
            return job(server, folder)
        finally:
            self._idle.put(server)
            shutil.rmtree(folder, ignore_errors=True)
