"""Tables and words as people read them, in a terminal and in Markdown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text; the columns named in `numbers` are set to the right."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int]
    remark: str = ""


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


def printable(text: str, most: int = 80) -> str:
    """Return text that comes from raw data with nothing in it that a terminal or a table would act on, cut to fit."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def escaped(text: str) -> str:
    """Return text with nothing in it that a Markdown table would take for its own."""
    return text.replace("|", "\\|").replace("<", "&lt;")
