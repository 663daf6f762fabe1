"""Whether the decisions that stand are those that the recorded rules ask for. Reads only.

The rules of each recorded ruleset are compiled anew and compared with what was decided by it. Events have come since
then that no decision could know; they can make a `prior_event` hold that did not hold, and never the other way
round. Only what is certain all the same is a breach:

- A match had to be decided when what it looks back at came in the same load or an earlier one. A prior event that
  came in a later load of the same run was there as well, but cannot be told from one that came too late, and passes.
- A decision is groundless when its conditions do not hold even with all events of today, or when it has not the
  template, channel, mode or dedupe key of its rule.
- In an exclusive group, a decision by any of its rules answers the match. It is groundless when a rule before it had
  to decide in the sense above; and two rules of one group never decide on one event.

Which matches are sent and which suppressed follows from what was sent before, and is for `checking` to look at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from src.marketing_messaging_service.decisions.matching import matches, matches_of_each_rule
from src.marketing_messaging_service.decisions.outcomes import dedupe_key
from src.marketing_messaging_service.decisions.rules import Rule, SuppressionMode
from src.marketing_messaging_service.decisions.rules_file import RulesFile, parse_rules, text_hash
from src.marketing_messaging_service.errors import RulesError
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    EXPIRED_REASON,
    Event,
    HeldEvent,
    Load,
    LoadState,
    Ruleset,
    Run,
    SendRequest,
    Suppression,
)
from src.marketing_messaging_service.results import Invariant

DecisionTable = type[SendRequest] | type[Suppression]

DECISION_TABLES: tuple[DecisionTable, ...] = (SendRequest, Suppression)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What one ruleset decided: its enabled rules, and where the events of its loads are."""

    ruleset_id: int
    rules: tuple[Rule, ...]
    first_event_id: int
    last_event_id: int

    @property
    def events(self) -> ColumnElement[bool]:
        """The condition on events. Their range spares reading all of them for each ruleset."""
        loads = select(Load.id).where(Load.ruleset_id == self.ruleset_id, Load.state == LoadState.DECIDED)
        held = select(HeldEvent.event_id).join(Run, Run.id == HeldEvent.run_id).where(Run.ruleset_id == self.ruleset_id)
        return and_(self.spans(Event.id), or_(Event.load_id.in_(loads), Event.id.in_(held)))

    def spans(self, event_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        """Whether an event lies between the first and the last."""
        return event_id.between(self.first_event_id, self.last_event_id)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The names of the rules that share an exclusive group, by group."""
        groups: dict[str, list[str]] = {}
        for rule in self.rules:
            if rule.exclusive_group is not None:
                groups.setdefault(rule.exclusive_group, []).append(rule.name)
        return {group: names for group, names in groups.items() if len(names) > 1}

    def first_of_group(self, rule_name: ColumnElement[str]) -> ColumnElement[str]:
        """The name that stands for all rules of an exclusive group: its first; or the rule's own without a group."""
        groups = [(rule_name.in_(names), literal(names[0])) for names in self.groups.values()]
        return case(*groups, else_=rule_name) if groups else rule_name


def _unusable_rulesets(connection: Connection) -> Iterator[Select[Any]]:
    for row in connection.execute(select(Ruleset.id, Ruleset.content_hash, Ruleset.yaml_text)):
        try:
            _read(row.content_hash, row.yaml_text)
        except RulesError as error:
            # Of several lines the first says only that something is wrong, the last where.
            yield select(literal(f"rulesets.id {row.id}: {str(error).splitlines()[-1].strip()}"))


def _undecided_matches(connection: Connection) -> Iterator[Select[Any]]:
    for decided in _decided_by_each_ruleset(connection):
        if not decided.rules:
            continue
        match = _once(matches(decided.rules, decided.events, _was_there), "match")
        decision = _rules_that_decided(decided)
        answers = and_(
            decision.c.event_id == match.c.event_id,
            decided.first_of_group(decision.c.rule_name) == decided.first_of_group(match.c.rule_name),
        )
        yield (
            select(told("events.id ", match.c.event_id, ": no decision by ", match.c.rule_name))
            .outerjoin_from(match, decision, answers)
            .where(decision.c.event_id.is_(None))
        )


def _groundless_decisions(connection: Connection) -> Iterator[Select[Any]]:
    for decided in _decided_by_each_ruleset(connection):
        yield _not_asked_for(decided)
        for group, names in decided.groups.items():
            yield _decided_twice(group, names, decided)


def _not_asked_for(decided: _Decided) -> Select[Any]:
    decision = union_all(
        *(
            select(
                literal(table.__tablename__).label("table_name"),
                table.id,
                table.event_id,
                table.rule_name,
                table.template_name,
                *details,
            )
            .join(Event, Event.id == table.event_id)
            .where(decided.events, table.rule_name.is_not(None))
            for table, details in (
                (SendRequest, (SendRequest.channel, SendRequest.dedupe_key, null().label("suppression_reason"))),
                # What has expired had a mode of any kind.
                (Suppression, (null(), null(), func.nullif(Suppression.suppression_reason, EXPIRED_REASON))),
            )
        )
    ).subquery("decision")
    place = told(decision.c.table_name, ".id ", decision.c.id, ": ", decision.c.rule_name)
    groundless = select(place + told(" on events.id ", decision.c.event_id))
    if not decided.rules:
        return groundless
    asked_for = _asked_for(decided)
    compared = ("template_name", "channel", "dedupe_key", "suppression_reason")
    same_place = and_(decision.c.event_id == asked_for.c.event_id, decision.c.rule_name == asked_for.c.rule_name)
    return groundless.outerjoin(asked_for, same_place).where(
        # What one of the two tables has no column for is NULL there, and differs from nothing.
        or_(asked_for.c.event_id.is_(None), *(decision.c[name] != asked_for.c[name] for name in compared))
    )


def _asked_for(decided: _Decided) -> CTE:
    """The decisions that may stand, as columns of send_requests and suppressions."""
    match = _once(matches_of_each_rule(decided.rules, decided.events), "match")
    mode = match.c.suppression_mode
    asked_for = select(
        match.c.event_id,
        match.c.rule_name,
        match.c.template_name,
        match.c.channel,
        dedupe_key(match).label("dedupe_key"),
        # The mode none suppresses nothing, and no suppression has an empty reason.
        case((mode == SuppressionMode.NONE.value, literal("")), else_=mode).label("suppression_reason"),
    )
    if decided.groups:
        had_to = _once(matches(decided.rules, decided.events, _was_there), "had_to")
        same_place = and_(had_to.c.event_id == match.c.event_id, had_to.c.exclusive_group == match.c.exclusive_group)
        asked_for = asked_for.outerjoin(had_to, same_place).where(
            func.coalesce(match.c.rule_position <= had_to.c.rule_position, true())
        )
    return _once(asked_for, "asked_for")


def _once(query: Select[Any], name: str) -> CTE:
    """A query to join; SQLite would rather join each part of a union apart, and work out the other side each time."""
    return query.cte(name).prefix_with("MATERIALIZED")


def _decided_twice(group: str, names: list[str], decided: _Decided) -> Select[Any]:
    decision = _rules_that_decided(decided)
    count = func.count(decision.c.rule_name.distinct())
    return (
        select(told("events.id ", Event.id, ": decided by ", count, f" rules of the group {group}"))
        .select_from(Event)
        .join(decision, decision.c.event_id == Event.id)
        .where(decided.events, decision.c.rule_name.in_(names))
        .group_by(Event.id)
        .having(count > 1)
    )


def _rules_that_decided(decided: _Decided) -> Subquery:
    """The rules that sent or suppressed something on each event."""
    return union_all(
        *(select(table.event_id, table.rule_name).where(decided.spans(table.event_id)) for table in DECISION_TABLES)
    ).subquery("decision")


def _decided_by_each_ruleset(connection: Connection) -> Iterator[_Decided]:
    """What each ruleset decided; one that cannot be used is told of by another invariant and passed over here."""
    by_load = select(Load.ruleset_id, Load.first_event_id, Load.last_event_id).where(
        Load.state == LoadState.DECIDED, Load.first_event_id.is_not(None)
    )
    by_event = select(Run.ruleset_id, HeldEvent.event_id, HeldEvent.event_id).join(Run, Run.id == HeldEvent.run_id)
    decided = union_all(by_load, by_event).subquery("decided")
    rulesets = (
        select(
            Ruleset.id,
            Ruleset.content_hash,
            Ruleset.yaml_text,
            func.min(decided.c.first_event_id).label("first_event_id"),
            func.max(decided.c.last_event_id).label("last_event_id"),
        )
        .join(decided, decided.c.ruleset_id == Ruleset.id)
        .group_by(Ruleset.id)
    )
    for row in connection.execute(rulesets).all():
        try:
            rules = _read(row.content_hash, row.yaml_text).enabled_rules
        except RulesError:
            continue
        yield _Decided(row.id, rules, row.first_event_id, row.last_event_id)


def _was_there(prior: type[Event]) -> ColumnElement[bool]:
    """Whether an event was in the tables, for certain, when another one was decided."""
    # Loads are numbered in the order in which they were committed; events without one are older than all of them.
    return or_(prior.load_id.is_(None), prior.load_id <= Event.load_id)


@lru_cache
def _read(content_hash: str, yaml_text: Any) -> RulesFile:
    """The rules as they were recorded. Each invariant needs all of them, and reading one takes longer than a query."""
    if not isinstance(yaml_text, str):
        raise RulesError("its text is no text, as in a damaged file")
    if text_hash(yaml_text) != content_hash:
        raise RulesError(f"its text does not have its hash, {content_hash}")
    return parse_rules(yaml_text, "its text")


AUDIT = (
    Invariant(
        "usable_rulesets",
        "Every recorded ruleset has the text that its hash names, and can be read",
        _unusable_rulesets,
    ),
    Invariant(
        "matches_are_decided",
        "Every match of a decided event with its ruleset is sent or suppressed",
        _undecided_matches,
    ),
    Invariant(
        "decisions_have_grounds",
        "Every decision is one that its rule asks for on its event",
        _groundless_decisions,
    ),
)
"""What must hold of decisions and the rules that made them, to be checked by `checking`."""
