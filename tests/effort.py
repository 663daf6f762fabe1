"""How hard a property test tries: a tenth under `make test`, all of it under `make test-all`."""

from hypothesis import HealthCheck, settings

FAST = "fast"
THOROUGH = "thorough"

FEWEST = 5
"""Examples of a property test however small its share is."""

# Whether a machine is busy is no property of the code: an example may take as long as it takes. Fixtures that are made
# once and only read, such as the migrated template, are as good for the second example as for the first.
_PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], print_blob=True
)


def register_profiles() -> None:
    """Make both known to Hypothesis; `--hypothesis-profile` chooses one, and pyproject.toml the fast one."""
    settings.register_profile(FAST, _PATIENT, max_examples=10)
    settings.register_profile(THOROUGH, _PATIENT, max_examples=100)


def examples(count: int) -> settings:
    """Settings for so many examples when the tests are thorough, and the same share of them else.

    A test without these settings has 100 examples, or 10.
    """
    return settings(max_examples=max(FEWEST, count * settings().max_examples // 100))
