"""The hourly run: every raw file that has landed and was not taken yet becomes events and decisions.

`python -m flows.hourly` runs it once, with no Prefect server needed.
"""

import sys

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import (
    DEFAULT_MAX_EVENT_AHEAD_HOURS,
    AgeHours,
    AheadHours,
    InstantOrEmpty,
    Percent,
    named_place,
    read_instant,
    single_instant,
)
from flows.command_line.run_once import run_once
from flows.pipeline.one_run import run_pipeline, scheduled_start
from flows.pipeline.steps import minute_of_name
from src.marketing_messaging_service.models import FlowName, RunMode
from src.marketing_messaging_service.reporting import RunReport
from src.marketing_messaging_service.run_options import RunOptions
from src.marketing_messaging_service.settings import Settings


def _run_name() -> str:
    as_of = runtime.flow_run.parameters.get("as_of") or runtime.flow_run.scheduled_start_time
    return f"hourly {minute_of_name(as_of)}" if as_of.tzinfo else "hourly"


@flow(name="hourly", flow_run_name=_run_name)
def hourly(
    as_of: InstantOrEmpty = None,
    landing_path: str = "",
    max_event_age_hours: AgeHours = 0,
    max_event_ahead_hours: AheadHours = DEFAULT_MAX_EVENT_AHEAD_HOURS,
    max_rejected_percent: Percent = 5,
) -> State[RunReport]:
    """Take every raw file that has landed, and decide which messages its events earn.

    Safe to start at any time and as often as you like: a file is taken once, an event is decided once, and the
    next run finishes one that was cut off.

    Args:
        as_of: Logical time of the run, recorded with every load. Left empty, it is the scheduled start time.
        landing_path: Folder of raw files, subfolders included, or `s3://bucket/prefix`. Left empty, the setting
            LANDING_PATH is used.
        max_event_age_hours: Events older than this many hours at as_of are kept as history but earn no message; a rule
            that matches one writes a suppression with the reason expired. 0 means no limit.
        max_event_ahead_hours: Events further ahead of as_of than this many hours are loaded and wait, because a clock
            must be wrong; the first run within these hours of their time decides them. With 0, everything later than
            as_of waits.
        max_rejected_percent: The run fails when more than this share of the lines, in one file or in all, cannot be
            read; the others are still loaded and decided.
    """

    def options(settings: Settings) -> RunOptions:
        return RunOptions(
            flow_name=FlowName.HOURLY.value,
            mode=RunMode.LOAD_AND_DECIDE,
            as_of=scheduled_start() if as_of is None else single_instant("as_of", as_of),
            source=named_place("landing_path", landing_path) if landing_path else settings.landing_path,
            source_name="landing_path" if landing_path else "LANDING_PATH",
            max_event_age_hours=max_event_age_hours,
            max_rejected_percent=max_rejected_percent,
            max_event_ahead_hours=max_event_ahead_hours,
            flow_run_id=runtime.flow_run.id,
            flow_run_name=runtime.flow_run.name,
        )

    return run_pipeline(options)


def main() -> int:
    """Run once and print the summary; return the exit code, which is not 0 when anything went wrong."""
    parser = command_line_of(
        "hourly", "Take every new raw file, and decide which messages its events earn. Safe to repeat."
    )
    parser.add_argument(
        "--as-of", type=read_instant, help="time that the run counts as now, such as 2026-11-23T10:00:00Z"
    )
    parser.add_argument("--landing-path", help="folder to take raw files from (default: the setting LANDING_PATH)")
    parser.add_argument(
        "--max-event-age-hours",
        type=int,
        help="events older than this at as_of earn no message (default: 0, no limit)",
    )
    parser.add_argument(
        "--max-event-ahead-hours",
        type=int,
        help=f"events further ahead of as_of than this wait for their time (default: {DEFAULT_MAX_EVENT_AHEAD_HOURS})",
    )
    parser.add_argument(
        "--max-rejected-percent", type=float, help="fail when a larger share of the lines is rejected (default: 5)"
    )
    return run_once(hourly, vars(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
