"""Runs that stand still while they hold the lease, as on a machine that sleeps, and what another run makes of it."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.torture import tracing
from tests.torture.compare import stored_rows
from tests.torture.forks import KILLED, Ending, ForkServer, Victim
from tests.torture.kills import Fault, Start, recover, unlike_one_run
from tests.torture.orders import Order
from tests.torture.scene import Scene

LEASE_SECONDS = 1

LONGER_SECONDS = 1.3 * LEASE_SECONDS

SELDOM = 0.01

WHO_IS_AT_WORK = "Another run is at work: hourly, at work since "

TAKEN_OVER = f"Another run took over, because this one sent no heartbeat for {LEASE_SECONDS} s"

WAITING = "Waiting for another run"


@dataclass(frozen=True, slots=True)
class _Machine:
    """A machine that runs take place on; one with a name of its own shares no lock file with the others."""

    server: ForkServer
    scene: Scene
    host_name: str = ""

    def order(self, fault: str | None = None, at: int = 0, patience_seconds: int = 30) -> Order:
        settings = {"RUN_LEASE_SECONDS": f"{LEASE_SECONDS}", "RUN_LOCK_TIMEOUT_SECONDS": f"{patience_seconds}"}
        return Order(
            str(self.scene.folder),
            fault=fault,
            at=at,
            host_name=self.host_name,
            settings=settings,
            busy_timeout_seconds=1,
        )

    def run(self, patience_seconds: int = 30) -> Ending:
        return self.server.run(self.order(patience_seconds=patience_seconds))

    def stand_still(self, at: int) -> Victim:
        """Start a run that stands still at a point, and return when it has done so for longer than a lease."""
        # One that renewed its lease just then would stand still inside that transaction, and come by other points.
        victim = self.server.start(replace(self.order("stop", at), renewals_a_lease=SELDOM))
        victim.wait_until_stopped()
        time.sleep(LONGER_SECONDS)
        return victim


def _go_on(victim: Victim) -> Ending:
    victim.send(signal.SIGCONT)
    return victim.wait()


def between_transactions(start: Start) -> list[Fault]:
    """Return the points of a run's own work at which no transaction is open, so that others can write."""
    before = ("start", *start.points)
    return [
        Fault(start, at)
        for at, label in enumerate(start.points)
        if label.startswith("stage")
        or (
            label.startswith(("load", "decide", "report"))
            and before[at].endswith((tracing.READING, tracing.AFTER_COMMIT))
        )
    ]


def inside_a_load(start: Start) -> list[Fault]:
    """Return the points at which a load has written, so that nobody else can."""
    inside = {f"load: {what}" for what in (tracing.BETWEEN_CHUNKS, tracing.BEFORE_COMMIT)}
    return [Fault(start, at) for at, label in enumerate(start.points) if label in inside]


def beside_one_that_stands_still(server: ForkServer, fault: Fault, folder: Path) -> list[str]:
    """Let a run stand still for longer than its lease: the lock file keeps another one of its machine out."""
    machine = _Machine(server, fault.start.scene.copy_to(folder))
    return _keeps_the_lease(machine, machine, fault)


def beside_one_that_writes_elsewhere(server: ForkServer, fault: Fault, folder: Path) -> list[str]:
    """The same inside a transaction and on two machines: what keeps the other one out is the transaction."""
    scene = fault.start.scene.copy_to(folder)
    return _keeps_the_lease(_Machine(server, scene, "one"), _Machine(server, scene, "two"), fault)


def _keeps_the_lease(one: _Machine, other: _Machine, fault: Fault) -> list[str]:
    first = one.stand_still(fault.at)
    second = other.run(patience_seconds=1)
    ending = _go_on(first)
    breaches = [] if ending.exit_code == 0 else [f"the first ended with {ending.exit_code}: {ending.output}"]
    if second.exit_code != 1 or WHO_IS_AT_WORK not in second.output:
        breaches.append(f"the second ended with {second.exit_code}: {second.output}")
    return breaches + unlike_one_run(one.scene.database, fault.start.undisturbed, killed=0)


def taken_over(server: ForkServer, fault: Fault, folder: Path) -> list[str]:
    """Let a run stand still until one of another machine has done its work: the first one says so and adds nothing."""
    scene = fault.start.scene.copy_to(folder)
    first = _Machine(server, scene, "one").stand_still(fault.at)
    second = _Machine(server, scene, "two").run()
    breaches = [] if second.exit_code == 0 else [f"the second ended with {second.exit_code}: {second.output}"]
    breaches += _loses(first, fault, scene)
    return breaches + unlike_one_run(scene.database, fault.start.undisturbed, killed=1)


def taken_over_by_one_that_is_killed(server: ForkServer, fault: Fault, folder: Path) -> list[str]:
    """The same with another one that has just taken the lease: what the first one has staged is not committed."""
    scene = fault.start.scene.copy_to(folder)
    first = _Machine(server, scene, "one").stand_still(fault.at)
    order = replace(_Machine(server, scene, "two").order("kill"), at_label=f"discover: {tracing.STATEMENT}")
    second = server.run(order)
    breaches = [] if second.exit_code == KILLED else [f"the second ended with {second.exit_code}: {second.output}"]
    breaches += _loses(first, fault, scene)
    return breaches + recover(server, fault.start, scene, killed=2)


def _loses(first: Victim, fault: Fault, scene: Scene) -> list[str]:
    """Let the first run continue, and return anything that it does besides saying that it was taken over."""
    before = stored_rows(scene.database)
    ending = _go_on(first)
    breaches = [told] if (told := ending.fault()) else []
    if ending.exit_code != 1 or TAKEN_OVER not in ending.output:
        breaches.append(f"the first ended with {ending.exit_code}: {ending.output}")
    if stored_rows(scene.database) != before:
        breaches.append("the first wrote although it had lost the lease")
    later = ending.points[fault.at :]
    if any(label.startswith("stage") for label in later[_first(later, "load") :]):
        breaches.append("the first took another file although it had lost the lease")
    return breaches


def _first(points: Sequence[str], step: str) -> int:
    return next((at for at, label in enumerate(points) if label.startswith(step)), len(points))


def killed_holder(server: ForkServer, fault: Fault, folder: Path) -> list[str]:
    """Kill a run that holds the lease: the next one on its machine takes over at once."""
    scene = fault.start.scene.copy_to(folder)
    server.run(Order(str(scene.folder), fault="kill", at=fault.at))
    ending = server.run(Order(str(scene.folder)))
    breaches = [] if ending.exit_code == 0 else [f"the next one ended with {ending.exit_code}: {ending.output}"]
    if WAITING in ending.output:
        breaches.append("the next one waited for the lease of one that was killed")
    return breaches + unlike_one_run(scene.database, fault.start.undisturbed, killed=1)
