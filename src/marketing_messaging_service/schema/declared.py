"""What the migrations make, as the models and views declare it; that both agree is a test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import make_url
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

import src.marketing_messaging_service.models  # noqa: F401  registers every table on Base.metadata
from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import Kind, SchemaObject, tokens
from src.marketing_messaging_service.views import VIEWS

_SQLITE = make_url("sqlite://").get_dialect()()


def declared_objects() -> tuple[SchemaObject, ...]:
    """Return every table, index and view of this project; it has no trigger."""
    return (*_tables_and_indexes(), *_views())


def _tables_and_indexes() -> Iterator[SchemaObject]:
    for table in Base.metadata.sorted_tables:
        yield SchemaObject(Kind.TABLE, table.name, table.name, _sql(CreateTable(table)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield SchemaObject(Kind.INDEX, str(index.name), table.name, _sql(CreateIndex(index)))


def _views() -> Iterator[SchemaObject]:
    for view in VIEWS:
        yield SchemaObject(Kind.VIEW, view.name, view.name, f"CREATE VIEW {view.name} AS\n{view.select}")


def _sql(statement: DDLElement) -> str:
    return str(statement.compile(dialect=_SQLITE)).strip()


@dataclass(frozen=True, slots=True)
class TableParts:
    """A table's statement taken apart: its columns and constraints by their name, and what follows them."""

    parts: dict[str, tuple[str, ...]]
    options: tuple[str, ...]


def table_parts(sql: str) -> TableParts:
    """Take a CREATE TABLE statement apart; a constraint without a name is named by all that it says."""
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
    """Yield a part by its name; a foreign key that a column was added with stands apart, as in a table built anew."""
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
