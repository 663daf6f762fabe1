"""Finds the files in landing that have not been taken yet."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from src.marketing_messaging_service.earlier_runs import KnownFile, KnownFiles
from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.paths import Bucket, Place
from src.marketing_messaging_service.staging.landing_bucket import LandingBucket
from src.marketing_messaging_service.staging.landing_folder import LandingFolder, os_explanation
from src.marketing_messaging_service.staging.landing_place import LandingPlace, Sighting
from src.marketing_messaging_service.staging.memory import Memory, is_same_file, was_delivered_after
from src.marketing_messaging_service.staging.results import (
    MOST_NAMED,
    Discovery,
    FileProblem,
    LandingFile,
    RawPlace,
    Remark,
    first_names,
)
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES, SourcesFile
from src.marketing_messaging_service.staging.untaken import look_at_untaken
from src.marketing_messaging_service.vocabulary import ReasonCode

READ_AHEAD = 1_000
"""How many files at most are read ahead, where several are read at once."""

TELL_SECONDS = 10.0
"""How often a long look reports its progress."""

HASHED_BYTES = 1 << 18
"""How much of a file is hashed at once."""


Item = TypeVar("Item")


def discover(
    landing: Place,
    known: KnownFiles,
    *,
    sources: SourcesFile = SHIPPED_SOURCES,
    settle_seconds: float = 0,
    sleep: Callable[[float], None] = time.sleep,
    tell: Callable[[str], None] = lambda _: None,
) -> Discovery:
    """Look in landing and its subfolders for files that no load has taken, oldest first by modification time.

    A file is taken when a pattern of the sources names it. One whose path and signature are known is not read again;
    every other one is hashed. A file that changed within the last `settle_seconds` is checked again after that time
    (all such files after one common wait), and left for the next run if it has changed meanwhile: it is still being
    written. `landing_folder` says what is passed over and where links lead, and `untaken` what happens to files that no
    pattern names. A file that cannot be read becomes a problem, not an error. `tell` gets a sentence now and then if it
    takes long. Raises LandingError when landing itself cannot be listed.
    """
    place = LandingBucket(landing) if isinstance(landing, Bucket) else LandingFolder(landing)
    looking = _Looking(place, Memory(known, sources), sources, _Pace(str(landing), tell))
    looking.walk_through(settle_seconds, sleep)
    return looking.discovery()


class _Pace:
    """Reports the progress of a long look now and then."""

    def __init__(self, where: str, tell: Callable[[str], None]) -> None:
        self._where = where
        self._tell = tell

    def over(self, items: Iterable[Item], what: str) -> Iterator[Item]:
        """Yield items, and report how many of them there were."""
        told = time.monotonic()
        for count, item in enumerate(items, 1):
            yield item
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                self._tell(f"Looking through {self._where}: {count:,} {what} so far.")


class _Looking:
    """One look into landing."""

    def __init__(self, landing: LandingPlace, memory: Memory, sources: SourcesFile, pace: "_Pace") -> None:
        self._pace = pace
        self._memory = memory
        self._sources = sources
        self._landing = landing
        self._found: dict[str, LandingFile] = {}
        self._known_count = 0
        self._refused: dict[ReasonCode, list[str]] = defaultdict(list)
        self._waiting: list[str] = []
        self._untaken: list[Sighting] = []
        self._notes: list[str] = []
        self._youngest = 0.0
        """Files changed later than this, by the file system's clock, may still be being written."""

    def walk_through(self, settle_seconds: float, sleep: Callable[[float], None]) -> None:
        """Look at every file, and hash those that are not known at their place."""
        seen = self._pace.over(self._landing.sightings(), "files seen")
        unknown = [sighting for sighting in seen if not self._is_known_by_place(sighting)]
        seconds = settle_seconds if self._landing.grows else 0
        self._youngest = time.time() - seconds
        settled, self._waiting = _settled(unknown, seconds, sleep)
        reads = self._pace.over(self._reads(settled), f"of {len(settled):,} new files read")
        for sighting, file in zip(settled, reads, strict=True):
            if isinstance(file, OSError):
                self._landing.problems.append(FileProblem(sighting.display_path, os_explanation(file)))
            else:
                self._look_into(sighting, file)

    def discovery(self) -> Discovery:
        """Return what was found."""
        problems, ignored = look_at_untaken(self._untaken, self._youngest, self._sources)
        refused = [Remark.on(RemarkKind.UNREADABLE, names, code.advice) for code, names in self._refused.items()]
        waiting = [Remark.on(RemarkKind.WAITING, self._waiting, "")] if self._waiting else []
        passed_over = self._landing.passed_over
        hidden = [Remark.on(RemarkKind.PASSED_OVER, passed_over, "")] if passed_over else []
        return Discovery(
            new_files=tuple(sorted(self._found.values(), key=_age)),
            known_count=self._known_count,
            problems=(*_grouped(self._landing.problems), *problems),
            remarks=(*refused, *ignored, *waiting, *hidden),
            notes=tuple(self._notes),
        )

    def _is_known_by_place(self, sighting: Sighting) -> bool:
        """Whether a file need not be read; known files, and files that no pattern names, are counted."""
        refused_code = self._memory.refused_place(sighting)
        if self._memory.is_taken_place(sighting):
            self._known_count += 1
        elif refused_code is not None:
            self._refused[refused_code].append(sighting.display_path)
        elif self._sources.number_of(sighting.display_path) is not None:
            return False
        elif not (earlier := self._memory.may_go_on(sighting)):
            self._untaken.append(sighting)
        elif any(is_same_file(file, sighting) for file in earlier):
            self._known_count += 1
        else:
            return False
        return True

    def _reads(self, sightings: Sequence[Sighting]) -> Iterator[LandingFile | OSError]:
        """Yield each file with its hash, or why it cannot be read."""
        at_once = self._landing.reads_at_once
        if at_once == 1:
            yield from map(self._read, sightings)
            return
        with ThreadPoolExecutor(at_once) as pool:
            for start in range(0, len(sightings), READ_AHEAD):
                yield from pool.map(self._read, sightings[start : start + READ_AHEAD])

    def _read(self, sighting: Sighting) -> LandingFile | OSError:
        try:
            return _landing_file(sighting, self._memory.earlier_states(sighting))
        except OSError as error:
            return error

    def _look_into(self, sighting: Sighting, file: LandingFile) -> None:
        """Decide from its content whether a file is new."""
        number = self._sources.number_of(sighting.display_path)
        memory = self._memory
        earlier = memory.earlier_states(sighting)
        grown_from = next((each.path for each in earlier if each.content_hash in file.grown_from), None)
        source_number = self._sources.number_of(grown_from) if number is None and grown_from else number
        refused = memory.refused_content(file.content_hash, sighting)
        if memory.is_taken_content(file.content_hash):
            self._known_count += 1
        elif refused is not None and refused.refused_code and not was_delivered_after(sighting, refused.read_at):
            self._refused[refused.refused_code].append(sighting.display_path)
        elif source_number is None:
            self._untaken.append(sighting)
        elif file.content_hash in self._found:
            self._known_count += 1
            self._found[file.content_hash] = min(
                self._read_by(source_number, file), self._found[file.content_hash], key=_age
            )
        else:
            self._found[file.content_hash] = self._read_by(source_number, file)
            if number is None:
                self._notes.append(
                    f"{file.display_path} kept growing under another name after it had been taken; "
                    "the rest of it is taken now."
                )

    def _read_by(self, source_number: int, file: LandingFile) -> LandingFile:
        """Return a file with the source by which it is read."""
        number = self._sources.sources[source_number].reader_number
        return replace(file, source_number=source_number, reader_number=number)


def _settled(
    sightings: Sequence[Sighting], settle_seconds: float, sleep: Callable[[float], None]
) -> tuple[list[Sighting], list[str]]:
    """Return the files that nobody is writing any more, and the names of those that changed during the wait."""
    # A copied file may have the time of its original; only ctime says when it was changed here.
    latest = time.time() - settle_seconds
    young = [each for each in sightings if max(each.modified, each.changed) > latest]
    if not settle_seconds or not young:
        return list(sightings), []
    sleep(settle_seconds)
    changes = {each.display_path: _has_changed(each) for each in young}
    settled = [each for each in sightings if changes.get(each.display_path, False) is False]
    return settled, [each.display_path for each in young if changes[each.display_path]]


def _has_changed(sighting: Sighting) -> bool | None:
    """Return whether a file has changed since it was seen, None if it has vanished."""
    try:
        return sighting.place.signature() != sighting.signature
    except FileNotFoundError:
        return None


def _age(file: LandingFile) -> tuple[datetime, str]:
    return file.modified_at, file.display_path


def _grouped(problems: Iterable[FileProblem]) -> list[FileProblem]:
    """Return problems in the order of their files; a problem that many files share is one, with their number."""
    alike: dict[str, list[str]] = defaultdict(list)
    for problem in sorted(problems, key=lambda problem: problem.display_path):
        alike[problem.explanation].append(problem.display_path)
    return [
        problem
        for explanation, names in alike.items()
        for problem in (
            [FileProblem(name, explanation) for name in names]
            if len(names) <= MOST_NAMED
            else [FileProblem(first_names(names), f"each {explanation}", len(names))]
        )
    ]


def _landing_file(sighting: Sighting, earlier: Sequence[KnownFile]) -> LandingFile:
    """Return a file with its hash, and the hashes of the earlier files that it begins with."""
    sizes = {file.size_bytes for file in earlier if 0 < file.size_bytes < sighting.size_bytes}
    content_hash, beginnings = _hashes(sighting.place, sorted(sizes))
    known = {file.content_hash for file in earlier}
    return LandingFile(
        place=sighting.place,
        display_path=sighting.display_path,
        content_hash=content_hash,
        size_bytes=sighting.size_bytes,
        modified_at=_instant(sighting.modified),
        file_signature=sighting.signature,
        grown_from=tuple(each for each in beginnings if each in known),
    )


def grown_since(file: LandingFile, known: Iterable[KnownFile]) -> LandingFile:
    """Return a file with those of some known files, read since it was found, that it begins with.

    One that has changed or vanished is returned as it was found: staging will report it.
    """
    shorter = {
        each.content_hash: each.size_bytes
        for each in known
        if 0 < each.size_bytes < file.size_bytes and each.content_hash not in file.grown_from
    }
    if file.place is None or not shorter:
        return file
    try:
        content_hash, beginnings = _hashes(file.place, sorted(set(shorter.values())))
    except OSError:
        return file
    if content_hash != file.content_hash:
        return file
    return replace(file, grown_from=(*file.grown_from, *(each for each in beginnings if each in shorter)))


def _hashes(place: RawPlace, sizes: Sequence[int]) -> tuple[str, list[str]]:
    """Return the SHA-256 of a file, and of its beginnings of given sizes, in rising order."""
    with place.open() as stream:
        digest = hashlib.sha256()
        beginnings: list[str] = []
        read = 0
        for size in sizes:
            while read < size and (data := stream.read(min(HASHED_BYTES, size - read))):
                digest.update(data)
                read += len(data)
            beginnings.append(digest.hexdigest())
        while data := stream.read(HASHED_BYTES):
            digest.update(data)
        return digest.hexdigest(), beginnings


def _instant(timestamp: float) -> datetime:
    """Return a modification time; a damaged archive or clock may have put it outside the years of a datetime."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC) if timestamp > 0 else datetime.min.replace(tzinfo=UTC)
