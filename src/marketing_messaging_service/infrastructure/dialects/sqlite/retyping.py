"""Changes the type of columns in an existing table.

SQLite keeps the statement that made a table, and reads a column's type from it; the rows do not contain it. So the
statement is changed and no row is touched: a million events take a second, where rebuilding the table takes twenty, and
as much disk space again. Where SQLite was built not to allow this, the table is rebuilt.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, quoted, token_spans
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects

SCRATCH_PREFIX = "_retyped_"


def retype(connection: Connection, columns: Mapping[str, Collection[str]], *, old: str, new: str) -> None:
    """Give columns of tables another declared type, within the migration's transaction.

    Both types must store the values in the same way, except that numbers become text if the new type is text. Raises
    DatabaseError when a column has neither type, and when SQLite then reads anything else about the tables differently.
    """
    standing = {each.name: each for each in standing_objects(connection) if each.kind is Kind.TABLE}
    changed = {}
    for table, names in columns.items():
        sql = retyped(standing[table].sql, names, old=old, new=new)
        if sql != standing[table].sql:
            changed[table] = sql
    before = {table: _shape(connection, table) for table in changed}
    # Once the column is text, its index would no longer find a number in order to convert it.
    odd = {table for table in changed if new == "TEXT" and _holds_number(connection, table, columns[table])}
    _build_anew(connection, {table: sql for table, sql in changed.items() if table in odd})
    as_they_are = {table: sql for table, sql in changed.items() if table not in odd}
    if as_they_are and not change_statements(connection, as_they_are):
        _build_anew(connection, as_they_are)
    for table, shape in before.items():
        expected = [(name, new if name in columns[table] else kind, *rest) for name, kind, *rest in shape]
        if _shape(connection, table) != expected:
            raise DatabaseError(f"The type of columns of {table} could not be changed; please report it as a defect.")
    for table in as_they_are:
        _reindex_conditions(connection, table)


def retyped(sql: str, names: Collection[str], *, old: str, new: str) -> str:
    """Return a CREATE TABLE statement with another type for columns; one that already has the new type stays.

    Raises DatabaseError when a column is missing, or has neither type.
    """
    spans = token_spans(sql)
    wanted = {name.upper() for name in names}
    places: dict[str, int] = {}
    depth = 0
    for place, (word, _, _) in enumerate(spans[:-1]):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 1 and word in {"(", ","} and spans[place + 1][0] in wanted:
            places[spans[place + 1][0]] = place + 2
    for name in sorted(wanted, key=lambda name: places.get(name, 0), reverse=True):
        kind, start, end = spans[places[name]] if name in places else ("", 0, 0)
        if kind == old:
            sql = sql[:start] + new + sql[end:]
        elif kind != new:
            raise DatabaseError(
                f"The database was not migrated: the column {name.lower()} is not {old}, as the migrations made it, in "
                f"{sql.partition('(')[0].strip()} … Undo that change, then run again."
            )
    return sql


def _shape(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    """Return what SQLite reads about each column: its name, its type, and the rest."""
    rows = connection.exec_driver_sql(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    return [(row.name, row.type, row.notnull, row.dflt_value, row.pk, row.hidden) for row in rows]


def change_statements(connection: Connection, statements: Mapping[str, str]) -> bool:
    """Change the statements that SQLite keeps for tables; return False if it was built not to allow that."""
    version: int = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema=ON")
    try:
        for table, sql in statements.items():
            connection.exec_driver_sql(
                "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?", (sql, table)
            )
    except DBAPIError:
        connection.exec_driver_sql("PRAGMA writable_schema=OFF")
        return False
    # Other connections notice it by the version; this one reads the schema again at once.
    connection.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema=RESET")
    return True


def _build_anew(connection: Connection, statements: Mapping[str, str]) -> None:
    """Rebuild tables by other statements, with their indexes and triggers as they were; foreign keys must be off."""
    connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
    for table, sql in statements.items():
        belonging = [
            each
            for each in standing_objects(connection)
            if each.table_name.lower() == table.lower() and each.kind in {Kind.INDEX, Kind.TRIGGER}
        ]
        scratch = f"{SCRATCH_PREFIX}{table}"
        connection.exec_driver_sql(_named(sql, scratch))
        connection.exec_driver_sql(f"INSERT INTO {quoted(scratch)} SELECT * FROM {quoted(table)}")  # noqa: S608  quoted
        connection.exec_driver_sql(f"DROP TABLE {quoted(table)}")
        connection.exec_driver_sql(f"ALTER TABLE {quoted(scratch)} RENAME TO {quoted(table)}")
        for each in belonging:
            connection.exec_driver_sql(each.sql)


def _named(sql: str, name: str) -> str:
    """Return a CREATE TABLE statement that makes the table under another name."""
    spans = token_spans(sql)
    place = next(place for place, (word, _, _) in enumerate(spans) if word == "TABLE")
    _, start, end = spans[place + 1]
    return sql[:start] + quoted(name) + sql[end:]


def _holds_number(connection: Connection, table: str, names: Collection[str]) -> bool:
    """Whether somebody has put a number where text belongs, which no run does."""
    is_number = " OR ".join(f"typeof({quoted(name)}) IN ('integer', 'real')" for name in names)
    query = f"SELECT 1 FROM {quoted(table)} WHERE {is_number} LIMIT 1"  # noqa: S608  quoted
    return connection.exec_driver_sql(query).first() is not None


def _reindex_conditions(connection: Connection, table: str) -> None:
    """Rebuild a table's indexes on comparisons, whose results may have changed."""
    for each in standing_objects(connection):
        if each.has_condition and each.table_name.lower() == table.lower():
            connection.exec_driver_sql(f"REINDEX {quoted(each.name)}")
