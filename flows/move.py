"""Moving a database to another one: `python -m flows.move --to URL`, from SQLite to PostgreSQL and back.

It needs no Prefect. After an interruption it continues when it is started again.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from sqlalchemy import make_url

from flows.command_line.arguments import command_line_of
from flows.pipeline.ctrl_c import CtrlC, refused, telling_once
from src.marketing_messaging_service import decisions, moving_databases, self_check
from src.marketing_messaging_service.errors import ParameterError, PipelineError
from src.marketing_messaging_service.infrastructure.database import shown_database
from src.marketing_messaging_service.infrastructure.dialects.choice import checked_url
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.reporting import check_headline, check_text
from src.marketing_messaging_service.settings import Settings, load_settings

_AGAIN = "What was moved so far stays, and no run uses the unfinished database; start the move again to finish it."


def main(arguments: Sequence[str] | None = None) -> int:
    """Move, compare and check; return the exit code, which is 0 only if all is there and everything holds."""
    options = _parser().parse_args(arguments)
    ctrl_c = CtrlC()
    try:
        with ctrl_c.told(_AGAIN):
            settings = load_settings()
            return _move(settings, *_urls(settings, options))
    except PipelineError as error:
        return refused(error)


def _parser() -> argparse.ArgumentParser:
    parser = command_line_of(
        "move",
        "Move every row of a database into a new one. The old one is only read. An option that is left "
        "out means the database that DATABASE_URL names.",
    )
    parser.add_argument("--to", metavar="URL", help="the new database, which is created; without a password")
    parser.add_argument("--from", metavar="URL", dest="source", help="the old database; without a password")
    return parser


def _urls(settings: Settings, options: argparse.Namespace) -> tuple[str, str]:
    """Return the URLs of both, without anything that the process list must not show."""
    source, target = (_given(name, url) for name, url in (("--from", options.source), ("--to", options.to)))
    if source is None and target is None:
        raise ParameterError("Say where to move to: python -m flows.move --to URL.")
    source, target = source or settings.database_url, target or settings.database_url
    if make_url(source) == make_url(target):
        raise ParameterError(f"Both are {shown_database(source)}; let --to name another database.")
    return source, target


def _given(name: str, url: str | None) -> str | None:
    if url is None:
        return None
    try:
        checked_url(url)
    except ValueError as error:
        raise ParameterError(f"{name} {error}.") from None
    if make_url(url).password:
        raise ParameterError(
            f"{name} holds a password, which everybody on this machine can read in the list of processes. Let "
            "DATABASE_URL name that database and leave out the option, or put the password into ~/.pgpass."
        )
    return url


def _move(settings: Settings, source: str, target: str) -> int:
    print(f"Moving {shown_database(source)} to {shown_database(target)}.", flush=True)
    with ExitStack() as held:
        for url in (source, target):
            waiting = telling_once(f"Waiting for a run on {shown_database(url)} to end.")
            held.enter_context(run_lock(url, settings.run_lock_timeout_seconds, waiting))
        moved = moving_databases.move(source, target, info=_say)
    rows = sum(each.row_count for each in moved)
    _say(f"{rows:,} rows in {len(moved)} tables are the same in both, compared one by one.")
    report = self_check.check_database(target, (*self_check.INVARIANTS, *decisions.AUDIT))
    print(check_text(report) if report.broken else check_headline(report), flush=True)
    if report.broken:
        print("The rows are the same in the old database, so the same is broken there.", file=sys.stderr)
        return 1
    _say("Now let DATABASE_URL name the new database; the old one stays as it is.")
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
