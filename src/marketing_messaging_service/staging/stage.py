"""A whole raw file, staged."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from src.marketing_messaging_service.errors import MAY_PASS, LandingError
from src.marketing_messaging_service.models import OTHER_KEYS
from src.marketing_messaging_service.results import EVENT_SCHEMA, REJECTED_SCHEMA, LandingFile, StagedFile
from src.marketing_messaging_service.staging.columnar import STAGER, SortedLines
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES, Chunk, HashedReader, read_chunks
from src.marketing_messaging_service.staging.opening import open_regular
from src.marketing_messaging_service.staging.spool import SpoolWriter

MOST_UNKNOWN_KEYS = 1_000
"""Names of unknown keys counted one by one in a file, the first met; the keys beyond them are counted together."""

LONGEST_KEY_PATH = 255


def stage_file(
    file: LandingFile,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    on_progress: Callable[[int], None] = lambda _: None,
) -> StagedFile:
    """Read a raw file once, chunk by chunk, and return its lines as typed rows and rejected rows.

    `on_progress` is told how many bytes were read since the last call. Raises LandingError when the file cannot
    be read, or is no longer the one that was discovered, and SpoolError when there is no room for its rows.
    """
    try:
        with (
            open_regular(file.path) as stream,
            SpoolWriter(EVENT_SCHEMA) as events,
            SpoolWriter(REJECTED_SCHEMA) as rejected,
        ):
            rows = _Rows(events, rejected)
            reader = HashedReader(stream, on_progress)
            chunks = read_chunks(reader, named_gzip=_named_gzip(file), chunk_bytes=chunk_bytes)
            _stage_in_two_threads(chunks, rows)
            if reader.content_hash() != file.content_hash:
                raise LandingError(
                    f"{file.display_path} changed while it was read; nothing of it was taken, the next run takes it."
                )
    except OSError as error:
        sentence = f"{file.display_path} cannot be read: {error.strerror or error}."
        raise LandingError(sentence, may_pass=error.errno in MAY_PASS) from None
    return StagedFile(
        file=file,
        read_count=rows.valid_count + rows.rejected_count + rows.blank_count,
        valid_count=rows.valid_count,
        rejected_count=rows.rejected_count,
        blank_count=rows.blank_count,
        unknown_keys=dict(sorted(rows.unknown_keys.items())),
        event_spool=events.file,
        rejected_spool=rejected.file,
    )


def _stage_in_two_threads(chunks: Iterable[Chunk], rows: "_Rows") -> None:
    """Put chunks into rows, in order; while one is made into columns, the lines of the next are looked at.

    Columns are made by compiled code that leaves the interpreter to others: a million lines take 3.4 s like this
    and 5.1 s one after the other. No more than one chunk is ahead, so that memory stays bounded.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="columns") as columns:
        ahead: Future[None] | None = None
        for chunk in chunks:
            lines = STAGER.sort_lines(chunk)
            if ahead is not None:
                ahead.result()
            ahead = columns.submit(rows.add, lines)
        if ahead is not None:
            ahead.result()


class _Rows:
    """The rows of a file, as they come chunk by chunk."""

    def __init__(self, events: SpoolWriter, rejected: SpoolWriter) -> None:
        self._events = events
        self._rejected = rejected
        self.valid_count = 0
        self.rejected_count = 0
        self.blank_count = 0
        self.unknown_keys: Counter[str] = Counter()

    def add(self, lines: SortedLines) -> None:
        staged = STAGER.into_frames(lines)
        self._events.write(staged.events)
        self._rejected.write(staged.rejected)
        self.valid_count += len(staged.events)
        self.rejected_count += len(staged.rejected)
        self.blank_count += staged.blank_count
        _count(staged.unknown_keys, self.unknown_keys)


def _named_gzip(file: LandingFile) -> bool:
    return file.path.name.lower().endswith(".gz")


def _count(found_keys: Counter[str], unknown_keys: Counter[str]) -> None:
    """Add a chunk's unknown keys to those of its file, whose names stay few and short whatever an event invents.

    The names that come first in the file have a count of their own, so that chunk borders do not matter.
    """
    for key, count in found_keys.items():
        name = _storable_form(key)
        if name not in unknown_keys and len(unknown_keys) >= MOST_UNKNOWN_KEYS:
            name = OTHER_KEYS
        unknown_keys[name] += count


def _storable_form(key: str) -> str:
    return key.encode("utf-8", errors="backslashreplace").decode("utf-8")[:LONGEST_KEY_PATH]
