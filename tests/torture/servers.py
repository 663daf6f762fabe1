"""Runs on a PostgreSQL server: clients and servers killed, and connections cut, in the midst of a run."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.infrastructure.database import Base, create_database_engine, read_transaction
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.postgresql import Server
from tests.torture.forks import ForkServer, Victim
from tests.torture.orders import Order
from tests.torture.scene import Scene

RUNS_TO_RECOVER = 3

COMPARED = (
    "events",
    "event_properties",
    "user_traits",
    "rejected_rows",
    "send_requests",
    "suppressions",
    "conflicts",
    "unknown_keys",
    "waiting_matches",
)
"""The tables that say what was loaded and decided."""

_OF_THE_RUN = frozenset({"created_at", "decided_at", "load_id", "run_id", "batch_id", "ruleset_id"})
"""Columns that say when something was done, or by which of several runs."""

Harm = Callable[[Server, Victim], None]

Rows = Mapping[str, list[tuple[object, ...]]]


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a run leaves when nothing happens to it."""

    template: str
    """A database that an earlier run left, from which it begins; an empty one where there is none."""
    rows: Rows
    seconds: float


def rows_of(url: str) -> Rows:
    """Return what was loaded and decided, ids included."""
    with read_transaction(create_database_engine(url)) as connection:
        found = {}
        for name in COMPARED:
            table = Base.metadata.tables[name]
            columns = [column for column in table.columns if column.name not in _OF_THE_RUN]
            rows = connection.execute(select(*columns).order_by(*table.primary_key))
            found[name] = [tuple(row) for row in rows]
        return found


def order(scene: Scene, url: str) -> Order:
    """Return the order for an hourly run on a server."""
    return Order(str(scene.folder), settings={"DATABASE_URL": url}, is_traced=False)


def undisturbed(forks: ForkServer, server: Server, scene: Scene, template: str = "template0") -> Undisturbed:
    """Do a run to which nothing happens."""
    url = server.new_database(template)
    ending = Victim(forks, order(scene, url)).wait()
    assert ending.exit_code == 0, ending.output
    return Undisturbed(template, rows_of(url), ending.seconds)


def kill_client(_server: Server, victim: Victim) -> None:
    """End the run as a power cut of its machine would."""
    victim.send(signal.SIGKILL)


def stop_client(_server: Server, victim: Victim) -> None:
    """Ask the run to end, as Ctrl-C does."""
    victim.send(signal.SIGTERM)


def cut_connections(server: Server, _victim: Victim) -> None:
    """End every session of the server but the one that does it."""
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'")


def stop_server(server: Server, _victim: Victim) -> None:
    """Stop the server without letting anything end, and start it again."""
    server.stop("immediate")
    server.start()


def kill_server(server: Server, _victim: Victim) -> None:
    """Kill the first process of the server, and start it again."""
    server.kill()
    server.start()


HARMS: tuple[Harm, ...] = (
    kill_client,
    stop_client,
    cut_connections,
    stop_server,
    kill_server,
)


def survive(
    forks: ForkServer,
    server: Server,
    scene: Scene,
    start: Undisturbed,
    harm: Harm,
    chance: random.Random,
) -> tuple[bool, list[str]]:
    """Let a run come to harm at some moment and run again; return whether it was hit, and all that is not as it was."""
    url = server.new_database(start.template)
    victim = Victim(forks, order(scene, url))
    time.sleep(chance.uniform(0, start.seconds))
    harm(server, victim)
    ending = victim.wait()
    # A process that has not begun to listen for signals, let alone to say anything, is ended by one as by a kill.
    had_not_begun = ending.exit_code == -signal.SIGTERM and not ending.output.strip()
    breaches = [fault] if not had_not_begun and (fault := ending.fault()) is not None else []
    breaches += not_recovered(forks, scene, url, start)
    server.drop(url)
    for left in scene.folder.glob("*-*.txt"):
        left.unlink()
    shutil.rmtree(scene.folder / "reports", ignore_errors=True)
    return ending.exit_code != 0, [f"{harm.__name__} after {ending.last_point}: {each}" for each in breaches]


def not_recovered(forks: ForkServer, scene: Scene, url: str, start: Undisturbed) -> list[str]:
    """Run again, a few times if need be, and return all that is not as an undisturbed run leaves it."""
    for _ in range(RUNS_TO_RECOVER):
        last = Victim(forks, order(scene, url)).wait()
        if last.exit_code == 0:
            break
    else:
        return [f"never recovered: {last.output}"]
    found = rows_of(url)
    breaches = [f"{name} is another" for name in COMPARED if found[name] != start.rows[name]]
    report = check_database(url, (*INVARIANTS, *AUDIT))
    return [*breaches, *(f"{each.invariant}: {each.examples or each.problem}" for each in report.broken)]
