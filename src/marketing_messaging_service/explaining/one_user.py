"""Explains what became of one user's events under each rule, from the stored rows and the batch that decided."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, and_, case, select, union_all
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.calendar import moved
from src.marketing_messaging_service.decisions.comparing import Comparer, comparer
from src.marketing_messaging_service.decisions.conditions import happenings, latest_traits
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.once_and_limits import Send
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.recorded_rules import recorded_file
from src.marketing_messaging_service.decisions.rules import Rule, Rules
from src.marketing_messaging_service.decisions.user_by_user import reach_of
from src.marketing_messaging_service.explaining.history import History, KnownEvent, Sight
from src.marketing_messaging_service.explaining.standing import Decision, SentBefore, Standing
from src.marketing_messaging_service.explaining.truth_tree import Node, Question, to_flip, truth_tree
from src.marketing_messaging_service.infrastructure.instants import instant_text, shifted
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    Batch,
    EndedWait,
    Event,
    HeldEvent,
    Load,
    Run,
    SendRequest,
    Suppression,
    WaitingMatch,
    WaitOutcome,
)
from src.marketing_messaging_service.reporting.tables import many
from src.marketing_messaging_service.vocabulary import PAYLOAD

SEND, SUPPRESSED, ALERT, NOT_MATCHED = "send", "suppressed", "alert", "not_matched"
WAITING, LAPSED, HELD, UNDECIDED = "waiting", "lapsed", "held", "undecided"

MOST_NAMED = 3

BEFORE_LOADS = 0
"""The batch of events from before loads were recorded; every batch could see them."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of an event under a rule, and why."""

    event: KnownEvent
    rule: str
    outcome: str
    """send, suppressed, alert, not_matched, waiting, lapsed, held or undecided."""
    reason: str = ""
    """The reason, for a suppression."""
    blocker: str = ""
    """What blocked it, in words; empty if no send and no event did."""
    failed: tuple[str, ...] = ()
    """A smallest set of conditions, or the rule of the group, that prevented the match."""
    reasons: tuple[str, ...] = ()
    """For a suppression, every reason against the message, its own first; empty if unknown."""
    tree: Node | None = None
    """The rule's conditions as they were at the decision time; empty if unknown."""
    decision_time: datetime | None = None
    as_of: datetime | None = None
    """The logical time of the run that decided; None if none did, or it is unknown."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Decided:
    """A stored decision."""

    outcome: str
    run_id: int | None
    ruleset_id: int | None
    decision_time: datetime | None
    reason: str = ""
    blocker: str = ""


def events_of(connection: Connection, user_id: str) -> tuple[KnownEvent, ...]:
    """Return the events of a user in order of time."""
    columns = [field.column.label(field.path) for field in PAYLOAD.fields]
    # Every batch could see what was there before loads were recorded.
    batch_id = case((Load.id.is_(None), BEFORE_LOADS), else_=Load.batch_id).label("batch_id")
    own = (Event.id, Event.message_id, Event.event_type, Event.event_timestamp, Load.run_id, batch_id, Load.as_of)
    rows = connection.execute(
        with_payload(select(*own, *columns).outerjoin(Load, Load.id == Event.load_id))
        .where(Event.user_id == user_id)
        .order_by(Event.event_timestamp, Event.id)
    )
    return tuple(
        KnownEvent(row[0], row[1], row[2], row[3], _values(row[len(own) :]), row.run_id, row.batch_id, row.as_of)
        for row in rows
    )


def _values(row: Sequence[Any]) -> dict[str, Any]:
    return {field.path: value for field, value in zip(PAYLOAD.fields, row, strict=True) if value is not None}


def explain_user(
    connection: Connection,
    user_id: str,
    in_force: Rules | None,
    *,
    rule_name: str | None = None,
    message_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Explanation]:
    """Return what became of each event of a user under each rule that looks at its type, in order of time.

    `in_force` explains events that no run has decided yet. Events before `since` or from `until` on are left out.
    """
    with comparer() as comparing:
        user = _User(connection, user_id, in_force, comparing)
        return [
            explanation
            for event in user.events
            if (message_id is None or event.message_id == message_id)
            and (since is None or event.at >= since)
            and (until is None or event.at < until)
            for explanation in user.explained(event)
            if rule_name is None or explanation.rule == rule_name
        ]


class _User:
    """All that the database knows about one user."""

    def __init__(self, connection: Connection, user_id: str, in_force: Rules | None, comparing: Comparer) -> None:
        self._connection = connection
        self._in_force = in_force
        self._comparing = comparing
        self.events = events_of(connection, user_id)
        self._history = History(self.events, comparing)
        of_user = select(Event.id).where(Event.user_id == user_id)
        held = select(HeldEvent.event_id, HeldEvent.due_at, HeldEvent.batch_id)
        self._held: dict[int, Any] = {
            row.event_id: row for row in connection.execute(held.where(HeldEvent.event_id.in_(of_user)))
        }
        self._sends = _sends_of(connection, user_id)
        self._decided = {**dict(_decided(self._sends)), **dict(_refused(connection, user_id))}
        self._standing = Standing(user_id, self.events, comparing)
        waiting = select(WaitingMatch.event_id, WaitingMatch.rule_name, WaitingMatch.decide_at)
        self._waiting = {
            (row.event_id, row.rule_name): row.decide_at
            for row in connection.execute(waiting.where(WaitingMatch.event_id.in_(of_user)))
        }
        ended = select(
            EndedWait.event_id, EndedWait.rule_name, EndedWait.decide_at, EndedWait.outcome, EndedWait.is_too_old
        )
        self._ended: dict[tuple[int, str], Any] = {
            (row.event_id, row.rule_name): row
            for row in connection.execute(
                ended.add_columns(EndedWait.ended_batch_id).where(EndedWait.event_id.in_(of_user))
            )
        }
        self._others: dict[int, list[str]] = defaultdict(list)
        for event_id, name in (*self._decided, *self._waiting, *self._ended):
            self._others[event_id].append(name)
        self._batches: dict[int, Any] = {row.id: row for row in connection.execute(select(*Batch.__table__.c))}
        self._batch_of_run = {row.run_id: row.id for row in self._batches.values() if row.run_id is not None}
        self._files: dict[int, Rules | None] = {}
        own_loads = select(Load.run_id).join(Event, Event.load_id == Load.id).where(Event.user_id == user_id)
        limits = select(Run.id, Run.oldest_event_at).where(Run.id.in_(own_loads))
        self._oldest_of_run = {row.id: row.oldest_event_at for row in connection.execute(limits)}

    def _file(self, batch: Any) -> Rules | None:
        """Return the rules by which a batch decided; None if their text is damaged."""
        if batch.ruleset_id not in self._files:
            self._files[batch.ruleset_id] = recorded_file(self._connection, batch.ruleset_id)
        return self._files[batch.ruleset_id]

    def explained(self, event: KnownEvent) -> Iterator[Explanation]:
        """Yield what became of an event under the rules that look at its type, and those that decided it later."""
        batch = self._batch_of(event)
        file = self._in_force if batch is None else self._file(batch)
        rules = [rule for rule in file.rules if rule.trigger.event_type == event.event_type] if file else []
        names = dict.fromkeys(rule.name for rule in rules)
        names |= dict.fromkeys(self._others.get(event.id, ()))
        held = self._held.get(event.id)
        for name in names:
            if batch is None and (event.id, name) not in self._decided and event.batch_id == BEFORE_LOADS:
                yield self._unrecorded(event, name, rules)
            elif batch is None and (event.id, name) not in self._decided:
                outcome = HELD if held is not None and held.batch_id is None else UNDECIDED
                yield Explanation(event, name, outcome, notes=(_what_it_waits_for(held),))
            else:
                yield self._explained(event, name, batch, rules)

    def _unrecorded(self, event: KnownEvent, name: str, rules: Sequence[Rule]) -> Explanation:
        """Return what today's data say about an event if nobody knows whether a run has decided it."""
        rule = next((each for each in rules if each.name == name), None)
        at = shifted(event.at, seconds_of(rule.wait_hours) if rule else 0)
        tree, _ = self._tree(Question(event, at, self._history, None), rule, None)
        note = "It came before loads were recorded, so it is not known whether a run decided it. Today's data say this."
        return Explanation(event, name, UNDECIDED, tree=tree, decision_time=at, notes=(note,))

    def _batch_of(self, event: KnownEvent) -> Any:
        """Return the batch that decided an event; None if none did, or it is unknown."""
        held = self._held.get(event.id)
        batch_id = event.batch_id if held is None else held.batch_id
        return None if batch_id is None else self._batches.get(batch_id)

    def _explained(self, event: KnownEvent, name: str, batch: Any, rivals: Sequence[Rule]) -> Explanation:
        """Return what became of a match, as the batch that decided it saw it."""
        decided, ended = self._decided.get((event.id, name)), self._ended.get((event.id, name))
        if decided is not None and decided.run_id is not None and decided.run_id in self._batch_of_run:
            batch = self._batches[self._batch_of_run[decided.run_id]]
        elif ended is not None:
            batch = self._batches.get(ended.ended_batch_id, batch)
        file = self._in_force if batch is None else self._file(batch)
        rule = next((each for each in file.rules if each.name == name), None) if file else None
        waits_until = self._waiting.get((event.id, name))
        at = (decided.decision_time if decided else None) or (ended.decide_at if ended else waits_until)
        if at is None:
            at = shifted(event.at, seconds_of(rule.wait_hours) if rule else 0)
        explanation = Explanation(
            event, name, NOT_MATCHED, decision_time=at, as_of=None if batch is None else batch.as_of
        )
        if waits_until is not None:
            note = f"Decided in the first run after {instant_text(waits_until)}."
            return replace(explanation, outcome=WAITING, notes=(note,))
        if ended is not None and ended.outcome == WaitOutcome.LAPSED:
            return replace(
                explanation,
                outcome=LAPSED,
                notes=("When its wait was over, the rule was no longer there to decide it.",),
            )
        tree, notes = self._tree(Question(event, at, self._history, None), rule, batch)
        explanation = replace(explanation, tree=tree, notes=notes)
        if decided is not None:
            explanation = replace(explanation, outcome=decided.outcome, reason=decided.reason, blocker=decided.blocker)
            reasons = self._against(explanation, file, rule, batch) if decided.outcome == SUPPRESSED else ()
            return replace(explanation, reasons=reasons)
        return replace(explanation, failed=self._failed(event, rule, tree, rivals))

    def _against(self, refused: Explanation, file: Rules | None, rule: Rule | None, batch: Any) -> tuple[str, ...]:
        """Return every reason against a message when a batch refused it."""
        at = refused.decision_time
        if file is None or rule is None or batch is None or batch.as_of is None or at is None:
            return ()
        event = refused.event
        decision = Decision(
            file, rule, event, at, batch.as_of, Sight(batch.run_id, batch.id), self._is_too_old(event, rule, batch)
        )
        places = {each.name: place for place, each in enumerate(file.rules)}
        order = (at, event.id, places[rule.name])
        reach = reach_of(file, {0: rule})
        return tuple(self._standing.reasons(decision, [*self._sent_before(order, reach, batch, places)]))

    def _is_too_old(self, event: KnownEvent, rule: Rule, batch: Any) -> bool:
        """Return whether an event was older than the run that first decided on it allowed."""
        if ended := self._ended.get((event.id, rule.name)):
            return bool(ended.is_too_old)
        is_of_batch = event.id in self._held or event.batch_id != batch.id
        oldest = batch.oldest_event_at if is_of_batch else self._oldest_of_run.get(event.run_id or 0)
        return oldest is not None and event.at < oldest

    def _sent_before(
        self, order: tuple[datetime, int, int], reach: timedelta | None, batch: Any, places: Mapping[str, int]
    ) -> Iterator[SentBefore]:
        """Yield the messages to the user that were decided before a match of a batch, and are near enough to matter."""
        near = slice(None)
        if reach is not None:
            start, end = moved(order[0], -reach), moved(order[0], reach)
            near = slice(bisect_left(self._message_times, start), bisect_right(self._message_times, end))
        for of_batch, rule_name, sent in self._messages[near]:
            own_order = (sent.send.decision_time, sent.send.event_id, places.get(rule_name, 0))
            if of_batch < batch.id or (of_batch == batch.id and own_order < order):
                yield sent

    @cached_property
    def _messages(self) -> Sequence[tuple[int, str, SentBefore]]:
        """The user's messages in the order of decision times, each with its batch and its rule."""
        events = {event.id: event for event in self.events}
        every = [
            (
                self._batch_of_run.get(row.run_id, BEFORE_LOADS),
                row.rule_name,
                SentBefore(
                    Send(
                        row.id,
                        row.event_id or 0,
                        row.decision_time or row.event_timestamp,
                        row.template_name,
                        row.channel,
                        row.is_exempt_from_limits,
                        (),
                    ),
                    events.get(row.event_id),
                ),
            )
            for row in self._sends
            if row.channel != ALERT_CHANNEL
        ]
        return sorted(every, key=lambda each: each[2].send.decision_time)

    @cached_property
    def _message_times(self) -> Sequence[datetime]:
        return [sent.send.decision_time for _, _, sent in self._messages]

    def _failed(
        self, event: KnownEvent, rule: Rule | None, tree: Node | None, rivals: Sequence[Rule]
    ) -> tuple[str, ...]:
        """Return a smallest set of what would have to be different for a rule to decide on an event that it saw."""
        if rule is None:
            return ()
        failed = [] if rule.enabled else ["the rule was off"]
        if tree is not None and not tree.holds:
            failed += [leaf.words for leaf in to_flip(tree) or ()] or ["its conditions can never hold"]
        # A later rule in the file decided only because this one did not.
        before = takewhile(lambda rival: rival.name != rule.name, rivals)
        failed += [
            f"{rival.name} came first in the group {rule.exclusive_group}"
            for rival in before
            if rule.exclusive_group is not None and rival.exclusive_group == rule.exclusive_group
            if (event.id, rival.name) in self._decided
        ]
        return tuple(failed)

    def _tree(self, today: Question, rule: Rule | None, batch: Any) -> tuple[Node | None, tuple[str, ...]]:
        """Return the conditions as the batch saw them, and a remark about that."""
        if rule is None:
            return None, ("It is no longer known what the rule said then.",)
        now = truth_tree(rule.conditions, today, self._comparing)
        if batch is None:
            return now, ("It was decided before batches were recorded; this is what today's data say.",)
        sight = Sight(batch.run_id, batch.id)
        then = truth_tree(rule.conditions, replace(today, sight=sight), self._comparing)
        if then.holds == now.holds:
            return then, ()
        late = [each for each in self._history.came_later(today.decision_time, sight) if _is_asked_for(rule, each)]
        names = ", ".join(self._lateness(each, batch) for each in late[:MOST_NAMED])
        more = " and more" if len(late) > MOST_NAMED else ""
        return then, (f"Today's data would decide differently, because of what came later: {names}{more}.",)

    def _lateness(self, event: KnownEvent, batch: Any) -> str:
        """Return an event with the time by which it came after a batch."""
        number = event.batch_id if event.run_id is None else self._batch_of_run.get(event.run_id, event.batch_id)
        came = None if number is None else self._batches.get(number)
        name = f"{event.event_type} {event.message_id}"
        if came is None or came.as_of is None or batch.as_of is None or came.as_of <= batch.as_of:
            return name
        return f"{name}, {_length(came.as_of - batch.as_of)} late"


def _length(time_span: timedelta) -> str:
    seconds = int(time_span.total_seconds())
    size, noun = next((each for each in ((86_400, "day"), (3600, "hour")) if seconds >= 2 * each[0]), (60, "minute"))
    return many(seconds // size, noun)


def _is_asked_for(rule: Rule, event: KnownEvent) -> bool:
    """Return whether a condition looks at events of that type, or at the latest value of a trait that it has."""
    return any(each.event_type == event.event_type for each in happenings(rule.conditions)) or any(
        path.field.path in event.values for path in latest_traits(rule.conditions)
    )


def _sends_of(connection: Connection, user_id: str) -> Sequence[Any]:
    """Return every row of send_requests of a user."""
    # By the user's events, because no index of sends begins with the user except for those that no event leads to.
    of_event = SendRequest.event_id.in_(select(Event.id).where(Event.user_id == user_id))
    of_none = and_(SendRequest.event_id.is_(None), SendRequest.user_id == user_id)
    columns = SendRequest.__table__.c
    return connection.execute(union_all(select(*columns).where(of_event), select(*columns).where(of_none))).all()


def _decided(sends: Sequence[Any]) -> Iterator[tuple[tuple[int, str], _Decided]]:
    for row in sends:
        outcome = ALERT if row.channel == ALERT_CHANNEL else SEND
        yield (
            (row.event_id, row.rule_name),
            _Decided(outcome, row.run_id, row.ruleset_id, row.decision_time),
        )


def _refused(connection: Connection, user_id: str) -> Iterator[tuple[tuple[int, str], _Decided]]:
    blocker, said = aliased(Event), aliased(Event)
    refused = (
        select(
            *Suppression.__table__.c,
            SendRequest.id.label("send_id"),
            SendRequest.template_name.label("send_template"),
            SendRequest.event_timestamp.label("send_at"),
            blocker.message_id.label("send_message_id"),
            said.message_id.label("said_message_id"),
            said.event_type.label("said_type"),
            said.event_timestamp.label("said_at"),
        )
        .outerjoin(SendRequest, SendRequest.id == Suppression.blocked_by_send_request_id)
        .outerjoin(blocker, blocker.id == SendRequest.event_id)
        .outerjoin(said, said.id == Suppression.blocked_by_event_id)
        .where(Suppression.user_id == user_id)
    )
    for row in connection.execute(refused):
        by = ""
        if row.send_id is not None:
            by = f"send {row.send_id} of {row.send_template}, for {row.send_message_id} at {instant_text(row.send_at)}"
        elif row.said_message_id is not None:
            by = f"{row.said_type} {row.said_message_id} at {instant_text(row.said_at)}"
        yield (
            (row.event_id, row.rule_name),
            _Decided(SUPPRESSED, row.run_id, row.ruleset_id, row.decision_time, row.suppression_reason, by),
        )


def _what_it_waits_for(held: Any) -> str:
    if held is None:
        return "No run has decided it yet."
    if held.due_at is None:
        return "It was only loaded; a backfill that covers its time decides it."
    return "Its time was in the future when it came; the hourly run of that time decides it."


def counts_by_type(events: Sequence[KnownEvent]) -> dict[str, int]:
    """Return how many events of each type there are, the most frequent first."""
    return dict(Counter(event.event_type for event in events).most_common())
