"""The explanation as a run with a form."""

from pathlib import Path

import pytest

from flows.explain_run import explain
from flows.pipeline.endings import result_of
from src.marketing_messaging_service.explaining import Answer
from tests.decisions.helpers import event, rule
from tests.pipeline import AS_OF, Pipeline

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _database(tmp_path: Path, migrated_template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(tmp_path / "data", migrated_template)
    opted_in = {"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}
    traits = {"country": "DE", "email": "ana@example.org", "marketing_opt_in": False}
    pipeline.land([event("a", user_traits=traits)])
    pipeline.do(pipeline.options(as_of=AS_OF), {"rules": [rule("r", opted_in)]})
    pipeline.engine.dispose()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{pipeline.database_path}")
    monkeypatch.setenv("RULES_PATH", str(pipeline.rules_path))
    monkeypatch.setenv("LANDING_PATH", str(pipeline.landing))


def test_the_answer_is_markdown_and_the_message_what_it_comes_to() -> None:
    state = explain(user_id=" ana ", return_state=True)
    assert state.message == "What the rules made of 1 event of the user ana: 1 not matched."
    answer = result_of(state)
    assert isinstance(answer, Answer)
    assert answer.markdown.splitlines() == [
        "### paid a at 2026-03-01 12:00:00 UTC",
        "",
        "- r: did not match; what failed: user_traits.marketing_opt_in is true \\[run of 2026-11-23 10:00\\]",
        "  - ✗ user_traits.marketing_opt_in is true – found: false",
    ]


def test_a_set_is_asked_for_by_its_rule() -> None:
    state = explain(
        rule_name="r", where="user_traits.country=DE, user_traits.marketing_opt_in=false", return_state=True
    )
    assert str(state.message).startswith("r: 1 event paid with user_traits.country is DE and ")
    assert str(state.message).endswith("; 0 decided to be sent.")


def test_a_form_that_is_left_empty_fails_with_a_sentence() -> None:
    state = explain(return_state=True)
    assert state.is_failed()
    assert state.message == "Name a user, a rule, or both; without either there is nothing to explain."
