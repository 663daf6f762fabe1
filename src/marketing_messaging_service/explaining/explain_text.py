"""Writes an explanation for a terminal, and as plain values."""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from src.marketing_messaging_service.explaining.history import KnownEvent
from src.marketing_messaging_service.explaining.one_user import Explanation, counts_by_type
from src.marketing_messaging_service.explaining.outline import Line
from src.marketing_messaging_service.explaining.truth_tree import ALL, ANY, LEAF, Node
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.reporting.tables import many, printable
from src.marketing_messaging_service.vocabulary import SuppressionMode, SuppressionReason

VERSION = 1
"""Of the form that `--json` prints: raised when a reader of it would have to change."""

_SAID = {
    "send": "decided to be sent",
    "suppressed": "suppressed",
    "alert": "an alert to our own people",
    "not_matched": "did not match",
    "waiting": "waits",
    "lapsed": "lapsed",
    "held": "is not decided yet",
    "undecided": "is not decided yet",
}

_COUNTED = {
    "send": "decided to be sent",
    "suppressed": "suppressed",
    "alert": "to our own people",
    "not_matched": "not matched",
    "waiting": "waiting",
    "lapsed": "lapsed",
    "held": "not decided yet",
    "undecided": "not decided yet",
}
"""The same behind a number."""


def explanation_lines(explanations: Sequence[Explanation]) -> Iterator[Line]:
    """Yield a line for each event, below it each rule with its conditions."""
    event: KnownEvent | None = None
    for each in explanations:
        if each.event is not event:
            event = each.event
            yield 0, f"{event.event_type} {event.message_id} at {instant_text(event.at, 'seconds')} UTC"
        yield from _told(each)


def _told(each: Explanation) -> Iterator[Line]:
    reason = f": {each.reason}" if each.reason else ""
    because = f"; what failed: {' and '.join(each.failed)}" if each.failed else ""
    others = [reason for reason in each.reasons if reason != each.reason]
    meant = (
        _meaning(each.reason),
        f"in the way: {each.blocker}" if each.blocker else "",
        f"without that it would be refused by {' and '.join(others)}" if others else "",
    )
    why = f" ({'; '.join(filter(None, meant))})" if any(meant) else ""
    run = f" [run of {instant_text(each.as_of)}]" if each.as_of else ""
    yield 1, f"{each.rule}: {_SAID[each.outcome]}{reason}{because}{why}{run}"
    if each.tree is not None:
        yield from _branches(each.tree, 2)
    for note in each.notes:
        yield 2, note


def _meaning(reason: str) -> str:
    """Return what a suppression's reason means, for readers who do not know the words of rules.yaml."""
    found = SuppressionReason.of(reason)
    once = {mode.value: mode.words for mode in SuppressionMode}.get(reason, reason)
    return found.meaning.format(once=once) if found else ""


def _branches(node: Node, depth: int) -> Iterator[Line]:
    if node.kind in {ALL, ANY} and len(node.parts) <= 1:
        for part in node.parts:
            yield from _branches(part, depth)
        return
    found = f" – found: {node.found}" if node.kind == LEAF else ""
    yield depth, f"{'✓' if node.holds else '✗'} {node.words}{found}"
    for part in node.parts:
        yield from _branches(part, depth + 1)


def explanations_json(user_id: str, explanations: Sequence[Explanation], elsewhere: Sequence[str]) -> dict[str, Any]:
    """Return explanations as plain values: `version`, `user_id` and `matches`, one for each event and rule.

    `no_events` lists what names the user but is not an event.
    """
    return {
        "version": VERSION,
        "user_id": user_id,
        "matches": [
            {
                "message_id": each.event.message_id,
                "event_type": each.event.event_type,
                "event_timestamp": each.event.at.isoformat(),
                "rule_name": each.rule,
                "outcome": each.outcome,
                "reason": each.reason or None,
                "blocker": masked(each.blocker) or None,
                "reasons": list(each.reasons),
                "failed": masked(" and ".join(each.failed)) or None,
                "notes": list(map(masked, each.notes)),
                "conditions": None if each.tree is None else _node(each.tree),
            }
            for each in explanations
        ],
        "no_events": list(map(masked, elsewhere)),
    }


def _node(node: Node) -> dict[str, Any]:
    if node.kind == LEAF:
        return {"condition": masked(node.words), "holds": node.holds, "found": masked(node.found)}
    return {node.kind: [_node(part) for part in node.parts], "holds": node.holds}


def explanations_headline(user_id: str, explanations: Sequence[Explanation]) -> str:
    """Return what became of a user's events in one sentence, to read before the explanations."""
    counts = Counter(_COUNTED[each.outcome] for each in explanations)
    came = ", ".join(f"{counts[said]:,} {said}" for said in dict.fromkeys(_COUNTED.values()) if counts[said])
    events = many(len({each.event.id for each in explanations}), "event")
    return f"What the rules made of {events} of the user {printable(user_id)}: {came}."


def nothing_text(
    user_id: str,
    events: Sequence[KnownEvent],
    chosen: Sequence[KnownEvent],
    wanted: Sequence[str],
    message_id: str | None = None,
) -> str:
    """Return what to say if there is nothing to explain about a user.

    `events` are all of the user's, `chosen` those asked about, by `message_id` and the window; `wanted` are the types
    that the rules in question look at.
    """
    user = printable(user_id)
    if not events:
        return f"No event of the user {user} has been loaded. Check how the user_id is written; capitals count."
    if message_id is not None and all(event.message_id != message_id for event in events):
        return (
            f"No event of the user {user} has the message_id {printable(message_id)}; the user has "
            f"{many(len(events), 'event')}: {_by_type(events)}."
        )
    if not chosen:
        lie = f"reach from {instant_text(events[0].at)} to {instant_text(events[-1].at)}"
        return f"No such event of the user {user} is in the window; the loaded ones {lie} UTC."
    near = sorted({each for name in wanted for each in difflib.get_close_matches(name, counts_by_type(chosen), n=1)})
    hint = f" The nearest to {' and '.join(wanted[:3])}: {', '.join(near)}." if near else ""
    asked = "" if len(chosen) == len(events) else f"; asked about: {_by_type(chosen)}"
    return (
        f"None of the rules looks at an event of the user {user}, who has {many(len(events), 'event')}: "
        f"{_by_type(events)}{asked}.{hint}"
    )


def _by_type(events: Sequence[KnownEvent]) -> str:
    counts = counts_by_type(events)
    return ", ".join(f"{printable(name)} ({count})" for name, count in list(counts.items())[:10])
