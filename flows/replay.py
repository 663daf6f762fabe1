"""A replay: rejected lines read again, as code, fields and sources.yaml say today, then loaded and decided.

`python -m flows.replay` runs it once, with no Prefect server needed; with `--export` it writes the lines into a file.
"""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import (
    DEFAULT_MAX_EVENT_AGE_HOURS,
    DEFAULT_MAX_EVENT_AHEAD_HOURS,
    AgeHours,
    AheadHours,
    InstantOrEmpty,
    add_event_limits,
    end_of_window,
    read_instant,
)
from flows.command_line.run_once import run_once
from flows.pipeline.ctrl_c import CtrlC, refused
from flows.pipeline.one_run import run_pipeline, scheduled_start
from flows.pipeline.steps import minute_of_name
from src.marketing_messaging_service import loading, published_copies, staging
from src.marketing_messaging_service.errors import ParameterError, PipelineError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    interruptible,
    read_transaction,
)
from src.marketing_messaging_service.models import FlowName, RunMode
from src.marketing_messaging_service.paths import refuse_overwriting
from src.marketing_messaging_service.reporting import RunReport, export_sentence
from src.marketing_messaging_service.run_options import ReplayChoice, RunOptions
from src.marketing_messaging_service.settings import Settings, load_settings
from src.marketing_messaging_service.vocabulary import ReasonCode

EVERY_REASON = "every"

REASONS = [code.value for code in ReasonCode if not code.is_kept_in_part]
"""The reasons of lines that can be replayed."""

Reason = Annotated[str, Field(json_schema_extra={"enum": [EVERY_REASON, *REASONS]})]
"""A reason code, for which the form has a list."""


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    name = f"replay {minute_of_name(runtime.flow_run.scheduled_start_time)}"
    return f"{name} dry run" if parameters.get("dry_run") else name


@flow(name="replay", flow_run_name=_run_name)
def replay(  # noqa: PLR0917  the fields of a form
    reason: Reason = EVERY_REASON,
    file: str = "",
    since: InstantOrEmpty = None,
    dry_run: bool = False,
    max_event_age_hours: AgeHours = DEFAULT_MAX_EVENT_AGE_HOURS,
    max_event_ahead_hours: AheadHours = DEFAULT_MAX_EVENT_AHEAD_HOURS,
    edited_file: str = "",
) -> State[RunReport]:
    """Read rejected lines again, and load and decide those that are now events.

    For lines that a mapping in sources.yaml, a new field or a newer version can read now. A line is taken once,
    however often it is replayed; one that still is not an event stays rejected. Begin with a dry run.

    Args:
        reason: Only lines rejected for this reason. **every** means all reasons.
        file: Only lines of this file, by its path from the landing folder, or of files that match a pattern
            such as `2026-11-*` or `*.csv`. Left empty, lines of every file.
        since: Only lines rejected at this instant or later. Left empty, all of the past.
        dry_run: Report what would be taken and decided, and keep nothing.
        max_event_age_hours: Events older than this many hours when the run starts are kept as history but earn no
            message; a rule that matches one writes a suppression with the reason expired. 0 means no limit: old
            events earn messages too.
        max_event_ahead_hours: Events further ahead of the run's start than this many hours are loaded and wait, because
            a clock must be wrong; the first run within these hours of their time decides them.
        edited_file: A file on the worker's machine that `python -m flows.replay --export` wrote and somebody has
            edited: only its lines are read. Left empty, lines are read as they came.
    """

    def options(settings: Settings) -> RunOptions:
        return RunOptions(
            flow_name=FlowName.REPLAY.value,
            mode=RunMode.PREVIEW if dry_run else RunMode.LOAD_AND_DECIDE,
            as_of=scheduled_start(),
            source=settings.landing_path,
            max_event_age_hours=max_event_age_hours,
            max_event_ahead_hours=max_event_ahead_hours,
            flow_run_id=runtime.flow_run.id,
            flow_run_name=runtime.flow_run.name,
            replay=_choice(reason, file, since, edited_file),
        )

    return run_pipeline(options)


def _choice(reason: str, file: str, since: datetime | None, edited_file: str) -> ReplayChoice:
    """Return which lines are meant. Raises ParameterError for an unknown reason, or an unsuitable file."""
    if reason != EVERY_REASON and reason not in REASONS:
        raise ParameterError(_no_reason(reason))
    choice = ReplayChoice(
        reason_code=None if reason == EVERY_REASON else ReasonCode.of(reason),
        path=file.strip(),
        since=None if since is None else end_of_window(since),
    )
    if not edited_file:
        return choice
    if choice != ReplayChoice():
        raise ParameterError(
            f"edited_file already says which lines to replay: those of {edited_file}. Leave out reason, file and since."
        )
    return ReplayChoice(edited=staging.read_edited_lines(Path(edited_file)), edited_path=edited_file)


def _no_reason(reason: str) -> str:
    in_part = next((code for code in ReasonCode if code.value == reason), None)
    if in_part is not None:
        return f"Lines rejected for {reason} are kept only in part and cannot be replayed: {in_part.remedy}."
    return f"reason is {reason!r}, but no line is ever rejected for that; choose one of {', '.join(REASONS)}."


def export(path: Path, choice: ReplayChoice, ctrl_c: CtrlC) -> str:
    """Write the chosen rejected lines into a file, and return a sentence about it."""
    settings = load_settings()
    refuse_overwriting(settings.places, path, "--export")
    engine = create_database_engine(settings.database_url)
    with interruptible(engine, ctrl_c.is_made), read_transaction(engine) as connection:
        in_part_count = loading.count_kept_in_part(connection, choice)
        count = published_copies.export_rejected_lines(path, loading.exported_lines(connection, choice))
    return export_sentence(path, count, in_part_count)


def _parser() -> argparse.ArgumentParser:
    parser = command_line_of("replay", "Read rejected lines again, and take those that are now events.")
    parser.add_argument("--reason", metavar="R", help="only lines rejected for this reason, such as anonymous_user")
    parser.add_argument(
        "--file", metavar="F", help="only lines of this file (its path within landing) or of files that match a pattern"
    )
    parser.add_argument(
        "--since", type=read_instant, help="only lines rejected from this time on, such as 2026-11-01 (UTC)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", default=None, help="report what would happen, and keep nothing"
    )
    add_event_limits(parser)
    files = parser.add_mutually_exclusive_group()
    files.add_argument(
        "--export", type=Path, metavar="FILE", help="write the lines into a new file for editing, and take none"
    )
    files.add_argument("--from", dest="edited_file", metavar="FILE", help="take the lines of an edited file")
    return parser


def main() -> int:
    """Run once and print the summary; return the exit code, which is not 0 when anything went wrong."""
    options: dict[str, Any] = vars(_parser().parse_args())
    path = options.pop("export")
    if path is None:
        return run_once(replay, options)
    ctrl_c = CtrlC()
    try:
        with ctrl_c.told("No file was written; start it again."):
            choice = _choice(options["reason"] or EVERY_REASON, options["file"] or "", options["since"], "")
            print(export(path, choice, ctrl_c))
    except PipelineError as error:
        return refused(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
