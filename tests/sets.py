"""Which tests `make test` runs: those that start no server and are quick.

A test is left to `make test-all` by a marker: `server` or `slow`. It has the first one by itself when it asks for a
fixture that starts Prefect's server, and the second one in a folder of slow tests. A server that starts in any other
test is refused, with a sentence that names the marker, so that none slips in.
"""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from tests.effort import examples_of

SERVER_FIXTURES = frozenset({"_prefect", "system", "demo", "postgresql", "bucket"})
"""Fixtures that start a server, of Prefect, PostgreSQL or object storage, or a process that does."""

SHARED = {"_prefect": "flows", "system": "end_to_end", "demo": "demo", "starts": "torture", "project_copy": "copy"}
"""Fixtures that many tests share, with the group whose tests run one after another in one worker of pytest: in several,
each would make what the fixture gives, which takes 10 to 30 s of CPU."""

SLOW_FOLDERS = frozenset({"torture"})
"""Folders below tests/ in which every test starts processes and takes seconds. The tests of one file run in one worker:
what they begin with takes as long as they do."""

STARTS_A_SERVER = ("flows.", "uvicorn", "prefect")
"""How the words of a command begin that starts Prefect's server: each of our programs does for its run."""

ORDER = ("server", "hypothesis", "slow")
"""Markers of tests that take longest, which go first, so that of several cores none waits for another at the end."""


def mark(item: pytest.Item, folder: str) -> None:
    """Give a test, in a folder below tests/, the markers that it has by itself."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if SERVER_FIXTURES & fixtures:
        item.add_marker(pytest.mark.server)
    if folder in SLOW_FOLDERS:
        item.add_marker(pytest.mark.slow)
    groups = {group for fixture, group in SHARED.items() if fixture in fixtures}
    if folder == "end_to_end":
        # Those that start a system of their own as well: one at a time leaves the other cores to other tests.
        groups.add(folder)
    if folder in SLOW_FOLDERS and not groups:
        groups.add(item.path.stem)
    for group in groups:
        item.add_marker(pytest.mark.xdist_group(group))


def turn(item: pytest.Item) -> tuple[int, int]:
    """When it is a test's turn, the lowest first: by its kind, and of property tests those with most examples first."""
    kind = next((turn for turn, marker in enumerate(ORDER) if item.get_closest_marker(marker)), len(ORDER))
    return kind, -examples_of(item)


@contextmanager
def refused_servers() -> Iterator[None]:
    """Let nothing inside listen on a port, nor start a process that does, as far as its command shows."""
    start = subprocess.Popen.__init__
    bind = socket.socket.bind

    def start_no_server(
        self: "subprocess.Popen[Any]", command: str | Sequence[Any], *rest: Any, **options: Any
    ) -> None:
        words = command.split() if isinstance(command, str) else [str(word).rpartition("/")[2] for word in command]
        if any(word.startswith(STARTS_A_SERVER) for word in words):
            _refuse(f"starts `{' '.join(words)}`, and that a server")
        start(self, command, *rest, **options)

    def bind_no_port(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            _refuse(f"listens on port {address[1]}")
        bind(self, address)

    with ExitStack() as patches:
        patches.enter_context(patch.object(subprocess.Popen, "__init__", start_no_server))
        patches.enter_context(patch.object(socket.socket, "bind", bind_no_port))
        yield


def _refuse(what: str) -> None:
    pytest.fail(f"This test {what}; give it @pytest.mark.server, so that `make test` leaves it out.")
