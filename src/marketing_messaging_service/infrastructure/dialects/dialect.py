"""What a kind of database has to say and do for itself; each is one folder beside this file."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Column, Connection, Engine, Insert, MetaData, Select, Table

from src.marketing_messaging_service.infrastructure.dialects.schema_object import SchemaObject

MIGRATES_OPTION = "migrates"
"""The execution option of an engine that migrates."""

READS_OPTION = "reads"
"""The execution option of a connection that only reads."""

BESIDE_OTHERS_OPTION = "beside_others"
"""The execution option of an engine beside whose transactions those of other runs write."""

DECIDES_OPTION = "decides"
"""The execution option of a connection, of such an engine, that decides."""

ALONE_OPTION = "alone"
"""The execution option of a connection that writes while whoever decides keeps all others from it."""

MOMENT_OPTION = "moment"
"""The execution option of a connection that sees a moment which somebody else has found; its value names that."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a database says of its surroundings, and what to do about it."""

    sentence: str
    may_pass: bool = False
    """Whether the same may work a moment later."""

    @property
    def told(self) -> str:
        """The whole of what there is to be said."""
        return f"The database cannot be used: {self.sentence}"


class PlaceAmongWriters(Protocol):
    """What a run holds of a server as long as it is one of several that write."""

    def claim(self, names: Collection[str]) -> set[str]:
        """Claim names that no other run has, and that are not claimed yet; return which these are."""

    def let_go(self, names: Collection[str]) -> None:
        """Let other runs have claimed names; those of a run that was killed are free by themselves."""

    def show_life(self, run_id: int) -> None:
        """Let everybody see, for as long as this run lives, that the run with that number does."""

    def guarding(self, engine: Engine) -> AbstractContextManager[None]:
        """Have each transaction of an engine that writes fail before its commit when the place is lost."""


class Decider(Protocol):
    """The one that decides, in several transactions."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep everybody else from writing, when what is under way has ended."""

    def moment(self) -> str:
        """Keep the present moment of the database, for transactions that are to see it, and return its name."""


class SeveralWriters(Protocol):
    """What a kind of database does for runs that write at the same time."""

    def place(
        self,
        database_url: str,
        timeout_seconds: float,
        on_wait: Callable[[], None],
        is_ready: Callable[[], bool],
        make_ready: Callable[[], None],
    ) -> AbstractContextManager[PlaceAmongWriters]:
        """Hold the right to run beside others that hold a place, which is free when its holder is gone.

        A database that is not ready is made so by a run that is alone for that while. Raises RunInProgressError where
        no place is to be had in time; `on_wait` is called about once a second while it is waited for.
        """

    def engine(self, database_url: str, own: MetaData) -> Engine:
        """Return an engine whose transactions write beside those of other runs; those that decide, one at a time."""

    def decider(self, engine: Engine) -> AbstractContextManager[Decider]:
        """Be the only one that decides."""

    def next_ids(self, connection: Connection, table: Table, count: int) -> int:
        """Return the first of so many ids of a table that follow each other, and that nobody else is given."""

    def copy_new_rows(
        self, connection: Connection, table: Table, parts: Iterable[Mapping[str, Sequence[Any]]], *, unique: str
    ) -> int:
        """Append rows of which some may stand already by one statement, and return how many went in."""

    def by_index(self, connection: Connection) -> AbstractContextManager[None]:
        """Have statements look rows up by indexes, whatever the planner knows of tables that others fill meanwhile."""

    def take_turns(self, connection: Connection, what: str) -> None:
        """Let one transaction at a time, from here to its end, do something."""

    def living_runs(self, connection: Connection, run_ids: Collection[int]) -> set[int]:
        """Return which of some runs show that they live."""


class Dialect(Protocol):
    """One kind of database."""

    name: str
    """As SQLAlchemy calls it."""
    times_are_text: bool
    """Whether instants are held as text."""
    has_frozen_views: bool
    """Whether the texts of views that are frozen in alembic/views can be read."""

    holds_views: bool
    """Whether a view that another one reads cannot be dropped."""

    rebuilds_indexes: bool
    """Whether a large load may drop the indexes of a table and build them again."""

    lock_spans_machines: bool
    """Whether the run lock keeps runs of all machines apart, so that whoever holds it is alone."""

    holds_nul: bool
    """Whether a text may hold the character NUL."""

    several_writers: SeveralWriters | None
    """What it does for runs that write at the same time, None where one at a time writes."""

    after_damage: str
    """What to do about a damaged database."""

    def refuse_url(self, url: URL, as_written: str) -> None:
        """Raise ValueError, which says what is wrong with a URL as a setting and has no password in it."""

    def copy_name(self, url: URL) -> str:
        """Return the name of a copy for analysts, which is a SQLite file."""

    def copy_command(self, url: URL) -> str:
        """Return the command that keeps a copy of the database as it is."""

    def file_of(self, url: URL) -> Path | None:
        """Return the file that the database is, None where it is none."""

    def shown(self, url: URL) -> str:
        """Return the database as people see it, with no password in it."""

    def is_there(self, url: URL) -> bool:
        """Whether it is worth while to open the database for reading."""

    def refuse_missing(self, url: URL) -> None:
        """Raise DatabaseError, saying what is wrong, when there is nothing to be opened for reading."""

    def run_lock(
        self, database_url: str, timeout_seconds: float, on_wait: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Hold the right to run, which is free when its holder is gone; raise RunInProgressError where it is not had.

        `on_wait` is called about once a second while another run holds it.
        """

    def copy_rows(
        self, connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], *, unique: str | None
    ) -> int | None:
        """Append rows given as columns, in the form that SQLite stores, and return how many went in.

        With a unique column, those whose value stands already are left out, and of several the first goes in. None
        where the database has no quicker way than statements.
        """

    def insert_ignoring(self, table: Table) -> Insert:
        """Return the statement that inserts rows of a table, but for those whose key stands already."""

    def text_of_json(self, column: str, key: str) -> str:
        """Return the SQL expression that takes the text of a key from a column of JSON."""

    def write_engine(self, database_url: str, own: MetaData, *, foreign_keys: bool, create: bool) -> Engine:
        """Return an engine whose every transaction is the only one that writes, but for those that say they read."""

    def read_engine(self, database_url: str) -> Engine:
        """Return an engine that neither creates nor writes anything, and reads also what is damaged."""

    def make_ready(self, engine: Engine) -> None:
        """See to what else is promised of a database whose schema is current."""

    def remark_on_readers(self, engine: Engine) -> str | None:
        """Return a sentence about readers that stand in the way, None when there is nothing to remark on."""

    def damage(self, engine: Engine) -> str | None:
        """Return what is damaged in the database; None when nothing is, or it cannot be known."""

    def may_be_of_others(self, error: BaseException | None) -> bool:
        """Whether an error of the driver is one that an object of somebody else can bring about."""

    def culprit_told(self, connection: Connection, error: BaseException | None, own: MetaData) -> str | None:
        """Return a sentence about the object of somebody else that an error came from, None without one."""

    def after_moving(self, connection: Connection, own: MetaData) -> None:
        """Do what is still needed after rows were written with their ids, such as setting sequences."""

    def preview_engine(
        self, database_url: str, own: MetaData, is_over: Callable[[], bool]
    ) -> AbstractContextManager[Engine]:
        """Yield an engine on which everything works and nothing is kept."""

    def complaint(self, error: BaseException) -> Complaint | None:
        """Return what an error of the driver says of the surroundings, None for any other error."""

    def words(self, error: BaseException) -> str:
        """Return what the driver says of an error, without what is in a row."""

    def is_schema_fault(self, error: BaseException | None) -> bool:
        """Whether an error of the driver says that a table, column, index or view is not there."""

    def cache_for_sorting(self, connection: Connection, threads: int) -> AbstractContextManager[None]:
        """Give a connection what is best for sorting, and so many threads that may help with it."""

    def tell_planner(self, connection: Connection, tables: Sequence[str]) -> None:
        """Have statements planned by what is in tables that the transaction, or one just before, has filled."""

    def interruptible(self, engine: Engine, is_over: Callable[[], bool]) -> AbstractContextManager[None]:
        """End a long statement of the engine soon after `is_over` has become true, once."""

    def triggers_on(self, connection: Connection, table_names: Collection[str]) -> list[str]:
        """Return the names of the triggers on some tables, none of which is this project's."""

    def prepare_migration(self, connection: Connection) -> None:
        """Make a connection ready for changing the schema; raise DatabaseError where the database is not fit."""

    def damages(self) -> Sequence[Select[Any]]:
        """Return queries of which each row reports a damage."""

    def dangling_references(self, connection: Connection, own: MetaData) -> Select[Any]:
        """Return a query of which each row reports a row that points at none."""

    def other_modes(self, connection: Connection) -> Sequence[Select[Any]]:
        """Return queries of which each row reports that the database is not as runs need it."""

    def other_timestamps(self, column: Column[Any]) -> Sequence[Select[Any]]:
        """Return queries of which each row reports a value that is not an instant, where one belongs."""

    def standing_objects(self, connection: Connection) -> list[SchemaObject]:
        """Return the objects of a database's schema, those aside that it makes of a table's constraints."""

    def declared_objects(
        self, connection: Connection, own: MetaData, views: Mapping[str, str]
    ) -> Iterable[SchemaObject]:
        """Return what the migrations make, as `standing_objects` would describe it; views are given by their SELECT."""

    def making_problem(self, error: BaseException | None) -> str | None:
        """Return what an error says of an index or view that cannot be made; None when it is of the surroundings."""
