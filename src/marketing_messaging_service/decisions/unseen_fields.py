"""Finds fields that a rules file asks for but events never have."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, select

from src.marketing_messaging_service.decisions.conditions import (
    FieldCondition,
    happenings,
    latest_traits,
    leaves,
)
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.rules import Block, Rule, Rules
from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.vocabulary import Field
from src.marketing_messaging_service.yaml_file import word

NEWEST_EVENTS = 5_000
"""How many of the newest events are checked for their fields; checking all would mean reading all."""

Asked = tuple[str | None, Field]
"""A field of events of a type; without a type, a trait of any events."""


def unseen_fields(connection: Connection, whole: Rules) -> Iterator[str]:
    """Yield a sentence for each field that a rule or block asks for but none of the newest events has."""
    rules = [rule for rule in whole.rules if rule.enabled]
    asked = [(f"The rule {word(rule.name)}", each) for rule in rules for each in _asked_by_rule(rule)]
    asked += [(f"The block {word(block.name)}", each) for block in whole.blocks for each in _asked_by_block(block)]
    if not asked:
        return
    fields = {field for _, (_, field) in asked}
    counts, event_counts = _counts(connection, fields)
    for who, (event_type, field) in dict.fromkeys(asked):
        types = list(event_counts) if event_type is None else [event_type]
        event_count = sum(event_counts.get(name, 0) for name in types)
        if event_count and not any(counts[name, field] for name in types):
            of_what = "of any type" if event_type is None else f"of the type {word(event_type)}"
            yield (
                f"{who} looks at {field.path} of events {of_what}, but none of the {event_count:,} newest has it. "
                "Check the field, and what the producer writes."
            )


def _asked_by_rule(rule: Rule) -> Iterator[Asked]:
    own = rule.trigger.event_type
    for leaf in leaves(rule.conditions):
        if isinstance(leaf, FieldCondition) and not leaf.field.is_latest:
            yield own, leaf.field.field
    for path in latest_traits(rule.conditions):
        yield None, path.field
    for happened in happenings(rule.conditions):
        for condition in happened.where:
            yield happened.event_type, condition.field.field
        for path in happened.same:
            yield own, path.field
            yield happened.event_type, path.field
    for path in rule.suppression.per or ():
        yield own, path.field


def _asked_by_block(block: Block) -> Iterator[Asked]:
    for sign in (block.from_, block.until):
        for condition in sign.where if sign else ():
            yield sign.event_type if sign else None, condition.field.field
    for path in latest_traits(block.while_) if block.while_ else ():
        yield None, path.field


def _counts(
    connection: Connection, fields: Iterable[Field]
) -> tuple[Mapping[tuple[str, Field], int], Mapping[str, int]]:
    """Return how many of the newest events have each field, by type, and how many there are of each type."""
    asked = list(fields)
    newest = select(func.max(Event.id) - NEWEST_EVENTS).scalar_subquery()
    columns = [func.count(field.column) for field in asked]
    events: Select[*tuple[Any, ...]] = select(Event.event_type, func.count(), *columns).select_from(Event)
    events = with_payload(events, after=newest).where(Event.id > newest).group_by(Event.event_type)
    counts: dict[tuple[str, Field], int] = defaultdict(int)
    event_counts = {}
    for event_type, event_count, *having in connection.execute(events):
        event_counts[event_type] = event_count
        counts.update(zip(((event_type, field) for field in asked), having, strict=True))
    return counts, event_counts
