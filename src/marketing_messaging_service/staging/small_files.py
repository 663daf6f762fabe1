"""How many small files are staged and loaded together: in one step, and in one transaction."""

from collections.abc import Sequence

from src.marketing_messaging_service.staging.results import LandingFile

SMALL_FILE_BYTES = 4 << 20
"""Files up to this size are staged and loaded together with their neighbours. A step and a transaction cost a tenth of
what a file of this size takes, but 50 times what a file of a single line takes."""

MOST_FILES = 1_000
"""At most this many files are staged and loaded together; then step and transaction cost 0.1 ms per file."""

MOST_BYTES = 32 << 20
"""Files staged and loaded together have about this many bytes at most, stored and unpacked: two seconds of work."""


def next_files(files: Sequence[LandingFile]) -> Sequence[LandingFile]:
    """Return the first files that can be staged together: a large one alone, or small ones in a row."""
    size = 0
    for count, file in enumerate(files[:MOST_FILES]):
        size += file.size_bytes
        if file.size_bytes > SMALL_FILE_BYTES or size > MOST_BYTES:
            return files[: max(count, 1)]
    return files[:MOST_FILES]
