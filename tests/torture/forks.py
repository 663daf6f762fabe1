"""The parent's side of a victim: it is started, killed and waited for from here."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.torture.orders import Order
from tests.torture.scene import PROJECT

KILLED = -signal.SIGKILL
HUNG = -signal.SIGALRM


@dataclass(frozen=True, slots=True)
class Ending:
    """How a victim ended."""

    exit_code: int
    """Minus the number of the signal that ended it, if one did."""
    output: str
    points: tuple[str, ...]
    """The points that it came by, in order."""
    seconds: float
    opened: tuple[str, ...] = ()
    """What a watched victim opened, listed, started or connected to."""
    statements: tuple[str, ...] = ()
    """The SQL texts that a watched victim executed."""

    @property
    def last_point(self) -> str:
        """The point it came by last, at which or after which it ended."""
        return self.points[-1] if self.points else "start: before the first point"

    def fault(self) -> str | None:
        """What about this ending no person should ever see, or None: a traceback, a hang, a lock."""
        if self.exit_code == HUNG:
            return f"hung at {self.last_point}"
        if self.exit_code not in {0, 1, KILLED} or "Traceback" in self.output:
            return f"ended with {self.exit_code} at {self.last_point}:\n{self.output}"
        if "database is locked" in self.output.lower():
            return f"told a person: {self.output}"
        return None


class Victim:
    """A process under way. It stays a zombie until it is waited for, so that its id belongs to nobody else."""

    def __init__(self, server: "ForkServer", order: Order) -> None:
        self._server = server
        self._folder = Path(order.folder)
        self._began = time.monotonic()
        self.process_id: int = server.ask(f"start {json.dumps(asdict(order))}")

    def kill_after(self, seconds: float) -> Ending:
        """Kill it at some moment from now, unless it has ended by then, and wait for it."""
        time.sleep(seconds)
        self.send(signal.SIGKILL)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process_id, number)

    def has_ended(self) -> bool:
        """Return whether it is over."""
        return Path(f"/proc/{self.process_id}/stat").read_text().rpartition(") ")[2].startswith("Z")

    def wait_until_stopped(self) -> bool:
        """Wait until it stands still, or has ended; return whether it stands still."""
        return bool(self._server.ask(f"wait-until-stopped {self.process_id}"))

    def wait(self) -> Ending:
        """Wait for its end."""
        answer = self._server.ask(f"wait {self.process_id}")
        seconds = time.monotonic() - self._began
        points, opened, statements = (
            tuple(self._left_behind(name).splitlines()) for name in ("points", "opened", "statements")
        )
        return Ending(answer["exit_code"], self._left_behind("output"), points, seconds, opened, statements)

    def _left_behind(self, name: str) -> str:
        path = self._folder / f"{name}-{self.process_id}.txt"
        if not path.exists():
            return ""
        content = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
        return content


class ForkServer:
    """A process that has imported everything, and forks a victim for each order in a few milliseconds."""

    def __init__(self) -> None:
        # Threads of a library would not live on in a fork.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.victim"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._turn = threading.Lock()

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def ask(self, request: str) -> Any:
        """Send one request and return the answer to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(self, order: Order) -> Victim:
        """Start a victim."""
        return Victim(self, order)

    def run(self, order: Order) -> Ending:
        """Start a victim and wait for its end."""
        return self.start(order).wait()

    def run_together(self, orders: Sequence[Order]) -> list[Ending]:
        """Start several victims and wait for all of them."""
        victims = [self.start(order) for order in orders]
        return [victim.wait() for victim in victims]
