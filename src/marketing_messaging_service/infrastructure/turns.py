"""Waiting for one's turn where one run at a time may be."""

import time
from collections.abc import Callable

from src.marketing_messaging_service.errors import RunInProgressError

WAIT_SECONDS = 1.0
"""How often a waiting run looks up from its waiting."""


def take_turn(
    has_taken: Callable[[float], bool], what: str, timeout_seconds: float, on_wait: Callable[[], None]
) -> None:
    """Take a turn, with `has_taken`, which tries for so many seconds; between tries `on_wait` is called.

    Raises RunInProgressError, which names what others are at work on, when none is to be had in time.
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
