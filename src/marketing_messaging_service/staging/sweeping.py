"""Removes staged rows that nobody loaded in time: their run or their worker was killed."""

import os
import re
from contextlib import suppress
from pathlib import Path

from src.marketing_messaging_service.paths import STAGED_ENDING

LEFTOVER_HOURS = 24
"""A stored file that nobody has loaded is removed after this long: its run or its worker was killed."""

_OURS = re.compile(rf"[0-9a-f]{{64}}{re.escape(STAGED_ENDING)}|\.[0-9a-f]{{64}}\.[0-9a-f]{{32}}\.partial")


def sweep(folder: Path, now: float) -> int:
    """Remove stored files, complete or not, that were written a day before `now`; return how many.

    What cannot be read or removed stays.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                age_seconds = now - entry.stat(follow_symlinks=False).st_mtime
                if _OURS.fullmatch(entry.name) and age_seconds > LEFTOVER_HOURS * 3_600:
                    Path(entry.path).unlink()
                    removed += 1
    return removed
