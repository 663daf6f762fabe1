"""Measure, print the tables and write them as JSON: `make bench`, or `python -m benchmarks --help`."""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import figures, tables
from benchmarks.process import PROJECT, JobError, Sample, run_command, run_job
from benchmarks.sections import FLOW, SECTIONS, Measurement, Section, python_of_peers
from benchmarks.workbench import Workbench

PACKAGES = ("prefect", "pandas", "pyarrow", "sqlalchemy", "msgspec")


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as work:
        bench = Workbench(options.folder or Path(work), options.scale)
        sections = []
        for name in options.only:
            _tell(f"making raw files and databases: {name}")
            sections.append(SECTIONS[name](bench))
        samples = _measure(sections, options.rounds, Path(work))
    _tell("")
    results = _results(sections, samples)
    print(tables.text(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the sizes of files (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; medians are shown (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where files are made, and kept for the next time")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="what to measure (default: everything)"
    )
    return parser.parse_args()


def _measure(sections: Sequence[Section], rounds: int, work: Path) -> dict[str, list[Sample]]:
    """Run the measurements of a section in turn, round after round, so that a slow minute affects all of them."""
    samples: dict[str, list[Sample]] = {}
    if any(each.command for section in sections for each in section.measurements):
        _warm_up(work)
    for section in sections:
        for number in range(rounds):
            for each in section.measurements:
                if number < each.most_rounds:
                    _tell(f"{section.key}, round {number + 1} of {rounds}: {each.what}")
                    samples.setdefault(each.key, []).append(_sample(each, work))
    return samples


def _sample(measurement: Measurement, work: Path) -> Sample:
    """Run one measurement on a copy of its database, and clean up."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        database = Path(folder, "bench.db")
        if measurement.start is not None:
            shutil.copyfile(measurement.start, database)
        if measurement.command:
            sample = run_command(
                measurement.command, _settings(measurement.raw_file.parent, database, work / "prefect")
            )
        else:
            python = python_of_peers() if measurement.by_peers else Path(sys.executable)
            sample = run_job(measurement.job, measurement.raw_file, database, python)
        if measurement.event_count is not None and (found := _event_count(database)) != measurement.event_count:
            raise JobError(f"{measurement.what}: {found} events in the database instead of {measurement.event_count}")
        return sample


def _warm_up(work: Path) -> None:
    """Run the flow once on nothing, so that Prefect sets up its home, which no later run then has to."""
    _tell("setting up Prefect")
    with tempfile.TemporaryDirectory(dir=work) as folder:
        landing = Path(folder, "landing")
        landing.mkdir()
        run_command(FLOW, _settings(landing, Path(folder, "bench.db"), work / "prefect"))


def _settings(landing: Path, database: Path, prefect_home: Path) -> dict[str, str]:
    """Return the environment for the flow with a landing folder and a database, without the user's own settings."""
    return {
        "DATABASE_URL": f"sqlite:///{database}",
        "LANDING_PATH": str(landing),
        "RULES_PATH": str(PROJECT / "data" / "rules.yaml"),
        "REPORTS_PATH": str(database.parent / "reports"),
        "LANDING_SETTLE_SECONDS": "0",
        "PREFECT_HOME": str(prefect_home),
    }


def _event_count(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


def _results(sections: Sequence[Section], samples: dict[str, list[Sample]]) -> dict[str, object]:
    line_counts = {each.key: each.line_count for section in sections for each in section.measurements}
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": {
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            **{name: version(name) for name in PACKAGES},
        },
        "figures": [asdict(each) | {"holds": each.holds} for each in figures.figures(samples, line_counts)],
        "sections": figures.as_record(sections, samples),
    }


def _tell(text: str) -> None:
    """Show what is being done, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (JobError, FileNotFoundError) as error:
        sys.exit(f"\n{error}")
