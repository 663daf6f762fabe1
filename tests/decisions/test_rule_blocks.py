"""Rules that are read one by one are the rules of the whole text, or the whole text is read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.decisions import rule_blocks
from src.marketing_messaging_service.decisions.rule_blocks import whole_of_text
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.errors import RulesError

RULE = """\
  - name: {name}
    description: {description}
    trigger: {{event_type: paid}}
    action:
      type: send
      template_name: T
      delivery_method: email
"""


def text(*names: str, description: str = "What it is for") -> str:
    return "# The rules\n\nrules:\n" + "\n".join(RULE.format(name=name, description=description) for name in names)


def outcome(read: Any, yaml_text: str) -> tuple[Rule, ...] | str:
    """The rules of a text, or how it is refused."""
    try:
        rules: tuple[Rule, ...] = read(yaml_text, "its text").rules
    except RulesError as error:
        return str(error)
    return rules


def test_a_rule_that_did_not_change_is_read_once(monkeypatch):
    read: list[str] = []

    def parse(yaml_text: str, source: str) -> Any:
        read.append(yaml_text)
        return parse_rules(yaml_text, source)

    monkeypatch.setattr(rule_blocks, "parse_rules", parse)
    for names in (("once a", "once b"), ("once a", "once c"), ("once c", "once b", "once a")):
        assert [rule.name for rule in whole_of_text(text(*names), "x").rules] == list(names)
    assert len(read) == 3
    assert all(block.startswith("rules:\n  - name: once ") for block in read)


@pytest.mark.parametrize(
    "yaml_text",
    [
        text("a", "b").replace("  - name", "- name").replace("\n    ", "\n  "),
        text("a", "b").replace("rules:\n", "rules: # all of them\n\n# the first\n"),
        text("a", "b") + "# the end\n",
        text("a", "b", description="|\n        - name: no rule\n          at all"),
        text("a", "b", description="|2\n      - name: no rule"),
        text("a", "b", description="'one\n  - name: still within'"),
        text("a", "b", description='"one\n\n  - name: still within"'),
        text("a", "b", description="plain\n      and more"),
        text("a", "b", description="{a: 1}"),
        text("a", "a"),
        text("a", "b").replace("name: b", "name: &b b"),
        text("a", "b").replace("T\n", "'T\n", 1),
        text("a", "b").replace("rules:", "---\nrules:"),
        text("a", "b") + "---\nrules: []\n",
        text("a", "b") + "more: 1\n",
        text("a", "b").replace("\n", "\r\n"),
        text("a", "b").replace("    trigger", "\ttrigger"),
        text("a", "b", description="a\u2028  - name: c"),
        "rules:\n",
        "rules: []\n",
        "rules:\n  # nothing\n",
        "rules:\n  a: 1\n",
        "rules:\n  - a\n  -\n",
        "",
        '{"rules": []}',
    ],
)
def test_whatever_is_unusual_comes_to_the_same(yaml_text):
    assert outcome(whole_of_text, yaml_text) == outcome(parse_rules, yaml_text)


LINES = st.sampled_from(
    [
        "rules:", "  - name: a", "  - name: b", "    trigger: {event_type: paid}", "    description: |", "      - n: c",
        "    description: 'x", "  - y'", "    action: {type: send, template_name: T, delivery_method: email}", "# note",
        "", "   - odd", "- name: a", "    description: x", "     more", "other: 1", "  ...", "---", "    - z",
    ]
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=12))
def test_lines_in_any_order_come_to_the_same(lines):
    yaml_text = "\n".join(["rules:", *lines])
    assert outcome(whole_of_text, yaml_text) == outcome(parse_rules, yaml_text)
