"""The temporary server that Prefect starts for a run without one: it ends with the run, however that ends.

Prefect starts it in the process group and with the streams of the run. Then Ctrl-C ends it while the run still needs
it, and after a SIGKILL it stays for ever and keeps a pipe open that a cron job reads to its end. Here it is started as
`python flows/command_line/temporary_server.py <uvicorn's arguments>`: in its own session, with its own streams, and
with an input that ends when the run does.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

STOP_SECONDS = 5.0
"""How long a server may take to end on its own when its run is gone."""


def bind_to_this_process() -> None:
    """Make any temporary server that Prefect starts from now on end with this process; nothing is started here."""
    # Prefect imports it to start a server.
    from prefect.server.api import server  # noqa: PLC0415  half a second, which a run without a temporary one saves

    vars(server)["subprocess"] = _Subprocess()


class _Subprocess:
    """The module `subprocess` as Prefect's server module uses it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, args: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":  # noqa: N802  the module's name
        """Start `python -m uvicorn …` through this file; any other command unchanged."""
        if tuple(args[1:3]) != ("-m", "uvicorn"):
            return subprocess.Popen(args, **options)  # noqa: S603  as Prefect starts it
        said = tempfile.TemporaryFile()  # noqa: SIM115  Prefect reads it later, when the server does not start
        process = subprocess.Popen(  # noqa: S603  the arguments are Prefect's own
            [args[0], "-P", __file__, *args[3:]],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
            **options,
        )
        process.stderr = _FromTheBeginning(said)  # type: ignore[assignment]  # it has what Prefect uses of a stream
        return process


class _FromTheBeginning:
    """What a process has written into a file that it shares with this one."""

    def __init__(self, said: Any) -> None:
        self._said = said

    def read(self) -> str:
        """Return all of it so far."""
        self._said.seek(0)
        return str(self._said.read().decode(errors="replace"))

    def close(self) -> None:
        """Close it."""
        self._said.close()


def _end_with_the_run() -> None:
    """Wait until the other end of the input is closed; the operating system does that for a killed process too."""
    # Not through sys.stdin: a thread reading it would hold its lock while the interpreter shuts down.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)


def main() -> None:
    """Be the server."""
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    sys.argv[0] = "uvicorn"
    runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
