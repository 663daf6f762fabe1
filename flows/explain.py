"""Why users got a message, or did not: `python -m flows.explain --user U`, or `--rule R` for all that it looked at.

It needs no Prefect, and only reads.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import end_of_window, read_instant
from flows.pipeline.ctrl_c import CtrlC, exit_as_told, refused
from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.errors import PipelineError, RulesError
from src.marketing_messaging_service.explaining import Answer, Asked, answer, asked_where, files_not_taken
from src.marketing_messaging_service.infrastructure.database import (
    create_read_only_engine,
    interruptible,
    read_transaction,
    refuse_missing,
)
from src.marketing_messaging_service.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the explanation; return the exit code, which is 1 if nothing could be read."""
    options = _parser().parse_args(arguments)
    ctrl_c = CtrlC()
    try:
        with ctrl_c.told("Nothing was changed; start it again."):
            asked = Asked(
                user_id=options.user,
                rule_name=options.rule,
                message_id=options.event,
                since=options.since,
                until=options.until,
                where=asked_where(options.where),
            )
            found = explained(asked, ctrl_c.is_made)
            print(found.json if options.json else found.text)
    except PipelineError as error:
        return refused(error)
    return 0


def explained(asked: Asked, is_over: Callable[[], bool]) -> Answer:
    """Return the answer to a question, from one snapshot of the database, unless `is_over` says that it is too late.

    Raises PipelineError if nothing can be read.
    """
    settings = load_settings()
    refuse_missing(settings.database_url)
    in_force = None
    # Mistakes in the file do not keep anybody from reading what was decided.
    with suppress(RulesError):
        in_force = read_rules(settings.rules_path).whole
    engine = create_read_only_engine(settings.database_url)
    with interruptible(engine, is_over), read_transaction(engine) as connection:
        return answer(connection, asked, in_force, files_not_taken(engine, settings, asked.user_id))


def _parser() -> argparse.ArgumentParser:
    parser = command_line_of(
        "explain",
        "Explain what each rule decided on a user's events, and why. Without a user: of all the events "
        "that a rule looked at, how many passed each condition. The database is only read.",
    )
    parser.add_argument("--user", default="", metavar="USER_ID", help="the user, by user_id")
    parser.add_argument("--rule", default="", metavar="NAME", help="only this rule; needed without a user")
    parser.add_argument("--event", default="", metavar="MESSAGE_ID", help="only the user's event with this message_id")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="without a user: only events with this value, such as user_traits.country=DE; may be repeated",
    )
    parser.add_argument("--since", type=_instant, help="only events from this time on, such as 2026-11-01 (UTC)")
    parser.add_argument("--until", type=_instant, help="only events before this time")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _instant(text: str) -> datetime:
    return end_of_window(read_instant(text))


if __name__ == "__main__":
    exit_as_told(main)
