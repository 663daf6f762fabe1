"""Reading many versions of a rules file that differ little: each rule's text is read once.

Reading YAML takes a millisecond a rule. Of two hundred versions of a file with fifty rules, nearly all rules are word
for word those of the version before.
"""

import re
from functools import lru_cache

from src.marketing_messaging_service.decisions.rules import MOST_RULES, Rule, Rules
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.errors import RulesError

MOST_RULES_REMEMBERED = 100_000
MOST_FILES_REMEMBERED = 10_000
"""Each is asked for by several invariants of one check."""

_HEAD = re.compile(r"(?:[ ]*(?:#[^\n]*)?\n)*rules:[ ]*(?:#[^\n]*)?\n")
_OTHER_LINE_ENDS = re.compile("[\\r\\x0b\\x0c\\x85\u2028\u2029\\t]")


def rules_of_text(yaml_text: str, source: str) -> tuple[Rule, ...]:
    """Return the rules of the text of a rules file; raises RulesError as `parse_rules` does, which it stands for."""
    return whole_of_text(yaml_text, source).rules


@lru_cache(MOST_FILES_REMEMBERED)
def whole_of_text(yaml_text: str, source: str) -> Rules:
    """Return all that the text of a rules file says; raises RulesError as `parse_rules` does."""
    rules = _rules_one_by_one(yaml_text)
    # What is read rule by rule has nothing beside them.
    return parse_rules(yaml_text, source).whole if rules is None else Rules(rules=rules)


def _rules_one_by_one(yaml_text: str) -> tuple[Rule, ...] | None:
    """Return the rules, each read by itself; None when that is not certain to come to the same."""
    blocks = _blocks(yaml_text)
    if not blocks or len(blocks) > MOST_RULES:
        return None
    try:
        rules = [rule for block in blocks for rule in _rules_of_block(block)]
    except RulesError:
        # Something of one rule reaches into the next, as an open quotation mark does; or it is a fault to be reported.
        return None
    names = {rule.name for rule in rules}
    return tuple(rules) if len(rules) == len(blocks) == len(names) else None


def _blocks(yaml_text: str) -> list[str]:
    """Return the text of each rule of a file that is written as one list, item below item; nothing of any other."""
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
