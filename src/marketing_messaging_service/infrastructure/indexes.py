"""Indexes that hold a part of the rows, on every kind of database."""

from typing import Any

from sqlalchemy import ColumnElement, TextClause

from src.marketing_messaging_service.infrastructure.dialects.choice import DIALECTS


def partial(condition: TextClause | ColumnElement[bool]) -> dict[str, Any]:
    """Return the options of an index that holds the rows of a condition.

    Where a database were forgotten, the index would be one of all rows there, and a unique one would refuse them.
    """
    return {f"{dialect.name}_where": condition for dialect in DIALECTS}
