"""Indexes that hold a part of the rows, on every kind of database."""

from typing import Any

from sqlalchemy import ColumnElement, TextClause


def partial(condition: TextClause | ColumnElement[bool]) -> dict[str, Any]:
    """Return the options of an index that holds the rows of a condition.

    They are SQLite's; another kind of database takes them over when it makes the index. To name that one here would
    have SQLAlchemy import all that it knows of it, a tenth of a second for whoever has SQLite.
    """
    return {"sqlite_where": condition}
