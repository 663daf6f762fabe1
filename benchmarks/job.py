"""Runs one job in its own process: `python -m benchmarks.job <module>:<function> <raw file> <database>`.

Its last line of output is its result, as JSON. This module imports nothing large, because the peers run it in their own
environment, and because a job's imports are part of what is measured.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

steps: dict[str, float] = {}
"""Seconds of the steps of the job that runs in this process."""

preparation = {"seconds": 0.0, "cpu_seconds": 0.0}
"""Preparation that is not measured."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """Time a step."""
    began = time.perf_counter()
    yield
    steps[name] = steps.get(name, 0.0) + time.perf_counter() - began


@contextmanager
def not_measured() -> Iterator[None]:
    """Leave something out of what is measured."""
    began, cpu_began = time.perf_counter(), time.process_time()
    yield
    preparation["seconds"] += time.perf_counter() - began
    preparation["cpu_seconds"] += time.process_time() - cpu_began


def main() -> None:
    """Run the job that the command line names."""
    module, function = sys.argv[1].split(":")
    getattr(import_module(f"benchmarks.jobs.{module}"), function)(Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps({"steps": steps, "preparation": preparation}), flush=True)
    # Freeing memory at the end of a process is not part of any job.
    os._exit(0)


if __name__ == "__main__":
    # Under its own name, so that it is the same module that jobs import.
    from benchmarks.job import main as job_main

    job_main()
