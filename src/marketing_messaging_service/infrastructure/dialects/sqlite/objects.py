"""The tables, indexes, views and triggers of a file, as SQLite keeps them, and as the models declare them."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, MetaData, make_url
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, SchemaObject

_SQLITE = make_url("sqlite://").get_dialect()()


def standing_objects(connection: Connection) -> list[SchemaObject]:
    """Return the objects of a file's schema, except those that SQLite makes for a table's constraints."""
    rows = connection.exec_driver_sql(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    )
    return [SchemaObject(Kind(kind), name, table_name, sql) for kind, name, table_name, sql in rows]


def declared_objects(own: MetaData, views: Mapping[str, str]) -> Iterator[SchemaObject]:
    """Yield what the migrations make, as the statements that SQLite would keep."""
    for table in own.sorted_tables:
        yield SchemaObject(Kind.TABLE, table.name, table.name, _sql(CreateTable(table)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield SchemaObject(Kind.INDEX, str(index.name), table.name, _sql(CreateIndex(index)))
    for name, select in views.items():
        yield SchemaObject(Kind.VIEW, name, name, f"CREATE VIEW {name} AS\n{select}")


def _sql(statement: DDLElement) -> str:
    return str(statement.compile(dialect=_SQLITE)).strip()
