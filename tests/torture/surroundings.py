"""What goes wrong around a run: full disks, missing rights, files that change beneath it."""

import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import foreseeable_errors
from src.marketing_messaging_service.infrastructure.dialects.sqlite import before_migrating
from tests.torture.compare import events_lost_or_doubled
from tests.torture.forks import Ending, ForkServer
from tests.torture.kills import Start, recover, self_check, unlike_one_run
from tests.torture.orders import Order
from tests.torture.scene import Scene, empty_scene, land_all, sample_files

NOBODY = 65_534
"""The user without rights, whom the superuser can become."""

ENOUGH_KIBIBYTES = 64 << 10

PAGE_BYTES = 4_096
"""The database's page size, SQLite's default."""

FULL = ("is full: free some space", "MB are free. Free some space", "(database or disk is full). Free some space")
"""What a run says of a disk that is full, of one without room for a migration, and of one that a copy has filled."""

LANDING_FAULTS = ("vanish", "shrink", "grow", "rewrite")


def why_no_small_disk() -> str | None:
    """Return why no disk of a few pages can be had here, or None when it can."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "torture", folder],  # noqa: S607
            check=False,
            capture_output=True,
            text=True,
        )
        if mounted.returncode:
            return f"mounting a tmpfs is not allowed here ({mounted.stderr.strip()})"
        subprocess.run(["umount", folder], check=True)  # noqa: S607
    return None


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """Yield a folder that is a disk of its own, of a size in which a database hardly finds room."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "torture", folder], check=True)  # noqa: S607
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607


def change_disk(folder: Path, option: str) -> None:
    """Make a disk larger or smaller, or let it be read only."""
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)  # noqa: S607


def on_a_small_disk(server: ForkServer, start: Start, folder: Path, room: float) -> tuple[bool, list[str]]:
    """Run twice on a small disk, then on one with room; return whether it was full, and what was not right.

    `room` is the size of the disk, where that of the database which an undisturbed run leaves is 1.
    """
    kibibytes = round(room * start.undisturbed.stat().st_size / 1024)
    scene = start.scene.copy_to(folder)
    with small_disk(folder / "disk", kibibytes) as disk:
        database = disk / "messaging.db"
        if scene.database.exists():
            try:
                shutil.copyfile(scene.database, database)
            except OSError:
                return False, []
        order = Order(str(scene.folder), settings={"DATABASE_URL": f"sqlite:///{database}"})
        first = server.run(order)
        breaches = [breach for ending in (first, server.run(order)) for breach in _unlike_full(ending)]
        change_disk(disk, f"size={ENOUGH_KIBIBYTES}k")
        breaches += _succeeds(server.run(order))
        breaches += unlike_one_run(database, start.undisturbed)
    return first.exit_code == 1, breaches


def with_few_pages(server: ForkServer, start: Start, folder: Path, part: float) -> tuple[bool, list[str]]:
    """Run twice with a database that may grow by a part of what it has to, then without a limit; return as above."""
    scene = start.scene.copy_to(folder)
    before = _size_without_free_pages(scene.database) if scene.database.exists() else 0
    growth = start.undisturbed.stat().st_size - before
    order = Order(str(scene.folder), most_pages=max(1, int(before + part * growth) // PAGE_BYTES))
    first = server.run(order)
    breaches = [breach for ending in (first, server.run(order)) for breach in _unlike_full(ending)]
    return first.exit_code == 1, breaches + recover(server, start, scene)


def _size_without_free_pages(database: Path) -> int:
    """Vacuum a database, whose free pages would let it grow without a limit being met, and return its size."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")
    return database.stat().st_size


def _unlike_full(ending: Ending) -> list[str]:
    if fault := ending.fault():
        return [fault]
    if ending.exit_code == 1 and not any(told in ending.output for told in FULL):
        return [f"at {ending.last_point} says {ending.output}"]
    return []


def with_a_full_folder_for_temporary_files(server: ForkServer, start: Start, folder: Path) -> list[str]:
    """Stage where there is no room for staged rows: nothing is loaded, and the next run does everything."""
    scene = start.scene.copy_to(folder)
    with small_disk(folder / "disk", 4) as disk:
        ending = server.run(Order(str(scene.folder), spool_bytes=1, settings={"TMPDIR": str(disk)}))
    breaches = [fault] if (fault := ending.fault()) else []
    if ending.exit_code != 1 or "let TMPDIR name another folder" not in ending.output:
        breaches.append(f"says {ending.output}")
    return breaches + recover(server, start, scene)


def copied_on_a_small_disk(folder: Path) -> list[str]:
    """Keep a copy before a migration where there is no room for it: that is reported, and nothing of it stays."""
    breaches = []
    with small_disk(folder, 512) as disk:
        path = disk / "messaging.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE large (content BLOB)")
            connection.execute("INSERT INTO large VALUES (?)", (bytes(300_000),))
            connection.commit()
        before = _contents(disk)
        try:
            with foreseeable_errors():
                before_migrating.keep_copy(path, lambda: None)
            breaches.append("found room for the copy")
        except DatabaseError as error:
            if FULL[2] not in str(error):
                breaches.append(f"says {error}")
        if _contents(disk) != before:
            breaches.append(f"left {sorted(path.name for path in disk.iterdir())}")
    return breaches


def published_on_a_small_disk(server: ForkServer, start: Start, folder: Path, room: float) -> tuple[bool, list[str]]:
    """Publish on a disk that has room for a part of it beside what is published there; what was there stays whole.

    `room` is what is free, where the size of all that is published is 1. Return as above.
    """
    scene = Scene(start.undisturbed.parent).copy_to(folder)
    with small_disk(folder / "disk", ENOUGH_KIBIBYTES) as disk:
        order = Order(str(scene.folder), job="publish", settings={"PUBLISH_PATH": str(disk)})
        breaches = _succeeds(server.run(order))
        before = _contents(disk)
        used = sum(path.stat().st_blocks * 512 for path in disk.iterdir())
        change_disk(disk, f"size={round(used * (1 + room) / 1024)}k")
        first = server.run(order)
        if fault := first.fault():
            breaches.append(fault)
        if first.exit_code == 1:
            if "(No space left on device); what was published before stays" not in first.output:
                breaches.append(f"says {first.output}")
            if _contents(disk) != before:
                breaches.append("what was published before is not there any more as it was")
        change_disk(disk, f"size={ENOUGH_KIBIBYTES}k")
        breaches += _succeeds(server.run(order))
    return first.exit_code == 1, breaches


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def on_a_read_only_disk(server: ForkServer, start: Start, folder: Path) -> list[str]:
    """Run on a disk that has become read only, as broken ones do."""
    scene = start.scene.copy_to(folder)
    with small_disk(folder / "disk", ENOUGH_KIBIBYTES) as disk:
        database = disk / "messaging.db"
        shutil.copyfile(scene.database, database)
        change_disk(disk, "ro")
        order = Order(str(scene.folder), settings={"DATABASE_URL": f"sqlite:///{database}"})
        breaches = _fails_saying(server.run(order), "cannot be written to")
        change_disk(disk, "rw")
        breaches += _succeeds(server.run(order))
        return breaches + unlike_one_run(database, start.undisturbed)


DENIALS: Mapping[str, tuple[Callable[[Scene], Path], str]] = {
    "the database's folder": (lambda scene: scene.folder, "cannot be written to"),
    "the database": (lambda scene: scene.database, "unable to open database file"),
    "landing": (lambda scene: scene.landing, "cannot be listed"),
    "one file": (lambda scene: scene.landing / sample_files()[-1][0], "T03.jsonl: cannot be read: Permission denied"),
    "the rules": (lambda scene: scene.rules, "RULES_PATH names"),
}
"""What a run may lack the right to, and what it says then."""


def without_rights(server: ForkServer, start: Start, deny: Callable[[Scene], Path], told: str) -> list[str]:
    """Run as a user to whom something is denied, then with it allowed again; `deny` returns what it took away."""
    user_id = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        scene = start.scene.copy_to(Path(outer) / "scene")
        if user_id is not None:
            _give_to(user_id, scene.folder)
        denied = deny(scene)
        mode = denied.stat().st_mode
        denied.chmod(0o555 if denied.is_dir() and denied != scene.landing else 0)
        ending = server.run(Order(str(scene.folder), user_id=user_id))
        denied.chmod(mode)
        breaches = _fails_saying(ending, told)
        breaches += _succeeds(server.run(Order(str(scene.folder), user_id=user_id)))
        return breaches + self_check(scene.database)


def _give_to(user_id: int, folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user_id, user_id)


def changed_while_it_is_read(
    server: ForkServer, start: Start, folder: Path, fault: str, chance: random.Random
) -> list[str]:
    """Let something happen to a file at any moment of a run, undo it, and run again.

    Whatever became of the file in the first run, at the end the database is as if it had arrived whole, before the
    first run or before the second.
    """
    scene = start.scene.copy_to(folder / "scene")
    late = start.scene.copy_to(folder / "late")
    target = chance.choice(sorted(scene.landing.iterdir())[-3:])
    content, status = target.read_bytes(), target.stat()
    # From when it has been discovered; what is there before is what is taken.
    discovered = next(place for place, label in enumerate(start.points) if label.startswith("stage"))
    at = chance.randrange(discovered, len(start.points))
    ending = server.run(Order(str(scene.folder), fault=fault, at=at, target=str(target)))
    target.write_bytes(content)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    breaches = [told] if (told := ending.fault()) else []
    was_late = ending.exit_code == 1
    if ending.exit_code == 1 and target.name not in ending.output:
        breaches.append(f"does not name {target.name}: {ending.output}")
    breaches += _succeeds(server.run(Order(str(scene.folder))))
    if not was_late:
        return breaches + unlike_one_run(scene.database, start.undisturbed)
    hidden = late.folder / target.name
    (late.landing / target.name).rename(hidden)
    _succeeds(server.run(Order(str(late.folder))))
    hidden.rename(late.landing / target.name)
    _succeeds(server.run(Order(str(late.folder))))
    return breaches + unlike_one_run(scene.database, late.database)


def still_being_written(server: ForkServer, folder: Path, pause_seconds: float) -> tuple[Ending, list[str]]:
    """Run beside a producer that writes a file slowly, then again when it is done; return the first ending.

    A pause longer than the settle time lets half a file be taken; the whole one follows, and no event is lost or
    told twice.
    """
    name, content = sample_files()[0]
    whole = land_all(empty_scene(folder / "whole"), [(name, content)])
    scene = empty_scene(folder / "scene")
    path = scene.landing / name
    path.write_bytes(content[: len(content) // 2])
    is_enough = threading.Event()

    def write() -> None:
        while not is_enough.wait(pause_seconds) and path.stat().st_size < len(content):
            _append(path, content, 100)
        _append(path, content, len(content))

    producer = threading.Thread(target=write)
    producer.start()
    order = Order(str(scene.folder), settings={"LANDING_SETTLE_SECONDS": "1"})
    first = server.run(order)
    is_enough.set()
    producer.join()
    endings = (first, server.run(order), server.run(Order(str(whole.folder))))
    breaches = [breach for ending in endings for breach in _succeeds(ending)]
    breaches += events_lost_or_doubled(scene.database, whole.database)
    return first, breaches + self_check(scene.database)


def _append(path: Path, content: bytes, count: int) -> None:
    written = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(content[written : written + count])


def _succeeds(ending: Ending) -> list[str]:
    return [] if ending.exit_code == 0 else [f"ended with {ending.exit_code}: {ending.output}"]


def _fails_saying(ending: Ending, told: str) -> list[str]:
    if fault := ending.fault():
        return [fault]
    if ending.exit_code != 1 or told not in ending.output:
        return [f"ended with {ending.exit_code} and does not say {told!r}: {ending.output}"]
    return []


def damaged(server: ForkServer, start: Start, folder: Path, chance: random.Random) -> list[str]:
    """Run on, and check, a database with some damaged pages: never a traceback."""
    scene = Scene(start.undisturbed.parent).copy_to(folder)
    scene.land("more.jsonl", sample_files()[-1][1] + b"\n")
    content = bytearray(scene.database.read_bytes())
    for _ in range(chance.choice((1, 3, 10))):
        place = chance.randrange(0, len(content))
        match chance.choice(("noise", "zeroes", "cut", "swap")):
            case "noise":
                content[place : place + 64] = chance.randbytes(64)
            case "zeroes":
                content[place : place + 4096] = bytes(4096)
            case "cut":
                del content[place:]
            case "swap":
                other = chance.randrange(0, len(content)) // 4096 * 4096
                page = place // 4096 * 4096
                content[page : page + 4096] = content[other : other + 4096]
        if not content:
            break
    scene.database.write_bytes(content)
    endings = [server.run(Order(str(scene.folder), job=job)) for job in ("check", "hourly", "check")]
    return [fault for ending in endings if (fault := ending.fault())]


REPLACED = "was replaced while this run was at work: "

REPLACEMENTS: Mapping[str, tuple[str, str, str]] = {
    "moved there in a load": ("move over", "load: before the commit", "another file lies there"),
    "moved there between loads": ("move over", "load: after the commit", "another file lies there"),
    "moved there in a decision": ("move over", "decide: before the commit", "another file lies there"),
    "copied there between loads": ("copy over", "stage: while reading", "so it is an older copy or another one"),
}
"""How a database is put in the place of the one that a run works on, when, and what the run says of it."""


def replaced(server: ForkServer, start: Start, folder: Path, fault: str, label: str, told: str) -> list[str]:
    """Put the database from before a run in its place during it: that is reported, and the next run starts again."""
    scene = start.scene.copy_to(folder)
    older = scene.folder / "older.db"
    shutil.copyfile(scene.database, older)
    ending = server.run(Order(str(scene.folder), fault=fault, at_label=label, target=str(older)))
    breaches = _fails_saying(ending, REPLACED + ("" if fault == "copy over" else told))
    if told not in ending.output:
        breaches.append(f"does not say {told!r}: {ending.output}")
    return breaches + recover(server, start, scene)


def replaced_by_another_schema(server: ForkServer, start: Start, other: Start, folder: Path, fault: str) -> list[str]:
    """Put a database of an older schema in the place of the one that a run works on: that is reported."""
    scene = start.scene.copy_to(folder)
    older = scene.folder / "older.db"
    shutil.copyfile(other.scene.database, older)
    order = Order(str(scene.folder), fault=fault, at_label="stage: while reading", target=str(older))
    return _fails_saying(server.run(order), REPLACED)


def _no_database(scene: Scene) -> None:
    scene.database.write_text("user_id,event_type\n" * 500, encoding="utf-8")


def _of_another_program(scene: Scene) -> None:
    scene.database.unlink()
    scene.execute("CREATE TABLE bookmarks (id INTEGER PRIMARY KEY)")


def _ahead_of_the_code(scene: Scene) -> None:
    scene.execute("UPDATE alembic_version SET version_num = '9999'")


STRANGERS: Mapping[str, tuple[Callable[[Scene], None], str]] = {
    "no database at all": (_no_database, "file is not a database"),
    "another program's": (_of_another_program, "holds tables (bookmarks) but no record of this project's migrations"),
    "ahead of the code": (_ahead_of_the_code, "schema is not one this version knows"),
}
"""Files that a run must not touch, and what it says of them."""


def beside_a_stranger(
    server: ForkServer, start: Start, folder: Path, make: Callable[[Scene], None], told: str
) -> list[str]:
    """Run on a file that is not ours: that is reported, and not a byte of it changes."""
    scene = start.scene.copy_to(folder)
    make(scene)
    before = scene.database.read_bytes()
    breaches = []
    for job in ("hourly", "check"):
        breaches += _fails_saying(server.run(Order(str(scene.folder), job=job)), told)
    if scene.database.read_bytes() != before:
        breaches.append("the file was changed")
    return breaches
