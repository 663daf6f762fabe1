"""Indented lines of an explanation, for a terminal and as Markdown, without addresses."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.reporting.tables import escaped, printable

Line: TypeAlias = tuple[int, str]
"""Its depth, 0 for a heading, and its text."""

LONGEST = 300
"""How many characters of a line are shown."""


def shown_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines that are safe to show: addresses masked, nothing that a terminal would act on, and not too long."""
    for depth, text in lines:
        yield depth, shown(text)


def shown(text: str) -> str:
    """Return a line that is safe to show."""
    return printable(masked(text), LONGEST)


def outline_text(lines: Iterable[Line]) -> str:
    """Return lines for a terminal, with an empty one before each heading but the first."""
    told: list[str] = []
    for depth, text in shown_lines(lines):
        told += ["", text] if depth == 0 and told else [f"{'  ' * depth}{text}"]
    return "\n".join(told)


def outline_markdown(lines: Iterable[Line]) -> str:
    """Return lines as Markdown: headings, and lists within lists."""
    told: list[str] = []
    for depth, text in shown_lines(lines):
        told += [f"\n### {escaped(text)}\n"] if depth == 0 else [f"{'  ' * (depth - 1)}- {escaped(text)}"]
    return "\n".join(told).strip()
