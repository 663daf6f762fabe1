"""Finds what is odd about a usable version of the rules: it stops nothing, but somebody should look."""

import difflib
from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection, ScalarSelect, select

from src.marketing_messaging_service.decisions.conditions import happenings
from src.marketing_messaging_service.decisions.odd_rules import odd_rules
from src.marketing_messaging_service.decisions.recorded_rules import read_recorded
from src.marketing_messaging_service.decisions.rules import Block, Rule, Rules
from src.marketing_messaging_service.decisions.unseen_fields import unseen_fields
from src.marketing_messaging_service.errors import RulesError
from src.marketing_messaging_service.models import Batch, EventType, Ruleset, RulesetRule

MOST_NAMES = 10
"""How many names a sentence lists; beyond them it says how many more there are."""


def rules_warnings(connection: Connection, whole: Rules) -> tuple[str, ...]:
    """Return what is odd about a file, in itself and given what the database holds; one sentence each."""
    rules = [rule for rule in whole.rules if rule.enabled]
    known_types = connection.execute(select(EventType.event_type)).scalars().all()
    last = connection.execute(
        select(RulesetRule.rule_name)
        .where(RulesetRule.is_enabled, RulesetRule.ruleset_id == _last_ruleset())
        .order_by(RulesetRule.rule_position)
    )
    lost = lost_rules(last.scalars().all(), [rule.name for rule in rules])
    unknown = (*unknown_types(rules, known_types), *unknown_signs(whole.blocks, known_types))
    return (
        *([lost] if lost else []),
        *(odd.sentence for odd in odd_rules(whole)),
        *unknown,
        *unseen_fields(connection, whole),
    )


def decided_last(connection: Connection, content_hash: str) -> bool:
    """Return whether a version of the rules is the one that decided last, and so was checked then."""
    last = select(Ruleset.content_hash).where(Ruleset.id == _last_ruleset())
    return connection.execute(last).scalar() == content_hash


def recorded_rules_warnings(connection: Connection) -> tuple[str, ...]:
    """Return what is odd about the rules that decided last; nothing if their text is damaged."""
    recorded = connection.execute(
        select(Ruleset.content_hash, Ruleset.yaml_text).where(Ruleset.id == _last_ruleset())
    ).one_or_none()
    if recorded is None:
        return ()
    try:
        rules = [rule for rule in read_recorded(recorded.content_hash, recorded.yaml_text) if rule.enabled]
    except RulesError:
        return ()
    known_types = connection.execute(select(EventType.event_type)).scalars().all()
    return tuple(unknown_types(rules, known_types))


def unknown_types(rules: Sequence[Rule], known_types: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each type that a rule looks at but no event has ever had; none before there are events."""
    if not known_types:
        return
    for rule in rules:
        for event_type, how in _types_of(rule):
            if event_type not in known_types:
                nearest = difflib.get_close_matches(event_type, known_types, n=1)
                hint = f"; did you mean {nearest[0]}?" if nearest else ". Check how the type is written."
                yield (
                    f"The rule {rule.name} {how} events of the type {event_type}, and none has ever been loaded{hint} "
                    "Once the rule is corrected, a backfill with decide_again decides what it missed."
                )


def unknown_signs(blocks: Sequence[Block], known_types: Collection[str]) -> Iterator[str]:
    """Yield the same for each type that begins or ends a block."""
    for block in blocks if known_types else ():
        for sign, how in ((block.from_, "begins with"), (block.until, "ends with")):
            if sign is not None and sign.event_type not in known_types:
                nearest = difflib.get_close_matches(sign.event_type, known_types, n=1)
                hint = f"; did you mean {nearest[0]}?" if nearest else ". Check how the type is written."
                yield (
                    f"The block {block.name} {how} events of the type {sign.event_type}, and none has ever been "
                    f"loaded{hint}"
                )


def _types_of(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the types of events that a rule looks at, and how it does."""
    yield rule.trigger.event_type, "decides on"
    for happened in happenings(rule.conditions):
        yield happened.event_type, "looks back at"


def lost_rules(before: Sequence[str], now: Collection[str]) -> str:
    """Return a warning when more than half of the rules that decided last are gone or off, otherwise nothing."""
    lost = [name for name in before if name not in now]
    if 2 * len(lost) <= len(before):
        return ""
    names = ", ".join(lost[:MOST_NAMES])
    beyond = f" and {len(lost) - MOST_NAMES} more" if len(lost) > MOST_NAMES else ""
    if len(before) == 1:
        return f"The only rule that decided last is gone or off: {names}. If that is not intended, put it back."
    are = "is" if len(lost) == 1 else "are"
    return (
        f"Of the {len(before)} rules that decided last, {len(lost)} {are} gone or off: {names}{beyond}. If that is not "
        "intended, put them back."
    )


def _last_ruleset() -> ScalarSelect[int]:
    return select(Batch.ruleset_id).order_by(Batch.id.desc()).limit(1).scalar_subquery()
