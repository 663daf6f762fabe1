"""Runs whole processes, and reads what the operating system says about them afterwards.

This side imports nothing large: a process begins with the peak memory of the one that started it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
PEERS_PYTHON = PROJECT / ".venv-bench" / "bin" / "python"
"""The interpreter of the environment that `make bench` installs the peers into."""


class JobError(Exception):
    """A process failed, or did not do what it was measured for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a whole process, from its start to its end, less what it declared to be preparation."""

    wall_seconds: float
    cpu_seconds: float
    """CPU time of the process and those that it waited for, in user and system mode."""
    peak_bytes: int
    """The largest resident set of any one of them."""
    steps: Mapping[str, float] = field(default_factory=dict)


def run_job(job: str, raw_file: Path, database: Path, python: Path = Path(sys.executable)) -> Sample:
    """Run a job in a new process and wait for it. Raises JobError with what it said when it fails."""
    sample, output = _run([str(python), "-m", "benchmarks.job", job, str(raw_file), str(database)], {})
    told = json.loads(output.splitlines()[-1])
    return Sample(
        sample.wall_seconds - told["preparation"]["seconds"],
        sample.cpu_seconds - told["preparation"]["cpu_seconds"],
        sample.peak_bytes,
        told["steps"],
    )


def run_command(arguments: Sequence[str], environment: Mapping[str, str]) -> Sample:
    """Run a command of this interpreter, with additions to the environment. Raises JobError when it fails."""
    return _run([sys.executable, *arguments], environment)[0]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Sample, str]:
    # Flush what was written before, such as a copy of a database, so that it does not slow down what follows.
    os.sync()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **environment}, stdout=output, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (output, errors):
            stream.seek(0)
        if process.returncode:
            raise JobError(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()}")
        cpu_seconds = usage.ru_utime + usage.ru_stime
        return Sample(wall_seconds, cpu_seconds, usage.ru_maxrss * RSS_UNIT), output.read()
