"""Draws the rules as they were applied, in Mermaid."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from src.marketing_messaging_service.reporting.tables import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from src.marketing_messaging_service.reporting.run_report import RuleReport

MOST_RULES = 20
"""How many rules are drawn; more could not be read."""

LONGEST_LABEL = 90


def drawn_rules(rules: tuple[RuleReport, ...], most: int = MOST_RULES) -> tuple[RuleReport, ...]:
    """Return the rules to show, in order: all of them or, if there are too many, those that matched something."""
    if len(rules) <= most:
        return rules
    return (tuple(rule for rule in rules if rule.matched_count) or rules)[:most]


def grouped(rules: Iterable[RuleReport]) -> list[tuple[str | None, tuple[RuleReport, ...]]]:
    """Return rules by exclusive group, and ungrouped ones alone, each at its first rule's place."""
    order: dict[str, int] = {}
    for position, rule in enumerate(rules := tuple(rules)):
        order.setdefault(rule.exclusive_group or f"\0{position}", position)
    placed = sorted(enumerate(rules), key=lambda item: (order[item[1].exclusive_group or f"\0{item[0]}"], item[0]))
    groups = groupby((rule for _, rule in placed), key=lambda rule: rule.exclusive_group)
    return [(name, tuple(members)) for name, members in groups]


def rule_counts(rule: RuleReport, *, is_preview: bool) -> str:
    """Return a rule's results in a few words; nothing if no run has applied it."""
    if not rule.is_applied:
        return ""
    parts = ((rule.sent_count, "sent"), (rule.alerted_count, "alerted"), (rule.suppressed_count, "suppressed"))
    told = ", ".join(f"{count:,} {word}" for count, word in parts if count)
    return f"{rule.matched_count:,} {'would match' if is_preview else 'matched'}{': ' if told else ''}{told}"


def rules_picture(rules: tuple[RuleReport, ...], *, is_preview: bool = False) -> str:
    """Return a flowchart from event types through conditions and rules to messages, with each rule's counts."""
    shown = drawn_rules(rules)
    triggers = {name: f"trigger{place}" for place, name in enumerate(_once(r.trigger_event_type for r in shown), 1)}
    ids = {rule.rule_name: f"rule{place}" for place, rule in enumerate(shown, 1)}
    lines = ["flowchart LR"]
    lines += [f'    {node}(["{_label(name)}"])' for name, node in triggers.items()]
    for place, (group, members) in enumerate(grouped(shown), 1):
        boxes = [_box(ids[rule.rule_name], rule, is_preview=is_preview) for rule in members]
        if group is None:
            lines += boxes
        else:
            lines += [
                f'    subgraph group{place}["{_label(group)}: the first that matches decides"]',
                *boxes,
                "    end",
            ]
    for rule in shown:
        node = ids[rule.rule_name]
        when = f'|"{_label(rule.shown_condition)}"|' if rule.condition_text else ""
        message = f"{_label(rule.template_name)}<br/>{_label(rule.channel)}"
        lines.append(f"    {triggers[rule.trigger_event_type]} -->{when} {node}")
        lines.append(f'    {node} --> message{node.removeprefix("rule")}[/"{message}"/]')
    if len(shown) < len(rules):
        lines.append(f'    more["and {counted(len(rules) - len(shown), "more rule")}"]')
    return "\n".join(lines)


def _box(node: str, rule: RuleReport, *, is_preview: bool) -> str:
    return f'    {node}["<b>{_label(rule.rule_name)}</b><br/>{_label(rule_counts(rule, is_preview=is_preview))}"]'


def _once(names: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(names)


# Signs between letters and digits, as in user_traits.country, are none to Mermaid; nor are commas and colons.
_SYNTAX = re.compile(r"(?<![^\W_])[._-]|[._-](?![^\W_])|[^\w\s.,:_-]")


def _label(text: str) -> str:
    """Return text without anything that Mermaid, or the Markdown and HTML in its labels, would interpret."""
    return _SYNTAX.sub(lambda sign: f"#{ord(sign[0])};", printable(text, LONGEST_LABEL))
