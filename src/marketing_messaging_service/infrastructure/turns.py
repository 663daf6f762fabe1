"""Waits for a turn where only one run may be at work."""

import time
from collections.abc import Callable

from src.marketing_messaging_service.errors import RunInProgressError

WAIT_SECONDS = 1.0
"""How often a waiting run calls `on_wait`."""


def take_turn(
    has_taken: Callable[[float], bool], what: str, timeout_seconds: float, on_wait: Callable[[], None]
) -> None:
    """Take a turn by calling `has_taken`, which tries for a number of seconds; `on_wait` is called between tries.

    Raises RunInProgressError, naming what others are working on, when there is no turn in time.
    """
    deadline = time.monotonic() + timeout_seconds
    seconds = 0.0
    while not has_taken(seconds):
        if time.monotonic() >= deadline:
            raise RunInProgressError(
                f"Another run is at work on {what} and did not end within {timeout_seconds:g} s; nothing was "
                "done. What it leaves pending is taken by the next run."
            )
        on_wait()
        seconds = min(WAIT_SECONDS, max(0.0, deadline - time.monotonic()))
