"""Why a condition holds for an event, or does not: each part with its truth, what was found, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from src.marketing_messaging_service.infrastructure.instants import instant_text

ALL, ANY, NOT, LEAF = "all", "any", "not", ""


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event of a user, as the database has it."""

    id: int
    message_id: str
    event_type: str
    at: datetime
    values: Mapping[str, Any]
    """Properties and traits by their path; those that it does not have are missing."""


@dataclass(frozen=True, slots=True)
class Node:
    """A condition, whether it holds, and the conditions that it is put together of."""

    words: str
    holds: bool
    kind: str = LEAF
    found: str = ""
    """What was found, and where; of a condition that stands by itself."""
    parts: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """An event that a condition is asked about, at a decision time, among the events of its user that were known."""

    event: KnownEvent
    decision_time: datetime
    others: Sequence[KnownEvent]
    """All of the user's events, in the order of time, the event itself among them."""


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
            return _happened(condition, question, comparer)
        case FieldCondition():
            return _comparison(condition, question, comparer)
        case _:
            assert_never(condition)


def to_flip(node: Node) -> tuple[Node, ...] | None:
    """Return a smallest set of conditions that would make a node's truth the opposite one, if theirs were.

    None where nothing could, as of `not` around nothing at all.
    """
    if node.kind == LEAF:
        return (node,)
    if node.kind == NOT:
        return to_flip(node.parts[0])
    # All of them must hold, or one of them must not; with any it is the other way round.
    if (node.kind == ALL) == node.holds:
        possible = [flips for part in node.parts if (flips := to_flip(part)) is not None]
        return min(possible, key=len, default=None)
    every = [to_flip(part) for part in node.parts if part.holds == node.holds]
    known = [flips for flips in every if flips is not None]
    return tuple(leaf for flips in known for leaf in flips) if len(known) == len(every) else None


def _comparison(condition: FieldCondition, question: Question, comparer: Comparer) -> Node:
    field = condition.field
    path = field.field.path
    if not field.is_latest:
        value = question.event.values.get(path)
        found = "missing" if value is None else _shown(value)
    else:
        told = [each for each in _by(question) if path in each.values]
        value = told[-1].values[path] if told else None
        found = (
            f"{_shown(value)}, said by {told[-1].message_id} at {instant_text(told[-1].at)}" if told else "never said"
        )
    return Node(comparison_text(condition), comparer.holds(condition, value), found=found)


def _by(question: Question) -> list[KnownEvent]:
    return [each for each in question.others if each.at <= question.decision_time]


def _happened(condition: HappenedCondition | PriorEventCondition, question: Question, comparer: Comparer) -> Node:
    happened = condition.happened
    start = _start(happened, question)
    counted = [each for each in _by(question) if _counts(each, happened, start, question, comparer)]
    holds = happened.least <= len(counted) and (happened.at_most is None or len(counted) <= happened.at_most)
    window = (
        f"{'from the beginning' if start is None else instant_text(start)} to {instant_text(question.decision_time)}"
    )
    last = f", the last is {counted[-1].message_id} at {instant_text(counted[-1].at)}" if counted else ""
    return Node(worded(condition), holds, found=f"{len(counted)} from {window}{last}".replace("from from", "from"))


def _start(happened: Happened, question: Question) -> datetime | None:
    if happened.within_hours is not None:
        return question.decision_time - timedelta(seconds=seconds_of(happened.within_hours))
    return question.event.at if happened.since_trigger else None


def _counts(
    other: KnownEvent, happened: Happened, start: datetime | None, question: Question, comparer: Comparer
) -> bool:
    own = question.event.values
    return (
        other.event_type == happened.event_type
        and other.id != question.event.id
        and (start is None or other.at >= start)
        and all(comparer.holds(each, other.values.get(each.field.field.path)) for each in happened.where)
        and all(
            path.field.path in own and own[path.field.path] == other.values.get(path.field.path)
            for path in happened.same
        )
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return instant_text(value) if isinstance(value, datetime) else str(value)
