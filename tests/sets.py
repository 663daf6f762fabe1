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
from xdist.scheduler import LoadScopeScheduling

from tests.effort import examples_of

SERVER_FIXTURES = frozenset({"_prefect", "system", "demo", "postgresql", "bucket"})
"""Fixtures that start a server, of Prefect, PostgreSQL or object storage, or a process that does."""

TOGETHER = (
    *("tests/flows/", "tests/end_to_end/", "tests/test_readme.py", "tests/vocabulary/test_adding_a_field.py"),
    *(f"tests/torture/test_{name}.py" for name in ("dask_runs", "full_servers", "past_one_machine", "servers")),
    *("tests/torture/test_several.py", "tests/torture/"),
)
"""Where tests share what takes 10 to 30 s of CPU to make, such as a server: those below one of these, the first that
fits, run one after another in one worker of pytest, because in several each would make it."""

SLOW_FOLDERS = frozenset({"torture"})
"""Folders below tests/ in which every test starts processes and takes seconds."""

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


def unit_of(test_id: str) -> str:
    """The unit that a test is a part of: all of a unit runs in one worker."""
    return next((place for place in TOGETHER if test_id.startswith(place)), test_id)


class ByUnit(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no type information
    """Gives units to workers, the largest first.

    In place of xdist's own groups, which pytest 9.2 passes over without a word (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


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
