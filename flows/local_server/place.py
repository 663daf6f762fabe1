"""Where one server and its worker run on this machine, and how to recognise their processes after a crash."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import get_current_settings

PROJECT = Path(__file__).resolve().parents[2]
"""The working directory of every process, because `.env` is read there and relative paths start there."""

HOME_MARKER = "MESSAGING_UP_HOME"
"""The variable that every process inherits, including flow runs; it identifies them after a crash."""


@dataclass(frozen=True)
class Place:
    """Where one server and its worker run: a folder and a port."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """The address of the API."""
        return f"{self.url}/api"

    @property
    def log_path(self) -> Path:
        """The file for the processes' output."""
        return self.home / "up.log"

    def environment(self) -> dict[str, str]:
        """Return the environment of the processes: the caller's, with Prefect kept to this folder and this machine."""
        elsewhere = ("PREFECT_PROFILE", "PREFECT_API_KEY")
        callers = {name: value for name, value in os.environ.items() if name not in elsewhere}
        no_proxy = [value for name in ("NO_PROXY", "no_proxy") if (value := callers.get(name))]
        return callers | {
            HOME_MARKER: str(self.home),
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_UI_URL": self.url,
            "PREFECT_SERVER_UI_API_URL": self.api_url,
            # Otherwise any page that is open in a browser might start runs.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{self.url},http://localhost:{self.port}",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # The newer UI asks an outside tracking service for its configuration, even with analytics off.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            # In memory, the default, a lease dies with the server, and its slot stays taken for ever.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            # Hides six lines about submission and working directory above each run's own. Warnings still show.
            "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "WARNING",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_CLI_COLORS": "false",
            "NO_PROXY": ",".join([*no_proxy, "127.0.0.1", "localhost"]),
            "PYTHONUNBUFFERED": "1",
        }

    def client(self) -> SyncPrefectClient:
        """Return a client of the server, to be used in a `with` statement."""
        secret = get_current_settings().api.auth_string
        auth_string = secret.get_secret_value() if secret else None
        return SyncPrefectClient(self.api_url, auth_string=auth_string, httpx_settings={"trust_env": False})

    def is_answering(self) -> bool:
        """Whether a Prefect server answers here."""
        try:
            return httpx.get(f"{self.api_url}/health", timeout=1.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def process_ids(self) -> list[int]:
        """Return the processes that were started in this folder, by this start or an earlier one.

        Their environment identifies them, which only Linux shows; elsewhere the list is empty.
        """
        mark = f"{HOME_MARKER}={self.home}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _variables(path)]


def _variables(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        # It has ended meanwhile, or belongs to somebody else.
        return []
