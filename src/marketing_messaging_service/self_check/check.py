"""Checks one database."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    copy_command,
    create_read_only_engine,
    ended_by,
    interruptible,
    read_transaction,
    refuse_missing,
    shown_database,
    words_of,
)
from src.marketing_messaging_service.infrastructure.migrations import current_revision
from src.marketing_messaging_service.models import Event, Load, RejectedRow, SendRequest, Suppression
from src.marketing_messaging_service.schema_drift import refuse_older_schema
from src.marketing_messaging_service.self_check.results import CheckReport, Finding
from src.marketing_messaging_service.vocabulary import Invariant

MOST_EXAMPLES = 3
"""How many breaches of one invariant are listed; all of them are counted."""

_COUNTED = (Load, Event, RejectedRow, SendRequest, Suppression)


def check_database(
    database_url: str,
    invariants: Iterable[Invariant],
    *,
    warnings: Callable[[Connection], Sequence[str]] = lambda _: (),
    on_progress: Callable[[], None] = lambda: None,
) -> CheckReport:
    """Check invariants on a database in one snapshot; a run may go on meanwhile.

    `warnings` gives what breaks no promise but is odd, one sentence each. `on_progress` is called repeatedly, and may
    end the check by raising. Raises DatabaseError when there is no such database, when it is not a database of this
    project, and when its schema differs from this code's. The database is neither created nor written.
    """
    refuse_missing(database_url)
    engine = create_read_only_engine(database_url)
    with interruptible(engine, ended_by(on_progress)), read_transaction(engine) as connection:
        refuse_older_schema(connection)
        return CheckReport(
            database=shown_database(database_url),
            copy_command=copy_command(database_url),
            revision=current_revision(connection) or "",
            row_counts=_row_counts(connection, on_progress),
            findings=tuple(_findings(connection, invariants, on_progress)),
            warnings=_warnings(connection, warnings, on_progress),
        )


def _warnings(
    connection: Connection, warnings: Callable[[Connection], Sequence[str]], on_progress: Callable[[], None]
) -> tuple[str, ...]:
    try:
        with connection.begin_nested():
            return tuple(warnings(connection))
    except DBAPIError:
        on_progress()
        # The invariants report what stands in the way.
        return ()


def _row_counts(connection: Connection, on_progress: Callable[[], None]) -> dict[str, int]:
    counts = {}
    for table in _COUNTED:
        try:
            with connection.begin_nested():
                counts[table.__tablename__] = connection.execute(select(func.count()).select_from(table)).scalar_one()
        except DBAPIError:
            on_progress()
            # The invariants report what stands in the way.
            continue
    return counts


def _findings(
    connection: Connection, invariants: Iterable[Invariant], on_progress: Callable[[], None]
) -> Iterator[Finding]:
    for invariant in invariants:
        on_progress()
        finding = _finding(connection, invariant)
        if finding.problem:
            on_progress()
        yield finding


def _finding(connection: Connection, invariant: Invariant) -> Finding:
    breach_count = 0
    examples: list[str] = []
    problem = ""
    try:
        # In its own transaction, because a server does nothing more in one in which a statement has failed.
        with connection.begin_nested():
            for query in invariant.queries(connection):
                found = connection.execute(query.limit(MOST_EXAMPLES)).scalars().all()
                examples.extend(found)
                breach_count += len(found)
                if len(found) == MOST_EXAMPLES:
                    every_breach = select(func.count()).select_from(query.subquery())
                    breach_count += connection.execute(every_breach).scalar_one() - MOST_EXAMPLES
    except DBAPIError as error:
        problem = words_of(connection.engine, error)
    except DatabaseError as error:
        problem = str(error)
    return Finding(
        invariant.name, invariant.sentence, breach_count, tuple(examples[:MOST_EXAMPLES]), problem, invariant.advice
    )
