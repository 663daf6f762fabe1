"""Turns PostgreSQL's errors, by their sqlstate, into sentences."""

import re

from src.marketing_messaging_service.infrastructure.dialects.dialect import Complaint

_LATER = "Run again in a moment; what was committed before is safe."

_UNREACHABLE = (
    "Check that the server of DATABASE_URL is running, and that this machine can reach it; then run again. What was "
    "committed before is safe."
)

_ADVICE = {
    "08": _UNREACHABLE,
    "28": "Check the user and the password of DATABASE_URL, and that the server lets them in (pg_hba.conf).",
    "3D000": "Check the name of the database in DATABASE_URL, or create that database.",
    "42501": "Let the role of DATABASE_URL own the database, or give it the right that is missing; then run again.",
    "25006": "It is a standby, or read-only: let DATABASE_URL name the primary server.",
    "40": f"Another transaction was in the way. {_LATER}",
    "53100": "Its disk is full: free some space, then run again. What was committed before is safe.",
    "53300": f"It has no free connection: end the programs that hold them, or raise max_connections. {_LATER}",
    "53": f"It is short of memory or disk. {_LATER}",
    "55P03": "Another program has held a lock for too long; end that program, then run again.",
    "57014": (
        "Somebody cancelled the statement, or the role has a statement_timeout that is too short for it (ALTER ROLE … "
        "SET statement_timeout = 0 lifts it); then run again."
    ),
    "57P": f"The server is stopping, starting or was stopped. {_LATER}",
    "58": "The server cannot read or write its files: look at its disk and its log, then run again.",
    "pooler": "Let DATABASE_URL name the server itself, or a pool in session mode; then run again.",
    "XX001": "Its data is damaged: restore a backup, then run again.",
    "XX002": "An index is damaged: rebuild it (REINDEX DATABASE), then run again.",
}
"""What to do, by the beginning of the sqlstate; the first that fits counts."""

_MAY_PASS = ("08", "25006", "40", "53300", "55P03", "57P")
"""The beginnings of the sqlstates of errors that a retry may solve."""

_REFUSALS = (
    (re.compile("password|pg_hba|authentication|role .* (does not exist|is not permitted)"), "28P01"),
    (re.compile("database .* does not exist"), "3D000"),
    (re.compile("too many (clients|connections)|remaining connection slots"), "53300"),
    (re.compile("permission denied for database"), "42501"),
    (re.compile("statement pooling mode"), "pooler"),
    (re.compile("could not write init file|No space left on device"), "53100"),
    (re.compile("starting up|shutting down|not yet accepting|recovery"), "57P03"),
)
"""The sqlstates of a server that lets nobody in: the driver gives only its message, without the sqlstate.
A pooler has none of its own for what it refuses.
"""

_SCHEMA_FAULTS = ("42P01", "42703", "42P10", "42704", "42809")


def is_of_driver(error: BaseException) -> bool:
    """Whether an error comes from psycopg, which need not be installed."""
    return type(error).__module__.partition(".")[0] == "psycopg"


def complaint(error: BaseException) -> Complaint | None:
    """Return what an error of psycopg says about outside conditions, None for any other error.

    A connection that failed or broke has no sqlstate: either the server lets nobody in, or it does not answer.
    """
    if not is_of_driver(error):
        return None
    state = getattr(error, "sqlstate", None)
    if state is None or state.startswith("08"):
        state = _refusal(error) or state
    if state is None:
        names = {each.__name__ for each in type(error).__mro__}
        if "OperationalError" not in names:
            return None
        told = f"the server does not answer as it should ({words(error)}). {_UNREACHABLE}"
        return Complaint(told, may_pass=True)
    advice = next((advice for beginning, advice in _ADVICE.items() if state.startswith(beginning)), None)
    return None if advice is None else Complaint(f"{words(error)}. {advice}", may_pass=state.startswith(_MAY_PASS))


def words(error: BaseException) -> str:
    """Return the first line of the server's message: the others may quote a row."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return " ".join((primary or str(error)).split()).rstrip(".")


def _refusal(error: BaseException) -> str | None:
    told = str(error)
    return next((state for pattern, state in _REFUSALS if pattern.search(told)), None)


def is_schema_fault(error: BaseException | None) -> bool:
    """Whether an error says that a table, column, index or view is missing or different."""
    return error is not None and is_of_driver(error) and getattr(error, "sqlstate", None) in _SCHEMA_FAULTS


def making_problem(error: BaseException | None) -> str | None:
    """Return an error's message about an index or view that cannot be made, None if the cause is outside."""
    if error is None:
        return None
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("23"):
        return f"rows stand against it ({words(error)}); the self-check says which"
    return words(error) if state.startswith(("42", "2B")) and state != "42501" else None
