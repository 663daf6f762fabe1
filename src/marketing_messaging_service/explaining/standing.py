"""Finds everything against a message: the reason why it was refused, and each one that would refuse it otherwise.

A suppression's row names the first reason in the order of docs/rules.md. Someone who removes that one wants to know
whether the message would then go out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from src.marketing_messaging_service.decisions.blocks_and_holdout import is_held_out
from src.marketing_messaging_service.decisions.comparing import Comparer
from src.marketing_messaging_service.decisions.once_and_limits import Candidate, OneByOne, Send
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.rules import Block, Exemption, Rule, Rules, Sign
from src.marketing_messaging_service.explaining.history import History, KnownEvent, Sight
from src.marketing_messaging_service.explaining.truth_tree import Question, truth_tree
from src.marketing_messaging_service.infrastructure.instants import shifted
from src.marketing_messaging_service.vocabulary import SuppressionReason


@dataclass(frozen=True, slots=True)
class Decision:
    """What a batch knew when it refused a message."""

    file: Rules
    rule: Rule
    event: KnownEvent
    decision_time: datetime
    as_of: datetime
    sight: Sight
    is_too_old: bool
    """By the run's age limit."""


@dataclass(frozen=True, slots=True)
class SentBefore:
    """A send of the user, and the event that led to it; None if that is unknown."""

    send: Send
    event: KnownEvent | None

    def with_values(self, paths: Sequence[str]) -> Send:
        """Return the send with its event's values of some fields; None if it has no event."""
        if not paths:
            return self.send
        values: Mapping[str, object] = self.event.values if self.event else {}
        return self.send._replace(values=tuple(values.get(path) for path in paths))


class Standing:
    """What can refuse the messages of one user."""

    def __init__(self, user_id: str, events: Sequence[KnownEvent], comparing: Comparer) -> None:
        self._user_id = user_id
        self._comparing = comparing
        effective = [replace(event, at=_effective_time(event)) for event in events]
        order = {event.id: event.at for event in events}
        effective.sort(key=lambda event: (event.at, order[event.id], event.id))
        self._effective = History(tuple(effective), comparing)

    def reasons(self, decision: Decision, before: Sequence[SentBefore]) -> list[str]:
        """Return every reason against a message, in the order of docs/rules.md.

        `before` are the sends that were decided before it.
        """
        rule, file = decision.rule, decision.file
        paths = [str(path) for path in rule.suppression.per or ()]
        sends = [each.with_values(paths) for each in before]
        values = tuple(decision.event.values.get(path) for path in paths)
        candidate = Candidate(0, decision.event.id, decision.decision_time, 0, None, is_too_old=False, values=values)
        once, limits = OneByOne(file, {0: rule}, paths).obstacles(candidate, sends)
        return [*once, *self._refusals(decision), *limits, *_lateness(decision)]

    def _refusals(self, decision: Decision) -> Iterator[str]:
        exempt = decision.rule.exempt_from
        if Exemption.BLOCKS not in exempt:
            for block in decision.file.blocks:
                if self._is_blocked(block, decision):
                    yield f"{SuppressionReason.BLOCKED}{block.name}"
        holdout = decision.file.holdout
        if Exemption.HOLDOUT not in exempt and holdout is not None and is_held_out(holdout, self._user_id):
            yield SuppressionReason.HOLDOUT.value

    def _is_blocked(self, block: Block, decision: Decision) -> bool:
        if not block.covers(decision.rule.action):
            return False
        if block.while_ is not None:
            question = Question(decision.event, decision.as_of, self._effective, decision.sight)
            return truth_tree(block.while_, question, self._comparing).holds
        assert block.from_ is not None  # noqa: S101  a block has from or while
        begin = self._last(block.from_, None, decision.sight)
        end = self._last(block.until, decision.as_of, decision.sight) if block.until else None
        return begin is not None and (end is None or begin.at >= end.at)

    def _last(self, sign: Sign, until: datetime | None, sight: Sight) -> KnownEvent | None:
        return self._effective.last_of(sign.event_type, sign.where, until, sight)


def _effective_time(event: KnownEvent) -> datetime:
    """Return when an event counts for blocks: its own time, or its loading run's logical time if that is earlier."""
    return event.at if event.loaded_as_of is None else min(event.at, event.loaded_as_of)


def _lateness(decision: Decision) -> Iterator[str]:
    hours = decision.rule.expires_after_hours
    last = None if hours is None else shifted(decision.decision_time, seconds_of(hours))
    if decision.is_too_old or (last is not None and decision.as_of > last):
        yield SuppressionReason.EXPIRED.value
