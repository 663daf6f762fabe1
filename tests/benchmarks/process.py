"""Running a job in a process of its own, and what is known of it afterwards.

This side imports nothing large: a process begins with the peak memory of the one that started it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class JobError(Exception):
    """A job failed, or did not do what it was measured for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a job."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    steps: Mapping[str, float]
    events: int
    """Rows in the table of events when it was done."""


def run_job(job: str, raw_file: Path, database: Path) -> Sample:
    """Run a job in a new process and wait for it. Raises JobError with what it said when it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.job", job, str(raw_file), str(database)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (output, errors):
            stream.seek(0)
        if process.returncode:
            raise JobError(f"{job} on {raw_file} ended with {process.returncode}:\n{errors.read()}")
        result = json.loads(output.read().splitlines()[-1])
    return Sample(peak_bytes=usage.ru_maxrss * RSS_UNIT, **result)


def run_job_on_copy(job: str, raw_file: Path, start: Path | None, folder: Path) -> Sample:
    """Run a job on a copy of a database, or on none, and leave nothing behind."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        database = Path(work, "work.db")
        if start is not None:
            shutil.copyfile(start, database)
        return run_job(job, raw_file, database)
