"""Backfills that are killed and done again leave what they leave when nothing happens to them."""

from collections.abc import Mapping
from pathlib import Path

from tests.torture.compare import DECISIONS, differences, stored_rows
from tests.torture.forks import KILLED, ForkServer
from tests.torture.kills import Fault, Start, Survival, recover, self_check
from tests.torture.orders import Order

PLANS: Mapping[str, tuple[str, ...]] = {
    "backfilled": ("backfill",),
    "loaded, then decided": ("load only", "backfill"),
    "an hour, then the rest": ("one hour", "hourly"),
    "an hour held, the rest, the hour": ("one hour only loaded", "hourly", "one hour"),
    "previewed": ("preview",),
    "expired, then decided again": ("old ones expired", "decided again"),
    "taken, then replayed": ("hourly", "replayed"),
}
"""Runs one after the other, by what becomes of the events."""


def beginnings(
    server: ForkServer, start: Start, folder: Path, plans: Mapping[str, tuple[str, ...]] = PLANS
) -> dict[str, Start]:
    """Return what each run of each plan can begin with, by plan and run, all of them from one beginning."""
    found = {}
    for plan, jobs in plans.items():
        scene = start.scene
        scenes, points, seconds = [], [], []
        for number, job in enumerate(jobs):
            scenes.append(scene)
            scene = scene.copy_to(folder / f"{plan}, {number} done")
            ending = server.run(Order(str(scene.folder), job))
            assert ending.exit_code == 0, ending.output
            points.append(ending.points)
            seconds.append(ending.seconds)
        for number, job in enumerate(jobs):
            name = f"{plan}: {job}"
            found[name] = Start(name, scenes[number], scene.database, points[number], seconds[number], jobs[number:])
    return found


def same_decisions(start: Start, whole: Start) -> list[str]:
    """Return which decisions of a plan that takes everything are not those of a single run."""
    return differences(start.undisturbed, whole.undisturbed, DECISIONS)


def kill_before_the_next(server: ForkServer, fault: Fault, whole: Start, folder: Path) -> Survival:
    """Kill a run that only loads, then do one that decides as well: its decisions are those of one run."""
    scene = fault.start.scene.copy_to(folder)
    killed = server.run(Order(str(scene.folder), fault.start.jobs[0], fault="kill", at=fault.at))
    ending = server.run(Order(str(scene.folder), fault.start.jobs[1]))
    breaches = [f"ended with {ending.exit_code}: {ending.output}"] if ending.exit_code else []
    breaches += differences(scene.database, whole.undisturbed, DECISIONS) + self_check(scene.database)
    return Survival(fault.label, killed.exit_code == KILLED, tuple(breaches))


def kill_preview(server: ForkServer, fault: Fault, folder: Path) -> Survival:
    """Kill a preview, then let one come to its end: neither leaves a row other than it was."""
    scene = fault.start.scene.copy_to(folder)
    before = stored_rows(scene.database)
    killed = server.run(Order(str(scene.folder), "preview", fault="kill", at=fault.at))
    breaches = [] if stored_rows(scene.database) == before else ["the killed preview left other rows"]
    breaches += recover(server, fault.start, scene, killed=0)
    if stored_rows(scene.database) != before:
        breaches.append("the preview left other rows")
    return Survival(fault.label, killed.exit_code == KILLED, tuple(breaches))
