"""What the pipeline does with a raw file, without Prefect."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Engine

from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.staging import discover, stage_file

RULES_PATH = Path(__file__).resolve().parents[3] / "data" / "rules.yaml"

Seconds = dict[str, float]


def nothing(_raw_file: Path, _database: Path) -> Seconds:
    """Do no work: what is left is the memory that the imports take."""
    return {}


def migrate(_raw_file: Path, database: Path) -> Seconds:
    """Make an empty database at the newest revision."""
    upgrade_to_head(f"sqlite:///{database}")
    return {}


def stage_and_load(raw_file: Path, database: Path) -> Seconds:
    """Take the raw file into the tables."""
    seconds: Seconds = {}
    _take(raw_file, _engine(database), seconds)
    return seconds


def decide(_raw_file: Path, database: Path) -> Seconds:
    """Decide what the database holds undecided."""
    seconds: Seconds = {}
    _decide(_engine(database), seconds)
    return seconds


def stage_load_and_decide(raw_file: Path, database: Path) -> Seconds:
    """Do all that an hourly run does with a file."""
    seconds: Seconds = {}
    engine = _engine(database)
    _take(raw_file, engine, seconds)
    _decide(engine, seconds)
    return seconds


def _engine(database: Path) -> Engine:
    return create_database_engine(f"sqlite:///{database}")


def _take(raw_file: Path, engine: Engine, seconds: Seconds) -> None:
    with _step("find and hash", seconds):
        [file] = discover(raw_file.parent, known_files(engine)).new_files
    with _step("stage", seconds):
        staged = stage_file(file)
    with _step("load", seconds), closing(staged):
        load_file(engine, staged, as_of=utc_now())


def _decide(engine: Engine, seconds: Seconds) -> None:
    with _step("decide", seconds):
        decide_pending(engine, read_rules(RULES_PATH), decided_at=utc_now())


@contextmanager
def _step(name: str, seconds: Seconds) -> Iterator[None]:
    before = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - before
