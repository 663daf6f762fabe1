"""The JSON Schema by which editors complete and check rules.yaml."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from ruamel.yaml import YAML

from src.marketing_messaging_service.explaining.rules_schema import rules_schema, rules_schema_text
from tests.decisions.helpers import rule
from tests.language_strategies import language_documents

DATA = Path(__file__).parents[2] / "data"
SHIPPED = [DATA / "rules.yaml", *sorted(DATA.glob("examples/*/rules.yaml"))]
SCHEMA = jsonschema.Draft202012Validator(rules_schema())


def test_the_file_in_the_project_is_the_current_schema() -> None:
    assert (DATA / "rules.schema.json").read_text(encoding="utf-8") == rules_schema_text(), "run `make docs`"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_it_takes_the_shipped_files_which_lead_an_editor_to_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert SCHEMA.is_valid(YAML(typ="safe", pure=True).load(text))
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == DATA / "rules.schema.json"


@given(language_documents())
def test_it_takes_whatever_the_language_can_say(document: dict[str, Any]) -> None:
    assert [error.message for error in SCHEMA.iter_errors(document)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        rule(surprise=1),
        rule(conditions={"field": "properties.amout", "operator": "gt", "value": 1}),
        rule(conditions={"field": "properties.amount", "operator": "above", "value": 1}),
        rule(conditions={"happened": {"event_type": "paid", "at_least": -1}}),
        rule(wait={"hours": 0}),
        rule(suppression={"mode": "once"}),
        rule(action={"type": "send", "template_name": "T"}),
    ],
)
def test_it_refuses_a_word_that_is_none(wrong: dict[str, Any]) -> None:
    assert SCHEMA.is_valid({"rules": [rule()]})
    assert not SCHEMA.is_valid({"rules": [wrong]})


@pytest.mark.parametrize("conditions", [{}, {"all": []}])
def test_it_takes_the_ways_to_ask_for_nothing(conditions: Any) -> None:
    assert SCHEMA.is_valid({"rules": [rule(conditions=conditions, exclusive_group=None)]})
