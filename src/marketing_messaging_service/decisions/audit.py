"""Checks that the stored decisions are those that the recorded rules ask for. Reads only.

The rules of each recorded ruleset are compiled again and compared with what was decided by it, from what had been
loaded by then (`known_then`). Where it is uncertain whether a rule's conditions held, nothing is a breach:

- A match had to be decided when its conditions certainly held. A rule with `wait` had to begin to wait wherever its
  event's own fields left that open, and what ended with "no match" certainly or possibly did not hold.
- A decision is groundless when its conditions certainly did not hold, or when it does not have its rule's template,
  channel, mode or dedupe key.
- In an exclusive group, a decision by any of its rules answers the match. It is groundless when an earlier rule of the
  group had to decide, in the sense above. Two rules of a group never decide on the same event.
- A rule that a batch was to apply again (`batch_rules`) had to decide those matches in the batch's window, decided by
  earlier batches, on which its group had no decision, or on which it had itself an expired one that would no longer
  expire. Where it replaced an expired one, it may come after another rule of its group.

Which matches are sent and which are suppressed depends on earlier sends; `checking` looks at that.

Each rule is checked once, however many rulesets contain it: which events of their loads it should have decided, and
whether the decisions in its name have grounds. Together that costs about as much as deciding did.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union_all,
)

from src.marketing_messaging_service.decisions.audit_again import undecided_again
from src.marketing_messaging_service.decisions.audit_refusals import AUDIT_OF_REFUSALS
from src.marketing_messaging_service.decisions.conditions import FieldCondition, comparisons
from src.marketing_messaging_service.decisions.known_then import (
    candidate_columns,
    candidates_among,
    certain_matches,
    impossible_matches,
    looks_elsewhere,
    seems_to_have_matched,
    shared_candidates,
)
from src.marketing_messaging_service.decisions.looks import with_payload
from src.marketing_messaging_service.decisions.matching import OWN_ROW, has_trigger
from src.marketing_messaging_service.decisions.once_and_limits import PER_HASH_LENGTH
from src.marketing_messaging_service.decisions.outcomes import dedupe_key
from src.marketing_messaging_service.decisions.recorded_rules import (
    RecordedRules,
    read_recorded,
    recorded_rules,
    rows_of_rules,
    usable_rulesets,
)
from src.marketing_messaging_service.decisions.rules import Exemption, Rule
from src.marketing_messaging_service.decisions.truth import MatchRow, may_hold
from src.marketing_messaging_service.errors import RulesError
from src.marketing_messaging_service.infrastructure.sql_text import numbers_as_rows, told
from src.marketing_messaging_service.models import (
    CALENDAR_KEY,
    EVER_KEY,
    Batch,
    EndedWait,
    Event,
    FormerSuppression,
    HeldEvent,
    Load,
    LoadState,
    Ruleset,
    RulesetRule,
    SendRequest,
    Suppression,
    WaitingMatch,
    WaitOutcome,
)
from src.marketing_messaging_service.vocabulary import Invariant, SuppressionMode, SuppressionReason

DecisionTable = type[SendRequest] | type[Suppression]
EverDecisionTable = DecisionTable | type[FormerSuppression]

DECISION_TABLES: tuple[DecisionTable, ...] = (SendRequest, Suppression)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A range of event ids, both ends included."""

    first: int
    last: int

    def spans(self, event_id: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        """Whether an event is in it."""
        return event_id.between(self.first, self.last)


Decided = Mapping[tuple[int, str], _Stretch]
"""The range of events with decisions in a rule's name, by ruleset and rule."""


@dataclass(frozen=True, slots=True)
class _InName:
    """A rule as it was in some rulesets, and the range of the events that it decided on under them."""

    rule: Rule
    ruleset_ids: tuple[int, ...]
    stretch: _Stretch


_Asked = TypeVar("_Asked")

RULES_AT_ONCE = 50
VALUES_AT_ONCE = 5_000
"""How many rules, and values in their conditions' lists, one statement covers; SQLite takes 32,766 values in one."""


def _around(stretches: Iterable[_Stretch]) -> _Stretch | None:
    """Return the range that covers all of them, None if there are none."""
    every = list(stretches)
    if not every:
        return None
    return _Stretch(min(stretch.first for stretch in every), max(stretch.last for stretch in every))


def _unusable_rulesets(connection: Connection) -> Iterator[Select[Any]]:
    for row in connection.execute(select(Ruleset.id, Ruleset.content_hash, Ruleset.yaml_text)):
        try:
            read_recorded(row.content_hash, row.yaml_text)
        except RulesError as error:
            # Of several lines, the first only says that something is wrong; the last says where.
            yield select(literal(f"rulesets.id {row.id}: {str(error).splitlines()[-1].strip()}"))


def _other_rows_of_rules(connection: Connection) -> Iterator[Select[Any]]:
    columns = RulesetRule.__table__.columns.keys()
    found: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in connection.execute(select(*RulesetRule.__table__.columns)).mappings():
        found[row["ruleset_id"]][row["rule_name"]] = {name: row[name] for name in columns}
    for ruleset_id, rules in usable_rulesets(connection):
        wanted = {row["rule_name"]: row for row in rows_of_rules(ruleset_id, rules)}
        rows = found[ruleset_id]
        for rule_name in sorted(wanted.keys() | rows.keys()):
            said, found_row = wanted.get(rule_name, {}), rows.get(rule_name, {})
            others = [name for name in columns if said.get(name) != found_row.get(name)]
            if others:
                yield select(literal(f"ruleset_rules of rulesets.id {ruleset_id}, {rule_name}: {', '.join(others)}"))


def _undecided_matches(connection: Connection) -> Iterator[Select[Any]]:
    loads = _decided_loads(connection)
    held = _batches_with_held_events(connection)
    of_rulesets: dict[tuple[int, ...], list[RecordedRules]] = defaultdict(list)
    for recorded in recorded_rules(connection):
        of_rulesets[recorded.ruleset_ids].append(recorded)
    for ruleset_ids, every in of_rulesets.items():
        sources = []
        if load_ids := [load_id for ruleset_id in ruleset_ids for load_id in loads.get(ruleset_id, ())]:
            sources.append(_events_of_loads(load_ids))
        batches = [batch for ruleset_id in ruleset_ids for batch in held.get(ruleset_id, ())]
        if (stretch := _around(stretch for _, stretch in batches)) is not None:
            sources.append(_held_events_of([batch_id for batch_id, _ in batches], stretch))
        waiting = [recorded for recorded in every if recorded.rules[0].wait is not None]
        for recorded in waiting:
            yield from (_not_begun(recorded.rules[0], source) for source in sources)
            yield from _ended_otherwise(recorded)
        if sources:
            yield from _undecided([recorded for recorded in every if recorded not in waiting], sources)
    yield from undecided_again(connection)


def _decided_loads(connection: Connection) -> Mapping[int, Sequence[int]]:
    """The loads whose events were decided with them, by ruleset."""
    loads: Select[*tuple[Any, ...]] = select(Load.ruleset_id, Load.id).where(
        Load.state == LoadState.DECIDED, Load.ruleset_id.is_not(None), Load.first_event_id.is_not(None)
    )
    ids: dict[int, list[int]] = defaultdict(list)
    for ruleset_id, load_id in connection.execute(loads):
        ids[ruleset_id].append(load_id)
    return ids


def _batches_with_held_events(connection: Connection) -> Mapping[int, Sequence[tuple[int, _Stretch]]]:
    """The batches that decided held events, by ruleset, and the range of those events."""
    batches = (
        select(Batch.ruleset_id, Batch.id, func.min(HeldEvent.event_id), func.max(HeldEvent.event_id))
        .join(HeldEvent, HeldEvent.batch_id == Batch.id)
        .where(HeldEvent.run_id.is_not(None))
        .group_by(Batch.id)
    )
    found: dict[int, list[tuple[int, _Stretch]]] = defaultdict(list)
    for ruleset_id, batch_id, first, last in connection.execute(batches):
        found[ruleset_id].append((batch_id, _Stretch(first, last)))
    return found


@dataclass(frozen=True, slots=True)
class _Source:
    """Some decided events, joined to their payload, and the run that decided each."""

    events: Select[Any]
    run_id: SQLColumnExpression[int | None]

    def candidates(self, rules: Sequence[Rule]) -> Select[Any]:
        """Return the facts that rules of one trigger need about each event of its type."""
        columns = candidate_columns(rules, self.run_id)
        return self.events.with_only_columns(*columns, maintain_column_froms=True).where(has_trigger(rules[0]))


def _events_of_loads(load_ids: Sequence[int]) -> _Source:
    """The events that were decided with their load, in id order."""
    numbers = numbers_as_rows(load_ids)
    in_load = and_(Event.id.between(Load.first_event_id, Load.last_event_id), Event.load_id == Load.id)
    events = (
        select(Event.id)
        .select_from(numbers)
        .join(Load, Load.id == numbers.c.value)
        .join(Event, in_load)
        .outerjoin(Batch, Batch.id == Load.batch_id)
    )
    is_held = exists().where(HeldEvent.event_id == Event.id)
    return _Source(with_payload(events).where(~is_held), Batch.run_id)


def _held_events_of(batch_ids: Sequence[int], stretch: _Stretch) -> _Source:
    """The events that were held and decided by one of the batches."""
    events = select(Event.id).select_from(HeldEvent).join(Event, Event.id == HeldEvent.event_id)
    events = with_payload(events).where(
        HeldEvent.run_id.is_not(None), stretch.spans(HeldEvent.event_id), _is_one_of(HeldEvent.batch_id, batch_ids)
    )
    return _Source(events, HeldEvent.run_id)


def _not_begun(rule: Rule, source: _Source) -> Select[Any]:
    """The events for which a rule had to begin to wait, but is not waiting, has not waited and has not decided."""
    is_there = [
        exists().where(table.event_id == Event.id, table.rule_name == rule.name)
        for table in (WaitingMatch, EndedWait, *DECISION_TABLES)
    ]
    events = source.events.with_only_columns(
        told("events.id ", Event.id, f": {rule.name} did not begin to wait"), maintain_column_froms=True
    )
    return events.where(has_trigger(rule), not_(or_(*is_there)), may_hold(rule.conditions, OWN_ROW))


def _ended_otherwise(recorded: RecordedRules) -> Iterator[Select[Any]]:
    """The waits that a rule had to decide when they were over, but that ended differently."""
    rule = recorded.rules[0]
    place = told("ended_waits of events.id ", EndedWait.event_id, f", {rule.name}: ", EndedWait.outcome)
    ended = (
        select(*candidate_columns([rule], Batch.run_id, EndedWait.decide_at), place.label("place"))
        .select_from(EndedWait)
        .join(Batch, Batch.id == EndedWait.ended_batch_id)
        .join(Event, Event.id == EndedWait.event_id)
    )
    ended = with_payload(ended).where(
        EndedWait.rule_name == rule.name, _is_one_of(Batch.ruleset_id, recorded.ruleset_ids), has_trigger(rule)
    )
    no_match = ended.where(EndedWait.outcome == WaitOutcome.NO_MATCH, may_hold(rule.conditions, OWN_ROW))
    had_to = certain_matches(rule, no_match.subquery("wanted"), 0).subquery("had_to")
    yield select(had_to.c.place)
    lapsed = ended.where(EndedWait.outcome == WaitOutcome.LAPSED).subquery("lapsed")
    yield select(lapsed.c.place)


def _undecided(every: Sequence[RecordedRules], sources: Sequence[_Source]) -> Iterator[Select[Any]]:
    """The events that a rule certainly matches, but on which neither it nor another rule of its group has decided."""
    of_type: dict[str, list[RecordedRules]] = defaultdict(list)
    for recorded in every:
        of_type[recorded.rules[0].trigger.event_type].append(recorded)
    for some in of_type.values():
        for lot in _in_lots(some, lambda recorded: recorded.rules):
            yield _undecided_by(lot, sources)


def _undecided_by(lot: Sequence[RecordedRules], sources: Sequence[_Source]) -> Select[Any]:
    """The undecided events of some rules; the events of a type are read once for all of them."""
    rules_of_type: dict[str, list[Rule]] = defaultdict(list)
    for rule in (rule for recorded in lot for rule in recorded.rules):
        rules_of_type[rule.trigger.event_type].append(rule)
    shared = {
        event_type: shared_candidates([source.candidates(rules) for source in sources], number)
        for number, (event_type, rules) in enumerate(rules_of_type.items())
    }
    places: list[Select[Any]] = []
    numbers = count()
    for recorded in lot:
        matches = []
        for rule in recorded.rules:
            candidates = shared[rule.trigger.event_type]
            undecided = (
                ~exists().where(table.event_id == candidates.c.event_id, table.rule_name.in_(recorded.names))
                for table in DECISION_TABLES
            )
            wanted = candidates_among(candidates, rule).where(*undecided)
            matches.append((rule, certain_matches(rule, wanted.subquery(), next(numbers))))
        places.append(_first_of(matches))
    place = union_all(*places).subquery("undecided").c
    return select(*place)


def _first_of(matches: Sequence[tuple[Rule, Select[Any]]]) -> Select[Any]:
    """The findings about events that rules match; for a group, about the rule that had to decide."""
    named = (
        found.add_columns(literal(position).label("rule_position"), literal(rule.name).label("rule_name"))
        for position, (rule, found) in enumerate(matches)
    )
    match = union_all(*named).subquery("match").c
    if len(matches) == 1:
        return select(told("events.id ", match.event_id, ": no decision by ", match.rule_name))
    # In a group, the first rule that matched had to decide.
    place = func.row_number().over(partition_by=match.event_id, order_by=match.rule_position)
    first = select(match.event_id, match.rule_name, place.label("place")).subquery("first").c
    return select(told("events.id ", first.event_id, ": no decision by ", first.rule_name)).where(first.place == 1)


def _groundless_decisions(connection: Connection) -> Iterator[Select[Any]]:
    usable = {ruleset_id for ruleset_id, _ in usable_rulesets(connection)}
    every_rule = recorded_rules(connection)
    enabled = {(number, name) for recorded in every_rule for number in recorded.ruleset_ids for name in recorded.names}
    decided_in = {table: _decided_in_name_of(connection, table) for table in DECISION_TABLES}
    former = _decided_in_name_of(connection, FormerSuppression)
    for table, decided in (*decided_in.items(), (FormerSuppression, former)):
        for (ruleset_id, rule_name), stretch in decided.items():
            if ruleset_id in usable and (ruleset_id, rule_name) not in enabled:
                yield select(_place(table)).where(_in_name_of(table, [rule_name], [ruleset_id], stretch))
        in_name = [
            _InName(rule, recorded.ruleset_ids, own)
            for recorded in every_rule
            for rule in recorded.rules
            if (own := _stretch_of([rule.name], recorded.ruleset_ids, decided)) is not None
        ]
        in_name.sort(key=lambda each: (each.stretch.first, each.stretch.last))
        for lot in _in_lots(in_name, lambda each: [each.rule]):
            yield _not_asked_for(lot, table)
            doubtful = _doubtful_rules(connection, [each for each in lot if looks_elsewhere(each.rule)], table)
            yield from (_impossible(each, table) for each in lot if each.rule.name in doubtful)
        for recorded in every_rule:
            yield from _decided_by_later_rules(recorded, table, decided)
    for recorded in every_rule:
        stretches = (_stretch_of(recorded.names, recorded.ruleset_ids, decided) for decided in decided_in.values())
        of_both = _around(each for each in stretches if each is not None)
        if len(recorded.rules) > 1 and of_both is not None:
            yield _decided_twice(recorded, of_both)


def _in_lots(every: Iterable[_Asked], rules_of: Callable[[_Asked], Iterable[Rule]]) -> Iterator[Sequence[_Asked]]:
    """Yield the rules in lots, so that rows are read once per lot and not once per rule."""
    lot: list[_Asked] = []
    weight = 0
    for each in every:
        conditions = chain.from_iterable(comparisons(rule.conditions) for rule in rules_of(each))
        values = sum(len(each_of.value) for each_of in conditions if _has_list(each_of))
        if lot and (len(lot) == RULES_AT_ONCE or weight + values > VALUES_AT_ONCE):
            yield lot
            lot, weight = [], 0
        lot.append(each)
        weight += values
    if lot:
        yield lot


def _has_list(condition: FieldCondition) -> bool:
    return isinstance(condition.value, list)


def _decided_by_later_rules(
    recorded: RecordedRules, table: EverDecisionTable, decided: Decided
) -> Iterator[Select[Any]]:
    for position, rule in enumerate(recorded.rules):
        later = recorded.names[position + 1 :]
        if (others := _stretch_of(later, recorded.ruleset_ids, decided)) is not None:
            yield _decided_by_a_later_rule(rule, table, _in_name_of(table, later, recorded.ruleset_ids, others))


def _decided_in_name_of(connection: Connection, table: EverDecisionTable) -> Decided:
    in_name: Select[*tuple[Any, ...]] = (
        select(table.ruleset_id, table.rule_name, func.min(table.event_id), func.max(table.event_id))
        .where(table.ruleset_id.is_not(None), table.rule_name.is_not(None), table.event_id.is_not(None))
        .group_by(table.ruleset_id, table.rule_name)
    )
    return {
        (ruleset_id, rule_name): _Stretch(first, last)
        for ruleset_id, rule_name, first, last in connection.execute(in_name)
    }


def _stretch_of(rule_names: Sequence[str], ruleset_ids: Sequence[int], decided: Decided) -> _Stretch | None:
    keys = ((ruleset_id, name) for ruleset_id in ruleset_ids for name in rule_names)
    return _around(decided[key] for key in keys if key in decided)


def _in_name_of(
    table: EverDecisionTable, rule_names: Sequence[str], ruleset_ids: Sequence[int], stretch: _Stretch
) -> ColumnElement[bool]:
    return and_(
        stretch.spans(table.event_id), table.rule_name.in_(rule_names), _is_one_of(table.ruleset_id, ruleset_ids)
    )


def _not_asked_for(lot: Sequence[_InName], table: EverDecisionTable) -> Select[Any]:
    """The decisions that their rules cannot have made, judging by the events' own fields."""
    has_grounds = case(
        *(
            (
                and_(table.rule_name == each.rule.name, _is_one_of(table.ruleset_id, each.ruleset_ids)),
                func.coalesce(and_(*_grounds(each.rule, table)), false()),
            )
            for each in lot
        ),
        else_=true(),
    )
    decisions = select(_place(table)).select_from(table).join(Event, Event.id == table.event_id)
    stretch = _around(each.stretch for each in lot) or _Stretch(0, 0)
    names = sorted({each.rule.name for each in lot})
    return with_payload(decisions).where(
        stretch.spans(table.event_id), table.rule_name.in_(names), has_grounds == false()
    )


def _doubtful_rules(connection: Connection, lot: Sequence[_InName], table: EverDecisionTable) -> Collection[str]:
    """Return the rules with decisions that need a closer look."""
    stretch = _around(each.stretch for each in lot)
    if stretch is None:
        return ()
    seems_right = case(
        *(
            (
                and_(table.rule_name == each.rule.name, _is_one_of(table.ruleset_id, each.ruleset_ids)),
                func.coalesce(seems_to_have_matched(each.rule, _row_of(table), table.__table__.c.run_id), false()),
            )
            for each in lot
        ),
        else_=true(),
    )
    decisions = select(table.rule_name).distinct().select_from(table).join(Event, Event.id == table.event_id)
    doubtful = with_payload(decisions).where(stretch.spans(table.event_id), seems_right == false())
    return set(connection.execute(doubtful).scalars())


def _row_of(table: EverDecisionTable) -> MatchRow:
    """The event of a decision at its decision time."""
    at, decided = Event.event_timestamp, table.__table__
    decided_for = at if table is FormerSuppression else func.coalesce(decided.c.decision_time, at)
    return MatchRow(Event.id, Event.user_id, at, decided_for, (*OWN_ROW.sources, decided))


def _impossible(each: _InName, table: EverDecisionTable) -> Select[Any]:
    """The decisions of a rule whose conditions did not hold when it made them."""
    row, run_id = _row_of(table), table.__table__.c.run_id
    decisions = (
        select(*candidate_columns([each.rule], run_id, row.decision_time), _place(table).label("place"))
        .select_from(table)
        .join(Event, Event.id == table.event_id)
        .where(_in_name_of(table, [each.rule.name], each.ruleset_ids, each.stretch))
    )
    # What the event's own fields rule out is already reported.
    wanted = with_payload(decisions).where(
        may_hold(each.rule.conditions, OWN_ROW),
        not_(func.coalesce(seems_to_have_matched(each.rule, row, run_id), false())),
    )
    groundless = impossible_matches(each.rule, wanted.subquery("wanted"), 0).subquery("groundless")
    return select(groundless.c.place)


def _grounds(rule: Rule, table: EverDecisionTable) -> tuple[ColumnElement[bool], ...]:
    return (
        Event.event_type == rule.trigger.event_type,
        table.template_name == rule.action.template_name,
        *(_grounds_of_send(rule) if table is SendRequest else _grounds_of_suppression(rule, table)),
        may_hold(rule.conditions, OWN_ROW),
    )


def _grounds_of_send(rule: Rule) -> tuple[ColumnElement[bool], ...]:
    return (
        SendRequest.channel == rule.action.delivery_method,
        SendRequest.is_exempt_from_limits == (Exemption.LIMITS in rule.exempt_from),
        or_(*_fitting_keys(rule)),
    )


def _fitting_keys(rule: Rule) -> Iterator[ColumnElement[bool]]:
    """Yield conditions on dedupe keys; one of them holds for every send of a rule, whatever its file's time zone."""
    mode, per = rule.suppression.mode, bool(rule.suppression.per)
    if not per or mode.needs_hours:
        decided_for = func.coalesce(SendRequest.decision_time, Event.event_timestamp)
        yield SendRequest.dedupe_key == dedupe_key(literal(mode.value), literal(rule.name), Event.id, decided_for)
    elif mode.period is None:
        yield _has_hash(EVER_KEY)
    if mode.period is not None:
        yield _has_hash(CALENDAR_KEY) if per else SendRequest.dedupe_key.startswith(CALENDAR_KEY, autoescape=True)


def _has_hash(beginning: str) -> ColumnElement[bool]:
    length = func.length(SendRequest.dedupe_key) - PER_HASH_LENGTH
    return and_(
        SendRequest.dedupe_key.startswith(beginning, autoescape=True),
        func.substr(SendRequest.dedupe_key, length, 1) == ":",
    )


def _grounds_of_suppression(rule: Rule, table: EverDecisionTable) -> tuple[ColumnElement[bool], ...]:
    if rule.action.is_alert:
        return (false(),)
    # The mode `none` itself suppresses nothing.
    mode, reason = rule.suppression.mode, table.__table__.c.suppression_reason
    reasons = [SuppressionReason.EXPIRED.value, *([] if mode is SuppressionMode.NONE else [mode.value])]
    if Exemption.HOLDOUT not in rule.exempt_from:
        reasons.append(SuppressionReason.HOLDOUT.value)
    ways: list[ColumnElement[bool]] = [reason.in_(reasons)]
    if Exemption.BLOCKS not in rule.exempt_from:
        ways.append(SuppressionReason.BLOCKED.holds(reason))
    if Exemption.LIMITS not in rule.exempt_from:
        ways.append(SuppressionReason.LIMIT.holds(reason))
    return (or_(*ways),)


def _decided_by_a_later_rule(rule: Rule, table: EverDecisionTable, in_their_name: ColumnElement[bool]) -> Select[Any]:
    """The decisions of later rules in this one's group, on events that this one had to decide."""
    decisions = (
        select(*candidate_columns([rule], table.__table__.c.run_id), _place(table).label("place"))
        .select_from(table)
        .join(Event, Event.id == table.event_id)
    )
    # What replaced an expired decision stayed with the rule that had decided first.
    stayed = exists().where(
        FormerSuppression.event_id == table.event_id, FormerSuppression.rule_name == table.rule_name
    )
    may_match = (in_their_name, ~stayed, has_trigger(rule), may_hold(rule.conditions, OWN_ROW))
    wanted = with_payload(decisions).where(*may_match).subquery("wanted")
    had_to = certain_matches(rule, wanted, 0).subquery("had_to")
    return select(had_to.c.place)


def _decided_twice(recorded: RecordedRules, stretch: _Stretch) -> Select[Any]:
    """The events on which several rules of an exclusive group decided."""
    decision = union_all(
        *(
            select(table.event_id, table.rule_name).where(
                _in_name_of(table, recorded.names, recorded.ruleset_ids, stretch)
            )
            for table in DECISION_TABLES
        )
    ).subquery("decision")
    rule_count = func.count(decision.c.rule_name.distinct())
    group = recorded.rules[0].exclusive_group
    return (
        select(told("events.id ", decision.c.event_id, ": decided by ", rule_count, f" rules of the group {group}"))
        .group_by(decision.c.event_id)
        .having(rule_count > 1)
    )


def _place(table: EverDecisionTable) -> ColumnElement[str]:
    return told(f"{table.__tablename__}.id ", table.id, ": ", table.rule_name, " on events.id ", table.event_id)


def _is_one_of(column: SQLColumnExpression[Any], numbers: Sequence[int]) -> ColumnElement[bool]:
    return column.in_(select(numbers_as_rows(numbers).c.value))


AUDIT = (
    Invariant(
        "usable_rulesets",
        "Every recorded ruleset has the text that its hash names, and can be read",
        _unusable_rulesets,
    ),
    Invariant(
        "rules_as_recorded",
        "Every ruleset's rows in ruleset_rules say what its text says",
        _other_rows_of_rules,
    ),
    Invariant(
        "matches_are_decided",
        "Every match of a decided event is sent or suppressed by its ruleset, at once or when its wait is over",
        _undecided_matches,
    ),
    Invariant(
        "decisions_have_grounds",
        "Every decision is what its rule asks for on its event",
        _groundless_decisions,
    ),
    *AUDIT_OF_REFUSALS,
)
"""What must be true of decisions and the rules that made them; `checking` checks it."""
