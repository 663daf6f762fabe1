"""The temporary server of a run without one: it ends with the run, however that ends.

Prefect would start it in the process group and with the streams of the run. Then Ctrl-C ends it while the run still
needs it, and after a SIGKILL it stays for ever and keeps a pipe open that a cron job reads to its end. And the run
would import all of the server, which takes 60 MB and half a second. Here it is started as
`python flows/command_line/temporary_server.py <uvicorn's arguments>`: in its own session, with its own streams, and
with an input that ends when the run does.
"""

import atexit
import http.client
import logging
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from types import ModuleType
from typing import IO

STOP_SECONDS = 5.0
"""How long a server may take to end on its own when its run is gone."""

LOOK_SECONDS = 0.1
"""How long to wait before looking again whether the server answers."""

CANNOT_START = 3
"""The exit code of a server that cannot start; something else may have taken its port meanwhile."""

MOST_STARTS = 3


def bind_to_this_process() -> None:
    """Make any temporary server that Prefect starts from now on end with this process; nothing is started here."""
    module = ModuleType("prefect.server.api.server")
    server = TemporaryServer()
    module.SubprocessASGIServer = lambda: server  # type: ignore[attr-defined]  # where Prefect looks for it
    sys.modules[module.__name__] = module


class TemporaryServer:
    """What a run uses of Prefect's class SubprocessASGIServer."""

    def __init__(self) -> None:
        self.server_process: subprocess.Popen[bytes] | None = None
        self.api_url = ""
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the server and wait until it answers, unless that has been done. Raises RuntimeError if it does not."""
        with self._lock:
            if self.server_process is None:
                self.server_process = self._started()
                atexit.register(_stop, self.server_process)

    def _started(self) -> "subprocess.Popen[bytes]":
        # This file is also the server's program, which needs neither before it starts.
        import prefect  # noqa: PLC0415  see above
        from prefect.settings import get_current_settings  # noqa: PLC0415  see above

        settings = get_current_settings()
        environment = {
            **os.environ,
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
            **settings.to_environment_variables(exclude_unset=True),
        }
        deadline = time.monotonic() + settings.server.ephemeral.startup_timeout_seconds
        for _ in range(MOST_STARTS):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            self.api_url = f"http://127.0.0.1:{port}/api"
            logging.getLogger("prefect").info("Starting a temporary server on http://127.0.0.1:%d", port)
            app = [
                "--app-dir",
                str(prefect.__module_path__.parent),
                "--factory",
                "prefect.server.api.server:create_app",
            ]
            place = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
            process, said = start_bound([*app, *place], environment)
            with said:
                while (exit_code := process.poll()) is None and time.monotonic() < deadline:
                    if _answers(port):
                        return process
                    time.sleep(LOOK_SECONDS)
                said.seek(0)
                words = said.read().decode(errors="replace")
            _stop(process)
            if exit_code != CANNOT_START:
                break
        raise RuntimeError(
            "Timed out while attempting to connect to ephemeral Prefect API server. "
            + (f"It ended with exit code {exit_code} and said: {words}" if exit_code is not None else words)
        )


def start_bound(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple["subprocess.Popen[bytes]", IO[bytes]]:
    """Start uvicorn so that it ends with this process; return it, and the file that its output goes to."""
    said = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    process = subprocess.Popen(  # noqa: S603  the arguments are our own
        [sys.executable, "-P", __file__, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    return process, said


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STOP_SECONDS)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/api/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
