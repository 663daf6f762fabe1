"""Takes raw files: a large one in its own steps, many small ones in one step to stage and one to load them."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from prefect import get_run_logger
from sqlalchemy import Engine

from flows.pipeline.claims import Claims
from flows.pipeline.staging_files import Attempt, FileGroup
from flows.pipeline.steps import LONG_FILE_BYTES, RETRIES, outcome, progress, step
from flows.pipeline.stopping import StopRequest
from src.marketing_messaging_service import loading
from src.marketing_messaging_service.errors import DaskError, DatabaseError, LeaseLostError, PipelineError
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded, RejectedLines, Unreadable
from src.marketing_messaging_service.models import RemarkKind, RunMode
from src.marketing_messaging_service.reporting import load_line, loads_line, staging_line
from src.marketing_messaging_service.run_options import RunOptions
from src.marketing_messaging_service.staging import SourcesFile
from src.marketing_messaging_service.staging.results import Discovery, FileProblem, LandingFile, Remark, StagedFile
from src.marketing_messaging_service.vocabulary import ReasonCode

MOST_NAMED = 10
"""Up to this many files taken together each get their own line in the log."""

MANY_FILES = 1_000
"""From this many files on, a run shows how many it has taken."""


@step("load {files}", retries=RETRIES)
def load(
    files: FileGroup[StagedFile], engine: Engine, options: RunOptions, run_id: int, stop: StopRequest
) -> list[LoadResult | NotLoaded | Unreadable]:
    """Put staged files into the tables, in one transaction."""
    event_count = sum(staged.valid_count for staged in files.files)
    is_long = sum(staged.file.size_bytes for staged in files.files) >= LONG_FILE_BYTES
    with progress("Loading", str(files), event_count, is_long=is_long) as advance:
        return loading.load_files(
            engine,
            files.files,
            as_of=options.as_of,
            flow_run_id=options.flow_run_id,
            run_id=run_id,
            window=options.window,
            is_held=options.mode is RunMode.LOAD_ONLY,
            on_progress=stop.checking(advance),
        )


class Taking:
    """Takes the files of a run, oldest first; one that fails does not hold up the others."""

    def __init__(
        self,
        engine: Engine,
        options: RunOptions,
        run_id: int,
        stop: StopRequest,
        stage: Callable[[Sequence[LandingFile]], Generator[Attempt]],
        *,
        claims: Claims | None = None,
    ) -> None:
        """Take how files are staged: one group after the other, in their order."""
        self._engine = engine
        self._claims = claims
        self._stage = stage
        self._options = options
        self._run_id = run_id
        self._stop = stop
        self.results: list[LoadResult | NotLoaded | Unreadable] = []
        self.problems: list[FileProblem] = []
        self._still_rejected: Counter[tuple[ReasonCode, ReasonCode]] = Counter()
        """A replay's rejected lines that are still not events, by old and new reason."""

    def remarks(self) -> list[Remark]:
        """Return remarks about files that an older reader could not read either."""
        by_code: dict[ReasonCode, list[str]] = defaultdict(list)
        for result in self.results:
            if isinstance(result, Unreadable) and not result.is_delivered_again:
                by_code[result.reason_code].append(result.file.display_path)
        unreadable = [Remark.on(RemarkKind.UNREADABLE, names, code.advice) for code, names in by_code.items()]
        return [*unreadable, *self._left_to_others()]

    def _left_to_others(self) -> list[Remark]:
        if not (left := self._claims.left if self._claims else ()):
            return []
        explanation = "Another run was still taking it when this one stopped waiting; that run finishes it."
        return [Remark.on(RemarkKind.WARNING, [file.display_path for file in left], explanation)]

    def take(self, files: Sequence[LandingFile]) -> None:
        """Take every file. Raises DatabaseError, LeaseLostError or StoppedError, which stop all of them."""
        done = 0
        is_long = len(files) >= MANY_FILES
        with (
            progress("Taking", f"{len(files):,} files", len(files), is_long=is_long, has_bar=False) as advance,
            closing(self._portions(files)) as portions,
        ):
            try:
                for portion in portions:
                    with closing(self._stage(portion)) as attempts:
                        for attempt in attempts:
                            self._take(attempt, done, len(files))
                            done += attempt.file_count
                            advance(attempt.file_count)
            except DaskError as error:
                self._stop.check()
                waiting = len(files) - done
                rest = (
                    f" {waiting:,} files wait for the next run." if waiting > 1 else " 1 file waits for the next run."
                )
                self.problems.append(FileProblem("Staging on Dask", f"{error}{rest}", waiting))

    def _portions(self, files: Sequence[LandingFile]) -> Generator[Sequence[LandingFile]]:
        """Yield the files to take: all of them, or a portion at a time of those that no other run is taking."""
        if self._claims is None:
            yield files
        else:
            yield from self._claims.portions(files)

    def note_files(self, known_count: int) -> None:
        """Record how many files were skipped, given how many were known before any was taken."""
        self._stop.check()
        count = Counter(result for result in self.results if isinstance(result, NotLoaded))
        loading.note_files(
            self._engine,
            self._run_id,
            known_file_count=known_count + count[NotLoaded.TAKEN] + (self._claims.taken_count if self._claims else 0),
            # Both have other events outside the window, which perhaps nobody has taken.
            outside_file_count=count[NotLoaded.OUTSIDE] + count[NotLoaded.NOTHING_NEW],
        )

    def note_replay(self, rejected: RejectedLines, without_source: Mapping[ReasonCode, int]) -> None:
        """Record the outcomes of the chosen rejected lines, given those of files that no source names."""
        self._stop.check()
        loading.note_replay(self._engine, self._run_id, rejected, self._still_rejected, without_source)

    def _take(self, attempt: Attempt, done: int, total: int) -> None:
        """Load staged files, given how many were taken before them."""
        staged = attempt.staged
        if staged is None:
            self.problems.append(FileProblem(str(attempt.files), str(attempt.error)))
            return
        with closing(staged.rows):
            self._stop.check()
            for failure in staged.failures:
                self.problems.append(FileProblem(failure.file.display_path, str(failure.error)))
            for each in staged.files:
                self._still_rejected.update(each.replayed.still_rejected if each.replayed else {})
            if staged.files:
                places = f"files {done + 1:,} to {done + staged.file_count:,} of {total:,}"
                loaded = FileGroup(staged.files, places if staged.file_count > 1 else "")
                get_run_logger().info(staging_line(str(loaded), staged.files, attempt.seconds))
                self._load(loaded)

    def _load(self, files: FileGroup[StagedFile]) -> None:
        """Load staged files together; if one of them fails, load them in halves until it is found."""
        self._stop.check()
        began = time.monotonic()
        try:
            results: list[LoadResult | NotLoaded | Unreadable] = outcome(
                load(files, self._engine, self._options, self._run_id, self._stop)
            )
        except (DatabaseError, LeaseLostError):
            # It stops every file, and later files must not be taken before these.
            self._stop.check()
            raise
        except PipelineError as error:
            self._stop.check()
            if len(files.files) == 1:
                self.problems.append(FileProblem(files.files[0].file.display_path, str(error)))
                return
            for half in files.halves():
                self._load(half)
            return
        self.results += results
        self._tell(files, results, time.monotonic() - began)

    def _tell(
        self, files: FileGroup[StagedFile], results: Sequence[LoadResult | NotLoaded | Unreadable], seconds: float
    ) -> None:
        """Log the results for the files: one line each if they are few, otherwise one line for all."""
        log = get_run_logger()
        loads = [result for result in results if isinstance(result, LoadResult)]
        if len(results) <= MOST_NAMED:
            for each in loads:
                log.info(load_line(each))
        elif loads:
            log.info(loads_line(str(files), loads, seconds))
        for result in results:
            if isinstance(result, Unreadable):
                self._tell_unreadable(result)
        for reason, count in Counter(result for result in results if isinstance(result, NotLoaded)).items():
            which = str(files) if len(results) == 1 else f"{count:,} of {files}, each"
            log.info("Passed over %s because %s.", which, reason.value)

    def _tell_unreadable(self, result: Unreadable) -> None:
        path, advice = result.file.display_path, result.reason_code.advice
        if result.is_delivered_again:
            explanation = f"was delivered again, and still no line of it can be read: {advice}."
            self.problems.append(FileProblem(path, explanation))
        else:
            get_run_logger().info("No line of %s can be read, as before: %s.", path, advice)


def take_rejected(taking: Taking, rejected: RejectedLines, sources: SourcesFile) -> Discovery:
    """Take rejected lines as their sources say today, and return remarks about the others."""
    files, without_source = [], []
    for file in rejected.files:
        number = sources.number_of(file.display_path)
        if number is None:
            without_source.append(file)
        else:
            files.append(replace(file, source_number=number))
    taking.take(files)
    counts: Counter[ReasonCode] = Counter()
    for file in without_source:
        counts.update(file.kept.line_counts if file.kept else {})
    taking.note_replay(rejected, counts)
    if not without_source:
        return Discovery((), 0)
    explanation = (
        f"No pattern of {sources.origin} matches the file any more, so its rejected lines cannot be read again; add "
        "one that does, then start the replay again."
    )
    return Discovery(
        (), 0, remarks=(Remark.on(RemarkKind.WARNING, [each.display_path for each in without_source], explanation),)
    )
