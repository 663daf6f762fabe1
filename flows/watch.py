"""The watch: whether files still come in, and whether the newest hour looks as it usually does.

`python -m flows.watch` runs it once, with no Prefect server needed.
"""

import sys

from prefect import flow
from prefect.client.schemas.objects import State

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import AgeHours
from flows.command_line.run_once import final_state
from flows.pipeline.ctrl_c import refused
from flows.pipeline.endings import RunPage, exit_code
from flows.pipeline.steps import named_by_start, outcome, step
from flows.pipeline.stopping import CANCEL, StopRequest
from src.marketing_messaging_service import self_check
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure.database import utc_now
from src.marketing_messaging_service.reporting import check_markdown, watch_sentence
from src.marketing_messaging_service.self_check.results import CheckReport
from src.marketing_messaging_service.settings import load_settings

DEFAULT_MAX_LOAD_AGE_HOURS = 2

_UNCHANGED = "Nothing was changed; start it again."


@step("look")
def look(database_url: str, max_load_age_hours: int, stop: StopRequest) -> CheckReport:
    """Look at the newest load and at the newest hour, in one snapshot of the database."""
    fresh = (self_check.fresh_loads(max_load_age_hours, utc_now()),) if max_load_age_hours else ()
    return self_check.check_database(database_url, (*fresh, self_check.USUAL_HOUR), on_progress=stop.check)


@flow(name="watch", flow_run_name=named_by_start("watch"))
def watch(max_load_age_hours: AgeHours = DEFAULT_MAX_LOAD_AGE_HOURS) -> State[CheckReport]:
    """Report when files have stopped coming in, and when an hour is unlike the same hour of the last four weeks.

    It only reads, takes a moment, and fails when there is something to look at, so that notifications of failed runs
    cover it.

    Args:
        max_load_age_hours: Fail when the hourly run loaded no file for this many hours. 0 turns this off.
    """
    page, stop = RunPage("watch"), StopRequest(_UNCHANGED)
    try:
        with page.cut_off(f"Stopped by {CANCEL}. {_UNCHANGED}"), stop.listening():
            report: CheckReport = outcome(look(load_settings().database_url, max_load_age_hours, stop))
    except PipelineError as error:
        return page.failed(error)
    sentence = watch_sentence(report)
    page.keep(lambda: page.show(check_markdown(report), sentence))
    end = page.failed if report.broken else page.completed
    return end(sentence, report)


def main() -> int:
    """Look once and print what was found; return the exit code, which is 0 only if there is nothing to look at."""
    parser = command_line_of("watch", "Check whether files still come in, and whether they look as usual.")
    parser.add_argument(
        "--max-load-age-hours",
        type=int,
        default=DEFAULT_MAX_LOAD_AGE_HOURS,
        help="fail when no file was loaded for this many hours; 0 turns this off (default: %(default)s)",
    )
    options = parser.parse_args()
    try:
        state = final_state(watch, {"max_load_age_hours": options.max_load_age_hours})
    except PipelineError as error:
        return refused(error)
    print(state.message, flush=True)
    return exit_code(state)


if __name__ == "__main__":
    sys.exit(main())
