"""Stops a run from outside, at a point where nothing is half done."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from prefect import runtime

from flows.pipeline.ctrl_c import STOPPED_BY_CTRL_C, StoppedError
from src.marketing_messaging_service.errors import WHO_DOES_THE_REST, PipelineError, RunInProgressError

LOOK_UP_SECONDS = 1.0
"""How often a sleeping run checks whether it was asked to stop."""


TELL_SECONDS = 30.0
"""How often a run that is waiting for another one says so."""


CANCEL = "Cancel, or together with its worker"
"""What stops a run that a worker started."""

CUT_OFF = f"Stopped by {CANCEL}. {WHO_DOES_THE_REST}"
"""What such a run of the pipeline then says about itself."""


def is_started_by_worker() -> bool:
    """Whether a worker started this run, in its own process."""
    return runtime.deployment.id is not None


class StopRequest:
    """Remembers that a run was asked to stop, until the run reaches a safe point and checks.

    It then says what remains of the run's work.
    """

    def __init__(self, what_stays: str = WHO_DOES_THE_REST) -> None:
        self._what_stays = what_stays
        self._number: signal.Signals | None = None
        self._notes: socket.socket | None = None

    @property
    def is_made(self) -> bool:
        """Whether the run was asked to stop."""
        self._look()
        return self._number is not None

    def check(self) -> None:
        """Raise StoppedError if the run was asked to stop."""
        self._look()
        if self._number is not None:
            exit_code = STOPPED_BY_CTRL_C if self._number == signal.SIGINT else 1
            who = f"{self._number.name} at a safe point" if self._notes is None else CANCEL
            raise StoppedError(who, exit_code, self._what_stays)

    @contextmanager
    def told_as_such(self) -> Iterator[None]:
        """Turn whatever a request to stop causes into a StoppedError."""
        try:
            yield
        except PipelineError:
            self.check()
            raise

    def checking(self, advance: Callable[[int], None]) -> Callable[[int], None]:
        """Return a progress function that also checks whether the run was asked to stop."""

        def advance_or_stop(amount: int) -> None:
            self.check()
            advance(amount)

        return advance_or_stop

    def sleep(self, seconds: float) -> None:
        """Sleep; raise StoppedError soon after the run was asked to stop."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(remaining, LOOK_UP_SECONDS))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and Ctrl-C as requests; a second one of the same kind ends the process at once.

        A run that a worker started is left to Prefect, which turns SIGTERM into an exception and distinguishes a
        cancelled run from a crashed one. During a callback from SQLite that exception is lost and only ends the
        statement, so the signal is also checked for.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
        elif is_started_by_worker():
            with self._watching():
                yield
        else:
            with self._handling():
                yield

    @contextmanager
    def _handling(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def request(number: int, _frame: FrameType | None) -> None:
            self._number = signal.Signals(number)
            signal.signal(number, signal.SIG_DFL)

        for number in before:
            signal.signal(number, request)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Make Python note every signal in a socket, whatever happens to its exception."""
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            self._notes = reader
            try:
                yield
                # Prefect accepts no other end from a run that is being cancelled, however far it has come.
                self.check()
            finally:
                signal.set_wakeup_fd(before)
                self._notes = None

    def _look(self) -> None:
        if self._notes is not None and self._number is None:
            with suppress(BlockingIOError):
                if signal.SIGTERM in self._notes.recv(64):
                    self._number = signal.SIGTERM


class Waiting:
    """What a run does while another one holds the database: it says so now and then, and can be stopped."""

    def __init__(
        self,
        log: logging.Logger | logging.LoggerAdapter[Any],
        stop: StopRequest,
        timeout_seconds: float,
        holder: Callable[[], object | None] = lambda: None,
    ) -> None:
        self._log = log
        self._stop = stop
        self._timeout_seconds = timeout_seconds
        self._holder = holder
        self._began: float | None = None
        self._told = 0.0

    def go_on(self) -> None:
        """Say now and then that the run is waiting; raise StoppedError if it was asked to stop."""
        self._stop.check()
        now = time.monotonic()
        if self._began is None:
            self._began = now
        elif now - self._told < TELL_SECONDS:
            return
        self._told = now
        self._log.info(
            "Waiting for another run%s to end: %.0f of at most %g s.",
            f" ({holder})" if (holder := self._holder()) else "",
            now - self._began,
            self._timeout_seconds,
        )

    def has_time(self) -> bool:
        """Wait a moment, and return whether there is time for another one."""
        self.go_on()
        self._stop.sleep(LOOK_UP_SECONDS)
        return time.monotonic() - (self._began or 0) < self._timeout_seconds

    @contextmanager
    def told_when_over(self) -> Iterator[None]:
        """Make a RunInProgressError say who is at work, and what happens to this run's task."""
        try:
            yield
        except RunInProgressError:
            holder = self._holder()
            raise RunInProgressError(
                f"Another run is at work{f': {holder}' if holder else ''}. It did not end within "
                f"{self._timeout_seconds:g} s, so this run did nothing. If this was an hourly run, the next one does "
                "its work; start any other run again."
            ) from None
