"""Rebuilds views and indexes, without touching a row."""

from dataclasses import replace

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.infrastructure.database import cache_for_sorting, write_transaction
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, SchemaObject
from src.marketing_messaging_service.schema_drift.declared import declared_objects, standing_objects
from src.marketing_messaging_service.schema_drift.differences import find_differences, refuse_older_schema
from src.marketing_messaging_service.schema_drift.results import RepairedObject
from src.marketing_messaging_service.views import VIEWS, selects_for


def repair(engine: Engine) -> list[RepairedObject]:
    """Rebuild the views and indexes that are missing or differ, in one transaction; return the result for each.

    A unique index that existing rows violate is not made, and whatever is in its place stays. Other differences are
    left. Raises DatabaseError when the schema is not at the newest revision.
    """
    with write_transaction(engine) as connection, cache_for_sorting(connection, is_for_indexes=True):
        refuse_older_schema(connection)
        wanted = {(declared.kind, declared.name): declared for declared in declared_objects(connection)}
        made = [
            _make(connection, wanted[difference.kind, difference.name])
            for difference in find_differences(connection)
            if difference.is_repairable
        ]
        # At the end, because views read one another.
        return [_tried(connection, repaired) for repaired in made]


def _make(connection: Connection, wanted: SchemaObject) -> RepairedObject:
    name = wanted.name.lower()
    objects = standing_objects(connection)
    replaced = "".join(
        standing.sql for standing in objects if standing.kind is wanted.kind and standing.name.lower() == name
    )
    # Dropping a view drops the triggers that somebody put on it.
    triggers = [
        standing.sql for standing in objects if standing.kind is Kind.TRIGGER and standing.table_name.lower() == name
    ]
    try:
        with connection.begin_nested():
            readers = _readers(connection, wanted)
            for each in (*reversed(readers), wanted):
                connection.exec_driver_sql(f"DROP {wanted.kind.upper()} IF EXISTS {each.name}")
            for sql in (*(_statement(connection, each) for each in (wanted, *readers)), *triggers):
                connection.exec_driver_sql(sql.replace("%", "%%") if _doubles_percent(connection) else sql)
    except DBAPIError as error:
        return RepairedObject(wanted.kind, wanted.name, problem=_problem(connection, error))
    return RepairedObject(wanted.kind, wanted.name, replaced_sql=replaced)


def _statement(connection: Connection, wanted: SchemaObject) -> str:
    """Return the statement that makes an object as a migration writes it, not as the database rewords it."""
    select = selects_for(connection.dialect.name).get(wanted.name)
    return wanted.sql if select is None else f"CREATE VIEW {wanted.name} AS\n{select}"


def _doubles_percent(connection: Connection) -> bool:
    """Whether a percent sign means a parameter to the driver."""
    return connection.dialect.paramstyle in {"format", "pyformat"}


def _readers(connection: Connection, wanted: SchemaObject) -> list[SchemaObject]:
    """Return the views of this project that keep a database from dropping an object, each after those that it reads."""
    if wanted.kind is not Kind.VIEW or not dialect_named(connection.dialect.name).holds_views:
        return []
    found = {wanted.name}
    for view in VIEWS:
        if found & set(view.reads):
            found.add(view.name)
    return [each for each in declared_objects(connection) if each.name in found - {wanted.name}]


def _tried(connection: Connection, repaired: RepairedObject) -> RepairedObject:
    """A view can be created over tables that lack its columns; this checks that it can be read."""
    if repaired.kind is not Kind.VIEW or repaired.problem:
        return repaired
    try:
        connection.exec_driver_sql(f"EXPLAIN SELECT * FROM {repaired.name}")  # noqa: S608  a name of our own
    except DBAPIError as error:
        return replace(repaired, problem=_problem(connection, error))
    return repaired


def _problem(connection: Connection, error: DBAPIError) -> str:
    """Return a sentence about an object that cannot be made; other errors, such as a full disk, are raised."""
    problem = dialect_named(connection.dialect.name).making_problem(error.orig)
    if problem is None:
        raise error
    return problem
