"""What there is to know of a format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from src.marketing_messaging_service.staging.lines import Chunk, HashedReader
from src.marketing_messaging_service.staging.sources.source import Source


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format of raw files."""

    name: str
    """What sources.yaml calls it."""
    endings: tuple[str, ...]
    """What the names of such files end in, before the ending of a packing."""
    read: Callable[[HashedReader, Source, int], Iterator[Chunk]]
    """Yields all lines of a file in chunks of about so many bytes; the source says what else there is to know of it."""
    has_text_alone: bool = False
    """Whether every value stands on its line as text, so that one is read for what its field holds."""
