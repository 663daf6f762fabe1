"""Writes tables and words for people, in a terminal and in Markdown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST_ROWS = 25
"""How many rows of a table are shown; one line says how many more there are."""

LONGEST_CELL = 80


Cell = str | int


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of printable text and of numbers, which are set to the right."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] = ()
    """A last row that sums up all rows, also those left out; or nothing."""
    remark: str = ""

    @property
    def number_places(self) -> frozenset[int]:
        """The places of the columns that hold numbers."""
        return frozenset(place for row in self.rows[:1] for place, cell in enumerate(row) if isinstance(cell, int))


def table_of(
    title: str,
    head: tuple[str, ...],
    rows: Iterable[tuple[Cell, ...]],
    *,
    total: tuple[Cell, ...] = (),
    remark: str = "",
    note: str = "",
    most: int = MOST_ROWS,
    longest: int = LONGEST_CELL,
) -> Table:
    """Return a table with printable text that fits, with the first rows and how many more there are.

    A remark appears only if all rows are shown; a note always appears.
    """
    every = tuple(rows)
    beyond = len(every) - most
    return Table(
        title=title,
        head=head,
        rows=tuple(
            tuple(cell if isinstance(cell, int) else printable(cell, longest) for cell in row) for row in every[:most]
        ),
        total=total,
        remark="; ".join(filter(None, (f"and {beyond} more" if beyond > 0 else remark, note))),
    )


def text_table(table: Table) -> str:
    """Return a table as plain text for a terminal, without its total."""
    rows = [table.head, *(tuple(str(cell) for cell in row) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  "
        + "  ".join(
            cell.rjust(width) if place in table.number_places else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    remark = [f"  ({table.remark})"] if table.remark else []
    return "\n".join([table.title, *lines, *remark])


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, its thousands set apart."""
    head = tuple(escaped(name) for name in table.head)
    rule = tuple("---:" if place in table.number_places else "---" for place in range(len(head)))
    rows = [tuple(escaped(shown(cell)) for cell in row) for row in table.rows]
    total = [tuple(f"**{escaped(shown(cell))}**" if cell != "" else "" for cell in table.total)] if table.total else []
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows, *total)]
    remark = [f"\n{escaped(table.remark)}"] if table.remark else []
    return "\n".join([f"### {escaped(table.title)}\n", *lines, *remark])


def shown(cell: Cell) -> str:
    """Return a cell as it is read, the thousands of a number set apart."""
    return f"{cell:,}" if isinstance(cell, int) else cell


def many(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def counted(count: int, noun: str) -> str:
    """Return the same with thousands set apart, for reading rather than for checking."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str, most: int = LONGEST_CELL) -> str:
    """Return text from raw data without anything that a terminal or a table would act on, cut to fit."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


# An underscore between letters, as in names, has no meaning in Markdown.
_MARKUP = re.compile(r"[\\`*\[\]<>&|~#@!^${}]|(?<![^\W_])_|_(?![^\W_])")
_LIST_MARK = re.compile(r"^([-+=]|\d+(?=[.)]\s))")
_LINK = re.compile(r"\b(https?:|ftp:|www)(?=[/.])|@", re.IGNORECASE)

WORD_JOINER = "\u2060"
"""A zero-width character; the newest Prefect UI turns addresses into links even if their characters are escaped."""


def escaped(text: str) -> str:
    """Return text on one line without anything that Markdown would interpret.

    With backslashes, because Prefect's first UI shows a character reference such as `&#124;` literally.
    """
    unlinked = _LINK.sub(rf"\g<0>{WORD_JOINER}", printable(text.strip(), len(text) * 10))
    one_line = _MARKUP.sub(r"\\\g<0>", unlinked)
    return _LIST_MARK.sub(lambda mark: f"{mark[0]}\\" if mark[0].isdigit() else f"\\{mark[0]}", one_line)


def code(text: str) -> str:
    """Return text literally, as code in Markdown, on one line."""
    shown_text = printable(text, len(text) * 10)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown_text)), default=0))
    # Spaces separate the fence from a backtick in the text; they are not shown.
    space = " " if shown_text[:1] in (" ", "`") or shown_text[-1:] in (" ", "`") else ""
    return f"{fence}{space}{shown_text}{space}{fence}"
