"""What each kind of database must define; each kind is a folder beside this file."""

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
"""The execution option of an engine whose transactions run while other runs write."""

DECIDES_OPTION = "decides"
"""The execution option of a connection of such an engine that decides."""

ALONE_OPTION = "alone"
"""The execution option of a connection that writes while the deciding run keeps all others from writing."""

MOMENT_OPTION = "moment"
"""The execution option of a connection that uses a snapshot exported by another; its value names it."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a database says about outside conditions, and what to do about it."""

    sentence: str
    may_pass: bool = False
    """Whether the same may work a moment later."""

    @property
    def told(self) -> str:
        """The whole message."""
        return f"The database cannot be used: {self.sentence}"


class PlaceAmongWriters(Protocol):
    """What a run holds on a server while it is one of several that write."""

    def claim(self, names: Collection[str]) -> set[str]:
        """Claim the names that are not claimed yet, by this or any other run; return those claimed."""

    def let_go(self, names: Collection[str]) -> None:
        """Release claimed names; those of a killed run are released automatically."""

    def show_life(self, run_id: int) -> None:
        """Show everybody that the run with that number is alive, for as long as it is."""

    def guarding(self, engine: Engine) -> AbstractContextManager[None]:
        """Have each transaction of an engine that writes fail before its commit when the place is lost."""


class Decider(Protocol):
    """The run that decides, in several transactions."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep everybody else from writing, once what is under way has ended."""

    def moment(self) -> str:
        """Keep a snapshot of the database for other transactions, and return its name."""


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
        """Hold the right to run beside others with a place; it is released when its holder is gone.

        If the database is not ready, one run makes it so while it is alone. Raises RunInProgressError when no place is
        free in time; `on_wait` is called about once a second during the wait.
        """

    def engine(self, database_url: str, own: MetaData) -> Engine:
        """Return an engine whose transactions write beside those of other runs; those that decide, one at a time."""

    def decider(self, engine: Engine) -> AbstractContextManager[Decider]:
        """Be the only one that decides."""

    def next_ids(self, connection: Connection, table: Table, count: int) -> int:
        """Return the first of `count` consecutive ids of a table that nobody else gets."""

    def copy_new_rows(
        self, connection: Connection, table: Table, parts: Iterable[Mapping[str, Sequence[Any]]], *, unique: str
    ) -> int:
        """Append rows, some of which may be there already, by one statement, and return how many went in."""

    def by_index(self, connection: Connection) -> AbstractContextManager[None]:
        """Make statements look rows up by indexes, whatever the planner knows about tables that others are filling."""

    def take_turns(self, connection: Connection, what: str) -> None:
        """Let one transaction at a time do something, from here to its end."""

    def living_runs(self, connection: Connection, run_ids: Collection[int]) -> set[int]:
        """Return which of some runs show that they are alive."""


class Dialect(Protocol):
    """One kind of database."""

    name: str
    """Its name in SQLAlchemy."""
    spellings: Mapping[str, str]
    """Its text of each `SqlFunction`, by the name of the class; {0}, {1} … are the arguments."""
    times_are_text: bool
    """Whether instants and dates are stored as text."""
    money_is_units: bool
    """Whether money is stored as a whole number of the smallest unit."""
    has_frozen_views: bool
    """Whether it understands the view texts frozen in alembic/views."""

    holds_views: bool
    """Whether a view that another one reads cannot be dropped."""

    rebuilds_indexes: bool
    """Whether a large load may drop a table's indexes and rebuild them."""

    lock_spans_machines: bool
    """Whether the run lock covers all machines, so that its holder is alone."""

    holds_nul: bool
    """Whether a text may hold the character NUL."""

    several_writers: SeveralWriters | None
    """What it does for runs that write at the same time, None if only one writes at a time."""

    after_damage: str
    """What to do about a damaged database."""

    def refuse_url(self, url: URL, as_written: str) -> None:
        """Raise ValueError, saying what is wrong with a URL as a setting, without any password."""

    def copy_name(self, url: URL) -> str:
        """Return the name of a copy for analysts, which is a SQLite file."""

    def copy_command(self, url: URL) -> str:
        """Return the command that copies the database as it is."""

    def file_of(self, url: URL) -> Path | None:
        """Return the database's file, None if it is not a file."""

    def shown(self, url: URL) -> str:
        """Return the database as people see it, with no password in it."""

    def is_there(self, url: URL) -> bool:
        """Whether it is worth opening the database for reading."""

    def refuse_missing(self, url: URL) -> None:
        """Raise DatabaseError, saying what is wrong, when there is nothing to open for reading."""

    def run_lock(
        self, database_url: str, timeout_seconds: float, on_wait: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Hold the right to run, released when its holder is gone; raise RunInProgressError if it is not free in time.

        `on_wait` is called about once a second while another run holds it.
        """

    def copy_rows(
        self, connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], *, unique: str | None
    ) -> int | None:
        """Append rows given as columns, in the form that SQLite stores, and return how many went in.

        With a unique column, rows whose value is already there are left out, and of several the first goes in. Returns
        None if the database has no quicker way than statements.
        """

    def insert_ignoring(self, table: Table) -> Insert:
        """Return the statement that inserts rows into a table, except those whose key is already there."""

    def text_of_json(self, column: str, key: str) -> str:
        """Return the SQL expression that takes the text of a key from a column of JSON."""

    def write_engine(self, database_url: str, own: MetaData, *, foreign_keys: bool, create: bool) -> Engine:
        """Return an engine whose every transaction is the only one that writes, except those marked as reading."""

    def read_engine(self, database_url: str) -> Engine:
        """Return an engine that neither creates nor writes anything, and can also read what is damaged."""

    def make_ready(self, engine: Engine) -> None:
        """Establish what else is promised of a database whose schema is current."""

    def remark_on_readers(self, engine: Engine) -> str | None:
        """Return a sentence about readers that are in the way, None if there are none."""

    def damage(self, engine: Engine) -> str | None:
        """Return what is damaged in the database; None if nothing is, or it cannot be found out."""

    def may_be_of_others(self, error: BaseException | None) -> bool:
        """Whether an error of the driver can be caused by somebody else's object."""

    def culprit_told(self, connection: Connection, error: BaseException | None, own: MetaData) -> str | None:
        """Return a sentence about somebody else's object that caused an error, None if there is none."""

    def after_moving(self, connection: Connection, own: MetaData) -> None:
        """Do what is still needed after rows were written with their ids, such as setting sequences."""

    def preview_engine(
        self, database_url: str, own: MetaData, is_over: Callable[[], bool]
    ) -> AbstractContextManager[Engine]:
        """Yield an engine on which everything works and nothing is kept."""

    def complaint(self, error: BaseException) -> Complaint | None:
        """Return what an error of the driver says about outside conditions, None for any other error."""

    def words(self, error: BaseException) -> str:
        """Return the driver's message of an error, without anything from a row."""

    def is_schema_fault(self, error: BaseException | None) -> bool:
        """Whether an error of the driver says that a table, column, index or view is not there."""

    def cache_for_sorting(self, connection: Connection, *, is_for_indexes: bool) -> AbstractContextManager[None]:
        """Give a connection what is best for sorting matches, or for building indexes."""

    def tell_planner(self, connection: Connection, tables: Sequence[str]) -> None:
        """Update the planner's statistics of tables that this transaction, or one just before, has filled."""

    def interruptible(self, engine: Engine, is_over: Callable[[], bool]) -> AbstractContextManager[None]:
        """End a long statement of the engine soon after `is_over` has become true, once."""

    def triggers_on(self, connection: Connection, table_names: Collection[str]) -> list[str]:
        """Return the names of the triggers on some tables, none of which is this project's."""

    def prepare_migration(self, connection: Connection) -> None:
        """Make a connection ready for changing the schema; raise DatabaseError if the database is not suitable."""

    def damages(self) -> Sequence[Select[Any]]:
        """Return queries whose rows each report a damage."""

    def dangling_references(self, connection: Connection, own: MetaData) -> Select[Any]:
        """Return a query whose rows each report a row with a foreign key that points at nothing."""

    def other_modes(self, connection: Connection) -> Sequence[Select[Any]]:
        """Return queries whose rows each report a way in which the database is not as runs need it."""

    def other_timestamps(self, column: Column[Any]) -> Sequence[Select[Any]]:
        """Return queries whose rows each report a value that should be an instant and is not."""

    def standing_objects(self, connection: Connection) -> list[SchemaObject]:
        """Return the objects of a database's schema, except those that it makes for a table's constraints."""

    def declared_objects(
        self, connection: Connection, own: MetaData, views: Mapping[str, str]
    ) -> Iterable[SchemaObject]:
        """Return what the migrations make, as `standing_objects` would describe it; views are given by their SELECT."""

    def making_problem(self, error: BaseException | None) -> str | None:
        """Return an error's message about an index or view that cannot be made; None if the cause is outside."""
