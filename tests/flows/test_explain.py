"""Why a user got a message, or did not, from the command line."""

import json
from pathlib import Path

import pytest

from flows.explain import main
from tests.decisions.helpers import event, rule
from tests.pipeline import AS_OF, Pipeline

ADDRESS = "ana@example.org"


@pytest.fixture
def _database(tmp_path: Path, migrated_template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(tmp_path / "data", migrated_template)
    asked = {"field": "user_traits.email", "operator": "not_equals", "value": ADDRESS}
    elsewhere = rule("elsewhere", on="opened")
    pipeline.land([event("a", user_traits={"email": ADDRESS}), event("b", at="2026-03-02T12:00:00Z")])
    pipeline.do(pipeline.options(as_of=AS_OF), {"rules": [rule("r", mode="once_ever"), rule("s", asked), elsewhere]})
    pipeline.engine.dispose()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{pipeline.database_path}")
    monkeypatch.setenv("RULES_PATH", str(pipeline.rules_path))


@pytest.mark.usefixtures("_database")
def test_each_event_has_its_rules_with_their_conditions_and_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--user", "ana"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "paid a at 2026-03-01 12:00:00 UTC",
        "  r: decided to be sent [run of 2026-11-23 10:00]",
        "  s: did not match; what failed: user_traits.email is not ***@*** [run of 2026-11-23 10:00]",
        "    ✗ user_traits.email is not ***@*** – found: ***@***",
        "",
        "paid b at 2026-03-02 12:00:00 UTC",
        "  r: suppressed: once_ever (at most once in a lifetime; in the way: send 1 of T, for a at 2026-03-01 12:00) "
        "[run of 2026-11-23 10:00]",
        "  s: did not match; what failed: user_traits.email is not ***@*** [run of 2026-11-23 10:00]",
        "    ✗ user_traits.email is not ***@*** – found: missing",
    ]


@pytest.mark.usefixtures("_database")
def test_the_same_is_there_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--user", "ana", "--rule", "s", "--event", "b", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "version": 1,
        "user_id": "ana",
        "matches": [
            {
                "message_id": "b",
                "event_type": "paid",
                "event_timestamp": "2026-03-02T12:00:00+00:00",
                "rule_name": "s",
                "outcome": "not_matched",
                "reason": None,
                "blocker": None,
                "reasons": [],
                "failed": "user_traits.email is not ***@***",
                "notes": [],
                "conditions": {
                    "all": [{"condition": "user_traits.email is not ***@***", "holds": False, "found": "missing"}],
                    "holds": False,
                },
            }
        ],
        "no_events": [],
    }


@pytest.mark.usefixtures("_database")
def test_a_window_leaves_out_what_lies_outside(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--user", "ana", "--since", "2026-03-01T13:00:00+01:00", "--until", "2026-03-02"]) == 0
    printed = capsys.readouterr().out
    assert "paid a " in printed
    assert "paid b " not in printed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ["--user", "nobody"],
            "No event of the user nobody has been loaded. Check how the user_id is written; capitals count.",
        ),
        (
            ["--user", "ana", "--event", "z"],
            "No event of the user ana has the message_id z; the user has 2 events: paid (2).",
        ),
        (
            ["--user", "ana", "--since", "2026-03-03"],
            "No such event of the user ana is in the window; the loaded ones reach from 2026-03-01 12:00 to "
            "2026-03-02 12:00 UTC.",
        ),
        (
            ["--user", "ana", "--rule", "elsewhere", "--event", "b"],
            "None of the rules looks at an event of the user ana, who has 2 events: paid (2); asked about: paid (1).",
        ),
    ],
)
@pytest.mark.usefixtures("_database")
def test_who_has_no_such_event_hears_what_there_is(
    asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked) == 0
    assert capsys.readouterr().out.splitlines() == [said]


@pytest.mark.usefixtures("_database")
def test_a_rule_that_never_was_is_no_reason_why_a_user_got_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--user", "ana", "--rule", "elsewere"]) == 1
    assert "There is no rule elsewere, and there never was; did you mean elsewhere?" in capsys.readouterr().err


@pytest.mark.parametrize("about", [["--user", "ana"], ["--rule", "r"]])
@pytest.mark.usefixtures("_database")
def test_a_window_that_ends_before_it_begins_is_refused(about: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*about, "--since", "2026-03-02", "--until", "2026-03-01"]) == 1
    assert (
        "The window is empty: until (2026-03-01 00:00 UTC) is not after since (2026-03-02 00:00 UTC); choose a later "
        "until." in capsys.readouterr().err
    )


def test_without_a_database_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--user", "ana"]) == 1
    assert "which does not exist; run the hourly job first" in capsys.readouterr().err
