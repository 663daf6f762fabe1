"""What lies in landing, and which of it has not been taken yet."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.results import (
    MOST_NAMED,
    Discovery,
    FileProblem,
    KnownFile,
    KnownFiles,
    LandingFile,
    RawPlace,
    Remark,
    first_names,
)
from src.marketing_messaging_service.staging.folder import Folder, os_explanation
from src.marketing_messaging_service.staging.memory import Memory, is_same_file, was_delivered_after
from src.marketing_messaging_service.staging.raw_source import RawSource, Sighting
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES, SourcesFile
from src.marketing_messaging_service.staging.untaken import look_at_untaken
from src.marketing_messaging_service.vocabulary import ReasonCode

HASHED_BYTES = 1 << 18
"""How much of a file is hashed at once."""


def discover(
    landing: RawSource | Path,
    known: KnownFiles,
    *,
    sources: SourcesFile = SHIPPED_SOURCES,
    settle_seconds: float = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> Discovery:
    """Look into landing and its subfolders for files that no load has taken, oldest first by modification time.

    A file is taken when a pattern of the sources names it. One whose path and signature are known is not read again;
    every other one is hashed. A file that changed within the last `settle_seconds` is looked at again after that long,
    all such files after one common wait, and left for the next run when it has changed in between: it is still being
    written. What is passed over and what links lead to is said by `folder`, and what becomes of files that no pattern
    names by `untaken`. A file that cannot be read becomes a problem, not an error. Raises LandingError when landing
    itself cannot be listed.
    """
    looking = _Looking(Folder(landing) if isinstance(landing, Path) else landing, Memory(known, sources), sources)
    looking.walk_through(settle_seconds, sleep)
    return looking.discovery()


class _Looking:
    """One look into landing."""

    def __init__(self, landing: RawSource, memory: Memory, sources: SourcesFile) -> None:
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
        """Files that were changed later than that, by the file system's clock, may still be on their way."""

    def walk_through(self, settle_seconds: float, sleep: Callable[[float], None]) -> None:
        """Look at every file, and hash those that are not known by their place."""
        unknown = [sighting for sighting in self._landing.sightings() if not self._is_known_by_place(sighting)]
        self._youngest = time.time() - settle_seconds
        settled, self._waiting = _settled(unknown, settle_seconds if self._landing.grows else 0, sleep)
        for sighting in settled:
            try:
                self._look_into(sighting)
            except OSError as error:
                self._landing.problems.append(FileProblem(sighting.display_path, os_explanation(error)))

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
        """Whether a file need not be read; a known one is counted, and so is one of another name."""
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

    def _look_into(self, sighting: Sighting) -> None:
        """Hash a file, and tell by its content whether it is new."""
        number = self._sources.number_of(sighting.display_path)
        memory = self._memory
        earlier = memory.may_go_on(sighting) if number is None else memory.earlier_states(sighting.display_path)
        file = _landing_file(sighting, earlier)
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
                    f"{file.display_path} went on growing under another name after it had been taken; "
                    "the rest of it is taken now."
                )

    def _read_by(self, source_number: int, file: LandingFile) -> LandingFile:
        """Return a file with the source by which it is read."""
        number = self._sources.sources[source_number].reader_number
        return replace(file, source_number=source_number, reader_number=number)


def _settled(
    sightings: Sequence[Sighting], settle_seconds: float, sleep: Callable[[float], None]
) -> tuple[list[Sighting], list[str]]:
    """Return the files that nobody is writing any more, and the names of those that changed while this waited."""
    # A copied file may bear the time of its original; when it was changed here, only ctime tells.
    latest = time.time() - settle_seconds
    young = [each for each in sightings if max(each.modified, each.changed) > latest]
    if not settle_seconds or not young:
        return list(sightings), []
    sleep(settle_seconds)
    changes = {each.display_path: _has_changed(each) for each in young}
    settled = [each for each in sightings if changes.get(each.display_path, False) is False]
    return settled, [each.display_path for each in young if changes[each.display_path]]


def _has_changed(sighting: Sighting) -> bool | None:
    """Return whether a file has changed since it was seen, None when it has vanished."""
    try:
        return sighting.place.signature() != sighting.signature
    except FileNotFoundError:
        return None


def _age(file: LandingFile) -> tuple[datetime, str]:
    return file.modified_at, file.display_path


def _grouped(problems: Iterable[FileProblem]) -> list[FileProblem]:
    """Return problems in order of their files; what many files have in common is one problem that counts them."""
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
    """Return a file with its hash, and those of the earlier ones that it begins with."""
    shorter = {file.size_bytes: file for file in earlier if 0 < file.size_bytes < sighting.size_bytes}
    content_hash, beginnings = _hashes(sighting.place, sorted(shorter))
    grown_from = [
        shorter[size].content_hash for size, found in beginnings.items() if found == shorter[size].content_hash
    ]
    return LandingFile(
        place=sighting.place,
        display_path=sighting.display_path,
        content_hash=content_hash,
        size_bytes=sighting.size_bytes,
        modified_at=_instant(sighting.modified),
        file_signature=sighting.signature,
        grown_from=tuple(grown_from),
    )


def _hashes(place: RawPlace, sizes: Sequence[int]) -> tuple[str, dict[int, str]]:
    """Return the SHA-256 of a file, and those of its first so many bytes, for sizes in rising order."""
    with place.open() as stream:
        digest = hashlib.sha256()
        beginnings: dict[int, str] = {}
        read = 0
        for size in sizes:
            while read < size and (data := stream.read(min(HASHED_BYTES, size - read))):
                digest.update(data)
                read += len(data)
            beginnings[size] = digest.hexdigest()
        while data := stream.read(HASHED_BYTES):
            digest.update(data)
        return digest.hexdigest(), beginnings


def _instant(timestamp: float) -> datetime:
    """Return a modification time, which a damaged archive or clock may have put outside the years of a datetime."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC) if timestamp > 0 else datetime.min.replace(tzinfo=UTC)
