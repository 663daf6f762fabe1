"""Everything the schedule needs on one machine, as one command: a Prefect server, the deployments and a worker.

`python -m flows.up` starts them and stays; Ctrl-C or SIGTERM stops them. The same as separate commands, for a machine
that nobody watches: docs/operations.md.
"""

import signal
import sys
from pathlib import Path

import httpx

from flows.command_line.arguments import command_line_of
from flows.local_server import PROJECT, STOP_SIGNALS, Place, up
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.settings import load_settings

DEFAULT_HOME = PROJECT / ".prefect"
DEFAULT_PORT = 4200


def main() -> int:
    """Bring everything up and stay until a signal; return the exit code, which is 0 after Ctrl-C or SIGTERM."""
    parser = command_line_of("up", "Run a Prefect server, the deployments and a worker until Ctrl-C.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the server's port (default: %(default)s)")
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="Prefect's own folder (default: .prefect)")
    options = parser.parse_args()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        load_settings()
        up(Place(options.home.resolve(), options.port))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    except httpx.HTTPError as error:
        print(f"The Prefect server did not do what it was asked to: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
