"""One and two loaders, one and two shards, on PostgreSQL: `python -m benchmarks.several_writers`.

Each loader is a running process that stages and loads its share of the files; shards are decided in threads of one
process. Seconds are wall time, since saving it is the point of having several, and are meaningful only on a machine
with free cores; CPU seconds are the server's.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from sqlalchemy import make_url

from benchmarks.jobs.ours import RULES_PATH
from benchmarks.postgresql import Cost, server_cpu
from benchmarks.raw_events import write_raw_file
from src.marketing_messaging_service.decisions import decide, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine, utc_now
from src.marketing_messaging_service.infrastructure.migrations import upgrade_to_head
from src.marketing_messaging_service.infrastructure.several_writers import create_engine_beside_others
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.staging import discover, stage_file
from tests.postgresql import Server, new_server

FILES = 8
NUMBERS = (1, 2)


def take_share(url: str, landing: Path, number: int, loader_count: int) -> int:
    """Stage and load every file whose turn it is, as one of several loaders; return how many they were."""
    engine = create_engine_beside_others(url) if loader_count > 1 else create_database_engine(url)
    # By what lies in landing, because another loader may have loaded some of it before this one looks.
    own = set(sorted(path.name for path in landing.iterdir())[number::loader_count])
    files = [file for file in discover(landing, known_files(engine)).new_files if file.display_path in own]
    for file in files:
        with closing(stage_file(file)) as staged:
            load_file(engine, staged, as_of=utc_now())
    engine.dispose()
    return len(files)


@contextmanager
def measured(server: Server) -> Iterator[Cost]:
    """Measure what is done inside: wall time, and the server's CPU seconds."""
    cost = Cost()
    began, before = time.perf_counter(), server_cpu(server)
    yield cost
    cost.seconds = time.perf_counter() - began
    # A closed connection is counted once its process has ended.
    time.sleep(0.2)
    cost.cpu = server_cpu(server) - before


def run(line_count: int, rounds: int) -> dict[str, list[Cost]]:
    """Measure everything several times in turn."""
    found: dict[str, list[Cost]] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        new_server(careful=True) as server,
        ProcessPoolExecutor(max(NUMBERS), mp_context=get_context("spawn")) as loaders,
    ):
        landing = Path(name) / "landing"
        landing.mkdir()
        for number in range(FILES):
            write_raw_file(landing / f"{number}.jsonl", line_count // FILES, seed=number, day=number)
        template = server.new_database()
        upgrade_to_head(template)
        # Both are running, and have imported everything, before the first is measured.
        list(loaders.map(time.sleep, [1.0] * max(NUMBERS)))
        _load(loaders, server, template, landing, max(NUMBERS))
        for _ in range(rounds):
            for count in NUMBERS:
                url, cost = _load(loaders, server, template, landing, count)
                found.setdefault(f"load by {count}", []).append(cost)
                found.setdefault(f"decide in {count}", []).append(_decide(server, url, count))
                server.drop(url)
    return found


def _load(loaders: ProcessPoolExecutor, server: Server, template: str, landing: Path, count: int) -> tuple[str, Cost]:
    url = server.new_database(str(make_url(template).database))
    with measured(server) as cost:
        load_by(loaders, url, landing, count)
    return url, cost


def load_by(loaders: ProcessPoolExecutor, url: str, landing: Path, count: int) -> None:
    """Have a number of running loaders load the files of a folder at once."""
    file_count = len(list(landing.iterdir()))
    shares = [loaders.submit(take_share, url, landing, number, count) for number in range(count)]
    if sum(share.result() for share in shares) != file_count:
        raise AssertionError("not every file was taken")


def _decide(server: Server, url: str, shard_count: int) -> Cost:
    with measured(server) as cost:
        decide_in(url, shard_count)
    return cost


def decide_in(url: str, shard_count: int) -> None:
    """Decide what is loaded, in a number of shards at once."""
    engine = create_engine_beside_others(url)
    decide(engine, read_rules(RULES_PATH), decided_at=utc_now(), shard_count=shard_count)
    engine.dispose()


def told(found: dict[str, list[Cost]]) -> Sequence[str]:
    """Return a line for each measurement, medians, and the ratios that are asked for."""
    seconds = {what: median(cost.seconds for cost in costs) for what, costs in found.items()}
    lines = [
        f"{what:<14}{seconds[what]:>8.2f} s{median(cost.cpu for cost in costs):>8.2f} CPU s of the server"
        for what, costs in found.items()
    ]
    for what in ("load by", "decide in"):
        lines.append(f"{what} 2 / 1: {seconds[f'{what} 2'] / seconds[f'{what} 1']:.2f} of the time")
    return lines


def main() -> int:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several_writers", description=__doc__)
    parser.add_argument("--lines", type=int, default=400_000, help="lines of all raw files (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is done (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    options = parser.parse_args()
    found = run(options.lines, options.rounds)
    print("\n".join(told(found)))
    if options.json:
        form = {what: [{"cpu": each.cpu, "seconds": each.seconds} for each in costs] for what, costs in found.items()}
        options.json.write_text(json.dumps(form, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
