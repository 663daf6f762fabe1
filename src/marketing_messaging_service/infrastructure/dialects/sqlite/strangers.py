"""Keeps what other people have in the file unharmed by a migration, and out of its way.

Their views and triggers are set aside meanwhile, and so are their indexes on rebuilt tables; anything with a name that
a migration needs is renamed. At the end everything of theirs is as it was, or is named with what to do.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.infrastructure.dialects.schema_object import (
    Kind,
    SchemaObject,
    quoted,
    token_spans,
    tokens,
)
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects
from src.marketing_messaging_service.infrastructure.dialects.sqlite.stranger_columns import (
    StrangeColumn,
    columns_to_rename,
    put_columns_back,
    rename_columns,
    set_columns_aside,
)

Schema = Mapping[str, SchemaObject]
"""The objects of a schema by their key."""

NOT_ANYBODYS = ("alembic_version",)
"""Tables that no revision makes because they are Alembic's."""

_OF_SQLITE = "sqlite_"
"""The prefix of SQLite's own names, such as those of its statistics."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """What others keep in a file, as it was before a migration."""

    objects: tuple[SchemaObject, ...]
    readable_views: frozenset[str]
    """The keys of those of their views that could be read."""
    renamed_tables: Mapping[str, str]
    """Their tables that had to be renamed: old name to new one."""
    columns: tuple[StrangeColumn, ...]
    """Their columns in tables that are rebuilt."""
    told: tuple[str, ...]
    """Sentences about columns that had to be renamed."""
    suffix: str
    """The suffix for a name that a migration needs itself."""


def set_aside(
    connection: Connection,
    own: Schema,
    needed_names: Collection[str],
    suffix: str,
    *,
    rebuilt: Collection[str],
    changed: Collection[str],
    needed_columns: Mapping[str, Collection[str]],
) -> Strangers:
    """Find what others keep in the file, and remove what would be in the way of a migration.

    `own` is what the migrations have made so far, `needed_names` (in lower case) what the coming ones will also make,
    `rebuilt` the tables that they rebuild, and `changed` those that they change as a whole in place. `needed_columns`
    are all columns that a table ever has, in capitals, by the table's key.
    """
    renamed = _renamed_tables(connection, own, needed_names, suffix)
    found = _strangers(connection, own)
    readable = frozenset(
        each.key for each in found if each.kind is Kind.VIEW and problem_of_view(connection, each.name) is None
    )
    # SQLite checks every view and trigger when a column is renamed or dropped, and gives up at a broken one. Dropping a
    # view also drops its triggers, so views come after triggers.
    looked_through = [each for each in found if each.kind in {Kind.VIEW, Kind.TRIGGER}]
    for each in sorted(looked_through, key=lambda each: each.kind is Kind.VIEW):
        connection.exec_driver_sql(f"DROP {each.kind.upper()} {quoted(each.name)}")
    told = rename_columns(connection, columns_to_rename(connection, own, needed_columns), suffix)
    # They already have the new name of a renamed column.
    others = [each for each in _strangers(connection, own) if each.kind not in {Kind.VIEW, Kind.TRIGGER}]
    for each in others:
        is_on_rebuilt, is_on_changed = (each.table_name.lower() in tables for tables in (rebuilt, changed))
        is_in_the_way = is_on_rebuilt or (is_on_changed and each.has_condition) or each.name.lower() in needed_names
        if each.kind is Kind.INDEX and is_in_the_way:
            connection.exec_driver_sql(f"DROP INDEX {quoted(each.name)}")
    columns = set_columns_aside(connection, own, rebuilt)
    return Strangers((*others, *looked_through), readable, renamed, tuple(columns), tuple(told), suffix)


def _strangers(connection: Connection, own: Schema) -> list[SchemaObject]:
    return [each for each in standing_objects(connection) if _is_strange(each, own)]


def _renamed_tables(
    connection: Connection, own: Schema, needed_names: Collection[str], suffix: str
) -> Mapping[str, str]:
    """Rename other people's tables whose names are needed, and return them: old name to new one."""
    objects = standing_objects(connection)
    renamed = {
        each.name: _free_name(objects, each.name + suffix, needed_names)
        for each in objects
        if each.kind is Kind.TABLE and _is_strange(each, own) and each.name.lower() in needed_names
    }
    for old, new in renamed.items():
        connection.exec_driver_sql(f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}")
    return renamed


def put_back(connection: Connection, strangers: Strangers) -> list[str]:
    """Recreate what a migration removed, and return a sentence about everything that is not as it was."""
    told = [
        f"The table {old} is not part of this project, and its name was needed: it is called {new} now, with every "
        "row. Change what reads it."
        for old, new in strangers.renamed_tables.items()
    ]
    told += strangers.told
    # Before the indexes and triggers that may use them.
    told += put_columns_back(connection, strangers.columns)
    for each in sorted(strangers.objects, key=lambda each: each.kind is Kind.TRIGGER):
        told += _make_again(connection, each, strangers.suffix)
    for each in strangers.objects:
        if each.key in strangers.readable_views and (problem := problem_of_view(connection, each.name)):
            told.append(
                f"The view {each.name} is not part of this project and cannot be read any more ({problem}), because "
                "the schema is another one now. Change it, or drop it."
            )
    return told


def problem_of_view(connection: Connection, name: str) -> str | None:
    """Return SQLite's message about a view that cannot be read, None if it can."""
    try:
        connection.exec_driver_sql(f"EXPLAIN SELECT * FROM {quoted(name)}")  # noqa: S608  quoted
    except DBAPIError as error:
        return str(error.orig)
    return None


def _is_strange(standing: SchemaObject, own: Schema) -> bool:
    if standing.name.lower().startswith(_OF_SQLITE) or standing.name in NOT_ANYBODYS:
        return False
    made = own.get(standing.key)
    # A view of ours that somebody has changed counts as theirs.
    return made is None or (made.kind is Kind.VIEW and tokens(made.sql) != tokens(standing.sql))


def _make_again(connection: Connection, stranger: SchemaObject, suffix: str) -> Iterator[str]:
    """Recreate an object that is gone, or whose name another one now has; yield sentences about it."""
    objects = standing_objects(connection)
    standing = {each.key: each for each in objects}.get(stranger.key)
    if standing is not None and tokens(standing.sql) == tokens(stranger.sql):
        return
    name, sql = stranger.name, stranger.sql
    if standing is not None and stranger.kind is Kind.INDEX and standing.table_name == stranger.table_name:
        # Alembic recreated it as far as it understood it.
        connection.exec_driver_sql(f"DROP INDEX {quoted(standing.name)}")
    elif standing is not None:
        name = _free_name(objects, stranger.name + suffix, ())
        sql = _renamed(stranger, name)
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(sql)
    except DBAPIError as error:
        yield (
            f"{_capital(stranger)} is not part of this project and cannot be made again after the migration "
            f"({error.orig}). Change what it says, and make it by hand: {stranger.sql}"
        )
        return
    if name != stranger.name:
        yield (
            f"{_capital(stranger)} is not part of this project, and its name was needed: it is called {name} now. "
            "Change what reads it."
        )


def _renamed(stranger: SchemaObject, name: str) -> str:
    """Return the statement that makes a view or an index, with another name."""
    spans = token_spans(stranger.sql)
    place = next(place for place, (word, _, _) in enumerate(spans) if word == stranger.kind.upper())
    _, start, end = spans[place + 1]
    return stranger.sql[:start] + quoted(name) + stranger.sql[end:]


def _free_name(objects: Sequence[SchemaObject], wanted: str, needed_names: Collection[str]) -> str:
    taken = {each.name.lower() for each in objects} | set(needed_names)
    name, number = wanted, 1
    while name.lower() in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _capital(stranger: SchemaObject) -> str:
    told = str(stranger)
    return told[0].upper() + told[1:]
