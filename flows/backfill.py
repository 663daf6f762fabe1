"""A backfill: the events of a window, out of raw files old or new, loaded and decided by hand.

`python -m flows.backfill` runs it once, with no Prefect server needed.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal, get_args

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import (
    DEFAULT_MAX_EVENT_AGE_HOURS,
    DEFAULT_MAX_EVENT_AHEAD_HOURS,
    AgeHours,
    AheadHours,
    Percent,
    add_event_limits,
    end_of_window,
    named_place,
    read_instant,
)
from flows.command_line.run_once import run_once
from flows.pipeline.one_run import run_pipeline, scheduled_start
from flows.pipeline.steps import minute_of_name
from src.marketing_messaging_service import decisions
from src.marketing_messaging_service.errors import ParameterError, RulesError
from src.marketing_messaging_service.infrastructure.database import utc_now
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.models import FlowName, RunMode
from src.marketing_messaging_service.paths import Bucket, Place
from src.marketing_messaging_service.reporting import RunReport
from src.marketing_messaging_service.run_options import RunOptions, Window
from src.marketing_messaging_service.settings import Settings

Mode = Literal["preview", "load and decide", "load only"]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    ends = f"{_shown(parameters['start'])} → {_shown(parameters['end'])}"
    mode = parameters.get("mode", RunMode.PREVIEW)
    return f"backfill {ends}" if mode == RunMode.LOAD_AND_DECIDE else f"backfill {ends} {mode}"


def _shown(instant: datetime) -> str:
    """A day as a date, any other instant to the minute."""
    return minute_of_name(end_of_window(instant)).removesuffix("T00:00Z")


@flow(name="backfill", flow_run_name=_run_name)
def backfill(  # noqa: PLR0917  the fields of a form
    start: datetime,
    end: datetime,
    source: str = "",
    mode: Mode = "preview",
    max_event_age_hours: AgeHours = DEFAULT_MAX_EVENT_AGE_HOURS,
    max_event_ahead_hours: AheadHours = DEFAULT_MAX_EVENT_AHEAD_HOURS,
    max_rejected_percent: Percent = 5,
    decide_again: Sequence[str] = (),
) -> State[RunReport]:
    """Take the events of a window out of raw files, and decide which messages they earn.

    Begin with the mode *preview*: its report shows what would be sent and refused, and nothing is kept. A backfill
    can be started at any time: it decides no event twice, and leaves everything else to the hourly run.

    Args:
        start: First instant of the window, UTC. An event exactly at it is taken.
        end: End of the window, UTC. An event exactly at it is not taken.
        source: Folder of raw files, subfolders included. Left empty, the setting LANDING_PATH is used.
        mode: **preview** reports what would be decided, and keeps nothing. **load and decide** takes the events and
            decides their messages. **load only** keeps them as history and decides nothing, until a later backfill
            covers them.
        max_event_age_hours: Events older than this many hours when the run starts are kept as history but earn no
            message; a rule that matches one writes a suppression with the reason expired. 0 means no limit: old
            events earn messages too.
        max_event_ahead_hours: Events further ahead of the run's start than this many hours are loaded and wait, because
            a clock must be wrong; the first run, hourly ones too, within these hours of their time decides them. With
            0, everything later than the start waits.
        max_rejected_percent: The run fails when more than this share of the lines, in one file or in all, cannot be
            read; the others are still loaded and decided.
        decide_again: Names of new or corrected rules, such as welcome_email. Each also decides events of the window
            that were decided before, if it has no decision on them yet or only an expired one, and no other rule of
            its exclusive group has decided. Every other decision stays as it is.
    """

    def options(settings: Settings) -> RunOptions:
        return RunOptions(
            flow_name=FlowName.BACKFILL.value,
            mode=RunMode(mode),
            as_of=scheduled_start(),
            source=_source_place(source, settings),
            source_name="source" if source else "LANDING_PATH",
            window=_window(start, end),
            max_event_age_hours=max_event_age_hours,
            max_rejected_percent=max_rejected_percent,
            max_event_ahead_hours=max_event_ahead_hours,
            decide_again=_rules_to_decide_again(decide_again, RunMode(mode), settings),
            flow_run_id=runtime.flow_run.id,
            flow_run_name=runtime.flow_run.name,
        )

    return run_pipeline(options)


def _rules_to_decide_again(names: Sequence[str], mode: RunMode, settings: Settings) -> tuple[str, ...]:
    """Return the names, each once. Raises ParameterError for one that the rules do not have, before any file is taken.

    A field of the form that was left empty names nothing.
    """
    wanted = tuple(dict.fromkeys(filter(None, map(str.strip, names))))
    if wanted and mode is RunMode.LOAD_ONLY:
        raise ParameterError(
            "decide_again names rules that decide, but the mode load only decides nothing; choose another mode, or "
            "leave decide_again empty."
        )
    if wanted:
        # What is wrong with the file itself is said where it is read to decide.
        with suppress(RulesError):
            decisions.named_rules(decisions.read_rules(settings.rules_path), wanted)
    return wanted


def _window(start: datetime, end: datetime) -> Window:
    """Return the window; one without a moment in it, or that has not begun, is refused with a ParameterError."""
    window = Window(end_of_window(start), end_of_window(end))
    if window.end <= window.start:
        raise ParameterError(
            f"The window is empty: end ({_told(window.end)}) is not after start ({_told(window.start)}); choose a "
            "later end."
        )
    now = utc_now()
    if window.start >= now:
        raise ParameterError(
            f"The window is in the future: start is {_told(window.start)} and it is now {_told(now)}; choose an "
            "earlier start."
        )
    return window


def _told(instant: datetime) -> str:
    return f"{instant_text(instant)} UTC"


def _source_place(source: str, settings: Settings) -> Place:
    if not source:
        return settings.landing_path
    folder = named_place("source", source)
    if isinstance(folder, Bucket):
        return folder
    try:
        next(folder.iterdir(), None)
    except (OSError, ValueError) as error:
        # The ValueError is that of a name with a null character in it.
        reason = error.strerror if isinstance(error, OSError) else error
        raise ParameterError(
            f"source names {folder}, which cannot be read as a folder ({reason}); name a folder of raw files "
            "that the worker can read, or leave it empty for the landing folder."
        ) from None
    return folder


def main() -> int:
    """Run once and print the summary; return the exit code, which is not 0 when anything went wrong."""
    parser = command_line_of("backfill", "Take the events of a window of time from raw files, and decide them.")
    for name, meaning in (
        ("start", "first instant of the window, such as 2026-11-01 (UTC)"),
        ("end", "end of the window, itself not included, such as 2026-12-01 (UTC)"),
    ):
        parser.add_argument(f"--{name}", type=read_instant, required=True, help=meaning)
    parser.add_argument("--source", help="folder of raw files (default: the setting LANDING_PATH)")
    parser.add_argument(
        "--mode", choices=get_args(Mode), help="preview keeps nothing; load only decides nothing (default: preview)"
    )
    add_event_limits(parser)
    parser.add_argument(
        "--max-rejected-percent", type=float, help="fail when a larger share of the lines is rejected (default: 5)"
    )
    parser.add_argument(
        "--decide-again",
        action="append",
        metavar="RULE",
        help="a new or corrected rule that also decides events of the window that were decided before, where it has no "
        "decision or an expired one; repeat the option for each rule",
    )
    return run_once(backfill, vars(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
