"""What there is to know about a format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.sources.source import Source


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format of raw files."""

    name: str
    """What sources.yaml calls it."""
    endings: tuple[str, ...]
    """What the names of such files end in, before the ending of a packing."""
    read: Callable[[Lookahead, bytes, Source, int], Iterator[Chunk]]
    """Yields all lines of what a file holds once it is unpacked, in chunks of about so many bytes, given its beginning;
    the source says what else there is to know of it."""
    is_certain: Callable[[bytes, Source], bool]
    """Whether the beginning of a file shows that it is of this format, whatever the file is called."""
    is_text: bool = True
    """Whether a file of this format may begin with anything."""
    has_header: bool = False
    """Whether its lines are rows, whose values are texts, below a header that names them."""
