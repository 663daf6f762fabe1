"""What a place with raw files must offer: a folder or a bucket of object storage, each in its own module."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from src.marketing_messaging_service.staging.results import FileProblem, RawPlace

PASSED_OVER = ("_", ".")
"""Files and folders whose names begin like this are not ours: Spark writes below `_temporary` what it may throw away
again, and hidden files belong to other programs."""

KEEPS_THE_FOLDER = ".gitkeep"
"""The empty file that keeps the landing folder in git; no report mentions it."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A raw file as it was seen when landing was looked through."""

    place: RawPlace
    display_path: str
    """The path relative to landing, always printable."""
    size_bytes: int
    modified: float
    """When its content was written, in seconds since 1970 (UTC)."""
    changed: float
    """When it appeared at its place, or was last changed there, in seconds since 1970 (UTC)."""
    signature: str
    """Identifies the file without reading it again: four parts joined by colons. The first two are its size and when
    its content was written, and the last identifies the file whatever its name."""


class LandingPlace(ABC):
    """A place that raw files land in, looked through once."""

    grows: ClassVar[bool]
    """Whether a file may be seen there while it is still being written."""
    reads_at_once: ClassVar[int]
    """How many files are best read at once: where each means waiting, several take no longer than one."""

    def __init__(self) -> None:
        self.problems: list[FileProblem] = []
        """What cannot be read, and why."""
        self.passed_over: list[str] = []
        """Display paths of files and whole folders whose names begin with one of PASSED_OVER."""

    @abstractmethod
    def sightings(self) -> Iterator[Sighting]:
        """Yield every raw file. Raises LandingError when the place itself cannot be listed."""


def printable_path(place: str) -> str:
    """Return a path as text that a terminal shows but does not act on."""
    if place.isprintable():
        return place
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in place)
