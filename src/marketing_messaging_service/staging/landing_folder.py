"""A folder that raw files land in: its regular files, and what is left out and why."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from src.marketing_messaging_service.errors import MAY_PASS, LandingError
from src.marketing_messaging_service.staging.landing_place import (
    KEEPS_THE_FOLDER,
    PASSED_OVER,
    LandingPlace,
    Sighting,
    printable_path,
)
from src.marketing_messaging_service.staging.opening import kind_of_file, open_regular
from src.marketing_messaging_service.staging.results import FileProblem

LEADS_OUTSIDE = "is a link that leads out of landing; copy its target into landing."
LEADS_NOWHERE = "is a link to nothing; remove it, or put its target in place."


@dataclass(frozen=True, slots=True)
class FolderFile:
    """Where a raw file is in a folder."""

    path: Path

    def open(self) -> BufferedReader:
        """Open it for reading. Raises OSError, also when it is no longer a regular file."""
        return open_regular(self.path)

    def signature(self) -> str:
        """Return its signature now. Raises FileNotFoundError when it has vanished."""
        return _signature(self.path.stat())


class LandingFolder(LandingPlace):
    """A folder and its subfolders, searched once."""

    grows = True
    reads_at_once = 1

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def sightings(self) -> Iterator[Sighting]:
        """Yield every regular file; links are followed to files within landing, and to no folder.

        Raises LandingError when landing itself cannot be listed.
        """
        root = os.path.realpath(self.path)
        # Not by recursion: folders may be nested deeper than Python's stack goes.
        folders = [""]
        while folders:
            folder = folders.pop()
            for entry in self._entries(folder):
                place = f"{folder}{entry.name}"
                if place == KEEPS_THE_FOLDER:
                    continue
                if entry.name.startswith(PASSED_OVER):
                    self.passed_over.append(_display(place))
                    continue
                found = self._look_at(entry, place, root)
                if isinstance(found, Sighting):
                    yield found
                elif found is not None:
                    folders.append(found)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        path = Path(self.path, folder)
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                if isinstance(error, FileNotFoundError | NotADirectoryError):
                    sentence = f"LANDING_PATH names {path}, which is not a folder; create it, or correct LANDING_PATH."
                else:
                    sentence = f"The landing folder {path} cannot be listed: {error.strerror}."
                raise LandingError(sentence, may_pass=error.errno in MAY_PASS) from None
            self.problems.append(FileProblem(_display(folder.removesuffix("/")), os_explanation(error)))
            return []

    def _look_at(self, entry: os.DirEntry[str], place: str, root: str) -> Sighting | str | None:
        """Return a regular file, or the folder to walk next; note what is neither, unless it has vanished."""
        display_path = _display(place)
        path = Path(self.path, place)
        is_link = entry.is_symlink()
        try:
            if entry.is_dir(follow_symlinks=False):
                return f"{place}/"
            # Not Path.resolve(), which up to Python 3.12 raises RuntimeError on links that run in a circle.
            if is_link and not Path(os.path.realpath(path)).is_relative_to(root):
                self.problems.append(FileProblem(display_path, LEADS_OUTSIDE))
                return None
            status = path.stat()
        except FileNotFoundError:
            # A file may have vanished since the folder was listed; a link is still there.
            if is_link:
                self.problems.append(FileProblem(display_path, LEADS_NOWHERE))
            return None
        except OSError as error:
            self.problems.append(FileProblem(display_path, os_explanation(error)))
            return None
        if stat.S_ISREG(status.st_mode):
            return Sighting(
                FolderFile(path),
                display_path,
                status.st_size,
                modified=status.st_mtime,
                changed=status.st_ctime,
                signature=_signature(status),
            )
        if not stat.S_ISDIR(status.st_mode):
            kind = kind_of_file(status.st_mode)
            self.problems.append(FileProblem(display_path, f"is {kind} and not a file; remove it from landing."))
        # A folder of landing is walked anyway, so a link to it is not followed.
        return None


def os_explanation(error: OSError) -> str:
    """Return why something in landing cannot be read, and what to do."""
    if error.errno == errno.ENAMETOOLONG:
        return "cannot be read: its path is longer than the system allows. Move its files up, nearer to landing."
    return f"cannot be read: {error.strerror or error}. Correct it; the next run takes the file."


def _signature(status: os.stat_result) -> str:
    # ctime cannot be set by hand, so that a file written again always shows another signature.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _display(place: str) -> str:
    return printable_path(os.fsencode(place).decode("utf-8", errors="backslashreplace"))
