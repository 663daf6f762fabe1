"""Killed anywhere and run again, the database is what an undisturbed run leaves."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from alembic import command

from src.marketing_messaging_service.backtesting import Question, backtest
from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.infrastructure.migrations import alembic_config
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.torture import tracing
from tests.torture.compare import differences, run_record_breaches
from tests.torture.forks import KILLED, Ending, ForkServer
from tests.torture.orders import Order
from tests.torture.scene import Scene, empty_scene, land_all, sample_files, small_files

OLDEST_REVISION = "0001"
"""The schema from before there was a ledger, from which a run has to migrate the rows that it finds."""

STOPPED = "Stopped by SIGTERM at a safe point."


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with, and what it leaves when nothing happens to it."""

    name: str
    scene: Scene
    undisturbed: Path
    """The database that an undisturbed run leaves."""
    points: tuple[str, ...]
    """The points that it comes by."""
    seconds: float
    jobs: tuple[str, ...] = ("hourly",)
    """The run that something happens to, and those that follow it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A point of a run at which something is to happen."""

    start: Start
    at: int

    @property
    def label(self) -> str:
        """The step and what is done in it at this point."""
        return self.start.points[self.at]

    @property
    def leaves_a_killed_run(self) -> bool:
        """Whether a run that is killed here has said that it began, and has not said how it ended."""
        if self.start.jobs[0] == "preview":
            return False
        points = self.start.points
        began = points.index(f"record: {tracing.BEFORE_COMMIT}")
        ended = points.index(f"report: {tracing.BEFORE_COMMIT}")
        return began < self.at <= ended

    @property
    def is_past_looking(self) -> bool:
        """Whether a run does not look any more from here on whether it was asked to stop."""
        return not any(
            label.startswith(("discover", "stage", "load", "decide")) for label in self.start.points[self.at :]
        )


@dataclass(frozen=True, slots=True)
class Survival:
    """What became of a scene to which something happened."""

    point: str
    """Where the process was when it ended."""
    was_hit: bool
    """Whether the fault ended the process; a signal may come too late."""
    breaches: tuple[str, ...]


def starts(server: ForkServer, folder: Path) -> list[Start]:
    """Return the beginnings: no database, an older schema with rows, files taken before, and many small files."""
    files = sample_files()
    nothing = land_all(empty_scene(folder / "nothing"), files)
    history = land_all(empty_scene(folder / "history"), files[:3])
    _succeed(server, Order(str(history.folder)))
    older = history.copy_to(folder / "older")
    command.downgrade(alembic_config(older.settings()["DATABASE_URL"]), OLDEST_REVISION)
    for path in older.landing.iterdir():
        # Without a ledger its events would be taken for new ones.
        path.unlink()
    for scene in (history, older):
        land_all(scene, files[3:])
    small = land_all(empty_scene(folder / "small"), small_files()[:4])
    _succeed(server, Order(str(small.folder)))
    land_all(small, small_files()[4:])
    scenes = {"no database": nothing, "older schema": older, "taken before": history, "many small files": small}
    return [_start(server, name, scene, folder) for name, scene in scenes.items()]


def start_at(server: ForkServer, folder: Path, revision: str) -> Start:
    """Return a beginning of its own: a database at a revision that knows the first files."""
    files = sample_files()
    scene = land_all(empty_scene(folder / f"at {revision}"), files[:3])
    _succeed(server, Order(str(scene.folder)))
    command.downgrade(alembic_config(scene.settings()["DATABASE_URL"]), revision)
    return _start(server, f"at {revision}", land_all(scene, files[3:]), folder)


def _start(server: ForkServer, name: str, scene: Scene, folder: Path) -> Start:
    undisturbed = scene.copy_to(folder / f"{name}, undisturbed")
    ending = _succeed(server, Order(str(undisturbed.folder)))
    return Start(name, scene, undisturbed.database, ending.points, ending.seconds)


def _succeed(server: ForkServer, order: Order) -> Ending:
    ending = server.run(order)
    assert ending.exit_code == 0, ending.output
    return ending


def spread(start: Start, most_of_a_label: int) -> list[Fault]:
    """Return points of every label that a start has, some of each from its first to its last."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for position, label in enumerate(start.points):
        by_label[label].append(position)
    return [
        Fault(start, positions[place])
        for positions in by_label.values()
        for place in _places(len(positions), most_of_a_label)
    ]


def _places(count: int, most: int) -> Iterable[int]:
    """Return up to `most` of the numbers below `count`, the first and the last among them."""
    if count <= most:
        return range(count)
    return sorted({round(step * (count - 1) / max(1, most - 1)) for step in range(most)})


def kill_at(server: ForkServer, fault: Fault, folder: Path) -> Survival:
    """Let a run kill itself at a point, then run again."""
    scene = fault.start.scene.copy_to(folder)
    killed = server.run(Order(str(scene.folder), fault.start.jobs[0], fault="kill", at=fault.at))
    breaches = [] if killed.exit_code == KILLED else [f"not killed at {fault.label}: {killed.output}"]
    breaches += recover(server, fault.start, scene, killed=int(fault.leaves_a_killed_run), is_checked=False)
    return Survival(fault.label, killed.exit_code == KILLED, tuple(breaches))


def kill_at_random(server: ForkServer, start: Start, folder: Path, chance: random.Random) -> Iterator[Survival]:
    """Kill up to three runs one after the other at any moment, then run to the end; tell of each kill."""
    scene = start.scene.copy_to(folder)
    kills = [
        server.start(Order(str(scene.folder), start.jobs[0])).kill_after(chance.uniform(0, start.seconds * 1.05))
        for _ in range(chance.choice((1, 1, 2, 3)))
    ]
    breaches = [fault for kill in kills if (fault := kill.fault())] + recover(server, start, scene)
    for number, kill in enumerate(kills):
        yield Survival(kill.last_point, kill.exit_code == KILLED, tuple(breaches) if number == 0 else ())


def terminate_at(server: ForkServer, fault: Fault, folder: Path) -> Survival:
    """Ask a run to stop at a point; it says so and ends with 1 unless it has nothing left to do. Then run again."""
    scene = fault.start.scene.copy_to(folder)
    ending = server.run(Order(str(scene.folder), fault.start.jobs[0], fault="terminate", at=fault.at))
    breaches = [fault_told] if (fault_told := ending.fault()) else []
    stopped = ending.exit_code == 1 and STOPPED in ending.output
    if not stopped and not (fault.is_past_looking and ending.exit_code == 0):
        breaches.append(f"SIGTERM at {fault.label} ended with {ending.exit_code}: {ending.output}")
    return Survival(fault.label, stopped, (*breaches, *recover(server, fault.start, scene, killed=0)))


def recover(
    server: ForkServer, start: Start, scene: Scene, *, killed: int | None = None, is_checked: bool = True
) -> list[str]:
    """Run again undisturbed, and return what is not as an undisturbed run leaves it.

    `killed` is how many runs must be on record as killed, None when nobody knows. Without `is_checked` there is no
    self-check, which costs as much as a run: rows that are equal to those of an undisturbed one pass it as they do.
    """
    endings = [server.run(Order(str(scene.folder), job)) for job in start.jobs]
    breaches = [f"a run after it ended with {each.exit_code}: {each.output}" for each in endings if each.exit_code]
    breaches += unlike_undisturbed(scene.database, start.undisturbed, killed=killed)
    breaches += [f"{left.name} was left" for left in scene.folder.glob("messaging.db.before-migration*")]
    return breaches + (self_check(scene.database) if is_checked else [])


def unlike_one_run(database: Path, undisturbed: Path, *, killed: int | None = None) -> list[str]:
    """Return what of a database at rest is not as an undisturbed run leaves it, or does not pass the self-check."""
    return unlike_undisturbed(database, undisturbed, killed=killed) + self_check(database)


def unlike_undisturbed(database: Path, undisturbed: Path, *, killed: int | None = None) -> list[str]:
    """Return what of a database at rest is not as an undisturbed run leaves it."""
    return differences(database, undisturbed) + run_record_breaches(database, killed=killed)


def self_check(database: Path) -> list[str]:
    """Return what the self-check finds broken."""
    report = check_database(url_of(database), (*INVARIANTS, *AUDIT))
    found = [f"self-check: {finding.invariant}: {finding.examples or finding.problem}" for finding in report.broken]
    return found or replay_check(database)


def replay_check(database: Path) -> list[str]:
    """Return what comes out otherwise, and not because of late events, when the recorded batches are decided once more.

    Where nothing was decided there is nothing to decide once more.
    """
    try:
        with backtest(url_of(database), Question()) as found:
            count = found.difference.unexplained_count
            some = [f"{each.rule_name} on {each.message_id}" for each in islice(found.changes(), 3)] if count else []
    except ParameterError:
        return []
    return [f"replay: {count} decisions are others than those that stand, such as {', '.join(some)}"] if count else []


def count_by_point(survivals: Sequence[Survival]) -> Counter[str]:
    """Return how many processes ended at each point."""
    return Counter(survival.point for survival in survivals if survival.was_hit)


def breaches_of(survivals: Sequence[Survival]) -> list[str]:
    """Return everything that was not as it should be, with the point that it followed from."""
    return [f"{survival.point}: {breach}" for survival in survivals for breach in survival.breaches]
