"""Claims files where several runs take them: each before it is read, and releases it when it is loaded."""

import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence

from sqlalchemy import Engine

from flows.pipeline.steps import Logger
from flows.pipeline.stopping import LOOK_UP_SECONDS, StopRequest
from src.marketing_messaging_service import loading, staging
from src.marketing_messaging_service.earlier_runs import KnownFile
from src.marketing_messaging_service.infrastructure.database import foreseeable_errors
from src.marketing_messaging_service.infrastructure.several_writers import PlaceAmongWriters
from src.marketing_messaging_service.staging.results import LandingFile

MOST_CLAIMED = 200
"""How many files are claimed at once; each takes two of the server's locks, of which there are some thousands."""


GROUPS_FOR_DASK = 16
"""How many groups of files are claimed at once where several workers stage them."""


class Claims:
    """A run's claims, by the contents of its files."""

    def __init__(
        self,
        place: PlaceAmongWriters,
        engine: Engine,
        stop: StopRequest,
        *,
        log: Logger,
        wait_seconds: float,
        groups_at_once: int = 1,
    ) -> None:
        """Remember what could not be read before; only look for the files to be claimed after this."""
        self._place = place
        self._engine = engine
        self._stop = stop
        self._log = log
        self._groups_at_once = groups_at_once
        self._wait_seconds = wait_seconds
        self._refused_before = loading.refused_contents(engine)
        self.taken_count = 0
        """Files that another run has taken since they were found."""
        self.left: Sequence[LandingFile] = ()
        """Files that another run was still taking when this one had waited long enough."""

    def portions(self, files: Sequence[LandingFile]) -> Generator[Sequence[LandingFile]]:
        """Yield files that this run has claimed, as many as are staged together, until each has been taken by somebody.

        They stay claimed until the next ones are requested. One that another run is taking is skipped and checked again
        at the end: by then it is taken or, if that run was killed, free again.
        """
        left = list(files)
        deadline = 0.0
        while left:
            others: list[LandingFile] = []
            for portion, claimed_by_others in self._round(left):
                others += claimed_by_others
                if portion:
                    yield portion
                    deadline = 0.0
            if len(others) < len(left):
                deadline = 0.0
            left = others
            if not left:
                break
            if not deadline:
                deadline = time.monotonic() + self._wait_seconds
                self._log.info(
                    "%s being taken by another run right now; this run will look at %s again.",
                    "1 file is" if len(left) == 1 else f"{len(left):,} files are",
                    "it" if len(left) == 1 else "them",
                )
            elif time.monotonic() >= deadline:
                self.left = left
                break
            self._stop.sleep(LOOK_UP_SECONDS)

    def _round(self, files: Sequence[LandingFile]) -> Iterator[tuple[list[LandingFile], list[LandingFile]]]:
        """Yield, portion by portion, the files claimed now and those that another run has."""
        done = 0
        while done < len(files):
            self._stop.check()
            some = self._next(files[done : done + MOST_CLAIMED])
            done += len(some)
            with foreseeable_errors():
                claimed = self._place.claim({name for file in some for name in _names(file)})
            own = [file for file in some if claimed.issuperset(_names(file))]
            try:
                yield self._not_taken(own), [file for file in some if not claimed.issuperset(_names(file))]
            finally:
                self._place.let_go(claimed)

    def _next(self, files: Sequence[LandingFile]) -> Sequence[LandingFile]:
        """Return the first files, as many groups as are staged together."""
        count = 0
        for _ in range(self._groups_at_once):
            count += len(staging.next_files(files[count:]))
        return files[:count]

    def _not_taken(self, files: Sequence[LandingFile]) -> list[LandingFile]:
        """Return those that no other run took, or found unreadable, before they were claimed."""
        known = loading.known_contents(self._engine, [file.content_hash for file in files])
        taken = {
            content_hash
            for content_hash, history in known.items()
            if history.is_taken or (history.is_refused and content_hash not in self._refused_before)
        }
        not_taken = [file for file in files if file.content_hash not in taken]
        self.taken_count += len(files) - len(not_taken)
        return self._with_beginnings(not_taken)

    def _with_beginnings(self, files: Sequence[LandingFile]) -> list[LandingFile]:
        """Return files with what other runs have taken of them since they were found, before they grew further.

        That was at the file's own path or, before a renaming, at the path of what it has grown from.
        """
        in_landing = [file for file in files if file.place is not None]
        if not in_landing:
            return list(files)
        beginnings = {content_hash for file in in_landing for content_hash in file.grown_from}
        by_path: dict[str, list[KnownFile]] = defaultdict(list)
        path_of: dict[str, str] = {}
        for known in loading.known_files_at(self._engine, {file.display_path for file in in_landing}, beginnings):
            by_path[known.path].append(known)
            path_of[known.content_hash] = known.path
        return [
            staging.grown_since(
                file,
                [
                    known
                    for path in {file.display_path, *(path_of.get(each, "") for each in file.grown_from)}
                    for known in by_path[path]
                ],
            )
            for file in files
        ]


def _names(file: LandingFile) -> list[str]:
    """Return what is claimed for a file: its content, those that it has grown from, and its path.

    Two runs may have found it in two states that do not know of each other.
    """
    contents = [f"file {content_hash}" for content_hash in (file.content_hash, *file.grown_from)]
    return contents if file.place is None else [*contents, f"path {file.display_path}"]
