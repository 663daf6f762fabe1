"""A PostgreSQL server whose disk fills up in the midst of a run."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.postgresql import Server, new_server
from tests.torture.forks import ForkServer, Victim
from tests.torture.scene import Scene
from tests.torture.servers import Undisturbed, not_recovered, order
from tests.torture.surroundings import change_disk, small_disk

ENOUGH_KIBIBYTES = 512 << 10

FULL = "Its disk is full: free some space"
"""What a run says while the server can say so itself."""

GONE = (
    "Check that the server of DATABASE_URL is running",
    "The server is stopping, starting or was stopped",
    "The server cannot read or write its files: look at its disk",
)
"""What a run says of a server that could not write its log ahead, and has gone down because of it."""

SMALL_STEPS = ("max_wal_size=1GB", "min_wal_size=32MB", "autovacuum=off")
"""So that the server keeps little on the disk to write over later, and prepares no file of its log beforehand."""


@contextmanager
def on_a_disk_of_its_own() -> Iterator[tuple[Server, Path]]:
    """Yield a server, and the disk that it has to itself."""
    # Not in a folder of pytest's, which the server's own user could not enter.
    with tempfile.TemporaryDirectory(prefix="full-disk-of-tests-") as name:
        Path(name).chmod(0o755)
        with (
            small_disk(Path(name) / "disk", ENOUGH_KIBIBYTES) as disk,
            new_server(parent=disk, settings=SMALL_STEPS) as server,
        ):
            yield server, disk


def used_kibibytes(disk: Path) -> int:
    """Return how much of a disk is in use."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize >> 10


def end_its_log(server: Server) -> None:
    """Write into the server's log until it needs a new file of 16 MB for whatever comes next, or nearly so."""
    is_nearly_full = """
        SELECT last_file = pg_walfile_name(pg_current_wal_insert_lsn())
            AND (pg_walfile_name_offset(pg_current_wal_insert_lsn())).file_offset > 15.5 * 1024 * 1024
        FROM (SELECT max(name) AS last_file FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$') AS files
    """
    while not server.ask(is_nearly_full):
        server.execute("SELECT pg_logical_emit_message(false, 'full', repeat('x', 256 * 1024))")


def run_on_a_full_disk(
    forks: ForkServer,
    server: Server,
    disk: Path,
    scene: Scene,
    start: Undisturbed,
    kibibytes: int,
    *,
    with_its_log: bool = False,
) -> tuple[str, list[str]]:
    """Run where so much is left of the disk, then where there is room; return what the first said, and what is wrong.

    The first says nothing where there was enough. `with_its_log`, the server's own log has to grow soon, too.
    """
    url = server.new_database(start.template)
    server.execute("CHECKPOINT")
    if with_its_log:
        end_its_log(server)
    change_disk(disk, f"size={used_kibibytes(disk) + kibibytes}k")
    try:
        ending = Victim(forks, order(scene, url)).wait()
    finally:
        change_disk(disk, f"size={ENOUGH_KIBIBYTES}k")
    breaches = [fault] if (fault := ending.fault()) else []
    said = ending.output if ending.exit_code else ""
    if said and not any(each in said for each in (FULL, *GONE)):
        breaches.append(f"says {said}")
    if said and FULL not in said:
        # It is down, as it could not even write what it was about to do, or it is on its way up again.
        with suppress(subprocess.CalledProcessError):
            server.stop("immediate")
        server.start()
    breaches += not_recovered(forks, scene, url, start)
    server.drop(url)
    return said, breaches
