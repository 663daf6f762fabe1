"""What lies in landing, and which of it has not been taken yet."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from src.marketing_messaging_service.results import Discovery, FileProblem, KnownFiles, LandingFile
from src.marketing_messaging_service.staging.opening import open_regular
from src.marketing_messaging_service.staging.packing import PACKINGS
from src.marketing_messaging_service.staging.walking import Sighting, Walk, os_explanation

RAW_FILE_ENDINGS = tuple(
    f"{ending}{packed}"
    for ending in (".jsonl", ".ndjson", ".json")
    for packed in ("", *(packing.ending for packing in PACKINGS))
)

MOST_NAMED = 3
"""Files that have a problem in common are named one by one up to so many; of more, the first so many and a count."""


def discover(
    landing_path: Path,
    known: KnownFiles,
    *,
    settle_seconds: float = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> Discovery:
    """Look into landing and its subfolders for files that no load has taken, oldest first by modification time.

    A file whose path and signature are known is not read again; every other one is hashed. A file that changed
    within the last `settle_seconds` is looked at again after that long, all such files after one common wait, and
    left for the next run when it has changed in between: it is still being written. What is passed over and what links
    lead to is said by `walking`. A file that cannot be read becomes a problem, not an error. Raises LandingError when
    landing itself cannot be listed.
    """
    found: dict[str, LandingFile] = {}
    ignored: list[str] = []
    walk = Walk(landing_path)
    problems = walk.problems
    unknown: list[Sighting] = []
    known_count = 0
    for sighting in walk.sightings():
        if not sighting.path.name.lower().endswith(RAW_FILE_ENDINGS):
            ignored.append(sighting.display_path)
        elif (sighting.display_path, _signature(sighting.status)) in known.signatures:
            known_count += 1
        else:
            unknown.append(sighting)
    settled, waiting = _settled(unknown, settle_seconds, sleep)
    for sighting in settled:
        try:
            file = _landing_file(sighting.path, sighting.display_path, sighting.status)
        except OSError as error:
            problems.append(FileProblem(sighting.display_path, os_explanation(error)))
            continue
        if file.content_hash in known.content_hashes:
            known_count += 1
        elif file.content_hash in found:
            known_count += 1
            found[file.content_hash] = min(file, found[file.content_hash], key=_age)
        else:
            found[file.content_hash] = file
    return Discovery(
        new_files=tuple(sorted(found.values(), key=_age)),
        known_count=known_count,
        ignored_names=tuple(sorted(ignored)),
        problems=_grouped(problems),
        waiting_names=tuple(sorted(waiting)),
        passed_over_names=tuple(sorted(walk.passed_over)),
    )


def _settled(
    sightings: Sequence[Sighting], settle_seconds: float, sleep: Callable[[float], None]
) -> tuple[list[Sighting], list[str]]:
    """Return the files that nobody is writing any more, and the names of those that changed while this waited."""
    # A copied file may bear the time of its original; when it was changed here, only ctime tells.
    latest = time.time() - settle_seconds
    young = [each for each in sightings if max(each.status.st_mtime, each.status.st_ctime) > latest]
    if not settle_seconds or not young:
        return list(sightings), []
    sleep(settle_seconds)
    changes = {each.path: _has_changed(each) for each in young}
    settled = [each for each in sightings if changes.get(each.path, False) is False]
    return settled, [each.display_path for each in young if changes[each.path]]


def _has_changed(sighting: Sighting) -> bool | None:
    """Return whether a file has changed since it was seen, None when it has vanished."""
    try:
        return _signature(sighting.path.stat()) != _signature(sighting.status)
    except FileNotFoundError:
        return None


def _age(file: LandingFile) -> tuple[datetime, str]:
    return file.modified_at, file.display_path


def _grouped(problems: Sequence[FileProblem]) -> tuple[FileProblem, ...]:
    """Return problems in order of their files; what many files have in common is one problem that counts them."""
    alike: dict[str, list[FileProblem]] = {}
    for problem in sorted(problems, key=lambda problem: problem.display_path):
        alike.setdefault(problem.explanation, []).append(problem)
    return tuple(
        problem
        for group in alike.values()
        for problem in (group if len(group) <= MOST_NAMED else [_one_problem(group)])
    )


def _one_problem(group: Sequence[FileProblem]) -> FileProblem:
    names = ", ".join(problem.display_path for problem in group[:MOST_NAMED])
    return FileProblem(f"{names} and {len(group) - MOST_NAMED:,} more", f"each {group[0].explanation}")


def _signature(status: os.stat_result) -> str:
    # ctime cannot be set by hand, so that a file written again always shows another signature.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _landing_file(path: Path, display_path: str, status: os.stat_result) -> LandingFile:
    with open_regular(path) as stream:
        content_hash = hashlib.file_digest(stream, "sha256").hexdigest()
    return LandingFile(
        path=path,
        display_path=display_path,
        content_hash=content_hash,
        size_bytes=status.st_size,
        modified_at=_instant(status.st_mtime),
        file_signature=_signature(status),
    )


def _instant(timestamp: float) -> datetime:
    """Return a modification time, which a damaged archive or clock may have put outside the years of a datetime."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC) if timestamp > 0 else datetime.min.replace(tzinfo=UTC)
