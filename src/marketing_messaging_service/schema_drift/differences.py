"""Finds where a database's schema differs from what the migrations make. Reads only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, SchemaObject, tokens
from src.marketing_messaging_service.infrastructure.migrations import missing_revisions
from src.marketing_messaging_service.schema_drift.declared import declared_objects, standing_objects, table_parts


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is missing, differs, or should not be there, with its own statement."""

    kind: Kind
    name: str
    sentence: str
    is_repairable: bool
    """Whether it can be rebuilt without touching a row."""


def find_differences(connection: Connection) -> list[Difference]:
    """Return the differences of a database at the newest revision.

    Somebody's own object is not a difference, unless it can change or refuse what a run writes: a trigger, or a unique
    index, on a table of this project.
    """
    found = {standing.key: standing for standing in standing_objects(connection)}
    declared = {wanted.key: wanted for wanted in declared_objects(connection)}
    return [*_missing_or_other(declared, found), *_in_the_way(declared, found)]


def refuse_older_schema(connection: Connection) -> None:
    """Raise DatabaseError when the database is not at the newest revision, the only one that can be compared."""
    missing = missing_revisions(connection)
    if missing:
        raise DatabaseError(
            f"The database's schema is older than this code: it lacks {', '.join(missing)}. Run the hourly job or "
            "`alembic upgrade head`, which migrate it, then check again."
        )


def _missing_or_other(declared: Mapping[str, SchemaObject], found: Mapping[str, SchemaObject]) -> Iterator[Difference]:
    for key, wanted in declared.items():
        standing = found.get(key)
        if standing is None:
            yield _difference(wanted, "is missing", is_repairable=wanted.kind is not Kind.TABLE)
        elif standing.kind is not wanted.kind:
            yield _difference(wanted, f"is missing, and a {standing.kind} has its name", is_repairable=False)
        elif wanted.kind is Kind.TABLE:
            yield from _differences_of_table(wanted, standing)
        elif tokens(standing.sql) != tokens(wanted.sql):
            yield _difference(wanted, "differs from the one that the migrations make", is_repairable=True)


def _difference(wanted: SchemaObject, what: str, *, is_repairable: bool) -> Difference:
    of_table = f" of {wanted.table_name}" if wanted.kind is Kind.INDEX else ""
    return Difference(wanted.kind, wanted.name, f"the {wanted.kind} {wanted.name}{of_table} {what}", is_repairable)


def _differences_of_table(wanted: SchemaObject, standing: SchemaObject) -> Iterator[Difference]:
    parts, found = table_parts(wanted.sql), table_parts(standing.sql)
    for name, words in parts.parts.items():
        if name not in found.parts:
            yield _difference(wanted, f"lacks the {name}", is_repairable=False)
        elif found.parts[name] != words:
            yield _difference(
                wanted, f"has {' '.join(found.parts[name])} in place of {' '.join(words)}", is_repairable=False
            )
    for name in found.parts:
        if name not in parts.parts:
            yield _difference(wanted, f"has the {name}, which no migration made", is_repairable=False)
    if found.options != parts.options:
        ends = (" ".join(options) or "nothing" for options in (found.options, parts.options))
        yield _difference(wanted, f"ends with {' in place of '.join(ends)}", is_repairable=False)


def _in_the_way(declared: Mapping[str, SchemaObject], found: Mapping[str, SchemaObject]) -> Iterator[Difference]:
    tables = {wanted.name for wanted in declared.values() if wanted.kind is Kind.TABLE}
    for key, standing in found.items():
        if key in declared or standing.table_name.lower() not in tables:
            continue
        if standing.kind is Kind.TRIGGER:
            yield _stranger(standing, "can change or block what a run writes")
        elif standing.kind is Kind.INDEX and tokens(standing.sql)[1] == "UNIQUE":
            yield _stranger(standing, "can refuse what a run writes")


def _stranger(standing: SchemaObject, why: str) -> Difference:
    place = f"the {standing.kind} {standing.name} on {standing.table_name}"
    return Difference(
        standing.kind, standing.name, f"{place} is not part of this project and {why}", is_repairable=False
    )
