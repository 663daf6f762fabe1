"""What the pipeline does with a raw file, by the functions that the flow calls, without Prefect."""

from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

import flows  # noqa: F401  sets the process up as that of a flow, and imports nothing
from benchmarks.formats import SOURCES
from benchmarks.job import step
from benchmarks.process import PROJECT
from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.staging import discover, stage_file
from src.marketing_messaging_service.staging.sources.file import parse_sources

RULES_PATH = PROJECT / "data" / "rules.yaml"


def migrate(_raw_file: Path, database: Path) -> None:
    """Make an empty database at the newest revision."""
    from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head  # noqa: PLC0415  for this job alone

    upgrade_to_head(f"sqlite:///{database}")


def stage(raw_file: Path, _database: Path) -> None:
    """Read the raw file, in whatever format and words."""
    sources = parse_sources(SOURCES, "benchmarks/formats.py")
    with step("find and hash"):
        [file] = discover(raw_file.parent, KnownFiles(), sources=sources).new_files
    with step("stage"):
        staged = stage_file(file, sources=sources)
    staged.close()


def stage_and_load(raw_file: Path, database: Path) -> None:
    """Take the raw file into the tables."""
    _take(raw_file, _engine(database))


def decide(_raw_file: Path, database: Path) -> None:
    """Decide what the database holds undecided."""
    _decide(_engine(database))


def decide_by(rules_path: Path, database: Path) -> None:
    """Decide what the database holds undecided by other rules than the shipped ones."""
    _decide(_engine(database), rules_path)


def stage_load_and_decide(raw_file: Path, database: Path) -> None:
    """Do all that an hourly run does with a file."""
    engine = _engine(database)
    _take(raw_file, engine)
    _decide(engine)


def _engine(database: Path) -> Engine:
    return create_database_engine(f"sqlite:///{database}")


def _take(raw_file: Path, engine: Engine) -> None:
    with step("find and hash"):
        [file] = discover(raw_file.parent, known_files(engine)).new_files
    with step("stage"):
        staged = stage_file(file)
    with step("load"), closing(staged):
        load_file(engine, staged, as_of=utc_now())


def _decide(engine: Engine, rules_path: Path = RULES_PATH) -> None:
    with step("decide"):
        decide_pending(engine, read_rules(rules_path), decided_at=utc_now())
