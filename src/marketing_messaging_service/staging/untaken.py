"""Finds out what files in landing seem to be that no pattern of the sources names."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import IO

from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.staging.landing_place import Sighting
from src.marketing_messaging_service.staging.packing import PACKINGS
from src.marketing_messaging_service.staging.refused_files import seeming
from src.marketing_messaging_service.staging.results import FileProblem, Remark, first_names
from src.marketing_messaging_service.staging.sources.file import SourcesFile
from src.marketing_messaging_service.staging.text_form import BEGINNING_BYTES, Form

PACKED_ENDINGS = tuple(packing.ending for packing in PACKINGS)

OTHER_ENDINGS = frozenset(
    {
        *(".bak", ".old", ".orig", ".save"),
        *(".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp"),
        *(".txt", ".log", ".tsv", ".xml", ".tar"),
    }
)
"""Endings of copies that somebody keeps, of files that are being written, and of other texts, packed or not: nobody
means them to be taken."""

_NUMBERED = re.compile(r"\.?[-_.0-9T]*")
_ROTATED = re.compile(r"(?P<path>.*?)[-._][-._0-9T]+", re.IGNORECASE | re.DOTALL)


def look_at_untaken(
    sightings: Sequence[Sighting], youngest: float, sources: SourcesFile
) -> tuple[list[FileProblem], list[Remark]]:
    """Return the problems with files that are not taken because no pattern of the sources names them.

    One that seems to hold events, and whose name does not say otherwise, is a problem: somebody meant it to be taken.
    One changed after `youngest`, a time of the file system, may get its real name in a moment.
    """
    meant: dict[str, list[str]] = defaultdict(list)
    others: dict[str, list[str]] = defaultdict(list)
    for sighting in sightings:
        what, form = _seeming(sighting)
        is_settled = max(sighting.modified, sighting.changed) <= youngest
        is_meant = form is not None and is_settled and _may_be_meant(sighting.display_path, sources)
        (meant if is_meant else others)[what].append(sighting.display_path)
    problems = [
        FileProblem(first_names(names), _not_taken(what, len(names), sources.origin), len(names))
        for what, names in sorted(meant.items())
    ]
    return problems, [Remark.on(RemarkKind.IGNORED, names, what) for what, names in sorted(others.items())]


def _not_taken(what: str, count: int, origin: str) -> str:
    seems, them = ("seem", "them") if count > 1 else ("seems", "it")
    return (
        f"{seems} to be {what}, but no pattern of {origin} matches {them}, so nothing was taken; add one that "
        f"does (docs/sources.md), rename {them}, or move {them} out of landing."
    )


def _seeming(sighting: Sighting) -> tuple[str, Form | None]:
    try:
        with sighting.place.open() as stream:
            return seeming(_beginning_of(stream))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}", None


def _beginning_of(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the first piece of a file and, of one that packs well or needs it, a few more."""
    for _ in range(16):
        piece = stream.read(BEGINNING_BYTES)
        if not piece:
            return
        yield piece


def _may_be_meant(path: str, sources: SourcesFile) -> bool:
    """Whether a path may well be that of a raw file, from a program that gives it no ending or adds one of its own."""
    stem = path.lower()
    is_packed = stem.endswith(PACKED_ENDINGS)
    if is_packed:
        stem = stem[: -len(next(ending for ending in PACKED_ENDINGS if stem.endswith(ending)))]
    ending = PurePath(stem).suffix
    rotated = _ROTATED.fullmatch(stem)
    if ending in OTHER_ENDINGS or stem.endswith("~"):
        return False
    return (
        is_packed
        or bool(_NUMBERED.fullmatch(ending))
        or (rotated is not None and sources.number_of(rotated["path"]) is not None)
    )
