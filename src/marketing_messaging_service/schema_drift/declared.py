"""What the migrations make, as the models and views declare it; a test checks that both agree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

import src.marketing_messaging_service.models  # noqa: F401  registers every table on Base.metadata
from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.dialects.schema_object import SchemaObject, tokens
from src.marketing_messaging_service.views import selects_for


def declared_objects(connection: Connection) -> tuple[SchemaObject, ...]:
    """Return every table, index and view of this project as the database describes it; none is a trigger."""
    name = connection.dialect.name
    return tuple(dialect_named(name).declared_objects(connection, Base.metadata, selects_for(name)))


def standing_objects(connection: Connection) -> list[SchemaObject]:
    """Return every table, index, view and trigger in the database, including somebody else's."""
    return dialect_named(connection.dialect.name).standing_objects(connection)


@dataclass(frozen=True, slots=True)
class TableParts:
    """A table's statement taken apart: its columns and constraints by their name, and what follows them."""

    parts: dict[str, tuple[str, ...]]
    options: tuple[str, ...]


def table_parts(sql: str) -> TableParts:
    """Take a CREATE TABLE statement apart; a constraint without a name is identified by its text."""
    words = tokens(sql)
    first = words.index("(") if "(" in words else len(words)
    parts: dict[str, tuple[str, ...]] = {}
    depth = 0
    part: list[str] = []
    for place, word in enumerate(words[first:], start=first):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            parts.update(_named(part))
            return TableParts(parts, words[place + 1 :])
        if depth == 1 and word == ",":
            parts.update(_named(part))
            part = []
        elif place > first:
            part.append(word)
    return TableParts(parts, ())


def _named(part: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield a part by its name; a foreign key added with a column is separated from it, as in a rebuilt table."""
    place = next(
        (place for place in range(1, len(part) - 2) if part[place] == "CONSTRAINT" and part[place + 2] == "REFERENCES"),
        len(part),
    )
    yield _name(part), tuple(part[:place])
    if place < len(part):
        column, name, references = part[0], part[place + 1], part[place + 2 :]
        foreign_key = ("CONSTRAINT", name, "FOREIGN", "KEY", "(", column, ")", *references)
        yield _name(foreign_key), foreign_key


def _name(part: Sequence[str]) -> str:
    if part and part[0] == "CONSTRAINT":
        return f"constraint {part[1].lower()}" if len(part) > 1 else "constraint"
    if part and part[0] in {"PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}:
        return f"constraint {' '.join(part)}"
    return f"column {part[0].lower()}" if part else "nothing"
