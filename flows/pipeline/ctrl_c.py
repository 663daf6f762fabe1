"""What a waiting or stopped command says, and Ctrl-C in one that is not a flow. It needs no Prefect."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from src.marketing_messaging_service.errors import WHO_DOES_THE_REST, PipelineError

STOPPED_BY_CTRL_C = 128 + signal.SIGINT
"""The exit code that a shell, or another caller, takes for "stopped by Ctrl-C"."""

CUT_OFF_BY_READER = 128 + signal.SIGPIPE
"""The same for "the reader of the output went away"."""


class StoppedError(PipelineError):
    """Somebody asked the run to stop."""

    def __init__(self, what: str, exit_code: int, what_stays: str = WHO_DOES_THE_REST) -> None:
        super().__init__(f"Stopped by {what}. {what_stays}")
        self.exit_code = exit_code


def refused(error: PipelineError) -> int:
    """Print why nothing was run; return the exit code."""
    print(error, file=sys.stderr)
    return error.exit_code if isinstance(error, StoppedError) else 1


class CtrlC:
    """Remembers Ctrl-C, because its exception is lost during a callback from SQLite."""

    def __init__(self) -> None:
        self._is_made = False

    def is_made(self) -> bool:
        """Whether somebody pressed Ctrl-C."""
        return self._is_made

    @contextmanager
    def told(self, what_stays: str) -> Iterator[None]:
        """Turn whatever Ctrl-C causes into a StoppedError, which says what remains."""

        def note(_number: int, _frame: FrameType | None) -> NoReturn:
            self._is_made = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        except (KeyboardInterrupt, PipelineError):
            if self._is_made:
                raise StoppedError("Ctrl-C", STOPPED_BY_CTRL_C, what_stays) from None
            raise
        finally:
            signal.signal(signal.SIGINT, before)


def exit_as_told(main: Callable[[], int]) -> NoReturn:
    """End the process with a command's exit code, quietly even if the reader of its output goes away, like `head`."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would fail again when it flushes at its end, and print that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = CUT_OFF_BY_READER
    sys.exit(code)


def telling_once(text: str) -> Callable[[], None]:
    """Return a function that shows a text on the terminal when it is first called."""
    texts = [text]

    def tell() -> None:
        while texts:
            print(texts.pop(), file=sys.stderr, flush=True)

    return tell
