"""Partial indexes, on every kind of database."""

from typing import Any

from sqlalchemy import ColumnElement, TextClause


def partial(condition: TextClause | ColumnElement[bool]) -> dict[str, Any]:
    """Return the options of a partial index on the rows that meet a condition.

    They are SQLite's; another kind of database adopts them when it makes the index. Naming that one here would make
    SQLAlchemy import its whole dialect, a tenth of a second for everyone who uses SQLite.
    """
    return {"sqlite_where": condition}
