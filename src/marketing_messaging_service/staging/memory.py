"""What earlier runs have read, for comparing files in landing with it."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from src.marketing_messaging_service.earlier_runs import KnownFile, KnownFiles
from src.marketing_messaging_service.staging.landing_place import Sighting
from src.marketing_messaging_service.staging.sources.file import SourcesFile
from src.marketing_messaging_service.vocabulary import ReasonCode

MOST_EARLIER = 100
"""How many of a file's latest earlier states a new one is compared with."""


class Memory:
    """The files that the ledger knows, by place, by content, and by what they may have turned into."""

    def __init__(self, known: KnownFiles, sources: SourcesFile) -> None:
        self._sources = sources
        taken = [file for file in known.files if file.refused_code is None]
        refused = [file for file in known.files if file.refused_code]
        self._taken_places = {(file.path, file.file_signature) for file in taken}
        self._taken_hashes = {file.content_hash for file in taken}
        self._refused_places = {(file.path, file.file_signature): file for file in refused}
        self._refused_hashes = {file.content_hash: file for file in refused}
        self._by_path: dict[str, list[KnownFile]] = defaultdict(list)
        self._by_inode: dict[str, KnownFile] = {}
        for file in known.files:
            self._by_path[file.path].append(file)
            self._by_inode[inode_of(file.file_signature)] = file

    def is_taken_place(self, sighting: Sighting) -> bool:
        """Whether a file is where and as it was when it was taken."""
        return (sighting.display_path, sighting.signature) in self._taken_places

    def refused_place(self, sighting: Sighting) -> ReasonCode | None:
        """Return why a file was refused, if it is still where and as it was then."""
        file = self._refused_places.get((sighting.display_path, sighting.signature))
        return file.refused_code if file and self._would_be_read_alike(file, sighting) else None

    def is_taken_content(self, content_hash: str) -> bool:
        """Whether content was taken, under whatever name."""
        return content_hash in self._taken_hashes

    def refused_content(self, content_hash: str, sighting: Sighting) -> KnownFile | None:
        """Return the refused file with the same content as this one, if it would be read in the same way again."""
        file = self._refused_hashes.get(content_hash)
        return file if file and self._would_be_read_alike(file, sighting) else None

    def _would_be_read_alike(self, file: KnownFile, sighting: Sighting) -> bool:
        """Whether no newer version and no changed sources.yaml could read what was refused."""
        return self._sources.reader_number_of(sighting.display_path) in (file.reader_number, None)

    def earlier_states(self, sighting: Sighting) -> list[KnownFile]:
        """Return what a file may have grown from: what was read at its path, or what it was before it was renamed."""
        return [*self._read_at(sighting.display_path), *self.may_go_on(sighting)]

    def may_go_on(self, sighting: Sighting) -> list[KnownFile]:
        """Return the known files that a file with another name may be, or may have grown from.

        By its inode it is the same file, or by its name a copy, as programs that rotate files make them.
        """
        same = self._by_inode.get(inode_of(sighting.signature))
        copied = [file for path in _before_rotation(sighting.display_path) for file in self._read_at(path)]
        return [*copied, *([same] if same is not None and same not in copied else [])]

    def _read_at(self, path: str) -> list[KnownFile]:
        return self._by_path.get(path, [])[-MOST_EARLIER:]


def inode_of(signature: str) -> str:
    """Return the inode in a file's signature."""
    return signature.rpartition(":")[2]


def is_same_file(file: KnownFile, sighting: Sighting) -> bool:
    """Whether a file is a known one renamed, which changes only the time of its entry."""
    size, modified, _, inode = sighting.signature.split(":")
    return f"{size}:{modified}" == file.file_signature.rpartition(":")[0].rpartition(":")[0] and inode == inode_of(
        file.file_signature
    )


def was_delivered_after(sighting: Sighting, read_at: datetime | None) -> bool:
    """Whether a file has appeared at its place, or was changed there, since the same content was read.

    A reading dated in the future comes from a clock that has since been set back, and proves nothing.
    """
    return read_at is None or not sighting.changed <= read_at.timestamp() <= time.time()


_ENDING = re.compile(r"[-._~]")


def _before_rotation(path: str) -> Iterator[str]:
    """Yield the paths that a rotated file may have had: its own without a trailing number, date or other ending."""
    name_start = path.rfind("/") + 1
    return (path[: sign.start()] for sign in _ENDING.finditer(path, name_start + 1))
