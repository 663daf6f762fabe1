"""The tables, indexes, views and triggers of a schema, as the server describes them."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, MetaData

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, SchemaObject

_OF_TEMPORARY = "pg_my_temp_schema()"

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid
AND d.adnum = a.attnum WHERE c.relnamespace = {place} AND c.relkind IN ('r', 'p') AND a.attnum > 0
AND NOT a.attisdropped ORDER BY c.relname, a.attnum
"""

_CONSTRAINTS = """
SELECT c.relname, t.conname, pg_get_constraintdef(t.oid) FROM pg_constraint t JOIN pg_class c ON c.oid = t.conrelid
WHERE c.relnamespace = {place} AND t.contype IN ('c', 'f', 'p', 'u', 'x') ORDER BY c.relname, t.conname
"""

_INDEXES = """
SELECT i.relname, c.relname, pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class c ON c.oid = x.indrelid WHERE c.relnamespace = {place}
AND NOT EXISTS (SELECT FROM pg_constraint t WHERE t.conindid = i.oid AND t.contype IN ('p', 'u', 'x'))
ORDER BY i.relname
"""

_VIEWS = """
SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relnamespace = {place} AND c.relkind = 'v'
ORDER BY c.oid
"""

_TRIGGERS = """
SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = {place} AND NOT t.tgisinternal ORDER BY t.tgname
"""


def standing_objects(connection: Connection, place: str) -> list[SchemaObject]:
    """Return the objects of a schema, given as an expression for its number."""
    return [*_tables(connection, place), *_others(connection, place)]


def _tables(connection: Connection, place: str) -> Iterator[SchemaObject]:
    parts: dict[str, list[str]] = defaultdict(list)
    for table, column, type_, is_needed, default in connection.exec_driver_sql(_COLUMNS.format(place=place)):
        told = f" DEFAULT ({_plain(default)})" if default is not None else ""
        parts[table].append(f"{column} {type_}{told}{' NOT NULL' if is_needed else ''}")
    for table, name, definition in connection.exec_driver_sql(_CONSTRAINTS.format(place=place)):
        if table in parts:
            parts[table].append(f"CONSTRAINT {name} {_plain(definition)}")
    for table, told_parts in parts.items():
        yield SchemaObject(Kind.TABLE, table, table, f"CREATE TABLE {table} ({', '.join(told_parts)})")


def _others(connection: Connection, place: str) -> Iterator[SchemaObject]:
    for name, table, sql in connection.exec_driver_sql(_INDEXES.format(place=place)):
        yield SchemaObject(Kind.INDEX, name, table, _plain(sql))
    for name, sql in connection.exec_driver_sql(_VIEWS.format(place=place)):
        yield SchemaObject(Kind.VIEW, name, name, f"CREATE VIEW {name} AS {_plain(sql)}")
    for name, table, sql in connection.exec_driver_sql(_TRIGGERS.format(place=place)):
        yield SchemaObject(Kind.TRIGGER, name, table, _plain(sql))


def _plain(sql: str) -> str:
    """Return a definition without the schema in which it was made."""
    return re.sub(r"\b(pg_temp(_\d+)?|public)\.", "", sql)


def declared_objects(connection: Connection, own: MetaData, views: Mapping[str, str]) -> list[SchemaObject]:
    """Return what the models declare as the server describes it: made as temporary objects and rolled back at once.

    Raises DatabaseError on a standby, which cannot create temporary objects.
    """
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        raise DatabaseError(
            "a standby cannot create the tables to compare with; its schema is that of its primary: let DATABASE_URL "
            "name the primary to check it"
        )
    connection.exec_driver_sql("BEGIN")
    try:
        connection.exec_driver_sql("SET LOCAL search_path TO pg_temp")
        own.create_all(connection, checkfirst=False)
        for name, select in views.items():
            connection.exec_driver_sql(f"CREATE VIEW {name} AS\n{select}".replace("%", "%%"))
        return standing_objects(connection, _OF_TEMPORARY)
    finally:
        connection.exec_driver_sql("ROLLBACK")
