"""Measure, and print the tables: `python -m tests.benchmarks --help`."""

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.process import JobError, Sample, run_job_on_copy
from tests.benchmarks.sections import SECTIONS, Measurement, Section
from tests.benchmarks.table import table
from tests.benchmarks.workbench import Workbench

LEGEND = """\
Every run is a process of its own and the rounds are interleaved. Numbers are medians, seconds are without the imports.
  spread           slowest run less the fastest, as a part of the median: how noisy the machine was
  × time, × CPU    time a line and CPU time a line, where the first of the table has 1: what to go by on any machine
  peak MB          peak memory of the whole process, imports included"""


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    began = time.perf_counter()
    print(_machine(options), flush=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as folder:
        _tell("making raw files and databases")
        bench = Workbench(Path(folder), options.events, options.batch)
        sections = [SECTIONS[name](bench) for name in options.only]
        samples = _measure(sections, options.repetitions, bench)
    _tell("")
    for section in sections:
        print(f"\n{table(section, samples)}")
    print(f"\n{LEGEND}\n{time.perf_counter() - began:.0f} s in all; {_load()} at the end.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--events", type=_count, default=200_000, help="events in a file (default: %(default)s)")
    parser.add_argument("--batch", type=_count, default=20_000, help="events to decide at once (default: %(default)s)")
    parser.add_argument("--repetitions", type=_count, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where files are written (default: the temporary folder)")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="tables to make (default: all)"
    )
    return parser.parse_args()


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count} is not a count from 1 on")
    return count


def _measure(sections: Sequence[Section], repetitions: int, bench: Workbench) -> dict[Measurement, list[Sample]]:
    """Run every measurement once a round, so that a slow minute of the machine does not fall on one of them."""
    samples: dict[Measurement, list[Sample]] = {each: [] for section in sections for each in section.measurements}
    for number in range(repetitions):
        for measurement, runs in samples.items():
            if number < measurement.most_repetitions:
                _tell(f"round {number + 1} of {repetitions}: {measurement.what}")
                runs.append(_sample(measurement, bench))
    return samples


def _sample(measurement: Measurement, bench: Workbench) -> Sample:
    sample = run_job_on_copy(measurement.job, measurement.raw_file, measurement.start, bench.folder)
    if measurement.events not in (None, sample.events):
        raise JobError(f"{measurement.what}: {sample.events} events in the database instead of {measurement.events}")
    return sample


def _machine(options: argparse.Namespace) -> str:
    return (
        f"{options.events:,} events a file; Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores; {_load()} at the start."
    )


def _load() -> str:
    return "load " + " ".join(f"{load:.1f}" for load in os.getloadavg())


def _tell(text: str) -> None:
    """Show what is being done, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except JobError as error:
        sys.exit(f"\n{error}")
