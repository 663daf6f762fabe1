"""What a rule says, in the words of a report."""

from typing import Any

from src.marketing_messaging_service.decisions.rules import Condition, FieldCondition, Rule
from src.marketing_messaging_service.vocabulary import Operand


def condition_text(rule: Rule) -> str:
    """Return what must hold besides the event type as a sentence; nothing when the event type is enough."""
    return " and ".join(_told(condition) for condition in rule.conditions.all)


def _told(condition: Condition) -> str:
    if isinstance(condition, FieldCondition):
        values = condition.value if condition.operator.operand is Operand.LIST else [condition.value]
        shown = ", ".join(_shown(value) for value in values if value is not None)
        return f"{condition.field} {condition.operator.words} {shown}".rstrip()
    return f"a {condition.prior_event.event_type} in the {condition.prior_event.hours:g} h before"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
