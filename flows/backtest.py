"""A backtest: what other rules would have decided, or what came too late to be decided correctly.

`python -m flows.backtest` does it once and prints what differs; it needs no Prefect server, and the database is only
read.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import InstantOrEmpty, end_of_window, read_instant
from flows.pipeline.ctrl_c import CtrlC, exit_as_told, refused
from flows.pipeline.endings import RunPage
from flows.pipeline.steps import flow_logger, named_by_start, outcome, step
from flows.pipeline.stopping import CANCEL, StopRequest
from src.marketing_messaging_service import backtesting
from src.marketing_messaging_service.backtesting import MANY_A_WEEK, Difference, Files, NamedRules, Question
from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.errors import ParameterError, PipelineError
from src.marketing_messaging_service.infrastructure.database import utc_now
from src.marketing_messaging_service.settings import Settings, load_settings

DECIDED = "decided"
"""What `against` says for comparing with what was really decided."""

_UNCHANGED = "Nothing was changed; start it again."


@step("decide twice")
def decide_twice(settings: Settings, question: Question, stop: StopRequest) -> tuple[Difference, Files]:
    """Decide the history twice on a copy, and write the report and every changed decision."""
    with backtesting.backtest(settings.database_url, question, look=stop.check, info=flow_logger().info) as found:
        return found.difference, backtesting.write_files(settings.reports_path, found, utc_now())


@flow(name="backtest", flow_run_name=named_by_start("backtest"))
def backtest(  # noqa: PLR0917  the fields of a form
    rules: str = "",
    rules_path: str = "",
    against: str = "",
    since: InstantOrEmpty = None,
    until: InstantOrEmpty = None,
    more_than: Annotated[int, Field(ge=0, le=1_000)] = MANY_A_WEEK,
) -> State[Difference]:
    """Show what other rules would have decided in the past, before they go live.

    The history is decided twice on a copy, by the old rules and by the new ones, as hourly runs would have done with
    every event on time. Nothing is written to the database, and other runs may work at the same time.

    Args:
        rules: The new rules: the text of a whole rules.yaml, pasted.
        rules_path: Instead of the text: the path of a file with the new rules, on the worker's machine.
        against: What the new rules are compared with: left empty, the rules in force; or the path of another file.
            Without new rules, **decided** compares what was really decided with what the same rules decide when every
            event is on time.
        since: Decide only events at this instant or later; what was sent before still counts. Left empty, all of the
            past.
        until: Decide only events before this instant. Left empty, all there are.
        more_than: Count the users who get more messages than this in a week.
    """
    page, stop = RunPage("backtest"), StopRequest(_UNCHANGED)
    try:
        with page.cut_off(f"Stopped by {CANCEL}. {_UNCHANGED}"), stop.listening():
            settings = load_settings()
            given = _pasted(rules, rules_path)
            question = replace(_question(settings, given, against, since, until), more_than=more_than)
            difference: Difference
            difference, files = outcome(decide_twice(settings, question, stop))
    except PipelineError as error:
        return page.failed(error)
    sentence = backtesting.manager_sentence(difference)
    page.keep(lambda: page.show(backtesting.difference_markdown(difference, files), sentence))
    return page.completed(sentence, difference)


def _pasted(rules: str, rules_path: str) -> NamedRules | None:
    if rules.strip() and rules_path.strip():
        raise ParameterError("Both rules and rules_path name the new rules; leave one of them empty.")
    if rules.strip():
        return NamedRules("the new rules", parse_rules(rules, "The pasted rules"))
    return _named(Path(rules_path.strip())) if rules_path.strip() else None


def _named(path: Path) -> NamedRules:
    return NamedRules(str(path), read_rules(path, None))


def _given(path: str) -> NamedRules:
    if path == "-":
        rules = parse_rules(sys.stdin.read(), "The rules from standard input")
        return NamedRules("the rules from standard input", rules)
    return _named(Path(path))


def _question(
    settings: Settings, rules: NamedRules | None, against: str, since: datetime | None, until: datetime | None
) -> Question:
    """Return the question. Raises ParameterError if it makes no sense, and RulesError for rules with errors."""
    window = since and end_of_window(since), until and end_of_window(until)
    if against.strip() == DECIDED:
        if rules is not None:
            raise ParameterError(
                f"Against {DECIDED}, the rules are those that decided at the time; leave the new rules out, or compare "
                "them with another file."
            )
        return Question(None, None, *window)
    if rules is None:
        raise ParameterError(
            "There are no new rules to try: name their file with --rules, or paste them into the form's field rules. "
            f"To see what came too late, set against to {DECIDED}."
        )
    if against.strip():
        return Question(_named(Path(against.strip())), rules, *window)
    return Question(NamedRules("the rules in force", read_rules(settings.rules_path)), rules, *window)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it once and print what differs; return the exit code, which is 1 where nothing could be compared."""
    options = _parser().parse_args(arguments)
    ctrl_c = CtrlC()

    def look() -> None:
        if ctrl_c.is_made():
            raise KeyboardInterrupt

    try:
        with ctrl_c.told(_UNCHANGED):
            settings = load_settings()
            rules = None if options.rules is None else _given(options.rules)
            question = _question(settings, rules, options.against, options.since, options.until)
            question = replace(question, more_than=options.more_than)
            print(_compared(settings, question, look, as_json=options.json))
    except PipelineError as error:
        return refused(error)
    return 0


def _compared(settings: Settings, question: Question, look: Callable[[], None], *, as_json: bool) -> str:
    with backtesting.backtest(settings.database_url, question, look=look, info=_tell) as found:
        files = backtesting.write_files(settings.reports_path, found, utc_now())
        _tell(f"The report: {files.report}. Every changed decision: {files.changes}.")
        if as_json:
            form = backtesting.difference_json(found.difference, found.changes())
            return json.dumps(form, indent=2, ensure_ascii=False)
        return backtesting.difference_text(found.difference)


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = command_line_of(
        "backtest",
        "Decide the history twice on a copy, by the rules in force and by new ones, and say what differs.",
    )
    parser.add_argument("--rules", metavar="NEW.yaml", help="the new rules; - reads them from standard input")
    parser.add_argument(
        "--against",
        default="",
        metavar=f"OLD.yaml|{DECIDED}",
        help="the rules to compare with (default: those in force); or, without --rules, what was really decided",
    )
    parser.add_argument("--since", type=read_instant, help="only events from this time on, such as 2026-11-01 (UTC)")
    parser.add_argument("--until", type=read_instant, help="only events before this time")
    parser.add_argument(
        "--more-than",
        type=int,
        default=MANY_A_WEEK,
        metavar="N",
        help="count the users who get more messages than that in a week (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


if __name__ == "__main__":
    exit_as_told(main)
