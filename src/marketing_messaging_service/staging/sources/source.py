"""How the files of some paths are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from src.marketing_messaging_service.staging.results import READER_VERSION
from src.marketing_messaging_service.staging.sources.mapping import SourceMapping


@dataclass(frozen=True, slots=True)
class Cells:
    """How the cells of a CSV are written."""

    delimiter: str | None = None
    """What separates them; None for the comma, or whatever a header without commas uses instead."""
    decimal: str = "."
    """The decimal separator of a number."""
    truths: Mapping[str, bool] = field(default_factory=lambda: {"true": True, "false": False})
    """The words for true and false, in small letters."""


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of sources.yaml."""

    patterns: tuple[str, ...]
    """Patterns of paths from landing; a file that one of them fits is written so."""
    format_name: str
    mapping: SourceMapping
    cells: Cells = Cells()
    reader_number: int = READER_VERSION
    """A number that changes when staging, or the source itself, reads a file differently than before."""
