"""Staging raw files, group by group: in the run's own process."""

import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flows.pipeline.steps import LONG_FILE_BYTES, RETRIES, has_another_try, outcome, progress, step
from flows.pipeline.stopping import StopRequest
from src.marketing_messaging_service import staging
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.staging import SourcesFile
from src.marketing_messaging_service.staging.results import LandingFile, StagedFile, StagedFiles

File = TypeVar("File", bound=LandingFile | StagedFile)


class FileGroup(Generic[File]):
    """Files that one step takes together.

    Prefect looks into every list and dataclass that a step gets, but not into plain objects: a thousand files would
    take it 0.1 s.
    """

    def __init__(self, files: Sequence[File], name: str = "") -> None:
        self.files = files
        self._name = name or _name_of_some(files)

    def __str__(self) -> str:
        """Their name in the log and the Prefect UI."""
        return self._name

    def halves(self) -> "tuple[FileGroup[File], FileGroup[File]]":
        """Return the first half of the files and the second."""
        middle = len(self.files) // 2
        return FileGroup(self.files[:middle]), FileGroup(self.files[middle:])


def _name_of_some(files: Sequence[LandingFile | StagedFile]) -> str:
    first, last = (each.file if isinstance(each, StagedFile) else each for each in (files[0], files[-1]))
    if len(files) == 1:
        return first.display_path
    return f"{len(files):,} files, {first.display_path} to {last.display_path}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Raw files that were staged together, or could not be; the receiver closes the rows."""

    files: FileGroup[LandingFile]
    staged: StagedFiles | None
    error: PipelineError | None = None
    """Why nothing of them could be staged."""
    seconds: float = 0
    """How long staging took."""

    @property
    def file_count(self) -> int:
        """How many files were read."""
        return len(self.files.files) if self.staged is None else self.staged.file_count


@step("stage {files}", retries=RETRIES)
def stage(
    files: FileGroup[LandingFile], sources: SourcesFile, delivery_keys: Collection[str], stop: StopRequest
) -> StagedFiles:
    """Read raw files into typed rows and rejected rows: the first of those given, as many as go together."""
    size_bytes = sum(file.size_bytes for file in files.files)
    with progress("Staging", str(files), size_bytes, is_long=size_bytes >= LONG_FILE_BYTES) as advance:
        staged = staging.stage_files(
            files.files, sources=sources, delivery_keys=delivery_keys, on_progress=stop.checking(advance)
        )
    for failure in staged.failures:
        if failure.error.may_pass and has_another_try():
            staged.rows.close()
            raise failure.error
    return staged


def staged_here(
    files: Sequence[LandingFile], sources: SourcesFile, delivery_keys: Collection[str], stop: StopRequest
) -> Generator[Attempt]:
    """Stage files in this process, in their order, each time when the next are asked for.

    Raises StoppedError when the run was asked to stop.
    """
    while files:
        stop.check()
        group = FileGroup(staging.next_files(files))
        began = time.monotonic()
        try:
            staged: StagedFiles = outcome(stage(group, sources, delivery_keys, stop))
        except PipelineError as error:
            stop.check()
            attempt = Attempt(group, None, error)
        else:
            attempt = Attempt(group, staged, seconds=time.monotonic() - began)
        yield attempt
        files = files[attempt.file_count :]
