"""Puts a rule into the words of a report."""

from typing import Any, assert_never

from src.marketing_messaging_service.decisions.conditions import (
    AllOf,
    AnyOf,
    Condition,
    FieldCondition,
    Happened,
    HappenedCondition,
    Negation,
    PriorEventCondition,
)
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.vocabulary import Operand


def condition_text(rule: Rule) -> str:
    """Return what must hold besides the event type, as a sentence; nothing if the event type is enough."""
    return worded(rule.conditions)


def worded(condition: Condition, *, is_inner: bool = False) -> str:
    """Return a condition in words."""
    match condition:
        case AllOf():
            return _joined(condition.all, " and ", is_inner=is_inner)
        case AnyOf():
            return _joined(condition.any, " or ", is_inner=is_inner)
        case Negation():
            return _negated(condition.not_)
        case FieldCondition():
            return comparison_text(condition)
        case PriorEventCondition():
            return f"a {condition.prior_event.event_type} in the {condition.prior_event.hours:g} h before"
        case HappenedCondition():
            return _happened(condition.happened)
        case _:
            assert_never(condition)


def _negated(condition: Condition) -> str:
    """Return the opposite of a condition: of a count from 1 on, that there was none, as people say it."""
    text = worded(condition)
    if isinstance(condition, HappenedCondition) and text.startswith("at least 1 "):
        return f"no {text.removeprefix('at least 1 ')}"
    return f"not ({text or 'anything'})"


def _joined(parts: tuple[Condition, ...], word: str, *, is_inner: bool) -> str:
    text = word.join(worded(part, is_inner=len(parts) > 1) for part in parts)
    return f"({text})" if is_inner and len(parts) > 1 else text or ("anything" if is_inner else "")


def comparison_text(condition: FieldCondition) -> str:
    """Return a comparison in words."""
    values = condition.value if condition.operator.operand is Operand.LIST else [condition.value]
    shown = ", ".join(_shown(value) for value in values if value is not None)
    return f"{condition.field} {condition.operator.words} {shown}".rstrip()


def _happened(happened: Happened) -> str:
    text = f"{_count(happened)} {happened.event_type}"
    if happened.within_hours is not None:
        text += f" in the {happened.within_hours:g} h before"
    elif happened.since_trigger:
        text += " since then"
    else:
        text += " so far"
    if happened.where:
        text += f" with {' and '.join(map(comparison_text, happened.where))}"
    if happened.same:
        text += f" {'and' if happened.where else 'with'} the same {' and '.join(map(str, happened.same))}"
    return text


def _count(happened: Happened) -> str:
    if happened.at_most is None:
        return f"at least {happened.least}"
    if happened.at_most == 0:
        return "no"
    if happened.least == happened.at_most:
        return f"exactly {happened.at_most}"
    return f"at most {happened.at_most}" if happened.least == 0 else f"{happened.least} to {happened.at_most}"


def _shown(value: Any) -> str:
    if isinstance(value, str) and (not value or value != value.strip()):
        return f"'{value}'"  # otherwise it, or the blanks at its ends, would be invisible
    return str(value).lower() if isinstance(value, bool) else str(value)
