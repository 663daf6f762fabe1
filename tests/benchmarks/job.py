"""One job in a process of its own: `python -m tests.benchmarks.job <module>:<function> <raw file> <database>`.

Its last line of output is what it measured, as JSON. Importing is not part of the time.
"""

import json
import sqlite3
import sys
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Run the job that the command line names."""
    module, function = sys.argv[1].split(":")
    raw_file, database = Path(sys.argv[2]), Path(sys.argv[3])
    job = getattr(import_module(f"tests.benchmarks.jobs.{module}"), function)
    cpu_before, before = time.process_time(), time.perf_counter()
    steps = job(raw_file, database)
    seconds, cpu_seconds = time.perf_counter() - before, time.process_time() - cpu_before
    result = {"seconds": seconds, "cpu_seconds": cpu_seconds, "steps": steps, "events": _event_count(database)}
    print(json.dumps(result))


def _event_count(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


if __name__ == "__main__":
    main()
