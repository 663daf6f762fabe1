"""Keeps the views of a database that does not understand the frozen texts: they exist only at the newest revision."""

from collections.abc import Iterable, Mapping
from types import ModuleType

from sqlalchemy import Connection


class ViewKeeper:
    """Accompanies one migration: drops every view before it, and recreates them at the newest revision."""

    def __init__(self, connection: Connection, newest: Iterable[str], views: Mapping[str, str]) -> None:
        """Prepare for views, given by name with their SELECT, ordered so that each reads only earlier ones."""
        self._connection = connection
        self._newest = set(newest)
        self._views = views

    def begin(self, heads: Iterable[str], steps: Iterable[tuple[ModuleType, bool]]) -> None:
        """Drop the views, which would keep the columns that they read from being changed."""
        del heads
        if not list(steps):
            return
        for name in reversed(list(self._views)):
            self._connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")

    def end(self, heads: Iterable[str]) -> None:
        """Create the views, if the newest revision has been reached."""
        if set(heads) != self._newest:
            return
        for name, select in self._views.items():
            self._connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {name} AS\n{select}".replace("%", "%%"))

    def succeeded(self) -> None:
        """Nothing is kept from before: a migration is one transaction."""
