"""What lies in landing, and which of it has not been taken yet."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from src.marketing_messaging_service.errors import MAY_PASS, LandingError
from src.marketing_messaging_service.results import Discovery, FileProblem, KnownFiles, LandingFile

RAW_FILE_ENDINGS = tuple(f"{ending}{gz}" for ending in (".jsonl", ".ndjson", ".json") for gz in ("", ".gz"))

LEADS_OUTSIDE = "is a link that leads out of landing; copy what it leads to into landing."


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A raw file as the file system showed it when landing was looked through."""

    path: Path
    display_path: str
    status: os.stat_result


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
    left for the next run when it has changed in between: it is still being written. Names that begin with a dot
    are passed over, links are not followed out of landing. A file that cannot be read becomes a problem, not an
    error. Raises LandingError when landing itself cannot be listed.
    """
    found: dict[str, LandingFile] = {}
    ignored: list[str] = []
    problems: list[FileProblem] = []
    unknown: list[_Sighting] = []
    known_count = 0
    for path, display_path in _regular_files(landing_path, problems):
        if not path.name.lower().endswith(RAW_FILE_ENDINGS):
            ignored.append(display_path)
            continue
        try:
            sighting = _Sighting(path, display_path, path.stat())
        except OSError as error:
            problems.append(FileProblem(display_path, _os_explanation(error)))
            continue
        if (display_path, _signature(sighting.status)) in known.signatures:
            known_count += 1
        else:
            unknown.append(sighting)
    settled, waiting = _settled(unknown, settle_seconds, sleep)
    for sighting in settled:
        try:
            file = _landing_file(sighting.path, sighting.display_path, sighting.status)
        except OSError as error:
            problems.append(FileProblem(sighting.display_path, _os_explanation(error)))
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
        problems=tuple(problems),
        waiting_names=tuple(sorted(waiting)),
    )


def _settled(
    sightings: Sequence[_Sighting], settle_seconds: float, sleep: Callable[[float], None]
) -> tuple[list[_Sighting], list[str]]:
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


def _has_changed(sighting: _Sighting) -> bool | None:
    """Return whether a file has changed since it was seen, None when it has vanished."""
    try:
        return _signature(sighting.path.stat()) != _signature(sighting.status)
    except FileNotFoundError:
        return None


def _age(file: LandingFile) -> tuple[datetime, str]:
    return file.modified_at, file.display_path


def _regular_files(landing_path: Path, problems: list[FileProblem]) -> Iterator[tuple[Path, str]]:
    """Yield every regular file below landing with its display path; what is left out on purpose is told."""
    if not landing_path.is_dir():
        raise LandingError(
            f"LANDING_PATH names {landing_path}, which is not a folder; create it, or correct LANDING_PATH."
        )

    def unlistable(error: OSError) -> None:
        folder = Path(error.filename or landing_path)
        if folder == landing_path:
            sentence = f"The landing folder {landing_path} cannot be listed: {error.strerror}."
            raise LandingError(sentence, may_pass=error.errno in MAY_PASS)
        problems.append(FileProblem(_display(folder, landing_path), _os_explanation(error)))

    for folder, subfolders, names in os.walk(landing_path, onerror=unlistable):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted([*names, *_links(folder, subfolders)]):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            try:
                if _leads_outside(path, landing_path):
                    problems.append(FileProblem(_display(path, landing_path), LEADS_OUTSIDE))
                elif _is_regular(path):
                    yield path, _display(path, landing_path)
            except OSError as error:
                problems.append(FileProblem(_display(path, landing_path), _os_explanation(error)))


def _links(folder: str, subfolders: list[str]) -> list[str]:
    return [name for name in subfolders if Path(folder, name).is_symlink()]


def _leads_outside(path: Path, landing_path: Path) -> bool:
    # Not Path.resolve(), which up to Python 3.12 raises RuntimeError on links that run in a circle.
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(landing_path))


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        # A link to nothing, or a file that vanished since the folder was listed.
        return False


def _display(path: Path, landing_path: Path) -> str:
    relative = os.fsencode(path.relative_to(landing_path).as_posix()).decode("utf-8", errors="backslashreplace")
    # A name may hold line ends and whatever else a terminal would act on.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in relative)


def _signature(status: os.stat_result) -> str:
    # ctime cannot be set by hand, so that a file written again always shows another signature.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _landing_file(path: Path, display_path: str, status: os.stat_result) -> LandingFile:
    with path.open("rb") as stream:
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


def _os_explanation(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}. Correct it; the next run takes the file."
