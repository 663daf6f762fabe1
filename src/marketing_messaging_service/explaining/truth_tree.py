"""Explains why a condition holds for an event or not: each part with its truth, what was found, and where."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from src.marketing_messaging_service.decisions.comparing import Comparer
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
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.wording import comparison_text, worded
from src.marketing_messaging_service.explaining.history import History, KnownEvent, Sight
from src.marketing_messaging_service.infrastructure.instants import instant_text, shifted

ALL, ANY, NOT, LEAF = "all", "any", "not", ""


@dataclass(frozen=True, slots=True)
class Node:
    """A condition, whether it holds, and the conditions that it is made of."""

    words: str
    holds: bool
    kind: str = LEAF
    found: str = ""
    """What was found, and where; for a single condition."""
    parts: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """An event at a decision time, among its user's events, for testing conditions."""

    event: KnownEvent
    decision_time: datetime
    history: History
    sight: Sight | None
    """What the batch that decided could see; None for everything there is today."""


def truth_tree(condition: Condition, question: Question, comparer: Comparer) -> Node:
    """Return why a condition holds or not."""
    match condition:
        case AllOf():
            parts = tuple(truth_tree(part, question, comparer) for part in condition.all)
            return Node("all of", all(part.holds for part in parts), ALL, parts=parts)
        case AnyOf():
            parts = tuple(truth_tree(part, question, comparer) for part in condition.any)
            return Node("any of", any(part.holds for part in parts), ANY, parts=parts)
        case Negation():
            inner = truth_tree(condition.not_, question, comparer)
            return Node("not", not inner.holds, NOT, parts=(inner,))
        case HappenedCondition() | PriorEventCondition():
            return _happened(condition, question)
        case FieldCondition():
            return _comparison(condition, question, comparer)
        case _:
            assert_never(condition)


def to_flip(node: Node) -> tuple[Node, ...] | None:
    """Return a smallest set of conditions that would flip a node's truth if theirs were flipped.

    None if nothing could, as with a `not` around nothing.
    """
    if node.kind == LEAF:
        return (node,)
    if node.kind == NOT:
        return to_flip(node.parts[0])
    # All of them must hold, or one of them must not; with `any` it is the other way round.
    if (node.kind == ALL) == node.holds:
        possible = [flips for part in node.parts if (flips := to_flip(part)) is not None]
        return min(possible, key=len, default=None)
    every = [to_flip(part) for part in node.parts if part.holds == node.holds]
    known = [flips for flips in every if flips is not None]
    return tuple(leaf for flips in known for leaf in flips) if len(known) == len(every) else None


def _comparison(condition: FieldCondition, question: Question, comparer: Comparer) -> Node:
    path = condition.field.field.path
    if not condition.field.is_latest:
        value = question.event.values.get(path)
        found = "missing" if value is None else _shown(value)
    elif said := question.history.latest(path, question.decision_time, question.sight):
        value = said.values[path]
        found = f"{_shown(value)}, from {said.message_id} at {instant_text(said.at)}"
    else:
        value, found = None, "never said"
    return Node(comparison_text(condition), comparer.holds(condition, value), found=found)


def _happened(condition: HappenedCondition | PriorEventCondition, question: Question) -> Node:
    happened = condition.happened
    start, end = _start(happened, question), question.decision_time
    count, last = question.history.count(happened, question.event, start, end, question.sight)
    holds = happened.least <= count and (happened.at_most is None or count <= happened.at_most)
    window = f"{'from the beginning' if start is None else f'from {instant_text(start)}'} to {instant_text(end)}"
    of_last = f", the last is {last.message_id} at {instant_text(last.at)}" if last else ""
    return Node(worded(condition), holds, found=f"{count} {window}{of_last}")


def _start(happened: Happened, question: Question) -> datetime | None:
    if happened.within_hours is not None:
        return shifted(question.decision_time, -seconds_of(happened.within_hours))
    return question.event.at if happened.since_trigger else None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return instant_text(value) if isinstance(value, datetime) else str(value)
