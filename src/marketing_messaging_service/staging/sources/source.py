"""How the files of some paths are written."""

from dataclasses import dataclass

from src.marketing_messaging_service.staging.sources.mapping import SourceMapping


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of sources.yaml."""

    patterns: tuple[str, ...]
    """Patterns of paths from landing; a file that one of them fits is written so."""
    format_name: str
    mapping: SourceMapping
    delimiter: str = ","
    """What separates the cells of a CSV."""
