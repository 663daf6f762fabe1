"""Why a user got a message, or did not: `python -m flows.explain --user U`. It needs no Prefect, and only reads."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection

from flows.ctrl_c import CtrlC, refused
from flows.parameters import end_of_window, read_instant
from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.decisions.rules import Rules
from src.marketing_messaging_service.errors import PipelineError, RulesError
from src.marketing_messaging_service.explaining import (
    events_of,
    explain_user,
    explanations_json,
    explanations_text,
    nothing_text,
)
from src.marketing_messaging_service.infrastructure.database import (
    create_read_only_engine,
    interruptible,
    read_transaction,
    refuse_missing,
)
from src.marketing_messaging_service.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the explanation; return the exit code, which is 1 where nothing could be looked at."""
    options = _parser().parse_args(arguments)
    ctrl_c = CtrlC()
    try:
        with ctrl_c.told("Nothing was changed; start it again."):
            settings = load_settings()
            refuse_missing(settings.database_url)
            in_force = None
            # What is wrong with the file keeps nobody from reading what was decided.
            with suppress(RulesError):
                in_force = read_rules(settings.rules_path).whole
            engine = create_read_only_engine(settings.database_url)
            with interruptible(engine, ctrl_c.is_made), read_transaction(engine) as connection:
                print(_explained(connection, options, in_force))
    except PipelineError as error:
        return refused(error)
    return 0


def _explained(connection: Connection, options: argparse.Namespace, in_force: Rules | None) -> str:
    found = explain_user(
        connection,
        options.user,
        in_force,
        rule_name=options.rule,
        message_id=options.event,
        since=options.since,
        until=options.until,
    )
    if options.json:
        return json.dumps(explanations_json(options.user, found), indent=2, ensure_ascii=False)
    if found:
        return explanations_text(found)
    rules = [rule for rule in (in_force.rules if in_force else ()) if options.rule in (None, rule.name)]
    return nothing_text(options.user, events_of(connection, options.user), [rule.trigger.event_type for rule in rules])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.explain",
        description="Say what came of a user's events under each rule, and why. The database is only read.",
    )
    parser.add_argument("--user", required=True, metavar="USER_ID", help="the user, by user_id")
    parser.add_argument("--rule", metavar="NAME", help="only this rule")
    parser.add_argument("--event", metavar="MESSAGE_ID", help="only the event of this message_id")
    parser.add_argument("--since", type=_instant, help="only events from then on, such as 2026-11-01 (UTC)")
    parser.add_argument("--until", type=_instant, help="only events before then")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return parser


def _instant(text: str) -> datetime:
    return end_of_window(read_instant(text))


if __name__ == "__main__":
    sys.exit(main())
