"""Marks runs that died with their worker: `python -m flows.leftovers`, on the server that PREFECT_API_URL names.

Run it before the work pool's worker starts, never beside it: only while no worker is at work, whatever has begun and
not ended is dead.
"""

import sys

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.command_line.arguments import command_line_of
from flows.pipeline.dead_runs import FOUND_AT_START, mark_leftovers_crashed


def main() -> int:
    """Mark the leftovers and say how many there were; return the exit code."""
    command_line_of(
        "leftovers",
        "Mark runs that died with their worker as Crashed. Run it before that worker starts again.",
    ).parse_args()
    api_url = get_current_settings().api.url
    if api_url is None:
        print("PREFECT_API_URL is not set; it names the server, such as http://127.0.0.1:4200/api.", file=sys.stderr)
        return 1
    try:
        with get_client(sync_client=True) as client:
            number = mark_leftovers_crashed(client, FOUND_AT_START)
    except httpx.HTTPError as error:
        print(f"The Prefect server at {api_url} did not answer: {error}", file=sys.stderr)
        return 1
    print(f"{number} unfinished runs marked as Crashed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
