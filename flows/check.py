"""The self-check: whether a database keeps every promise of the pipeline, as it stands.

`python -m flows.check` runs it once, with no Prefect server needed.
"""

import logging
import sys

from prefect import flow
from prefect.client.schemas.objects import State

from flows.command_line.arguments import command_line_of
from flows.command_line.parameters import AgeHours
from flows.command_line.run_once import final_state
from flows.pipeline.ctrl_c import CtrlC, refused, telling_once
from flows.pipeline.endings import RunPage, exit_code, result_of
from flows.pipeline.steps import named_by_start, outcome, step
from flows.pipeline.stopping import CANCEL, StopRequest
from src.marketing_messaging_service import decisions, schema_drift, self_check
from src.marketing_messaging_service.dictionary import refresh_dictionary
from src.marketing_messaging_service.errors import DatabaseError, PipelineError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    interruptible,
    is_there,
    shown_database,
    utc_now,
)
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.reporting import check_headline, check_markdown, check_text, repair_text
from src.marketing_messaging_service.schema_drift.results import RepairedObject
from src.marketing_messaging_service.self_check.results import CheckReport
from src.marketing_messaging_service.settings import load_settings

_UNCHANGED = "Nothing was changed; start it again."


@step("check invariants")
def check_invariants(database_url: str, max_load_age_hours: int, stop: StopRequest) -> CheckReport:
    """Check every invariant in one snapshot of the database."""
    fresh = (self_check.fresh_loads(max_load_age_hours, utc_now()),) if max_load_age_hours else ()
    invariants = (*self_check.INVARIANTS, *decisions.AUDIT, *fresh)
    return self_check.check_database(
        database_url, invariants, warnings=decisions.recorded_rules_warnings, on_progress=stop.check
    )


@flow(name="check", flow_run_name=named_by_start("check"))
def check(max_load_age_hours: AgeHours = 0) -> State[CheckReport]:
    """Check that the database keeps every promise: nothing lost, nothing decided or sent twice, every count right.

    It only reads, from one snapshot, so runs may work at the same time. It fails when anything does not hold.

    Args:
        max_load_age_hours: Also fail when no file was loaded for this many hours, because then events have stopped
            coming in. 0 turns this off.
    """
    page, stop = RunPage("self-check"), StopRequest(_UNCHANGED)
    try:
        with page.cut_off(f"Stopped by {CANCEL}. {_UNCHANGED}"), stop.listening():
            check_report: CheckReport = outcome(
                check_invariants(load_settings().database_url, max_load_age_hours, stop)
            )
    except PipelineError as error:
        return page.failed(error)
    page.keep(lambda: page.show(check_markdown(check_report), check_headline(check_report)))
    end = page.failed if check_report.broken else page.completed
    return end(check_headline(check_report), check_report)


def repair_schema() -> list[RepairedObject]:
    """Rebuild the views and indexes that are missing or differ, while no run is at work."""
    settings = load_settings()
    if not is_there(settings.database_url):
        shown = shown_database(settings.database_url)
        raise DatabaseError(f"There is no database at {shown} to repair; correct DATABASE_URL.")
    engine = create_database_engine(settings.database_url)
    ctrl_c = CtrlC()
    with (
        ctrl_c.told("Unfinished work was rolled back; start it again."),
        run_lock(settings.database_url, settings.run_lock_timeout_seconds, telling_once("Waiting for a run to end.")),
        interruptible(engine, ctrl_c.is_made),
    ):
        repaired = schema_drift.repair(engine)
        refresh_dictionary(engine)
    return repaired


def main() -> int:
    """Check once and print what was found; return the exit code, which is 0 only if everything holds."""
    parser = command_line_of(
        "check",
        "Check the database that DATABASE_URL names. Without --repair, it is only read.",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first rebuild the views and indexes that are missing or changed; no row is touched",
    )
    parser.add_argument(
        "--max-load-age-hours", type=int, default=0, help="also fail when the newest load is older than this"
    )
    options = parser.parse_args()
    try:
        if options.repair:
            print(repair_text(repair_schema()), flush=True)
        state = final_state(check, {"max_load_age_hours": options.max_load_age_hours})
    except PipelineError as error:
        return refused(error)
    check_report = result_of(state)
    if isinstance(check_report, CheckReport):
        # The findings should be the last thing on the terminal; Prefect would report its server's end after them.
        logging.getLogger("prefect").setLevel(logging.WARNING)
        print(check_text(check_report), flush=True)
    return exit_code(state)


if __name__ == "__main__":
    sys.exit(main())
