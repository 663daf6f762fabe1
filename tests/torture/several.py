"""Runs that load and decide at the same time on one PostgreSQL database, over files that they share."""

import json
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, select

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.infrastructure.database import create_database_engine, read_transaction
from src.marketing_messaging_service.models import Run, RunState
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.pipeline import Pipeline
from tests.postgresql import Server
from tests.torture.forks import Ending, ForkServer, Victim
from tests.torture.orders import Order
from tests.torture.scene import Scene, empty_scene, land_all

FILES = 16
USERS_A_FILE = 12
SHARED_USERS = 3
"""Users of a file whose lines are all in the next one as well."""

CROWDS: tuple[tuple[str, ...], ...] = (
    ("hourly", "hourly"),
    ("load only", "load only", "hourly"),
    ("load only", "load only", "load only", "load only", "hourly"),
)
"""Loaders that begin at once; the last one decides beside the others, if not all do."""

SHARDS = 2
RUNS_TO_RECOVER = 4
TICK_SECONDS = 0.02

LONGEST_WAIT_SECONDS = 30
LONGEST_PAUSE_SECONDS = 0.3
"""How long after a file was loaded harm comes at most, which is about as long as the next one takes."""

Harm = Callable[[Server, Sequence[Victim], random.Random], None]


def shared_files(seed: int = 0, files: int = FILES) -> list[tuple[str, bytes]]:
    """Return raw files, each with users of its own, some of whom stand in the next one too, and two of one content.

    All of a user's events stand in one file, or in each of two, so that what becomes of them does not depend on the
    file that comes first. No two events of a user have one time.
    """
    chance = random.Random(seed)
    blocks = [[_lines_of(f"u{number}-{user}", chance) for user in range(USERS_A_FILE)] for number in range(files)]
    made = []
    for number, users in enumerate(blocks):
        lines = [line for user in (*blocks[number - 1][:SHARED_USERS], *users) for line in user]
        chance.shuffle(lines)
        lines.insert(chance.randrange(len(lines)), b'{"user_id": 7}')
        lines.insert(chance.randrange(len(lines)), b"no event")
        lines.append(lines[0])
        made.append((f"events-{number:03}.jsonl", b"\n".join(lines) + b"\n"))
    return [*made, ("events-again.jsonl", made[0][1])]


def _lines_of(user_id: str, chance: random.Random) -> list[bytes]:
    at = datetime(2026, 11, 2, chance.randrange(24), tzinfo=UTC)
    lines = []
    for number in range(chance.randrange(2, 8)):
        at += timedelta(minutes=chance.randrange(1, 700), microseconds=chance.randrange(1_000_000))
        kind = (
            "signup_completed" if number == 0 else chance.choice(["link_bank_success", "payment_failed", "app_opened"])
        )
        event: dict[str, Any] = {
            "message_id": f"{user_id}-{number}",
            "user_id": user_id,
            "event_type": kind,
            "event_timestamp": at.isoformat(timespec="microseconds"),
        }
        if kind == "signup_completed":
            event["user_traits"] = {"marketing_opt_in": chance.random() < 0.8, "country": "DE"}
        elif kind == "payment_failed":
            reason = chance.choice(["INSUFFICIENT_FUNDS", "CARD_EXPIRED"])
            event["properties"] = {"failure_reason": reason, "attempt_number": chance.randrange(1, 5)}
        lines.append(json.dumps(event).encode())
    return lines


@dataclass(frozen=True, slots=True)
class Expected:
    """What one process leaves on SQLite."""

    scene: Scene
    rows: Mapping[str, list[Any]]
    seconds: float


_BY_MESSAGE = {
    "events": "SELECT e.message_id, e.user_id, e.event_type, e.event_timestamp FROM events e",
    "event_properties": "SELECT e.message_id, p.amount, p.attempt_number, p.failure_reason FROM event_properties p "
    "JOIN events e ON e.id = p.event_id",
    "user_traits": "SELECT e.message_id, t.email, t.country, t.marketing_opt_in FROM user_traits t "
    "JOIN events e ON e.id = t.event_id",
    "rejected_rows": "SELECT f.content_hash, r.line_number, r.raw_line, r.reason_code FROM rejected_rows r "
    "JOIN loads l ON l.id = r.load_id JOIN source_files f ON f.id = l.source_file_id",
    "send_requests": "SELECT e.message_id, s.user_id, s.template_name, s.channel, s.rule_name, s.dedupe_key "
    "FROM send_requests s JOIN events e ON e.id = s.event_id",
    "suppressions": "SELECT e.message_id, s.user_id, s.template_name, s.suppression_reason, s.rule_name, b.message_id "
    "FROM suppressions s JOIN events e ON e.id = s.event_id LEFT JOIN send_requests r "
    "ON r.id = s.blocked_by_send_request_id LEFT JOIN events b ON b.id = r.event_id",
    "files": "SELECT f.content_hash, sum(l.read_count), sum(l.inserted_count + l.duplicate_count), "
    "sum(l.rejected_count), sum(l.blank_count) FROM source_files f JOIN loads l ON l.source_file_id = f.id "
    "GROUP BY f.content_hash",
}
"""What was loaded and decided, by the producers' own ids, and of each content what its loads counted.

Which of two files brought an event that stands in both follows from which was loaded first.
"""

_EVENT_KEY = re.compile(r"^event:\d+:")


def everything(url: str, folder: Path) -> Mapping[str, list[Any]]:
    """Return what was loaded and decided, without ids and clocks."""
    pipeline = Pipeline(folder, Path(), url)
    found = {name: [tuple(map(_plain, row)) for row in pipeline.rows(sql)] for name, sql in _BY_MESSAGE.items()}
    pipeline.engine.dispose()
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def _plain(value: Any) -> Any:
    """Return a value as both kinds of database have it: sums are decimals on a server, and some keys name an id."""
    if isinstance(value, Decimal) and value == int(value):
        return int(value)
    return _EVENT_KEY.sub("event:", value) if isinstance(value, str) else value


def expected(forks: ForkServer, folder: Path, files: Sequence[tuple[str, bytes]], **sizes: Any) -> Expected:
    """Do one run by itself on SQLite, with other sizes of its chunks where such are given."""
    scene = land_all(empty_scene(folder / "scene"), files)
    ending = Victim(forks, Order(str(scene.folder), is_traced=False, **sizes)).wait()
    assert ending.exit_code == 0, ending.output
    url = scene.settings()["DATABASE_URL"]
    return Expected(scene, everything(url, folder / "read"), ending.seconds)


def order(scene: Scene, url: str, job: str) -> Order:
    """Return the order for one of several runs."""
    settings = {"DATABASE_URL": url, "SEVERAL_WRITERS": "true", "DECIDE_SHARDS": f"{SHARDS}"}
    return Order(str(scene.folder), job=job, settings=settings, is_traced=False, most_files=2)


def finish(forks: ForkServer, scene: Scene, url: str) -> str | None:
    """Do runs until everything is loaded and decided; return what went wrong where they do not get there.

    The second of them decides what was loaded only.
    """
    endings: list[Ending] = []
    for _ in range(RUNS_TO_RECOVER):
        endings = [Victim(forks, order(scene, url, job)).wait() for job in ("hourly", "backfill")]
        if all(ending.exit_code == 0 for ending in endings):
            return None
    return f"never recovered: {[ending.output for ending in endings]}"


def breaches(url: str, wanted: Expected, folder: Path) -> list[str]:
    """Return everything that is not as one process leaves it, or that does not hold."""
    found = everything(url, folder)
    others = [f"{name} is another" for name in found if found[name] != wanted.rows[name]]
    report = check_database(url, (*INVARIANTS, *AUDIT))
    others += [f"{each.invariant}: {each.examples or each.problem}" for each in report.broken]
    with read_transaction(create_database_engine(url)) as connection:
        running = connection.execute(select(Run.id).where(Run.state == RunState.RUNNING)).scalars().all()
    return others + [f"runs.id {run_id} is recorded as running" for run_id in running]


def sessions_at(server: Server, url: str, statement: str) -> int:
    """Return how many sessions of a database are at some statement."""
    found: int = server.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = %s AND query LIKE %s",
        (make_url(url).database, statement),
    )
    return found


def wait_for(is_so: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never was"
        threading.Event().wait(TICK_SECONDS)


def kill_one(_server: Server, victims: Sequence[Victim], chance: random.Random) -> None:
    """End one of the runs as a power cut of its machine would."""
    _send(chance.choice(victims), signal.SIGKILL)


def kill_all_but_one(_server: Server, victims: Sequence[Victim], chance: random.Random) -> None:
    """End all of the runs but one."""
    for victim in chance.sample(victims, len(victims) - 1):
        _send(victim, signal.SIGKILL)


def stop_one(_server: Server, victims: Sequence[Victim], chance: random.Random) -> None:
    """Ask one of the runs to end, as Ctrl-C does."""
    _send(chance.choice(victims), signal.SIGTERM)


def cut_connections(server: Server, _victims: Sequence[Victim], _chance: random.Random) -> None:
    """End every session of the server but the one that does it."""
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'")


def cut_places(server: Server, _victims: Sequence[Victim], _chance: random.Random) -> None:
    """End the sessions by which runs hold their places, and leave those at work."""
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'")


def kill_server(server: Server, _victims: Sequence[Victim], _chance: random.Random) -> None:
    """Kill the first process of the server, and start it again."""
    server.kill()
    server.start()


def _wait_for_loads(server: Server, url: str, count: int) -> None:
    """Wait until so many files are loaded, so that harm comes as often to any part of the work."""
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    loaded = 0
    while loaded < count and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)
        with suppress(Exception):
            # The table, or the database for that long, may not be there yet.
            loaded = server.ask("SELECT count(*) FROM loads", database=str(make_url(url).database))


def _send(victim: Victim, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        victim.send(number)


HARMS: tuple[Harm, ...] = (kill_one, kill_all_but_one, stop_one, cut_connections, cut_places, kill_server)


def survive(
    forks: ForkServer,
    server: Server,
    wanted: Expected,
    jobs: Sequence[str],
    harm: Harm | None,
    chance: random.Random,
    folder: Path,
) -> tuple[int, list[str]]:
    """Let several runs come to harm at some moment, and end; return how many were hit, and all that is not right."""
    url = server.new_database()
    victims = [Victim(forks, order(wanted.scene, url, job)) for job in jobs]
    if harm is not None:
        _wait_for_loads(server, url, chance.randrange(len(wanted.rows["files"]) + 1))
        time.sleep(chance.uniform(0, LONGEST_PAUSE_SECONDS))
        harm(server, victims, chance)
    endings = [victim.wait() for victim in victims]
    found = [fault for ending in endings if (fault := ending.fault()) is not None]
    if (fault := finish(forks, wanted.scene, url)) is not None:
        found.append(fault)
    else:
        found += breaches(url, wanted, folder)
        server.drop(url)
    hit = sum(ending.exit_code != 0 for ending in endings)
    name = harm.__name__ if harm else "no harm"
    return hit, [f"{name} among {', '.join(jobs)}: {each}" for each in found]
