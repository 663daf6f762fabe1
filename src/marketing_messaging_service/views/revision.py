"""Writes a complete new revision of the schema: what `alembic revision --autogenerate` makes of changed models.

It also covers the views: the text of each view that the change touches is frozen as its next version in alembic/views,
and the migration installs it. It is written in the style of the ones that people wrote.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    DropColumnOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    OpContainer,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.infrastructure import migrations
from src.marketing_messaging_service.infrastructure.column_types import HeldType
from src.marketing_messaging_service.infrastructure.dialects.choice import DIALECTS
from src.marketing_messaging_service.infrastructure.schema import newest_revision
from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.views.view import View

_LONGEST_LINE = 116
"""The project's lines have 120 characters, and these are indented by four."""

_MIGRATIONS = "src.marketing_messaging_service.infrastructure.migrations"


class _ViewOp(MigrateOperation):
    """Installs a version of a view, 0 for none."""

    def __init__(self, name: str, version: int) -> None:
        self.name = name
        self.version = version


class _AddFieldsOp(MigrateOperation):
    """Adds columns to a table."""

    def __init__(self, table: str, columns: Iterable[Column[Any]]) -> None:
        self.table = table
        self.columns = tuple(columns)


class _DropFieldsOp(MigrateOperation):
    """Drops columns from a table."""

    def __init__(self, table: str, names: Iterable[str]) -> None:
        self.table = table
        self.names = tuple(names)


def complete_revision(context: MigrationContext, _revision: Any, directives: list[MigrationScript]) -> None:
    """Number a new revision, and add what Alembic's comparison of tables does not see.

    Nothing is written if nothing has changed.
    """
    (script,) = directives
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    changed = [view for view in VIEWS if view.select != _frozen(view.name, _newest_version(view.name))]
    if upgrade.is_empty() and not changed:
        directives.clear()
        return
    script.rev_id = f"{int(newest_revision()) + 1:0{len(newest_revision())}}"
    upgrade.ops = [*_tidied(upgrade), *(_ViewOp(view.name, _freeze(view)) for view in changed)]
    # A view must not read a column that is gone.
    downgrade.ops = [*(_ViewOp(view.name, _newest_version(view.name) - 1) for view in changed), *_tidied(downgrade)]


def _tidied(container: OpContainer) -> list[MigrateOperation]:
    """Return operations, with those that only add or drop columns in the short form."""
    return [
        _short_form(operation) if isinstance(operation, ModifyTableOps) else operation for operation in container.ops
    ]


def _short_form(changes: ModifyTableOps) -> MigrateOperation:
    added = [change.column for change in changes.ops if isinstance(change, AddColumnOp) and change.column.nullable]
    if len(added) == len(changes.ops):
        return _AddFieldsOp(changes.table_name, added)
    dropped = [change.column_name for change in changes.ops if isinstance(change, DropColumnOp)]
    if len(dropped) == len(changes.ops):
        return _DropFieldsOp(changes.table_name, dropped)
    return changes


@renderers.dispatch_for(_ViewOp)
def _render_view(context: AutogenContext, operation: _ViewOp) -> str:
    function = "create_view" if operation.version else "drop_view"
    context.imports.add(f"\nfrom {_MIGRATIONS} import {function}\n")
    return f'{function}("{operation.name}"' + (f", version={operation.version})" if operation.version else ")")


@renderers.dispatch_for(_AddFieldsOp)
def _render_added(_context: AutogenContext, operation: _AddFieldsOp) -> list[str]:
    return [line for column in operation.columns for line in _added(operation.table, column)]


def _added(table: str, column: Column[Any]) -> list[str]:
    described = f'sa.Column("{column.name}", {type_text(column.type)})'
    line = f'op.add_column("{table}", {described})'
    return [line] if len(line) <= _LONGEST_LINE else ["op.add_column(", f'    "{table}",', f"    {described},", ")"]


@renderers.dispatch_for(_DropFieldsOp)
def _render_dropped(_context: AutogenContext, operation: _DropFieldsOp) -> list[str]:
    return [
        f'with op.batch_alter_table("{operation.table}") as batch:',
        *(f'batch.drop_column("{name}")' for name in operation.names),
        # Ends the block.
        "",
    ]


def render_type(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Return a type of a column as it is frozen in a migration, for what Alembic itself renders."""
    return type_text(item) if kind == "type" and isinstance(item, HeldType) else False


def type_text(type_: TypeEngine[Any]) -> str:
    """Return a column's type in SQLAlchemy's own words, so that a migration does not change with our types."""
    if not isinstance(type_, HeldType):
        return _own_words(type_)
    words = {kind.name: _own_words(type_.held_as(kind)) for kind in DIALECTS}
    first = next(iter(words.values()))
    return first + "".join(f'.with_variant({own}, "{name}")' for name, own in words.items() if own != first)


def _own_words(type_: TypeEngine[Any]) -> str:
    return "sa." + re.sub("(length|precision|scale)=", "", repr(type_))


def _newest_version(name: str) -> int:
    """Return the newest version of a view in alembic/views, 0 if there is none."""
    paths = (migrations.SCRIPT_LOCATION / "views").glob(f"{name}_v*.sql")
    return max((int(path.stem.rsplit("_v", 1)[1]) for path in paths), default=0)


def _frozen(name: str, version: int) -> str | None:
    path = migrations.SCRIPT_LOCATION / "views" / f"{name}_v{version}.sql"
    return path.read_text(encoding="utf-8") if version else None


def _freeze(view: View) -> int:
    """Write the text of a view as its next version, and return the version."""
    version = _newest_version(view.name) + 1
    path = migrations.SCRIPT_LOCATION / "views" / f"{view.name}_v{version}.sql"
    path.write_text(view.select, encoding="utf-8")
    return version
