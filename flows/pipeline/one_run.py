"""One run of the pipeline, from raw files to its report, as the hourly job, a backfill and a replay share it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from prefect import get_run_logger, runtime
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from sqlalchemy import Engine

from flows.pipeline.claims import GROUPS_FOR_DASK, Claims
from flows.pipeline.ctrl_c import StoppedError
from flows.pipeline.endings import RunPage, defect_sentence
from flows.pipeline.stagers import Stager
from flows.pipeline.steps import RETRIES, flow_logger, outcome, patiently, step
from flows.pipeline.stopping import CUT_OFF, StopRequest, Waiting, is_started_by_worker
from flows.pipeline.taking import Taking, take_rejected
from src.marketing_messaging_service import decisions, loading, staging
from src.marketing_messaging_service.decisions.results import DecisionResult
from src.marketing_messaging_service.dictionary import is_dictionary_current, refresh_dictionary
from src.marketing_messaging_service.errors import (
    PipelineError,
    ReportError,
    RunInProgressError,
)
from src.marketing_messaging_service.infrastructure import schema
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    damage_told,
    interruptible,
    is_there,
    preview_engine,
    read_transaction,
    remark_on_readers,
    utc_now,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.replacement import replacement_told, take_imprint
from src.marketing_messaging_service.infrastructure.run_lease import read_holder, run_lease
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.infrastructure.several_writers import (
    PlaceAmongWriters,
    create_engine_beside_others,
    end_lease,
    place_among_writers,
)
from src.marketing_messaging_service.loading.results import RejectedLines
from src.marketing_messaging_service.models import RemarkKind, RunMode, RunState
from src.marketing_messaging_service.paths import Place, refuse_overlaps
from src.marketing_messaging_service.reporting import (
    RunReport,
    ahead_sentence,
    choice_line,
    decision_line,
    discovery_line,
    headline,
    no_rule_sentence,
    problem_sentence,
    read_rejection_problems,
    read_run_report,
    rejected_table,
    report_markdown,
    write_report,
)
from src.marketing_messaging_service.reporting.tables import many
from src.marketing_messaging_service.run_options import ReplayChoice, RunOptions
from src.marketing_messaging_service.settings import Settings, load_settings
from src.marketing_messaging_service.staging import SourcesFile
from src.marketing_messaging_service.staging.results import Discovery, FileProblem, Remark


@step("migrate", retries=RETRIES)
def migrate(settings: Settings, stop: StopRequest) -> list[str]:
    """Bring the database to the newest schema and dictionary; return the revisions applied."""
    log = flow_logger()
    revisions = schema.migrate(
        settings.database_url,
        info=log.info,
        warning=log.warning,
        look=stop.check,
        is_copied=settings.migration_copy,
    )
    refresh_dictionary(create_database_engine(settings.database_url))
    return revisions


@step("discover", retries=RETRIES)
def discover(
    landing: Place, engine: Engine, sources: SourcesFile, settle_seconds: float, stop: StopRequest
) -> Discovery:
    """Find the raw files that no load has taken completely and that nobody is writing any more."""
    known = loading.known_files(engine)
    log = flow_logger()

    def tell(sentence: str) -> None:
        stop.check()
        log.info(sentence)

    return staging.discover(landing, known, sources=sources, settle_seconds=settle_seconds, sleep=stop.sleep, tell=tell)


@step("choose rejected lines", retries=RETRIES)
def choose(choice: ReplayChoice, engine: Engine) -> RejectedLines:
    """Find the rejected lines that a replay is to read again."""
    return loading.choose_rejected_lines(engine, choice)


@step("decide", retries=RETRIES)
def decide(settings: Settings, engine: Engine, options: RunOptions, run_id: int, stop: StopRequest) -> DecisionResult:
    """Decide every event that the run is to decide, in one transaction or in several shards."""
    rules_file = decisions.read_settled_rules(
        settings.rules_path, settle_seconds=settings.landing_settle_seconds, sleep=stop.sleep
    )
    return decisions.decide(
        engine, rules_file, decided_at=utc_now(), options=options, run_id=run_id, shard_count=settings.decide_shards
    )


@step("report", retries=RETRIES)
def report(engine: Engine, run_id: int, remarks: Sequence[Remark], reports_path: Path) -> RunReport:
    """Record how the run ended, and write its report, made from the tables, as a file."""
    with write_transaction(engine) as connection:
        too_many = read_rejection_problems(connection, run_id)
        remarks = [*(Remark(RemarkKind.PROBLEM, each.subject, each.explanation) for each in too_many), *remarks]
        has_failed = any(remark.kind is RemarkKind.PROBLEM for remark in remarks)
        loading.close_run(connection, run_id, RunState.FAILED if has_failed else RunState.COMPLETED, remarks)
        run_report = read_run_report(connection, run_id)
        message = problem_sentence(run_report) if has_failed else headline(run_report)
        loading.note_message(connection, run_id, message)
    if run_report.loads or run_report.decided_count or run_report.again_rules or run_report.problems:
        log = flow_logger()
        try:
            log.info("Report: %s", write_report(reports_path, run_report))
        except ReportError as error:
            log.warning("%s The run itself is done; `python -m flows.report` writes its report at any time.", error)
    return run_report


def show(page: RunPage, run_report: RunReport) -> None:
    """Leave the report on the run's page in the Prefect UI; a step's artifacts would be shown as the step's."""
    page.show(report_markdown(run_report), problem_sentence(run_report) or headline(run_report))
    if rejected := rejected_table(run_report):
        described = "Lines that could not become events."
        page.attempt(lambda: create_table_artifact(rejected, key="rejected-lines", description=described))


def scheduled_start() -> datetime:
    """Return the instant that this run was scheduled for, in UTC; the same when it is retried."""
    # Prefect's own datetime type loses its zone when hours are subtracted.
    return datetime.fromisoformat(runtime.flow_run.scheduled_start_time.isoformat()).astimezone(UTC)


def run_pipeline(make_options: Callable[[Settings], RunOptions]) -> State[RunReport]:
    """Do one run, and return how it ended.

    Making the options may raise a PipelineError, which fails the run. The run is Completed, or Failed with one sentence
    per problem, which holds up nothing else; it is Cancelled, with nothing done, when another run did not end in time.
    """
    page, stop = RunPage("run-report"), StopRequest()
    try:
        settings = load_settings()
        options = make_options(settings)
        refuse_overlaps(replace(settings.places, landing=options.source, landing_name=options.source_name))
        with page.cut_off(CUT_OFF), stop.listening(), _writer(settings, options, stop) as writer:
            run_report = _run_on(writer, options, settings, stop, page)
    except RunInProgressError as error:
        return page.cancelled(str(error))
    except PipelineError as error:
        return page.failed(error)
    if run_report.problems:
        return page.failed(problem_sentence(run_report), run_report)
    return page.completed(headline(run_report), run_report)


@dataclass(frozen=True, slots=True)
class _Writer:
    """What a run writes with."""

    engine: Engine
    place: PlaceAmongWriters | None = None
    """Its place among runs that write at the same time; None for a run that is alone."""


@contextmanager
def _writer(settings: Settings, options: RunOptions, stop: StopRequest) -> Iterator[_Writer]:
    """Yield what a run writes with, on the migrated database.

    A preview and a replay are alone even where others may write at the same time: a preview shows what a run alone
    would do, and a replay takes lines that another one might take as well.
    """
    if settings.several_writers and options.mode is not RunMode.PREVIEW and options.replay is None:
        with _one_of_several(settings, stop) as writer:
            yield writer
    else:
        with _sole_writer(settings, options, stop) as engine:
            yield _Writer(engine)


@contextmanager
def _one_of_several(settings: Settings, stop: StopRequest) -> Iterator[_Writer]:
    """Yield what a run with a place among several writers writes with.

    Raises RunInProgressError when a run that is alone holds the database for longer than the settings allow.
    """
    log = get_run_logger()
    url, seconds = settings.database_url, settings.run_lock_timeout_seconds
    engine = create_engine_beside_others(url)
    waiting = Waiting(log, stop, seconds, lambda: _at_work(engine, url))
    applied: list[str] = []
    began = time.monotonic()

    def is_ready() -> bool:
        return schema.is_current(url) and is_dictionary_current(engine)

    def make_ready() -> None:
        applied.extend(outcome(migrate(settings, stop)))

    def placed() -> AbstractContextManager[PlaceAmongWriters]:
        return place_among_writers(url, seconds, waiting.go_on, is_ready=is_ready, make_ready=make_ready)

    with waiting.told_when_over(), ExitStack() as held:
        with _ended_by(stop, engine):
            place = patiently(lambda: held.enter_context(placed()), stop, log)
            end_lease(engine)
        migrated = f"applied {', '.join(applied)}" if applied else "the schema is current"
        log.info("Migrated in %.1f s: %s. Other runs may write at the same time.", time.monotonic() - began, migrated)
        with place.guarding(engine):
            yield _Writer(engine, place)


@contextmanager
def _sole_writer(settings: Settings, options: RunOptions, stop: StopRequest) -> Iterator[Engine]:
    """Yield an engine on the migrated database while this run is the only writer.

    Raises RunInProgressError when another run holds the database for longer than the settings allow.
    """
    log = get_run_logger()
    engine = create_database_engine(settings.database_url)
    waiting = Waiting(log, stop, settings.run_lock_timeout_seconds, lambda: _at_work(engine, settings.database_url))
    with damage_told(engine), waiting.told_when_over(), ExitStack() as held:
        with _ended_by(stop, engine):
            seconds = settings.run_lock_timeout_seconds
            patiently(lambda: held.enter_context(run_lock(settings.database_url, seconds, waiting.go_on)), stop, log)
            began = time.monotonic()
            revisions = outcome(migrate(settings, stop))
            applied = f"applied {', '.join(revisions)}" if revisions else "the schema is current"
            log.info("Migrated in %.1f s: %s.", time.monotonic() - began, applied)
            lease = held.enter_context(ExitStack())
            lease.enter_context(
                run_lease(
                    engine,
                    options.flow_run_name or f"{options.flow_name} run by hand",
                    flow_run_id=options.flow_run_id,
                    lease_seconds=settings.run_lease_seconds,
                    wait=lambda _: waiting.has_time(),
                )
            )
        with lease:
            yield engine
        with suppress(PipelineError):
            if remark := remark_on_readers(engine):
                log.warning(remark)


@contextmanager
def _ended_by(stop: StopRequest, engine: Engine) -> Iterator[None]:
    """End what the engine does soon after the run was asked to stop, and turn the error into a StoppedError."""
    with stop.told_as_such(), interruptible(engine, lambda: stop.is_made):
        yield


def _at_work(engine: Engine, database_url: str) -> object | None:
    """Return who is at work; None if nobody is, or it cannot be found out."""
    with suppress(PipelineError):
        if is_there(database_url):
            return read_holder(engine) or loading.running_runs(engine)
    return None


def _run_on(writer: _Writer, options: RunOptions, settings: Settings, stop: StopRequest, page: RunPage) -> RunReport:
    """Do the run; a preview on an engine that keeps nothing."""
    if options.mode is not RunMode.PREVIEW:
        return _record_end(writer, options, settings, stop, page)
    with stop.told_as_such(), preview_engine(settings.database_url, lambda: stop.is_made) as scratch:
        return _record_end(_Writer(scratch), options, settings, stop, page)


def _record_end(
    writer: _Writer, options: RunOptions, settings: Settings, stop: StopRequest, page: RunPage
) -> RunReport:
    """Do the run; one that cannot continue is recorded and reported as far as it came."""
    engine = writer.engine
    with _ended_by(stop, engine):
        killed = loading.runs_under_way(engine)
        run_id = patiently(lambda: loading.open_run(engine, options, writer.place), stop, get_run_logger())
    if options.mode is not RunMode.PREVIEW and is_started_by_worker():
        _report_killed(engine, page, killed)
    imprint = take_imprint(engine)
    try:
        with stop.told_as_such(), replacement_told(engine, imprint), damage_told(engine), _ended_by(stop, engine):
            run_report = _run(writer, run_id, options, settings, stop)
    except BaseException as error:
        state, message = _ending(error)
        # What ended the run, such as a full disk, may also keep it from recording that.
        with suppress(PipelineError), replacement_told(engine, imprint), write_transaction(engine) as connection:
            loading.close_run(connection, run_id, state)
            loading.note_message(connection, run_id, message)
            page.keep(partial(show, page, read_run_report(connection, run_id)))
        raise
    page.keep(partial(show, page, run_report))
    return run_report


def _report_killed(engine: Engine, page: RunPage, killed: Mapping[int, str | None]) -> None:
    """Leave reports on the pages of runs that ended silently, such as by a power cut."""
    for run_id, flow_run_id in killed.items():
        if flow_run_id is not None:
            with read_transaction(engine) as connection:
                run_report = read_run_report(connection, run_id)
            page.show_of(flow_run_id, report_markdown(run_report), problem_sentence(run_report))


def _ending(error: BaseException) -> tuple[RunState, str]:
    """Return how a run that could not continue ended, and its sentence about that."""
    if isinstance(error, PipelineError):
        return RunState.STOPPED if isinstance(error, StoppedError) else RunState.FAILED, str(error)
    if isinstance(error, Exception):
        return RunState.FAILED, defect_sentence(error)
    # A run that a worker started is cancelled by a signal, which Prefect turns into its own exception.
    return RunState.STOPPED, CUT_OFF


def _run(writer: _Writer, run_id: int, options: RunOptions, settings: Settings, stop: StopRequest) -> RunReport:
    """Do every step in order; a failure for one file, or for the rules, does not hold up the rest."""
    log, engine = get_run_logger(), writer.engine
    began = time.monotonic()
    settle_seconds = settings.landing_settle_seconds
    _sweep(settings.staged_path)
    # Checked on their own, so that an unusable file ends the run before anything is taken.
    sources = staging.read_sources(settings.own_sources_path, settle_seconds=settle_seconds, sleep=stop.sleep)
    claims = _claims(writer, settings, stop)
    with Stager(settings, sources, stop, log) as stager:
        taking = Taking(engine, options, run_id, stop, stager.stage, claims=claims)
        if options.replay is None:
            discovery: Discovery = outcome(discover(options.source, engine, sources, settle_seconds, stop))
            log.info("Discovered in %.1f s: %s", time.monotonic() - began, discovery_line(discovery))
            for note in discovery.notes:
                log.info(note)
            taking.take(discovery.new_files)
            taking.note_files(discovery.known_count)
        else:
            rejected: RejectedLines = outcome(choose(options.replay, engine))
            log.info("Chosen in %.1f s: %s", time.monotonic() - began, choice_line(rejected))
            discovery = take_rejected(taking, rejected, sources)
    problems = [*discovery.problems, *taking.problems]
    warnings: Sequence[str] = ()
    stop.check()
    if options.mode is not RunMode.LOAD_ONLY:
        undecided, warnings = _decide(engine, options, run_id, settings, stop)
        problems += undecided
        stop.check()
    remarks = [
        *_problem_remarks(problems),
        *(Remark(RemarkKind.WARNING, "Rules", warning, 0) for warning in warnings),
        *taking.remarks(),
        *discovery.remarks,
    ]
    run_report: RunReport = outcome(report(engine, run_id, remarks, settings.reports_path))
    return run_report


def _claims(writer: _Writer, settings: Settings, stop: StopRequest) -> Claims | None:
    """Return what divides files among simultaneous runs; None for a run that is alone."""
    if writer.place is None:
        return None
    return Claims(
        writer.place,
        writer.engine,
        stop,
        log=get_run_logger(),
        wait_seconds=settings.run_lock_timeout_seconds,
        groups_at_once=1 if settings.dask is None else GROUPS_FOR_DASK,
    )


def _sweep(folder: Path) -> None:
    """Remove what killed runs, or their workers, have left among staged rows."""
    if count := staging.sweep(folder, time.time()):
        get_run_logger().info("Removed %s in %s that no run had loaded for a day.", many(count, "staged file"), folder)


def _decide(
    engine: Engine, options: RunOptions, run_id: int, settings: Settings, stop: StopRequest
) -> tuple[list[FileProblem], Sequence[str]]:
    """Decide what the run is to decide; return why it could not, what waits, and what is odd about the rules."""
    log = get_run_logger()
    try:
        decision: DecisionResult = outcome(decide(settings, engine, options, run_id, stop))
    except PipelineError as error:
        return [FileProblem("Deciding", f"{error}{_what_waits(engine, options)}")], ()
    for warning in decision.warnings:
        log.warning(warning)
    is_preview = options.mode is RunMode.PREVIEW
    if not decision.outcomes:
        no_rule = no_rule_sentence(settings.rules_path, decision.waiting_count, is_preview=is_preview)
        if decision.waiting_count:
            return [FileProblem("Deciding", f"{no_rule}{_what_waits(engine, options)}")], decision.warnings
        log.warning(no_rule)
        return [], (*decision.warnings, no_rule)
    log.info(decision_line(decision))
    if ahead := ahead_sentence(decision.ahead_count, options.max_event_ahead_hours, is_preview=is_preview):
        log.warning(ahead)
    return [], decision.warnings


def _what_waits(engine: Engine, options: RunOptions) -> str:
    """Return the sentence that says what is decided later; nothing for a preview, which leaves nothing waiting."""
    if options.mode is RunMode.PREVIEW:
        return ""
    try:
        count = loading.undecided_event_count(engine)
        held_count = loading.held_event_count(engine, options.window) if options.window else 0
    except PipelineError:
        # What keeps a run from deciding, such as a full disk, may also keep it from counting.
        return " Its events wait."
    waits = "1 event waits" if count == 1 else f"{count} events wait"
    held = f", {held_count} for this backfill to be started again" if held_count else ""
    return f" {waits} for the next run{held}."


def _problem_remarks(problems: Sequence[FileProblem]) -> list[Remark]:
    return [
        Remark(RemarkKind.PROBLEM, problem.display_path, problem.explanation, problem.file_count)
        for problem in problems
    ]
