"""Finds what is odd about a usable rules file in itself, whatever the database holds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from src.marketing_messaging_service.decisions.conditions import EVERYTHING, FieldCondition, comparisons, happenings
from src.marketing_messaging_service.decisions.contradictions import can_match
from src.marketing_messaging_service.decisions.rules import Block, Exemption, Limit, Rule, Rules
from src.marketing_messaging_service.vocabulary import SuppressionMode
from src.marketing_messaging_service.yaml_file import word

CURLY_QUOTES = "\u201c\u201d\u2018\u2019"
FEWEST_COUNTED = 2
"""From this many earlier events on, a rule means a count; often it asks only for one."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that the owner of a rules file can hardly have meant."""

    part: str
    """The list of the file that it is in: rules, blocks or limits."""
    name: str
    sentence: str


def odd_rules(whole: Rules) -> Iterator[Oddity]:
    """Yield what the file's owner can hardly have meant; among rules, only for those that are on."""
    rules = [rule for rule in whole.rules if rule.enabled]
    for rule in rules:
        yield from _odd_texts("rule", rule.name, _texts(rule))
        yield from (Oddity("rules", rule.name, sentence) for sentence in _odd_conditions(rule))
    for block in whole.blocks:
        yield from _odd_texts("block", block.name, _texts_of_block(block))
    for limit in whole.limits:
        yield from _odd_texts("limit", limit.name, [("its templates", name) for name in limit.templates or ()])
    yield from _hidden_rules(rules)
    for limit in whole.limits:
        if not any(_is_held_to(limit, rule) for rule in rules):
            yield Oddity(
                "limits",
                limit.name,
                f"The limit {word(limit.name)} can never be reached: no enabled rule sends what it counts without "
                "being exempt from limits. Check its channels and templates.",
            )


def _odd_texts(kind: str, name: str, texts: Iterable[tuple[str, str]]) -> Iterator[Oddity]:
    for place, text in texts:
        the = f"The {kind} {word(name)} has"
        if text != text.strip():
            yield Oddity(
                f"{kind}s", name, f"{the} blanks at the start or end of {place}, {text!r}. Remove them if not meant."
            )
        if any(quote in text for quote in CURLY_QUOTES):
            yield Oddity(f"{kind}s", name, f"{the} curly quotes in {place}, {text!r}. Did you mean straight ones?")


def _odd_conditions(rule: Rule) -> Iterator[str]:
    """Yield what is odd about what a rule asks for: nothing can meet it, or too much does."""
    if not can_match(rule.conditions):
        yield (
            f"The rule {word(rule.name)} can never match: its conditions contradict each other, so no event "
            "fulfils all of them. Check their values, and whether any is meant instead of all."
        )
    if rule.suppression.mode is not SuppressionMode.NONE:
        return
    for happened in happenings(rule.conditions):
        counts_itself = happened.event_type == rule.trigger.event_type and happened.at_most is None
        if counts_itself and happened.least >= FEWEST_COUNTED:
            yield (
                f"The rule {word(rule.name)} decides on every {word(rule.trigger.event_type)} from number "
                f"{happened.least + 1} on, and nothing limits it to one. Set at_most to {happened.least} too, or give "
                "it a suppression."
            )


def _texts(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield a rule's texts that are compared with what producers write, or that name what goes out."""
    yield "its name", rule.name
    yield "trigger.event_type", rule.trigger.event_type
    yield "action.template_name", rule.action.template_name
    for happened in happenings(rule.conditions):
        yield "an event_type in its conditions", happened.event_type
    yield from _texts_of(comparisons(rule.conditions))


def _texts_of_block(block: Block) -> Iterator[tuple[str, str]]:
    for sign in filter(None, (block.from_, block.until)):
        yield "an event_type", sign.event_type
        yield from _texts_of(sign.where)
    yield from _texts_of(comparisons(block.while_) if block.while_ else ())


def _texts_of(conditions: Iterable[FieldCondition]) -> Iterator[tuple[str, str]]:
    for comparison in conditions:
        values = comparison.value if isinstance(comparison.value, list) else [comparison.value]
        for value in values:
            if isinstance(value, str):
                yield f"a value to compare {comparison.field} with", value


def _hidden_rules(rules: list[Rule]) -> Iterator[Oddity]:
    """Yield the rules of a group for which an earlier rule always matches whatever they match."""
    for place, rule in enumerate(rules):
        for earlier in rules[:place]:
            is_rival = rule.exclusive_group is not None and earlier.exclusive_group == rule.exclusive_group
            if not is_rival or earlier.trigger != rule.trigger:
                continue
            if earlier.conditions in (EVERYTHING, rule.conditions):
                yield Oddity(
                    "rules",
                    rule.name,
                    f"The rule {word(rule.name)} never decides: {word(earlier.name)}, which comes before it in the "
                    f"group {word(rule.exclusive_group or '')}, matches every event that it matches. Move it up.",
                )
                break


def _is_held_to(limit: Limit, rule: Rule) -> bool:
    return not rule.action.is_alert and Exemption.LIMITS not in rule.exempt_from and limit.covers(rule.action)
