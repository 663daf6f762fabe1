"""Loading and deciding on PostgreSQL, beside the floor and beside SQLite: `python -m benchmarks.postgresql`.

The floor of loading is the server's own COPY of prepared files into the same tables with the same indexes; that of
deciding is the four rules by hand, in SQL. CPU seconds are those of client and server together; they repeat within a
tenth, which wall time on a busy machine does not.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlalchemy import make_url

from benchmarks.jobs.floor import SEND, SUPPRESS
from benchmarks.jobs.ours import RULES_PATH
from benchmarks.raw_events import write_raw_file
from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.staging import discover, stage_file
from tests.postgresql import Server, new_server

LEDGER = ("source_files", "loads")
"""The rows that must exist before events can."""

EVENTS = ("events", "event_properties", "user_traits")

MATCHES = """
CREATE TEMPORARY TABLE matches AS
SELECT row_number() OVER (ORDER BY event_timestamp, event_id) AS sequence, m.* FROM (
SELECT e.id AS event_id, e.user_id, e.event_timestamp, 'welcome_email' AS rule_name,
    'WELCOME_EMAIL' AS template_name, 'email' AS channel, 'once_ever' AS mode, 'ever' AS dedupe_key
FROM events e JOIN user_traits t ON t.event_id = e.id
WHERE e.event_type = 'signup_completed' AND t.marketing_opt_in
UNION ALL
SELECT e.id, e.user_id, e.event_timestamp, 'bank_link_nudge', 'BANK_LINK_NUDGE_SMS', 'sms', 'once_ever', 'ever'
FROM events e
WHERE e.event_type = 'link_bank_success' AND EXISTS (
    SELECT 1 FROM events p WHERE p.user_id = e.user_id AND p.event_type = 'signup_completed'
    AND p.event_timestamp BETWEEN e.event_timestamp - interval '1 day' AND e.event_timestamp)
UNION ALL
SELECT e.id, e.user_id, e.event_timestamp, 'insufficient_funds_email', 'INSUFFICIENT_FUNDS_EMAIL', 'email',
    'once_per_calendar_day', 'day:' || to_char(e.event_timestamp, 'YYYY-MM-DD')
FROM events e JOIN event_properties p ON p.event_id = e.id
WHERE e.event_type = 'payment_failed' AND p.failure_reason = 'INSUFFICIENT_FUNDS'
UNION ALL
SELECT e.id, e.user_id, e.event_timestamp, 'high_risk_alert', 'HIGH_RISK_ALERT', 'internal', 'none',
    'event:' || e.id || ':high_risk_alert'
FROM events e JOIN event_properties p ON p.event_id = e.id
WHERE e.event_type = 'payment_failed' AND p.attempt_number >= 3) AS m
"""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Cost:
    """What something took."""

    cpu: float = 0.0
    seconds: float = 0.0


def server_cpu(server: Server) -> float:
    """Return the CPU seconds of the server's processes, those that have ended included."""
    first = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    total = 0
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.name) == first:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == first:
            total += sum(map(int, fields[11:13]))
    return total / _TICKS


@contextmanager
def measured(server: Server | None) -> Iterator[Cost]:
    """Measure what is done inside, by this process and by the server."""

    def cpu() -> float:
        return time.process_time() + (server_cpu(server) if server else 0.0)

    cost = Cost()
    began, before = time.perf_counter(), cpu()
    yield cost
    cost.seconds = time.perf_counter() - began
    if server:
        # A closed connection is counted once its process has ended.
        time.sleep(0.2)
    cost.cpu = cpu() - before


def ours(raw_file: Path, url: str, server: Server | None) -> Mapping[str, Cost]:
    """Load a raw file, and decide it, as a run does; what was loaded on a server is left in files for the floor."""
    engine = create_database_engine(url)
    [file] = discover(raw_file.parent, known_files(engine)).new_files
    staged = stage_file(file)
    with measured(server) as load, closing(staged):
        load_file(engine, staged, as_of=utc_now())
    if server:
        write_rows(server, url)
    with measured(server) as decide:
        decide_pending(engine, read_rules(RULES_PATH), decided_at=utc_now())
    engine.dispose()
    return {"load": load, "decide": decide}


def write_rows(server: Server, url: str) -> None:
    """Have the server write the rows of a loaded database into its own files."""
    for table in (*LEDGER, *EVENTS):
        rows = f"(SELECT * FROM {table} ORDER BY id)"  # noqa: S608  names of this file
        server.execute(f"COPY {rows} TO '{server.folder}/{table}.rows'", _name(url))


def floor(server: Server, url: str) -> Mapping[str, Cost]:
    """Have the server copy those files into the tables of another database, and decide by hand."""
    for table in LEDGER:
        server.execute(f"COPY {table} FROM '{server.folder}/{table}.rows'", _name(url))
    with measured(server) as load:
        copies = "; ".join(f"COPY {table} FROM '{server.folder}/{table}.rows'" for table in EVENTS)
        server.execute(f"BEGIN; {copies}; COMMIT", _name(url))
    server.execute(
        "UPDATE loads SET state = 'loaded', batch_id = NULL, decided_at = NULL, ruleset_id = NULL", _name(url)
    )
    with measured(server) as decide:
        server.execute(";".join(("BEGIN", MATCHES, "ANALYZE matches", SEND, SUPPRESS, "COMMIT")), _name(url))
    return {"load": load, "decide": decide}


def _name(url: str) -> str:
    return str(make_url(url).database)


def run(line_count: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Measure everything several times, and return the medians by who, what and measure."""
    found: dict[str, dict[str, list[Cost]]] = {}
    with tempfile.TemporaryDirectory() as name, new_server(careful=True) as server:
        raw_file = Path(name) / "landing" / "events.jsonl"
        raw_file.parent.mkdir()
        write_raw_file(raw_file, line_count, seed=1, day=0)
        empty = Path(name) / "empty.db"
        upgrade_to_head(f"sqlite:///{empty}")
        template = server.new_database()
        upgrade_to_head(template)
        for number in range(rounds):
            file = Path(shutil.copyfile(empty, Path(name) / f"{number}.db"))
            url, below = (server.new_database(_name(template)) for _ in range(2))
            costs = {"PostgreSQL": ours(raw_file, url, server), "SQLite": ours(raw_file, f"sqlite:///{file}", None)}
            costs["floor"] = floor(server, below)
            for who, steps in costs.items():
                for step, cost in steps.items():
                    found.setdefault(who, {}).setdefault(step, []).append(cost)
            for each in (url, below):
                server.drop(each)
    return {
        who: {
            step: {
                "cpu": round(median(cost.cpu for cost in costs), 3),
                "seconds": round(median(cost.seconds for cost in costs), 3),
            }
            for step, costs in steps.items()
        }
        for who, steps in found.items()
    }


def main() -> int:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql", description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000, help="lines of the raw file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is done (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    options = parser.parse_args()
    found = run(options.lines, options.rounds)
    for step in ("load", "decide"):
        for who in ("PostgreSQL", "floor", "SQLite"):
            cost = found[who][step]
            print(f"{step:<8}{who:<12}{cost['cpu']:>8.2f} CPU s{cost['seconds']:>8.2f} s")
        for other in ("floor", "SQLite"):
            ratio = found["PostgreSQL"][step]["cpu"] / found[other][step]["cpu"]
            print(f"{step:<8}PostgreSQL / {other}: {ratio:.2f} of CPU")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
