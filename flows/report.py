"""The report of any past run, rebuilt from the database: `python -m flows.report`. It needs no Prefect."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError

from flows.command_line.arguments import command_line_of
from flows.pipeline.ctrl_c import CtrlC, exit_as_told, refused
from src.marketing_messaging_service import reporting
from src.marketing_messaging_service.errors import DatabaseError, PipelineError
from src.marketing_messaging_service.infrastructure.database import (
    create_read_only_engine,
    interruptible,
    is_there,
    read_transaction,
    shown_database,
    shown_url,
)
from src.marketing_messaging_service.settings import Settings, load_settings

LISTED_RUNS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of a run and write it as a file; return the exit code, which is 1 when there is none."""
    options = _parser().parse_args(arguments)
    ctrl_c = CtrlC()
    try:
        with ctrl_c.told("Nothing was changed; start it again."):
            print(_told(load_settings(), options, ctrl_c))
    except PipelineError as error:
        return refused(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line_of(
        "report",
        "Print the report of a run, and write it into REPORTS_PATH. The database is only read.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--latest", action="store_true", help="the last run (the default)")
    which.add_argument("--run", type=_row_number, metavar="N", help="the run with this id, in runs")
    which.add_argument(
        "--load", type=_row_number, metavar="N", help="the run that made the load with this id, in loads"
    )
    which.add_argument("--flow-run", metavar="ID", help="the run with this Prefect flow run, by its id or name")
    which.add_argument("--list", action="store_true", help=f"list the last {LISTED_RUNS} runs instead")
    return parser


def _row_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text} is not the number of a row; they count from 1")
    return int(text)


def _told(settings: Settings, options: argparse.Namespace, ctrl_c: CtrlC) -> str:
    if not is_there(settings.database_url):
        shown = shown_database(settings.database_url)
        raise DatabaseError(f"There is no database at {shown}; run the hourly job first, or correct DATABASE_URL.")
    engine = create_read_only_engine(settings.database_url)
    with interruptible(engine, ctrl_c.is_made), read_transaction(engine) as connection:
        try:
            # Separately, so that the schema can still be checked when it fails.
            with connection.begin_nested():
                if options.list:
                    return reporting.runs_text(reporting.last_runs(connection, LISTED_RUNS))
                run_report = reporting.read_run_report(connection, _run_id(connection, options))
        except (OperationalError, ProgrammingError):
            if ctrl_c.is_made():
                raise
            _refuse_another_schema(connection)
            raise
    # The read-only URL writes the file's name differently from the settings and the run itself.
    run_report = replace(run_report, database=shown_url(settings.database_url))
    file = reporting.write_report(settings.reports_path, run_report)
    return f"{reporting.summary_text(run_report)}\n\nReport: {file}"


def _run_id(connection: Connection, options: argparse.Namespace) -> int:
    if options.run is not None:
        return int(options.run)
    if options.load is not None:
        return reporting.run_of_load(connection, options.load)
    if options.flow_run is not None:
        return reporting.run_of_flow_run(connection, options.flow_run)
    return reporting.latest_run(connection)


def _refuse_another_schema(connection: Connection) -> None:
    """Raise DatabaseError if the schema is not the one of this code."""
    # Alembic takes 0.4 s to import, and is needed only when something is wrong.
    from src.marketing_messaging_service.infrastructure.migrations import missing_revisions  # noqa: PLC0415  0.4 s

    missing = missing_revisions(connection)
    if missing:
        raise DatabaseError(
            f"The database's schema is older than this code: it lacks {', '.join(missing)}. Run the hourly job, which "
            "migrates it, then ask again."
        )


if __name__ == "__main__":
    exit_as_told(main)
