"""Guards every migration: checks disk space, keeps a copy from before, and protects what others keep in the file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind, quoted
from src.marketing_messaging_service.infrastructure.dialects.sqlite import before_migrating, strangers
from src.marketing_messaging_service.infrastructure.dialects.sqlite.objects import standing_objects
from src.marketing_messaging_service.infrastructure.dialects.sqlite.retyping import SCRATCH_PREFIX
from src.marketing_messaging_service.infrastructure.dialects.sqlite.stranger_columns import definitions
from src.marketing_messaging_service.infrastructure.dialects.sqlite.strangers import NOT_ANYBODYS, Schema, Strangers

SECONDS_A_MILLION = "SECONDS_A_MILLION"
"""The name under which a revision may state measurements: how many seconds a million rows of each rebuilt table take,
and which other tables it changes in every row."""

USUAL_SECONDS = 20.0
"""Seconds that rebuilding a million rows takes if nobody has measured it; as for `events`."""


SCRATCH_PREFIXES = ("_alembic_tmp_", SCRATCH_PREFIX)
"""The prefix of the temporary tables of a rebuild."""

LEAST_SHARE = 50
"""A table with less than this share of the largest one's rows is left out of the estimate's sentence."""


@dataclass(frozen=True, slots=True)
class Made:
    """The schema after a revision, and the tables that it rebuilds, in either direction."""

    schema: Schema
    rebuilt: frozenset[str]
    rebuilt_by_downgrade: frozenset[str]


@dataclass(frozen=True, slots=True)
class Audience:
    """Hears what a migration does, and may end it by raising."""

    info: Callable[[str], None] = lambda _: None
    warning: Callable[[str], None] = lambda _: None
    look: Callable[[], None] = lambda: None


class MigrationGuard:
    """Accompanies one migration of a non-empty database, inside its transaction."""

    def __init__(
        self, connection: Connection, path: Path, scripts: Path, audience: Audience, *, is_copied: bool
    ) -> None:
        self._connection = connection
        self._path = path
        self._audience = audience
        self._is_copied = is_copied
        is_new = all(each.name in NOT_ANYBODYS for each in standing_objects(connection))
        self._made = None if is_new else made_by_revision(scripts)
        self._strangers: Strangers | None = None

    def begin(self, heads: Iterable[str], steps: Iterable[tuple[ModuleType, bool]]) -> None:
        """Prepare for revisions, each given as its module and whether it is an upgrade.

        Raises DatabaseError when there is no room.
        """
        steps = list(steps)
        if self._made is None or not steps:
            return
        seconds: dict[str, float] = {}
        rebuilt: set[str] = set()
        for module, is_upgrade in steps:
            of_step = self._rebuilt(module, is_upgrade=is_upgrade)
            rebuilt |= of_step
            measured: Mapping[str, float] = getattr(module, SECONDS_A_MILLION, {})
            for table in of_step | measured.keys():
                seconds[table] = seconds.get(table, 0) + measured.get(table, USUAL_SECONDS)
        counts = before_migrating.row_counts(self._connection, seconds)
        if any(counts.values()):
            self._make_ready(counts, seconds)
        own = self._own(heads)
        needed = {each.name.lower() for made in self._made.values() for each in made.schema.values()}
        needed |= {f"{prefix}{each.name}" for each in own.values() for prefix in SCRATCH_PREFIXES}
        needed -= {each.name.lower() for each in own.values()}
        last, _ = steps[-1]
        self._strangers = strangers.set_aside(
            self._connection,
            own,
            needed,
            f"_before_{last.revision}",
            rebuilt=rebuilt,
            changed=seconds,
            needed_columns=self._columns(),
        )

    def _columns(self) -> Mapping[str, set[str]]:
        """Return the names, in capitals, of all columns that each table ever has, by the table's key."""
        columns: dict[str, set[str]] = {}
        for made in (self._made or {}).values():
            for each in made.schema.values():
                if each.kind is Kind.TABLE:
                    columns.setdefault(each.key, set()).update(definitions(each.sql))
        return columns

    def _rebuilt(self, module: ModuleType, *, is_upgrade: bool) -> frozenset[str]:
        """Return the tables that a revision rebuilds."""
        made = (self._made or {}).get(module.revision)
        if made is None:
            return frozenset()
        return made.rebuilt if is_upgrade else made.rebuilt_by_downgrade

    def _make_ready(self, counts: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        duration = before_migrating.duration_told(counts, seconds)
        self._audience.info(f"Migrating rewrites {_tables_told(counts)}; measured elsewhere, that takes {duration}.")
        before_migrating.refuse_full_disk(self._connection, self._path, counts, is_copied=self._is_copied)
        if self._is_copied:
            copy = before_migrating.keep_copy(self._path, self._audience.look)
            self._audience.info(
                f"A copy of the database as it was is kept at {copy} until the migration has succeeded."
            )

    def end(self, heads: Iterable[str]) -> None:
        """Put back what was set aside, and say what is not as it was. Raises DatabaseError at rows without a parent."""
        if self._made is None:
            return
        own = self._own(heads)
        if self._strangers is not None:
            for sentence in strangers.put_back(self._connection, self._strangers):
                self._audience.warning(sentence)
        self._refuse_orphans(own)
        self._refuse_broken_views(own)

    def succeeded(self) -> None:
        """Remove the copy from before; call this when everything is committed."""
        before_migrating.forget_copy(self._path)

    def _own(self, heads: Iterable[str]) -> Schema:
        made = self._made or {}
        return next((made[head].schema for head in heads if head in made), {})

    def _refuse_orphans(self, own: Schema) -> None:
        # Table by table, because other people's may point at what is not unique, or need what this program lacks.
        tables = [each.name for each in own.values() if each.kind is Kind.TABLE]
        orphans = [
            (table, orphan)
            for table in tables
            for orphan in self._connection.exec_driver_sql(f"PRAGMA foreign_key_check({quoted(table)})").fetchall()
            # Where somebody's own column points is their business.
            if orphan.parent in tables
        ]
        if orphans:
            named = ", ".join(sorted({table for table, _ in orphans}))
            raise DatabaseError(
                f"{len(orphans)} rows in {named} have no parent, so the database was not migrated and keeps "
                "the schema it had. PRAGMA foreign_key_check lists them; delete or correct them, then run again."
            )

    def _refuse_broken_views(self, own: Schema) -> None:
        for each in own.values():
            if each.kind is Kind.VIEW:
                self._connection.exec_driver_sql(f"EXPLAIN SELECT * FROM {quoted(each.name)}")  # noqa: S608  quoted


def _tables_told(counts: Mapping[str, int]) -> str:
    """Return the tables that determine how long it takes, with their row counts."""
    largest = sorted(counts.items(), key=lambda entry: -entry[1])
    told = [f"{table} ({count:,} rows)" for table, count in largest if count * LEAST_SHARE >= largest[0][1]]
    others = len(counts) - len(told)
    smaller = {0: "", 1: " and a smaller table"}.get(others, f" and {others} smaller tables")
    return ", ".join(told) + smaller


@cache
def made_by_revision(scripts: Path) -> Mapping[str, Made]:
    """Return what each revision makes, by making it in memory and reverting it: this shows what is ours."""
    history = [*ScriptDirectory(str(scripts)).walk_revisions()][::-1]
    engine = create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    schemas: list[Schema] = []
    rebuilt: list[frozenset[str]] = []
    # A rebuilt table gets its constraints back by this naming convention.
    options = {"target_metadata": Base.metadata}
    with engine.connect() as connection, Operations.context(MigrationContext.configure(connection, opts=options)):
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        for script in history:
            before = _places(connection)
            try:
                script.module.upgrade()
            except SQLAlchemyError:
                # One that fails here also fails on the database, where it is reported.
                break
            rebuilt.append(_moved(before, _places(connection)))
            schemas.append({each.key: each for each in standing_objects(connection)})
        made = history[: len(schemas)]
        taken_back: list[frozenset[str]] = []
        for script in made[::-1] if len(made) == len(history) else ():
            before = _places(connection)
            script.module.downgrade()
            taken_back.append(_moved(before, _places(connection)))
    engine.dispose()
    downgrades = taken_back[::-1] or [frozenset[str]()] * len(made)
    return {
        script.revision: Made(schema, up, down)
        for script, schema, up, down in zip(made, schemas, rebuilt, downgrades, strict=True)
    }


def _places(connection: Connection) -> dict[str, int]:
    """Return each table's place in the schema; a rebuilt one is at the end."""
    rows = connection.exec_driver_sql("SELECT name, rowid FROM sqlite_master WHERE type = 'table'")
    return {row.name: row.rowid for row in rows}


def _moved(before: Mapping[str, int], after: Mapping[str, int]) -> frozenset[str]:
    return frozenset(table for table, place in before.items() if after.get(table, place) != place)
