"""A whole raw file, staged."""

import os
from collections import Counter
from collections.abc import Callable

from src.marketing_messaging_service.errors import MAY_PASS, LandingError
from src.marketing_messaging_service.results import EVENT_SCHEMA, REJECTED_SCHEMA, LandingFile, StagedFile
from src.marketing_messaging_service.staging.columnar import stage_chunk
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES, HashedReader, read_chunks
from src.marketing_messaging_service.staging.spool import SpoolWriter

MOST_UNKNOWN_KEYS = 1_000
"""Names of unknown keys counted one by one in a file, the first met; the keys beyond them are counted together."""

OTHER_KEYS = "(other keys)"

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
    valid_count = rejected_count = blank_count = 0
    unknown_keys: Counter[str] = Counter()
    try:
        with (
            file.path.open("rb") as stream,
            SpoolWriter(EVENT_SCHEMA) as events,
            SpoolWriter(REJECTED_SCHEMA) as rejected,
        ):
            reader = HashedReader(stream, on_progress)
            for chunk in read_chunks(reader, named_gzip=_named_gzip(file), chunk_bytes=chunk_bytes):
                found_keys: Counter[str] = Counter()
                staged = stage_chunk(chunk, found_keys)
                events.write(staged.events)
                rejected.write(staged.rejected)
                valid_count += len(staged.events)
                rejected_count += len(staged.rejected)
                blank_count += staged.blank_count
                _count(found_keys, unknown_keys)
            if reader.content_hash() != file.content_hash:
                raise LandingError(
                    f"{file.display_path} changed while it was read; nothing of it was taken, the next run takes it."
                )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        sentence = f"{file.display_path} cannot be read: {reason}."
        raise LandingError(sentence, may_pass=error.errno in MAY_PASS) from None
    return StagedFile(
        file=file,
        read_count=valid_count + rejected_count + blank_count,
        valid_count=valid_count,
        rejected_count=rejected_count,
        blank_count=blank_count,
        unknown_keys=dict(sorted(unknown_keys.items())),
        event_spool=events.file,
        rejected_spool=rejected.file,
    )


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
