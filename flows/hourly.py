"""The hourly run: every raw file that has landed and was not taken yet becomes events and decisions.

`python -m flows.hourly` runs it once, with no Prefect server needed.
"""

import argparse
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from sqlalchemy import Engine, make_url

from flows.steps import LONG_FILE_BYTES, outcome, progress_bar, step
from flows.stopping import StopRequest, Waiting
from src.marketing_messaging_service import decisions, loading, staging
from src.marketing_messaging_service.dictionary import refresh_dictionary
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.reporting import (
    decision_line,
    discovery_line,
    headline,
    load_line,
    problem_sentence,
    summary_markdown,
    summary_text,
)
from src.marketing_messaging_service.results import (
    DecisionResult,
    Discovery,
    FileProblem,
    LandingFile,
    LoadResult,
    RunReport,
    StagedFile,
)
from src.marketing_messaging_service.settings import Settings, load_settings


@step("migrate")
def migrate(database_url: str) -> list[str]:
    """Bring the database to the newest schema and dictionary; return the revisions applied."""
    revisions = upgrade_to_head(database_url)
    refresh_dictionary(create_database_engine(database_url))
    return revisions


@step("discover")
def discover(landing_path: Path, engine: Engine, settle_seconds: float, stop: StopRequest) -> Discovery:
    """Find the raw files that no load has taken and that nobody is writing any more."""
    known = loading.known_files(engine)
    return staging.discover(landing_path, known, settle_seconds=settle_seconds, sleep=stop.sleep)


@step("stage {file.display_path}")
def stage(file: LandingFile, stop: StopRequest) -> StagedFile:
    """Read one raw file into typed rows and rejected rows."""
    is_long = file.size_bytes >= LONG_FILE_BYTES
    with progress_bar(f"Staging {file.display_path}", file.size_bytes, is_long=is_long) as advance:
        return staging.stage_file(file, on_progress=stop.checking(advance))


@step("load {staged.file.display_path}")
def load(
    staged: StagedFile, engine: Engine, as_of: datetime, flow_run_id: str | None, stop: StopRequest
) -> LoadResult | None:
    """Put one staged file into the tables, in one transaction."""
    is_long = staged.file.size_bytes >= LONG_FILE_BYTES
    with progress_bar(f"Loading {staged.file.display_path}", staged.valid_count, is_long=is_long) as advance:
        return loading.load_file(
            engine, staged, as_of=as_of, flow_run_id=flow_run_id, on_progress=stop.checking(advance)
        )


@step("decide")
def decide(rules_path: Path, engine: Engine) -> DecisionResult:
    """Decide every loaded event that has not been decided, in one transaction."""
    return decisions.decide_pending(engine, decisions.read_rules(rules_path), decided_at=utc_now())


@step("report")
def report(run_report: RunReport) -> None:
    """Leave the summary where people look for it: on the run's page in the Prefect UI."""
    create_markdown_artifact(summary_markdown(run_report), key="run-report", description=headline(run_report))


@flow(name="hourly")
def hourly(as_of: datetime | None = None, landing_path: str | None = None) -> State[RunReport]:
    """Take every raw file that has landed, and decide which messages its events earn.

    Safe to start at any time and as often as you like: a file is taken once, an event is decided once, and a run
    that was cut off is finished by the next one.

    Args:
        as_of: Logical time of the run, recorded with every load. Left empty, it is the scheduled start time.
        landing_path: Folder to take raw files from. Left empty, it is the setting LANDING_PATH.
    """
    log = get_run_logger()
    stop = StopRequest()
    try:
        settings = load_settings()
        folder = Path(landing_path) if landing_path else settings.landing_path
        waiting = Waiting(log, stop)
        with stop.listening(), run_lock(settings.database_path, settings.run_lock_timeout_seconds, waiting.go_on):
            run_report = _run(settings, folder, _logical_time(as_of), stop)
    except PipelineError as error:
        log.error(str(error))
        return Failed(message=str(error))
    if run_report.problems:
        log.error(problem_sentence(run_report))
        return Failed(message=problem_sentence(run_report), data=run_report)
    return Completed(message=headline(run_report), data=run_report)


def _run(settings: Settings, landing_path: Path, as_of: datetime, stop: StopRequest) -> RunReport:
    """Do every step in order; what fails for one file, or for the rules, does not hold up the rest."""
    log = get_run_logger()
    database = make_url(settings.database_url).render_as_string(hide_password=True)
    revisions = outcome(migrate(settings.database_url))
    log.info("Migrated: %s.", f"applied {', '.join(revisions)}" if revisions else "the schema is current")
    engine = create_database_engine(settings.database_url)
    discovery: Discovery = outcome(discover(landing_path, engine, settings.landing_settle_seconds, stop))
    log.info("Discovered: %s", discovery_line(discovery))
    loads: list[LoadResult] = []
    problems = list(discovery.problems)
    for file in discovery.new_files:
        stop.check()
        try:
            loads.extend(_take(file, engine, as_of, stop))
        except PipelineError as error:
            stop.check()
            problems.append(FileProblem(file.display_path, str(error)))
    stop.check()
    decision = None
    try:
        decision = outcome(decide(settings.rules_path, engine))
        log.info(decision_line(decision))
    except PipelineError as error:
        problems.append(FileProblem("Deciding", f"{error} {_what_waits(engine)} for the next run."))
    run_report = RunReport(as_of, database, discovery, tuple(loads), decision, tuple(problems))
    outcome(report(run_report))
    return run_report


def _what_waits(engine: Engine) -> str:
    try:
        count = loading.undecided_event_count(engine)
    except PipelineError:
        # What keeps a run from deciding, such as a full disk, may keep it from counting too.
        return "Its events wait"
    return "1 event waits" if count == 1 else f"{count} events wait"


def _take(file: LandingFile, engine: Engine, as_of: datetime, stop: StopRequest) -> list[LoadResult]:
    """Stage and load one file; the list is empty when another run has taken it meanwhile."""
    log = get_run_logger()
    staged: StagedFile = outcome(stage(file, stop))
    try:
        loaded: LoadResult | None = outcome(load(staged, engine, as_of, runtime.flow_run.id, stop))
    finally:
        staged.close()
    if loaded is None:
        log.info("Passed over %s: another run has taken it.", file.display_path)
        return []
    log.info(load_line(loaded))
    return [loaded]


def _logical_time(as_of: datetime | None) -> datetime:
    if as_of is None:
        as_of = runtime.flow_run.scheduled_start_time
    if as_of.tzinfo is None:
        raise PipelineError(
            f"as_of is {as_of.isoformat()}, which has no UTC offset; write it like 2026-11-23T10:00:00Z."
        )
    return as_of.astimezone(UTC)


def main() -> int:
    """Run once and print the summary; return the exit code, which is not 0 when anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m flows.hourly", description="Run the hourly job once.")
    parser.add_argument("--as-of", type=datetime.fromisoformat, help="logical time, such as 2026-11-23T10:00:00Z")
    parser.add_argument("--landing-path", help="folder to take raw files from, instead of the setting LANDING_PATH")
    options = parser.parse_args()
    try:
        # A wrong setting is told at once, not after ten seconds of starting Prefect.
        load_settings()
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    state = hourly(as_of=options.as_of, landing_path=options.landing_path, return_state=True)
    run_report = state.result(raise_on_failure=False)
    if isinstance(run_report, RunReport):
        # The summary is to be the last thing on the terminal; Prefect would tell of its server's end after it.
        logging.getLogger("prefect").setLevel(logging.WARNING)
        print(summary_text(run_report), flush=True)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
