"""Views of a database that cannot read the frozen texts: they stand at the newest revision alone."""

from collections.abc import Iterable, Mapping
from types import ModuleType

from sqlalchemy import Connection


class ViewKeeper:
    """Goes along with one migration: takes every view away before it, and makes them again at the newest revision."""

    def __init__(self, connection: Connection, newest: Iterable[str], views: Mapping[str, str]) -> None:
        """Prepare for views, given by name with their SELECT in an order in which each reads only those before it."""
        self._connection = connection
        self._newest = set(newest)
        self._views = views

    def begin(self, heads: Iterable[str], steps: Iterable[tuple[ModuleType, bool]]) -> None:
        """Take the views away, which would keep the columns that they read as they are."""
        del heads
        if not list(steps):
            return
        for name in reversed(list(self._views)):
            self._connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")

    def end(self, heads: Iterable[str]) -> None:
        """Make the views, where the newest revision has been reached."""
        if set(heads) != self._newest:
            return
        for name, select in self._views.items():
            self._connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {name} AS\n{select}".replace("%", "%%"))

    def succeeded(self) -> None:
        """Nothing is kept from before: a migration is one transaction."""
