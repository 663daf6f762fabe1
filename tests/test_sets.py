"""`make test` starts no server, and nothing is left out of `make test-all` or of the checks of a change."""

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.mark.expression import Expression
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.testing.utilities import prefect_test_harness

from tests import sets
from tests.conftest import pytest_xdist_make_scheduler

ROOT = Path(__file__).parents[1]
ADDED = re.findall(r'^addopts = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
KINDS = [frozenset(kinds) for kinds in ((), ("server",), ("slow",), ("server", "slow"), ("ui",), ("ui", "slow"))]


def command_of(target: str, *arguments: str) -> list[str]:
    """The words of the command that a target of the Makefile runs, once everything is installed."""
    installed = [f"--old-file=.venv/{name}" for name in ("installed-dev", "installed-ui")]
    make = ["make", "--dry-run", *installed, target, *arguments]
    # Make itself may have started these tests, and would hand its own arguments on by the environment.
    outside = {"PATH": os.environ["PATH"]}
    shown = subprocess.run(make, cwd=ROOT, env=outside, capture_output=True, text=True, check=True).stdout
    return shlex.split(shown.splitlines()[-1])


def chosen(target: str, *, is_property: bool = False) -> set[frozenset[str]]:
    """The kinds of tests that a target of the Makefile runs."""
    python, module, pytest_itself, *given = command_of(target)
    assert (python, module, pytest_itself) == (".venv/bin/python", "-m", "pytest")
    # The last one counts.
    *_, (_, markers) = (pair for pair in pairwise(shlex.split(*ADDED) + given) if pair[0] == "-m")
    of_all = {"hypothesis"} if is_property else set()
    return {kinds for kinds in KINDS if _is_chosen(markers, kinds | of_all)}


def _is_chosen(markers: str, kinds: Collection[str]) -> bool:
    return Expression.compile(markers).evaluate(lambda name, /, **_: name in kinds)


def test_the_tests_that_start_no_server_and_are_quick_are_those_of_make_test() -> None:
    assert chosen("test") == {frozenset()}
    assert chosen("test", is_property=True) == {frozenset()}


def test_make_test_all_runs_everything_but_what_drives_a_browser() -> None:
    assert chosen("test-all") == {kinds for kinds in KINDS if "ui" not in kinds}
    assert chosen("test-ui") == set(KINDS) - chosen("test-all")


def test_the_rest_is_what_is_missing_and_the_property_tests_with_all_their_examples() -> None:
    assert chosen("test-rest") == chosen("test-all") - chosen("test")
    assert chosen("test-rest", is_property=True) == chosen("test-all")
    assert re.findall(r"^make (\S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE) == [
        "test",
        "test-rest",
        "check",
    ]


@pytest.mark.parametrize("target", ["test", "test-all", "test-rest", "test-ui"])
def test_what_make_is_given_as_args_reaches_pytest(target: str) -> None:
    assert command_of(target, "ARGS=-k 'rules and files' -x")[-3:] == ["-k", "rules and files", "-x"]


class FakeItem(SimpleNamespace):
    """A test that asks for fixtures, and keeps the markers that it is given."""

    def add_marker(self, marker: Any) -> None:
        self.markers.append(marker.name)


@pytest.mark.parametrize(
    ("fixtures", "folder", "markers"),
    [
        (["tmp_path", "landing", "_prefect"], "flows", ["server"]),
        (["tmp_path", "system"], "end_to_end", ["server"]),
        (["demo"], "", ["server"]),
        (["tmp_path"], "torture", ["slow"]),
        (["tmp_path", "engine"], "loading", []),
    ],
)
def test_a_test_is_marked_by_what_it_asks_for_and_where_it_lies(
    fixtures: list[str], folder: str, markers: list[str]
) -> None:
    item: Any = FakeItem(fixturenames=fixtures, path=Path("test_one.py"), markers=[])
    sets.mark(item, folder)
    assert item.markers == markers


@pytest.mark.parametrize("fixture", ["_prefect", "system", "demo", "starts", "project_copy"])
def test_what_is_costly_to_make_is_made_in_one_worker(request: pytest.FixtureRequest, fixture: str) -> None:
    asking = [item.nodeid for item in request.session.items if fixture in getattr(item, "fixturenames", ())]
    units = {sets.unit_of(test_id) for test_id in asking}
    assert len(units) <= 1
    assert units <= set(sets.TOGETHER)


def test_tests_of_one_file_that_share_nothing_costly_are_units_of_their_own() -> None:
    ids = ["tests/test_paths.py::test_one", "tests/test_paths.py::test_two[a]"]
    assert [sets.unit_of(test_id) for test_id in ids] == ids


@pytest.mark.parametrize("target", ["test-all", "test-rest"])
def test_thorough_runs_give_whole_units_to_workers(target: str) -> None:
    words = command_of(target)
    chosen_there = {"dist": words[words.index("--dist") + 1]}
    config: Any = SimpleNamespace(getoption=chosen_there.get, getvalue=lambda _: ["popen"])
    assert isinstance(pytest_xdist_make_scheduler(config, None), sets.ByUnit)


class FakeTest(SimpleNamespace):
    """A test with a marker, and a function with so many examples."""

    def get_closest_marker(self, name: str) -> bool:
        return bool(name == self.marker)


def test_servers_come_first_then_the_longest_property_tests() -> None:
    @settings(max_examples=100)
    def few(_: None) -> None: ...

    @settings(max_examples=400)
    def many(_: None) -> None: ...

    def plain() -> None: ...

    every: list[Any] = [
        FakeTest(marker="", obj=plain),
        FakeTest(marker="slow", obj=plain),
        FakeTest(marker="hypothesis", obj=given(st.none())(few)),
        FakeTest(marker="hypothesis", obj=given(st.none())(many)),
        FakeTest(marker="server", obj=plain),
    ]
    assert sorted(every, key=sets.turn) == list(reversed(every))


def test_every_test_that_asks_for_prefect_is_marked(request: pytest.FixtureRequest) -> None:
    unmarked = [item.nodeid for item in request.session.items if item.get_closest_marker("server") is None]
    asking = [item.nodeid for item in request.session.items if "_prefect" in getattr(item, "fixturenames", ())]
    assert not set(unmarked) & set(asking)


def test_prefects_harness_is_refused_where_no_marker_asks_for_a_server() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"give it @pytest\.mark\.server"), prefect_test_harness():
        pass


def test_a_port_is_refused_where_no_marker_asks_for_a_server() -> None:
    with socket.socket() as own, pytest.raises(pytest.fail.Exception, match="listens on port 0"):
        own.bind(("127.0.0.1", 0))


@pytest.mark.parametrize("command", [[sys.executable, "-m", "flows.hourly"], ["/usr/bin/prefect", "server", "start"]])
def test_a_process_that_starts_a_server_is_refused_where_no_marker_asks_for_one(command: list[str]) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"This test starts `.*`, and that a server"):
        subprocess.run(command, check=False)


@pytest.mark.server
def test_a_marked_test_may_listen_on_a_port() -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        assert own.getsockname()[1] > 0
