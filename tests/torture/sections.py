"""The sections of the long form: each does one kind of harm many times and reports the result."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from random import Random

from tests.dask_cluster import Cluster
from tests.postgresql import PACKAGE, new_server
from tests.torture import (
    backfills,
    crowds,
    dask_runs,
    flow,
    hostile,
    kills,
    leases,
    servers,
    several,
    surroundings,
    traps,
    waits,
)
from tests.torture.compare import differences
from tests.torture.forks import Ending, ForkServer
from tests.torture.hostile import Bomb
from tests.torture.kills import Fault, Start, Survival, recover, spread
from tests.torture.orders import AS_IN_EARNEST, Order
from tests.torture.rig import Rig, Verdict
from tests.torture.scene import Scene, empty_scene, land_all, sample_files

KILLS_AT_A_POINT = 4
REVISION_BEFORE_TEXT = "0009"
"""The revision before tables were changed in place."""

RANDOM_ROUNDS = 12
"""For each beginning, each of one to three kills."""

ROUNDS_OF_WAITS = 4
"""For each run of the plan, each of one to three kills."""

SIGTERMS_AT_A_POINT = 1
KILLS_AT_A_POINT_OF_A_BACKFILL = 1
KILLS_WHILE_DECIDING_WAITS = 6
STANDSTILLS = 4
"""Of each kind."""

CROWDS = 50
CROWDS_WITHOUT_LOCK = 15
MIGRATIONS_AT_ONCE = 15
WRITE_LOCK_SECONDS = 30
FULL_DISKS = 12
CHANGES = 8
DAMAGES = 120
HARMS_OF_EACH_KIND = 40
HARMS_ON_DASK = 5
"""Of each kind."""

HARMS_BESIDE = 12
"""Of each kind, for each crowd of runs."""

HOSTILE_LINES = 1_000_000
FUZZERS = 10
BOMB_MEGABYTES = 1_000
ONLY_LOADED = "loaded, then decided: load only"
REPLAYED = "taken, then replayed: replayed"
REPLAYS_BESIDE = 6
"""Times that replays and hourly runs are started at once."""

TAKE_EVERYTHING = ("backfilled: backfill", ONLY_LOADED)
FLOW_KILLS = (
    "migrate: before a statement",
    "load: between chunks",
    "load: after the commit",
    "decide: before the commit",
)
FLOW_SIGTERMS = ("stage: while reading", "load: between chunks")


def killed(rig: Rig) -> Verdict:
    """Kill at every point that has a name, and at any moment."""
    (before_text,) = rig.run_all(
        [lambda server, _: kills.start_at(server, rig.folder / "before text", REVISION_BEFORE_TEXT)]
    )
    starts = [*rig.starts, before_text]
    faults = [fault for start in starts for fault in kills.spread(start, KILLS_AT_A_POINT)]
    named = rig.run_all([partial(_kill_at, fault=fault) for fault in faults])
    rounds = [
        partial(_kill_at_random, start=start, chance=Random(f"{rig.seed} kill {number} {start.name}"))
        for number in range(RANDOM_ROUNDS)
        for start in rig.starts
    ]
    at_random = rig.run_all(rounds)
    random_kills = [survival for survivals in at_random for survival in survivals]
    return Verdict(
        sum(survival.was_hit for survival in (*named, *random_kills)),
        "kills survived",
        tuple(kills.breaches_of([*named, *random_kills])),
        tuple(_table_of_kills(named, random_kills)),
    )


def _kill_at(server: ForkServer, folder: Path, *, fault: Fault) -> Survival:
    return kills.kill_at(server, fault, folder)


def _kill_at_random(server: ForkServer, folder: Path, *, start: Start, chance: Random) -> list[Survival]:
    return list(kills.kill_at_random(server, start, folder, chance))


def _table_of_kills(named: Sequence[Survival], at_random: Sequence[Survival]) -> list[str]:
    by_name, by_chance = kills.count_by_point(named), kills.count_by_point(at_random)
    rows = [f"{'point':<36}{'at it':>8}{'random':>8}"]
    rows += [f"{point:<36}{by_name[point]:>8}{by_chance[point]:>8}" for point in sorted(by_name | by_chance)]
    return [*rows, f"{'all':<36}{by_name.total():>8}{by_chance.total():>8}"]


def stopped(rig: Rig) -> Verdict:
    """Ask to stop at every point that has a name."""
    faults = [fault for start in rig.starts for fault in kills.spread(start, SIGTERMS_AT_A_POINT)]
    survivals = rig.run_all([partial(_terminate_at, fault=fault) for fault in faults])
    stops = sum(survival.was_hit for survival in survivals)
    told = f"SIGTERMs, {stops} stopped the run, the others found nothing left to do"
    return Verdict(len(survivals), told, tuple(kills.breaches_of(survivals)))


def _terminate_at(server: ForkServer, folder: Path, *, fault: Fault) -> Survival:
    return kills.terminate_at(server, fault, folder)


def backfilled(rig: Rig) -> Verdict:
    """Kill backfills of every mode, of everything and of a part, hourly runs between them, and replays."""
    whole = rig.start("taken before")
    (found,) = rig.run_all([lambda server, folder: backfills.beginnings(server, whole, rig.folder / "backfills")])
    jobs: list[Callable[[ForkServer, Path], Survival]] = []
    for name, start in found.items():
        faults = spread(start, KILLS_AT_A_POINT_OF_A_BACKFILL)
        kill = _kill_preview if start.jobs[0] == "preview" else _kill_at
        jobs += [partial(kill, fault=fault) for fault in faults]
        if name == ONLY_LOADED:
            jobs += [partial(_kill_before_the_next, fault=fault, whole=whole) for fault in faults]
    survivals = rig.run_all(jobs)
    breaches = kills.breaches_of(survivals)
    beside = partial(_replays_beside, start=found[REPLAYED], seed=rig.seed)
    breaches += [breach for each in rig.run_all([beside] * REPLAYS_BESIDE) for breach in each]
    for name in TAKE_EVERYTHING:
        breaches += backfills.same_decisions(found[name], whole)
    told = f"kills of the runs of {len(backfills.PLANS)} plans with backfills and replays survived"
    return Verdict(sum(survival.was_hit for survival in survivals), told, tuple(breaches))


def waited(rig: Rig) -> Verdict:
    """Kill runs while matches wait, by rules of the whole language that change from run to run."""
    begin = rig.start("taken before")
    (found,) = rig.run_all(
        [lambda server, folder: backfills.beginnings(server, begin, rig.folder / "waits", waits.PLANS)]
    )
    faults = [
        fault
        for start in found.values()
        for fault in spread(start, KILLS_WHILE_DECIDING_WAITS)
        if fault.label.startswith("decide")
    ]
    named = rig.run_all([partial(_kill_at, fault=fault) for fault in faults])
    rounds = [
        partial(_kill_at_random, start=start, chance=Random(f"{rig.seed} wait {number} {start.name}"))
        for number in range(ROUNDS_OF_WAITS)
        for start in found.values()
    ]
    at_random = [survival for survivals in rig.run_all(rounds) for survival in survivals]
    return Verdict(
        sum(survival.was_hit for survival in (*named, *at_random)),
        "kills of runs for which matches wait survived",
        tuple(kills.breaches_of([*named, *at_random])),
        tuple(_table_of_kills(named, at_random)),
    )


def _replays_beside(server: ForkServer, folder: Path, *, start: Start, seed: int) -> list[str]:
    return crowds.replays_beside_hourly_runs(server, start, folder, Random(f"{seed} {folder.name}"))


def _kill_preview(server: ForkServer, folder: Path, *, fault: Fault) -> Survival:
    return backfills.kill_preview(server, fault, folder)


def _kill_before_the_next(server: ForkServer, folder: Path, *, fault: Fault, whole: Start) -> Survival:
    return backfills.kill_before_the_next(server, fault, whole, folder)


def leased(rig: Rig) -> Verdict:
    """Let runs stand still for longer than their lease, beside others; and kill those who hold it."""
    jobs: list[Callable[[ForkServer, Path], list[str]]] = []
    for number in range(STANDSTILLS):
        start = rig.starts[number % 3]
        chance = Random(f"{rig.seed} lease {number}")
        inside, between = leases.inside_a_load(start), leases.between_transactions(start)
        for trial, faults in (
            (leases.beside_one_that_stands_still, inside),
            (leases.beside_one_that_writes_elsewhere, inside),
            (leases.taken_over, between),
            (leases.taken_over_by_one_that_is_killed, between),
            (leases.killed_holder, inside),
        ):
            jobs.append(partial(_lease, trial=trial, fault=chance.choice(faults)))
    return _verdict(rig.run_all(jobs), "runs that stood still or were killed while they held the lease")


def _lease(
    server: ForkServer, folder: Path, *, trial: Callable[[ForkServer, Fault, Path], list[str]], fault: Fault
) -> list[str]:
    return trial(server, fault, folder)


def flows(rig: Rig) -> Verdict:
    """Kill and stop the true flow, and see that it comes by the same points as the victims do."""
    start = rig.start("no database")
    home = rig.folder / "prefect"
    whole = start.scene.copy_to(rig.folder / "flow")
    ending = flow.run_flow(Order(str(whole.folder)), home)
    breaches = differences(whole.database, start.undisturbed) if ending.exit_code == 0 else [ending.output]
    if ending.points != start.points:
        breaches.append(f"the flow comes by other points than the victims: {Counter(ending.points)}")
    places = []
    for act, labels in ((flow.killed_flow, FLOW_KILLS), (flow.terminated_flow, FLOW_SIGTERMS)):
        for label in labels:
            positions = [position for position, name in enumerate(start.points) if name == label]
            scene = start.scene.copy_to(rig.folder / f"flow {act.__name__} {label}")
            place, found = act(scene, positions[len(positions) // 2], home)
            places.append(place)
            (after,) = rig.run_all([partial(_recover, start=start, scene=scene)])
            breaches += [*found, *after]
    return Verdict(len(places), f"kills and SIGTERMs of the true flow: {', '.join(places)}", tuple(breaches))


def _recover(server: ForkServer, _: Path, *, start: Start, scene: Scene) -> list[str]:
    return recover(server, start, scene)


def together(rig: Rig) -> Verdict:
    """Start several at once."""
    jobs = [
        partial(_crowd, start=rig.starts[number % 3], chance=Random(f"{rig.seed} crowd {number}"))
        for number in range(CROWDS)
    ]
    rounds = rig.run_all(jobs)
    endings = [ending for found, _ in rounds for ending in found]
    gave_up = sum(ending.exit_code == 1 for ending in endings)
    told = f"rounds of {len(endings) // len(rounds)} runs at once; {gave_up} runs of {len(endings)} gave way to another"
    return Verdict(len(rounds), told, tuple(breach for _, breaches in rounds for breach in breaches))


def _crowd(server: ForkServer, folder: Path, *, start: Start, chance: Random) -> tuple[list[Ending], list[str]]:
    return crowds.crowd(server, start, folder, chance)


def without_lock(rig: Rig) -> Verdict:
    """Start several at once that no lock file holds apart, and migrations."""
    without = [
        partial(_without_lock, start=rig.starts[number % 3], chance=Random(f"{rig.seed} unlocked {number}"))
        for number in range(CROWDS_WITHOUT_LOCK)
    ]
    migrations = [
        partial(_migrations, start=rig.starts[number % 2], chance=Random(f"{rig.seed} migrate {number}"))
        for number in range(MIGRATIONS_AT_ONCE)
    ]
    return _verdict(rig.run_all([*without, *migrations]), "rounds of runs without a lock file, and of migrations")


def _without_lock(server: ForkServer, folder: Path, *, start: Start, chance: Random) -> list[str]:
    return crowds.crowd_without_lock(server, start, folder, chance)


def _migrations(server: ForkServer, folder: Path, *, start: Start, chance: Random) -> list[str]:
    return crowds.migrations_at_once(server, start, folder, chance)


def analysts(rig: Rig) -> Verdict:
    """Run beside analysts who hold the database open."""
    before, older = rig.start("taken before"), rig.start("older schema")
    return _verdict(
        rig.run_all(
            [
                lambda server, folder: crowds.beside_a_writer(server, before, folder, WRITE_LOCK_SECONDS),
                lambda server, folder: crowds.beside_a_reader(server, before, folder),
                lambda server, folder: crowds.beside_a_reader(server, older, folder),
                lambda server, folder: crowds.beside_a_writer_for_too_long(server, before, folder),
            ]
        ),
        f"runs beside analysts, one of whom held the write lock for {WRITE_LOCK_SECONDS} s",
    )


def full_disks(rig: Rig) -> Verdict:
    """Let the disk, and the database, come to their end at many sizes."""
    reason = surroundings.why_no_small_disk()
    jobs: list[Callable[[ForkServer, Path], tuple[bool, list[str]]]] = []
    for step in range(FULL_DISKS):
        if reason is None:
            jobs.append(partial(_published, start=rig.start("no database"), room=step / FULL_DISKS))
        for start in rig.starts:
            jobs.append(partial(_few_pages, start=start, part=step / FULL_DISKS))
            if reason is None:
                jobs.append(partial(_small_disk, start=start, room=0.1 + 1.8 * step / FULL_DISKS))
    found = rig.run_all(jobs)
    told = f"small disks and databases, {sum(was_full for was_full, _ in found)} of them full"
    return Verdict(
        len(found),
        told if reason is None else f"{told}; {reason}",
        tuple(breach for _, breaches in found for breach in breaches),
    )


def _few_pages(server: ForkServer, folder: Path, *, start: Start, part: float) -> tuple[bool, list[str]]:
    return surroundings.with_few_pages(server, start, folder, part)


def _small_disk(server: ForkServer, folder: Path, *, start: Start, room: float) -> tuple[bool, list[str]]:
    return surroundings.on_a_small_disk(server, start, folder, room)


def _published(server: ForkServer, folder: Path, *, start: Start, room: float) -> tuple[bool, list[str]]:
    return surroundings.published_on_a_small_disk(server, start, folder, room)


def broken_disks(rig: Rig) -> Verdict:
    """Read-only disks, missing rights, files of others, full folders for temporary files."""
    start = rig.start("taken before")
    jobs: list[Callable[[ForkServer, Path], list[str]]] = [
        partial(_without_rights, start=start, deny=deny, told=told) for deny, told in surroundings.DENIALS.values()
    ]
    jobs += [
        partial(_replaced, start=start, fault=fault, label=label, told=told)
        for fault, label, told in surroundings.REPLACEMENTS.values()
    ]
    jobs += [partial(_stranger, start=start, make=make, told=told) for make, told in surroundings.STRANGERS.values()]
    if surroundings.why_no_small_disk() is None:
        jobs.append(lambda server, folder: surroundings.on_a_read_only_disk(server, start, folder))
        jobs.append(lambda server, folder: surroundings.with_a_full_folder_for_temporary_files(server, start, folder))
    return _verdict(rig.run_all(jobs), "missing rights, read-only disks, files of others and databases put in place")


def _without_rights(
    server: ForkServer, _: Path, *, start: Start, deny: Callable[[Scene], Path], told: str
) -> list[str]:
    return surroundings.without_rights(server, start, deny, told)


def _replaced(server: ForkServer, folder: Path, *, start: Start, fault: str, label: str, told: str) -> list[str]:
    return surroundings.replaced(server, start, folder, fault, label, told)


def _stranger(server: ForkServer, folder: Path, *, start: Start, make: Callable[[Scene], None], told: str) -> list[str]:
    return surroundings.beside_a_stranger(server, start, folder, make, told)


def changing_files(rig: Rig) -> Verdict:
    """Files that vanish, shrink, grow, change or are still being written while a run reads them."""
    jobs: list[Callable[[ForkServer, Path], list[str]]] = [
        partial(_changed, start=rig.start("no database"), fault=fault, chance=Random(f"{rig.seed} {fault} {number}"))
        for number in range(CHANGES)
        for fault in surroundings.LANDING_FAULTS
    ]
    jobs += [partial(_still_written, pause=pause) for pause in (0.05, 0.2, 0.6, 60)]
    return _verdict(rig.run_all(jobs), "files that changed, vanished or were still being written")


def _changed(server: ForkServer, folder: Path, *, start: Start, fault: str, chance: Random) -> list[str]:
    return surroundings.changed_while_it_is_read(server, start, folder, fault, chance)


def _still_written(server: ForkServer, folder: Path, *, pause: float) -> list[str]:
    return surroundings.still_being_written(server, folder, pause)[1]


def damaged(rig: Rig) -> Verdict:
    """Databases with some damaged pages."""
    jobs = [
        partial(_damaged, start=rig.start("taken before"), chance=Random(f"{rig.seed} damage {number}"))
        for number in range(DAMAGES)
    ]
    return _verdict(rig.run_all(jobs), "damaged databases: a sentence or a result, never a traceback")


def _damaged(server: ForkServer, folder: Path, *, start: Start, chance: Random) -> list[str]:
    return surroundings.damaged(server, start, folder, chance)


def fuzzed(rig: Rig) -> Verdict:
    """Hostile lines by the million, some of them loaded, decided and checked."""
    share = HOSTILE_LINES // FUZZERS
    results = rig.run_all([partial(_fuzz, seed=rig.seed * 1_000 + number, count=share) for number in range(FUZZERS)])
    totals: Counter[str] = Counter()
    for counts, _, _ in results:
        totals.update(counts)
    loaded, odd_files, odd_tables = (totals.pop(name, 0) for name in ("loaded", "odd files", "odd tables"))
    grown = max((grown for _, grown, _ in results), default=0)
    details = [f"{reason:<36}{count:>9}" for reason, count in totals.most_common()]
    told = (
        f"hostile lines accounted for, {loaded} of them loaded, {odd_files} odd files and {odd_tables} odd tables; "
        f"peak grew by {grown / 1e6:.0f} MB"
    )
    breaches = [breach for _, _, found in results for breach in found]
    if grown > hostile.MOST_GROWN_BYTES:
        breaches.append(f"the peak of memory grew by {grown} bytes")
    if totals.total() < share * FUZZERS:
        breaches.append(f"only {totals.total()} lines were staged")
    return Verdict(totals.total(), told, tuple(breaches), tuple(details))


def _fuzz(server: ForkServer, folder: Path, *, seed: int, count: int) -> tuple[Mapping[str, int], int, list[str]]:
    scene = empty_scene(folder)
    ending = server.run(Order(str(scene.folder), job="fuzz", seed=seed, count=count, **AS_IN_EARNEST))
    if ending.exit_code:
        return {}, 0, [f"seed {seed}: {ending.output}"]
    result = json.loads(ending.output)
    after = [server.run(Order(str(scene.folder), job=job)) for job in ("hourly", "check")]
    breaches = [f"seed {seed}: {ending.output}" for ending in after if ending.exit_code]
    return result["counts"], result["grown_bytes"], breaches


def bombs(rig: Rig) -> Verdict:
    """Small files that would be large, deep or slow if they were taken at their word."""
    results = rig.run_all([partial(_bomb, bomb=bomb) for bomb in hostile.bombs(BOMB_MEGABYTES)])
    details = [
        f"{name:<36}{size / 1e6:>8.1f} MB on disk {grown / 1e6:>6.0f} MB peak {seconds:>6.1f} s"
        for name, size, grown, seconds, _ in results
    ]
    grown = max(grown for _, _, grown, _, _ in results)
    breaches = [breach for *_, found in results for breach in found]
    return Verdict(
        len(results), f"bombs; the greediest grew the peak by {grown / 1e6:.0f} MB", tuple(breaches), tuple(details)
    )


def _bomb(server: ForkServer, folder: Path, *, bomb: Bomb) -> tuple[str, int, int, float, list[str]]:
    scene = empty_scene(folder)
    path = scene.landing / f"bomb{bomb.ending}"
    bomb.write(path)
    size = path.stat().st_size
    ending = server.run(Order(str(scene.folder), job="bomb", target=str(path), **AS_IN_EARNEST))
    if ending.exit_code:
        return bomb.name, size, 0, ending.seconds, [f"{bomb.name}: {ending.output}"]
    result = json.loads(ending.output)
    breaches = [f"{bomb.name}: {result}"] if bomb.became_other(result["counts"]) else []
    if result["grown_bytes"] > hostile.MOST_GROWN_BYTES:
        breaches.append(f"{bomb.name}: the peak of memory grew by {result['grown_bytes']} bytes")
    return bomb.name, size, result["grown_bytes"], ending.seconds, breaches


def trapped(rig: Rig) -> Verdict:
    """Values that look like SQL, paths and formulas; rules files that are traps."""
    start = rig.start("taken before")
    jobs: list[Callable[[ForkServer, Path], list[str]]] = [traps.values_are_only_kept]
    jobs += [partial(_rules_trap, start=start, text=text, told=told) for text, told in traps.RULES_TRAPS.values()]
    return _verdict(rig.run_all(jobs), "files of hostile values and rules files that are traps")


def _rules_trap(server: ForkServer, folder: Path, *, start: Start, text: str, told: str) -> list[str]:
    return traps.rules_trap(server, start, folder, text, told)


def _verdict(found: Sequence[list[str]], told: str) -> Verdict:
    return Verdict(len(found), told, tuple(breach for breaches in found for breach in breaches))


def on_servers(rig: Rig) -> Verdict:
    """Kill clients, and servers, and cut connections, while runs are at work on a PostgreSQL server."""
    if find_spec(PACKAGE) is None:
        return Verdict(0, "runs on a server, because none is installed", ())

    def harm_all(forks: ForkServer, folder: Path) -> list[tuple[bool, list[str]]]:
        chance = Random(rig.seed)
        scene = land_all(empty_scene(folder), sample_files())
        with new_server() as server:
            start = servers.undisturbed(forks, server, scene)
            return [
                servers.survive(forks, server, scene, start, harm, chance)
                for _ in range(HARMS_OF_EACH_KIND)
                for harm in servers.HARMS
            ]

    (found,) = rig.run_all([harm_all])
    hit = sum(was_hit for was_hit, _ in found)
    told = f"runs on a PostgreSQL server came to harm, {hit} of them before their end"
    return Verdict(len(found), told, tuple(breach for _, breaches in found for breach in breaches))


def beside(rig: Rig) -> Verdict:
    """Let two, three and five runs load and decide at once on a server, and kill them, their places and the server."""
    if find_spec(PACKAGE) is None:
        return Verdict(0, "runs beside each other, because no server is installed", ())

    def harm_all(forks: ForkServer, folder: Path) -> list[tuple[int, list[str]]]:
        chance = Random(f"{rig.seed} beside")
        wanted = several.expected(forks, folder, several.shared_files(rig.seed))
        with new_server() as server:
            return [
                several.survive(forks, server, wanted, jobs, harm, chance, folder / f"read-{number}-{place}")
                for number in range(HARMS_BESIDE)
                for place, (jobs, harm) in enumerate(product(several.CROWDS, several.HARMS))
            ]

    (found,) = rig.run_all([harm_all])
    told = f"times runs beside each other came to harm, {sum(hit for hit, _ in found)} of them before their end"
    return Verdict(len(found), told, tuple(breach for _, breaches in found for breach in breaches))


def on_dask(rig: Rig) -> Verdict:
    """Kill Dask's workers, its scheduler and the run, and let them stand still, while files are staged there."""
    files = several.shared_files(rig.seed)

    def harm_all(forks: ForkServer, folder: Path) -> list[tuple[str, list[str]]]:
        chance = Random(f"{rig.seed} dask")
        wanted = several.expected(forks, folder, files)
        cluster = Cluster(folder / "dask")
        try:
            return [
                dask_runs.survive(forks, cluster, wanted, files, harm, chance, folder / f"{number}-{harm.__name__}")
                for number in range(HARMS_ON_DASK)
                for harm in dask_runs.HARMS
            ]
        finally:
            cluster.stop()

    (found,) = rig.run_all([harm_all])
    counts = Counter(outcome for outcome, _ in found)
    outcomes = (dask_runs.CUT_SHORT, dask_runs.UNHARMED, dask_runs.OVER)
    told = f"runs on Dask came to harm: {', '.join(f'{counts[each]} {each}' for each in outcomes)}"
    return Verdict(len(found), told, tuple(breach for _, breaches in found for breach in breaches))


SECTIONS: Mapping[str, Callable[[Rig], Verdict]] = {
    "killed": killed,
    "stopped": stopped,
    "backfilled": backfilled,
    "waited": waited,
    "leased": leased,
    "flows": flows,
    "together": together,
    "without-lock": without_lock,
    "analysts": analysts,
    "full-disks": full_disks,
    "broken-disks": broken_disks,
    "changing-files": changing_files,
    "damaged": damaged,
    "fuzzed": fuzzed,
    "bombs": bombs,
    "traps": trapped,
    "servers": on_servers,
    "beside": beside,
    "dask": on_dask,
}
"""The sections by name, in the order in which they are run."""
