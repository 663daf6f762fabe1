"""Reads many versions of a rules file that differ little: each rule's text is parsed once.

Parsing YAML takes a millisecond per rule. In two hundred versions of a file with fifty rules, nearly all rules are word
for word those of the version before.
"""

import re
from functools import lru_cache

from src.marketing_messaging_service.decisions.rules import MOST_RULES, Rule, Rules
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.errors import RulesError

MOST_RULES_REMEMBERED = 100_000
MOST_FILES_REMEMBERED = 10_000
"""Several invariants of one check ask for the same file."""

_HEAD = re.compile(r"(?:[ ]*(?:#[^\n]*)?\n)*rules:[ ]*(?:#[^\n]*)?\n")
_OTHER_LINE_ENDS = re.compile("[\\r\\x0b\\x0c\\x85\u2028\u2029\\t]")


@lru_cache(MOST_FILES_REMEMBERED)
def whole_of_text(yaml_text: str, source: str) -> Rules:
    """Return everything in the text of a rules file; raises RulesError as `parse_rules`, which it replaces, does."""
    rules = _rules_one_by_one(yaml_text)
    # A file read rule by rule contains nothing else.
    return parse_rules(yaml_text, source).whole if rules is None else Rules(rules=rules)


def _rules_one_by_one(yaml_text: str) -> tuple[Rule, ...] | None:
    """Return the rules, each parsed separately; None if that may not give the same result."""
    blocks = _blocks(yaml_text)
    if not blocks or len(blocks) > MOST_RULES:
        return None
    try:
        rules = [rule for block in blocks for rule in _rules_of_block(block)]
    except RulesError:
        # Something of one rule reaches into the next, such as an open quotation mark; or it is a fault to report.
        return None
    names = {rule.name for rule in rules}
    return tuple(rules) if len(rules) == len(blocks) == len(names) else None


def _blocks(yaml_text: str) -> list[str]:
    """Return the text of each rule if the file is one list, item below item; otherwise nothing."""
    head = _HEAD.match(yaml_text)
    if head is None or _OTHER_LINE_ENDS.search(yaml_text):
        return []
    blocks: list[str] = []
    dash = ""
    for line in yaml_text[head.end() :].split("\n"):
        text = line.lstrip(" ")
        indent = line[: len(line) - len(text)]
        if not dash and text.startswith("- "):
            dash = f"{indent}- "
        if dash and line.startswith(dash):
            blocks.append("")
        elif text and not text.startswith("#") and (not dash or len(indent) < len(dash)):
            return []
        if blocks:
            blocks[-1] += f"{line}\n"
    return blocks


@lru_cache(MOST_RULES_REMEMBERED)
def _rules_of_block(block: str) -> tuple[Rule, ...]:
    return parse_rules(f"rules:\n{block}", "its text").rules
