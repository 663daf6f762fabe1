"""Tables and words as people read them, in a terminal and in Markdown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST_ROWS = 25
"""Rows of a table that are shown one by one; what lies beyond them is told in one line."""

LONGEST_CELL = 80


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text; the columns whose positions stand in `numbers` are set to the right."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int]
    remark: str = ""


def table_of(
    title: str,
    head: tuple[str, ...],
    rows: Iterable[tuple[str | int, ...]],
    *,
    remark: str = "",
    separator: str = "",
    longest: int = LONGEST_CELL,
) -> Table:
    """Return a table of printable text, its numbers written with a separator of thousands and set to the right."""
    every = tuple(rows)
    beyond = len(every) - MOST_ROWS
    return Table(
        title=title,
        head=head,
        rows=tuple(
            tuple(format(cell, separator) if isinstance(cell, int) else printable(cell, longest) for cell in row)
            for row in every[:MOST_ROWS]
        ),
        numbers=frozenset(place for row in every[:1] for place, cell in enumerate(row) if isinstance(cell, int)),
        remark=f"and {beyond} more" if beyond > 0 else remark,
    )


def text_table(table: Table) -> str:
    """Return a table as plain text for a terminal."""
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    lines = [
        "  "
        + "  ".join(
            cell.rjust(width) if position in table.numbers else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (table.head, *table.rows)
    ]
    remark = [f"  ({table.remark})"] if table.remark else []
    return "\n".join([table.title, *lines, *remark])


def markdown_table(table: Table) -> str:
    """Return a table as Markdown."""
    rule = ["---:" if position in table.numbers else "---" for position in range(len(table.head))]
    rows = [table.head, rule, *(tuple(escaped(cell) for cell in row) for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    remark = [f"\n({table.remark})"] if table.remark else []
    return "\n".join([f"### {table.title}\n", *lines, *remark])


def many(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def counted(count: int, noun: str) -> str:
    """Return the same with thousands set apart, for reading rather than for checking."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str, most: int = LONGEST_CELL) -> str:
    """Return text that comes from raw data with nothing in it that a terminal or a table would act on, cut to fit."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


# An underscore between letters, as in every name, is none; a full stop or a colon is only where it would make a link.
_MARKUP = re.compile(
    r"[\\`*\[\]<>&|~#@!^${}]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=/)|^[-+=](?=\s|[-=])|(?<=^\d)[.)]"
)


def escaped(text: str) -> str:
    """Return text with nothing in it that Markdown would take for its own, on one line."""
    return _MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", printable(text, len(text) * 10))
