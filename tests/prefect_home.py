"""Folders of Prefect's for the servers that tests start, with its database ready: to make that takes 5 s of CPU."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make_home(folder: Path) -> None:
    """Make a folder for PREFECT_HOME, with an empty database at the newest revision of Prefect's own schema."""
    shutil.copytree(_template(), folder)


@cache
def _template() -> Path:
    home = Path(tempfile.mkdtemp(prefix="prefect-of-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        cwd=ROOT,
        env={**outside, "PREFECT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return home
