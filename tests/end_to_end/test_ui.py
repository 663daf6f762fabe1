"""What an operator does in the browser, from the first page to the report of a run."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from flows.local_server import PROJECT
from tests.end_to_end.browser import Operator, browser_path, operator
from tests.end_to_end.system import System, started

pytestmark = pytest.mark.ui

FORMS = {
    "hourly": ["as_of", "landing_path", "max_event_age_hours", "max_event_ahead_hours", "max_rejected_percent"],
    "backfill": [
        "start",
        "end",
        "source",
        "mode",
        "max_event_age_hours",
        "max_event_ahead_hours",
        "max_rejected_percent",
        "decide_again",
    ],
    "replay": [
        "reason",
        "file",
        "since",
        "dry_run",
        "max_event_age_hours",
        "max_event_ahead_hours",
        "edited_file",
    ],
    "backtest": ["rules", "rules_path", "against", "since", "until", "more_than"],
    "explain": ["user_id", "rule_name", "message_id", "since", "until", "where"],
    "check": ["max_load_age_hours"],
    "watch": ["max_load_age_hours"],
    "publish": ["publish_path"],
}
"""The fields of the form of each deployment, from top to bottom."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, started once for this file on the sample events."""
    browser_path()
    folder = tmp_path_factory.mktemp("ui")
    shutil.copytree(PROJECT / "data" / "samples", folder / "landing")
    with started(folder) as system:
        yield system


@pytest.fixture
def user(system: System) -> Iterator[Operator]:
    """Somebody in front of a browser."""
    with operator(system.place.url) as user:
        yield user


def test_a_click_starts_a_run_whose_report_is_one_tab_away(user: Operator) -> None:
    user.open_deployment("hourly")
    user.quick_run()
    user.wait_for_state("Completed")
    report = user.open_artifact("run-report")
    assert "welcome_email" in report
    assert "events-2026-11-02T22.jsonl" in report


def test_every_form_is_made_of_plain_fields_that_say_what_they_mean(user: Operator) -> None:
    for deployment, parameters in FORMS.items():
        user.open_deployment(deployment)
        user.open_form()
        assert user.parameters() == parameters
        assert all(user.help_text(name) for name in parameters)
        # What may be left empty would have a tab for the value and one for none.
        assert not user.has_tabs()


def test_a_form_that_is_left_as_it_is_starts_a_run(system: System, user: Operator) -> None:
    user.open_deployment("hourly")
    user.open_form()
    user.submit()
    user.wait_for_state("Completed")
    assert "as_of" not in system.client.read_flow_run(UUID(user.run_id)).parameters


def test_what_is_put_into_the_form_is_what_the_run_gets(system: System, user: Operator) -> None:
    user.open_deployment("hourly")
    user.open_form()
    user.pick_time("as_of", datetime(2026, 11, 3, 4, 5, tzinfo=UTC))
    user.fill("landing_path", str(system.landing))
    user.submit()
    user.wait_for_state("Completed")
    parameters = system.client.read_flow_run(UUID(user.run_id)).parameters
    assert datetime.fromisoformat(parameters["as_of"]) == datetime(2026, 11, 3, 4, 5, tzinfo=UTC)
    assert parameters["landing_path"] == str(system.landing)


def test_the_log_on_the_page_of_a_run_is_what_the_run_itself_says(user: Operator) -> None:
    user.open_deployment("hourly")
    user.quick_run()
    user.wait_for_state("Completed")
    log = user.log_until("Finished")
    assert [line.split()[0] for line in log] == ["Beginning", "Migrated", "Discovered", "0", "Nothing", "Finished"]


def test_no_page_asks_anything_of_the_world_outside(system: System, user: Operator) -> None:
    user.open_deployment("hourly")
    user.open_form()
    # A picture that is part of its page has no host.
    assert user.hosts - {""} == {system.place.url.removeprefix("http://")}
