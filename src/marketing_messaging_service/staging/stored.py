"""Keeps staged rows in a folder until they are loaded: one process stages raw files, another loads them.

A stored file is named by the content of its raw files, and is complete or not there. It holds the events and the
rejected rows as Arrow streams, one after the other, then all other facts as JSON, and where each begins.
"""

import hashlib
import io
import json
import os
import shutil
import socket
import struct
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from src.marketing_messaging_service.errors import DaskError, LandingError
from src.marketing_messaging_service.paths import STAGED_ENDING
from src.marketing_messaging_service.staging.code_version import code_version
from src.marketing_messaging_service.staging.landing_folder import FolderFile
from src.marketing_messaging_service.staging.results import (
    FileFailure,
    LandingFile,
    StagedFile,
    StagedFiles,
    StagedRows,
)
from src.marketing_messaging_service.staging.sources.file import SourcesFile
from src.marketing_messaging_service.staging.spool import errors_told
from src.marketing_messaging_service.staging.stage import readers_of, stage_files

SETTING = "STAGED_PATH"

_COUNTS = ("read_count", "valid_count", "rejected_count", "blank_count", "dropped_count")
"""What is counted in each raw file."""

_MAGIC = b"STAGED 1"
_FOOTER = struct.Struct(f"<QQQ{len(_MAGIC)}s")
"""Where the rejected rows begin and where the facts begin, how long the facts are, and that the file is whole."""


class StagingOrder:
    """Raw files that another process is to stage, and all that it needs to know for that.

    Not a dataclass, because Dask and Prefect would look into all of one. It holds only the settings named here.
    """

    def __init__(
        self, files: Sequence[LandingFile], sources: SourcesFile, delivery_keys: Collection[str], folder: Path
    ) -> None:
        """Take files that can be staged together, and the folder for their rows."""
        self.files = [_reachable(file) for file in files]
        self.sources = sources
        self.delivery_keys = frozenset(delivery_keys)
        self.folder = folder.absolute()
        self.code_version = code_version()

    def made_by(self) -> str:
        """Return a checksum of everything that determines what a raw file's bytes become."""
        said = [self.code_version, self.sources.yaml_text, *sorted(self.delivery_keys)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """Stored rows: the name of their file in the folder, and what a run needs to know before it opens it."""

    name: str
    file_count: int
    """How many raw files were read, in the order given."""
    seconds: float
    """How long staging them took; 0 if their rows were there already."""
    worker: str
    """The process that stored them, for a sentence."""
    passing_failure: str = ""
    """Why one of the files could not be read, if it may be readable a little later."""


def store(order: StagingOrder) -> list[Stored]:
    """Stage raw files in this process, and leave their rows in the folder: in one file, or in a few, part by part.

    A complete file of the same content, made in the same way, is reused. Raises DaskError when this process does not
    run the same program as the run, or cannot write into the folder, and SpoolError when there is no room.
    """
    if order.code_version != code_version():
        raise DaskError(
            f"The Dask worker {_this_process()} runs a different version of the program from this run: bring its "
            "folder and its packages to the same version, restart it, then run again."
        )
    made: list[Stored] = []
    files: Sequence[LandingFile] = order.files
    while files:
        name = _name_of(files)
        began = time.monotonic()
        count = _count_in(order, name, files)
        seconds, passing = 0.0, ""
        if count is None:
            staged = _write(order, name, files)
            count, seconds = staged.file_count, time.monotonic() - began
            passing = next((str(each.error) for each in staged.failures if each.error.may_pass), "")
        made.append(Stored(name, count, seconds, _this_process(), passing))
        files = files[count:]
    return made


def open_stored(stored: Stored, files: Sequence[LandingFile], order: StagingOrder) -> StagedFiles:
    """Return what was stored for the first raw files of an order; closing its rows removes the file.

    Raises DaskError when it is not in the folder.
    """
    path = order.folder / stored.name
    with ExitStack() as opened:
        try:
            events = opened.enter_context(path.open("rb"))
            rejected_start, facts = _read_facts(events)
            rejected = opened.enter_context(io.BufferedReader(_Section(path, rejected_start)))
        except OSError as error:
            raise DaskError(
                f"The Dask worker {stored.worker} stored rows as {path}, which this run cannot read "
                f"({error.strerror or error}). Let STAGED_PATH name a folder that this run and every worker reach by "
                "the same path, then run again.",
                may_pass=True,
            ) from None
        if facts is None:
            raise DaskError(f"{path} is incomplete; remove it, then run again.", may_pass=True)
        opened.pop_all()
    removal = ExitStack()
    removal.callback(_remove, path)
    rows = StagedRows(cast(IO[bytes], events), cast(IO[bytes], rejected), facts["has_former_ids"], removal)
    return StagedFiles(
        tuple(_staged(facts["files"], files, rows, order)),
        tuple(
            FileFailure(files[place], LandingError(sentence, may_pass=may_pass))
            for place, sentence, may_pass in facts["failures"]
        ),
        rows,
    )


def _reachable(file: LandingFile) -> LandingFile:
    """Return a file such that a process in another working directory finds it."""
    place = file.place
    return replace(file, place=FolderFile(place.path.absolute())) if isinstance(place, FolderFile) else file


def _name_of(files: Sequence[LandingFile]) -> str:
    """Return a file name: a raw file's content hash, or for several files a hash of their hashes."""
    if len(files) == 1:
        return f"{files[0].content_hash}{STAGED_ENDING}"
    hashes = "\n".join(file.content_hash for file in files)
    return f"{hashlib.sha256(hashes.encode()).hexdigest()}{STAGED_ENDING}"


def _count_in(order: StagingOrder, name: str, files: Sequence[LandingFile]) -> int | None:
    """Return how many of the raw files a stored file covers, None if there is none that can be reused.

    One that can is given a new time, so that it is not swept before it is loaded.
    """
    with suppress(OSError), (order.folder / name).open("rb") as stream:
        _, facts = _read_facts(stream)
        if facts is not None and facts["made_by"] == order.made_by() and not facts["failures"]:
            count = len(facts["files"])
            if facts["hashes"] == [file.content_hash for file in files[:count]]:
                os.utime(order.folder / name)
                return count
    return None


def _write(order: StagingOrder, name: str, files: Sequence[LandingFile]) -> StagedFiles:
    """Stage the first of some raw files into a stored file, and return the result, its rows closed."""
    partial = order.folder / f".{name.removesuffix(STAGED_ENDING)}.{uuid.uuid4().hex}.partial"
    try:
        stream = partial.open("xb")
    except OSError as error:
        raise DaskError(
            f"The Dask worker {_this_process()} cannot write into {order.folder}, which STAGED_PATH names "
            f"({error.strerror or error}). Let it name a folder that this run and every worker reach by the same path "
            "and may write into, then run again."
        ) from None
    with ExitStack() as undoing:
        undoing.callback(_remove, partial)
        with stream:
            staged = stage_files(
                files, sources=order.sources, delivery_keys=order.delivery_keys, event_file=cast(IO[bytes], stream)
            )
        with closing(staged.rows), errors_told(str(order.folder), SETTING):
            # If the first file failed, what was written of it is useless.
            with partial.open("ab" if staged.files else "wb") as end:
                _finish(end, staged, files, order)
                end.flush()
                os.fsync(end.fileno())
            partial.replace(order.folder / name)
            _sync(order.folder)
        undoing.pop_all()
    return staged


def _finish(stream: IO[bytes], staged: StagedFiles, files: Sequence[LandingFile], order: StagingOrder) -> None:
    """Add the rejected rows and all other facts about the raw files to the events."""
    rejected_start = stream.tell()
    if staged.files:
        staged.rows.rejected_spool.seek(0)
        shutil.copyfileobj(staged.rows.rejected_spool, stream)
    facts_start = stream.tell()
    facts = json.dumps(_facts(staged, files, order)).encode()
    stream.write(facts)
    stream.write(_FOOTER.pack(rejected_start, facts_start, len(facts), _MAGIC))


def _facts(staged: StagedFiles, files: Sequence[LandingFile], order: StagingOrder) -> dict[str, Any]:
    # By identity: files are equal only if they are the same object.
    places = {id(file): place for place, file in enumerate(files)}
    return {
        "made_by": order.made_by(),
        "hashes": [file.content_hash for file in files[: staged.file_count]],
        "has_former_ids": staged.rows.has_former_ids,
        "files": [
            {
                "place": places[id(each.file)],
                **{name: getattr(each, name) for name in _COUNTS},
                "unknown_keys": dict(each.unknown_keys),
            }
            for each in staged.files
        ],
        "failures": [
            [places[id(failure.file)], str(failure.error), failure.error.may_pass] for failure in staged.failures
        ],
    }


def _read_facts(stream: IO[bytes]) -> tuple[int, dict[str, Any] | None]:
    """Return where the rejected rows begin, and the facts; None if the file is not complete."""
    size = stream.seek(0, os.SEEK_END)
    if size < _FOOTER.size:
        return 0, None
    stream.seek(size - _FOOTER.size)
    rejected_start, facts_start, length, magic = _FOOTER.unpack(stream.read(_FOOTER.size))
    if magic != _MAGIC or facts_start + length + _FOOTER.size != size:
        return 0, None
    stream.seek(facts_start)
    return rejected_start, json.loads(stream.read(length))


def _staged(
    facts: Sequence[dict[str, Any]], files: Sequence[LandingFile], rows: StagedRows, order: StagingOrder
) -> Iterator[StagedFile]:
    lines_before = 0
    readers = readers_of(files, order.sources, order.delivery_keys)
    for each in facts:
        place = each["place"]
        staged = StagedFile(
            file=files[place],
            **{name: each[name] for name in _COUNTS},
            unknown_keys=each["unknown_keys"],
            rows=rows,
            raw_lines=readers[place].raw_lines,
            lines_before=lines_before,
        )
        lines_before = staged.last_line
        yield staged


class _Section(io.FileIO):
    """A file from some place on; that place counts as its beginning."""

    def __init__(self, path: Path, start: int) -> None:
        super().__init__(path, "rb")
        self._start = start
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, and return it."""
        shift = self._start if whence == os.SEEK_SET else 0
        return super().seek(offset + shift, whence) - self._start

    def tell(self) -> int:
        """Return the place that is read next."""
        return super().tell() - self._start


def _sync(folder: Path) -> None:
    """Make sure that a folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file; one that cannot be removed is swept later."""
    with suppress(OSError):
        path.unlink()


def _this_process() -> str:
    return f"on {socket.gethostname()} (process {os.getpid()})"
