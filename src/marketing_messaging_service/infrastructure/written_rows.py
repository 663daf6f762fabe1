"""Checks that what was written is stored: a trigger can remove rows, or keep them out, without an error."""

from collections.abc import Mapping

from sqlalchemy import Connection, Insert, Update

from src.marketing_messaging_service.errors import LostRowsError
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named


def insert_one(connection: Connection, statement: Insert) -> int:
    """Insert one row into a table with an integer key `id`, and return the id. Raises LostRowsError if it is lost."""
    table = statement.table
    inserted: int | None = connection.execute(statement.returning(table.c.id)).scalar_one_or_none()
    if inserted is None:
        refuse_lost_rows(connection, {str(table): (1, 0)})
    assert inserted is not None  # noqa: S101  or else it was refused
    return inserted


def update_all(connection: Connection, statement: Update, row_count: int = 1) -> None:
    """Change `row_count` rows. Raises LostRowsError when the table lets fewer be changed."""
    found = connection.execute(statement).rowcount
    refuse_lost_rows(connection, {str(statement.table): (row_count, found)})


def refuse_lost_rows(connection: Connection, counts: Mapping[str, tuple[int, int]]) -> None:
    """Raise LostRowsError when one of the tables has not exactly the rows that were written.

    `counts` gives, by table, how many rows were written and how many of them are stored.
    """
    for table_name, (written, standing) in counts.items():
        if written != standing:
            raise LostRowsError(
                f"{written} {'row was' if written == 1 else 'rows were'} written to the table {table_name}, and "
                f"{standing} of them {'is' if standing == 1 else 'are'} there. {_advice(connection, table_name)} "
                "Nothing of this step was kept."
            )


def triggers_on(connection: Connection, *table_names: str) -> list[str]:
    """Return the names of the triggers on some tables, none of which is this project's."""
    return dialect_named(connection.dialect.name).triggers_on(connection, table_names)


def _advice(connection: Connection, table_name: str) -> str:
    names = triggers_on(connection, table_name)
    if not names:
        return "Run the self-check, which says what is wrong with the file; if it finds nothing, please report it."
    one = len(names) == 1
    dropped = "; ".join(f'DROP TRIGGER "{name.replace(chr(34), 2 * chr(34))}"' for name in names)
    return (
        f"The {'trigger' if one else 'triggers'} {', '.join(names)} on that table {'is' if one else 'are'} not part "
        f"of this project: change {'it' if one else 'them'} so that every row passes unchanged, or drop "
        f"{'it' if one else 'them'} ({dropped}), then run again."
    )
