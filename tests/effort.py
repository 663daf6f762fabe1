"""How hard a property test tries: a sixth under `make test`, all of it under `make test-all`."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

FAST = "fast"
THOROUGH = "thorough"
EXHAUSTIVE = "exhaustive"
"""For a night: `make test-rest ARGS="--hypothesis-profile exhaustive"`."""

_SETTINGS = "_hypothesis_internal_use_settings"

FEWEST = 5
"""Examples of a property test however small its share is."""

# Whether a machine is busy is no property of the code: an example may take as long as it takes. Fixtures that are made
# once and only read, such as the migrated template, are as good for the second example as for the first.
_PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], print_blob=True
)


def register_profiles() -> None:
    """Make all three known to Hypothesis; `--hypothesis-profile` chooses one, and pyproject.toml the fast one."""
    settings.register_profile(FAST, _PATIENT, max_examples=5)
    # 30 because more would not fit into the twenty minutes of .ci/run; each run tries other examples.
    settings.register_profile(THOROUGH, _PATIENT, max_examples=30)
    settings.register_profile(EXHAUSTIVE, _PATIENT, max_examples=500)


def examples(count: int) -> settings:
    """Settings for so many examples when the tests are thorough, and the same share of them else.

    A test without these settings has 30 examples, or 5.
    """
    return settings(max_examples=max(FEWEST, count * settings().max_examples // 100))


def examples_of(item: pytest.Item) -> int:
    """Return how many examples a test tries; none where it is no property test."""
    given: settings | None = getattr(getattr(item, "obj", None), _SETTINGS, None)
    return 0 if given is None else given.max_examples


@contextmanager
def fewer_on_a_server(item: pytest.Item) -> Iterator[None]:
    """Let a property test try a tenth of its examples on a server, where each takes as many times as long."""
    test = getattr(item, "obj", None)
    before: settings | None = getattr(test, _SETTINGS, None)
    callspec = getattr(item, "callspec", None)
    if before is None or callspec is None or callspec.params.get("template") != "postgresql":
        yield
        return
    # Hypothesis keeps them with the function, which is one for both databases.
    setattr(test, _SETTINGS, settings(before, max_examples=max(FEWEST, before.max_examples // 10)))
    try:
        yield
    finally:
        setattr(test, _SETTINGS, before)
