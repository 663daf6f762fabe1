"""The tables, indexes, views and triggers of a database, each by the statement that makes it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^]]*]|\w+|\S""")


class Kind(StrEnum):
    """What an object of a schema is."""

    TABLE = "table"
    INDEX = "index"
    VIEW = "view"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """A table, index, view or trigger, and the statement that makes it."""

    kind: Kind
    name: str
    table_name: str
    """The table of an index, the table or view of a trigger; its own name otherwise."""
    sql: str

    @property
    def key(self) -> str:
        """Identifies an object: case does not count, and triggers have a namespace of their own."""
        space = "trigger " if self.kind is Kind.TRIGGER else ""
        return space + self.name.lower()

    @property
    def has_condition(self) -> bool:
        """Whether it is an index on an expression or with a condition, and not only on columns."""
        words = tokens(self.sql)
        return self.kind is Kind.INDEX and ("WHERE" in words or words.count("(") > 1)

    def __str__(self) -> str:
        place = f" on {self.table_name}" if self.kind in {Kind.INDEX, Kind.TRIGGER} else ""
        return f"the {self.kind} {self.name}{place}"


def quoted(name: str) -> str:
    """Return a name quoted for a statement, whatever it contains."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def tokens(sql: str) -> tuple[str, ...]:
    """Return the words and signs of a statement: two statements are the same if these are, whatever is in between."""
    found = [_plain(token) for token in _TOKEN.findall(sql.removesuffix(";"))]
    return tuple(_without_needless_parentheses(found))


def token_spans(sql: str) -> list[tuple[str, int, int]]:
    """Return the words and signs of a statement, each with its beginning and end."""
    return [(_plain(found.group()), found.start(), found.end()) for found in _TOKEN.finditer(sql)]


def _plain(token: str) -> str:
    if token[0] == "'":
        return token
    if token[0] in '"`[' and len(token) > 1:
        token = token[1:-1].replace(2 * token[0], token[0])
    return token.upper()


def _without_needless_parentheses(found: Sequence[str]) -> Iterator[str]:
    """A one-word default has parentheses or not, depending on whether a migration rebuilt its table."""
    skipped = {
        place
        for start, token in enumerate(found)
        if token == "DEFAULT" and found[start + 1 : start + 4 : 2] == ["(", ")"]  # noqa: S105  a word of SQL
        for place in (start + 1, start + 3)
    }
    return (token for place, token in enumerate(found) if place not in skipped)
