"""Deciding everything that waits to be decided, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, func, insert, select, update

from src.marketing_messaging_service.decisions import outcomes
from src.marketing_messaging_service.decisions.matching import matches
from src.marketing_messaging_service.decisions.rules import Rule
from src.marketing_messaging_service.decisions.rules_file import RulesFile
from src.marketing_messaging_service.decisions.wording import condition_text
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.models import Event, Load, LoadState, Ruleset, RulesetRule, SendRequest
from src.marketing_messaging_service.results import DecisionResult, RuleOutcome


def decide_pending(engine: Engine, rules_file: RulesFile, *, decided_at: datetime) -> DecisionResult:
    """Decide all loaded events that no run has decided, and mark their loads, in one transaction.

    The work is done inside the database and follows the number of new events, not the history. `decided_at` is
    written beside the decisions; none of them depends on it.
    """
    rules = rules_file.enabled_rules
    counts: dict[int, tuple[int, int]] = {}
    with write_transaction(engine) as connection:
        load_count, event_count, first_event_id = _pending(connection)
        if load_count:
            ruleset_id = _ruleset_id(connection, rules_file, decided_at)
            if first_event_id is not None and rules:
                counts = _decide(connection, rules, first_event_id, ruleset_id, decided_at)
            connection.execute(
                update(Load)
                .where(Load.state == LoadState.LOADED)
                .values(state=LoadState.DECIDED, decided_at=decided_at, ruleset_id=ruleset_id)
            )
    return DecisionResult(
        ruleset_hash=rules_file.content_hash,
        event_count=event_count,
        outcomes=tuple(_outcome(rule, *counts.get(position, (0, 0))) for position, rule in enumerate(rules)),
    )


def _pending(connection: Connection) -> tuple[int, int, int | None]:
    """Return how many loads and events wait, and the smallest id that one of the events can have."""
    load_count, event_count, first_event_id = connection.execute(
        select(func.count(), func.coalesce(func.sum(Load.inserted_count), 0), func.min(Load.first_event_id)).where(
            Load.state == LoadState.LOADED
        )
    ).one()
    return load_count, event_count, first_event_id


def _ruleset_id(connection: Connection, rules_file: RulesFile, first_used_at: datetime) -> int:
    """Return the id of this version of the rules, recording it when it is new."""
    known = connection.execute(select(Ruleset.id).where(Ruleset.content_hash == rules_file.content_hash)).scalar()
    if known is not None:
        return known
    ruleset_id = connection.execute(
        insert(Ruleset)
        .values(content_hash=rules_file.content_hash, yaml_text=rules_file.yaml_text, first_used_at=first_used_at)
        .returning(Ruleset.id)
    ).scalar_one()
    # An empty list would insert one row of defaults.
    if rules_file.rules:
        connection.execute(insert(RulesetRule), _ruleset_rules(ruleset_id, rules_file.rules))
    return ruleset_id


def _ruleset_rules(ruleset_id: int, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    return [
        {
            "ruleset_id": ruleset_id,
            "rule_name": rule.name,
            "rule_position": position,
            "description": rule.description,
            "is_enabled": rule.enabled,
            "trigger_event_type": rule.trigger.event_type,
            "condition_text": condition_text(rule),
            "exclusive_group": rule.exclusive_group,
            "template_name": rule.action.template_name,
            "channel": rule.action.delivery_method,
            "suppression_mode": rule.suppression.mode.value,
        }
        for position, rule in enumerate(rules, start=1)
    ]


def _decide(
    connection: Connection, rules: Sequence[Rule], first_event_id: int, ruleset_id: int, decided_at: datetime
) -> dict[int, tuple[int, int]]:
    """Write the decisions of the pending events, and return sends and suppressions by position of the rule."""
    # The range of ids leads the planner to the new rows; the load's state says which of them count.
    pending = and_(
        Event.id >= first_event_id,
        Event.load_id.in_(select(Load.id).where(Load.state == LoadState.LOADED)),
    )
    last_send_id = connection.execute(select(func.coalesce(func.max(SendRequest.id), 0))).scalar_one()
    outcomes.decision.create(connection, checkfirst=False)
    connection.execute(outcomes.insert_matches(matches(rules, pending)))
    for statement in outcomes.suppress(rules):
        connection.execute(statement)
    connection.execute(outcomes.insert_send_requests(last_send_id, ruleset_id, decided_at))
    connection.execute(outcomes.insert_suppressions(last_send_id, ruleset_id, decided_at))
    counts = _counts(connection)
    outcomes.decision.drop(connection, checkfirst=False)
    return counts


def _counts(connection: Connection) -> dict[int, tuple[int, int]]:
    decision: Any = outcomes.decision.c
    sends = func.sum(case((decision.is_send, 1), else_=0))
    rows = connection.execute(
        select(decision.rule_position, sends, func.count() - sends).group_by(decision.rule_position)
    )
    return {position: (send_count, suppression_count) for position, send_count, suppression_count in rows}


def _outcome(rule: Rule, send_count: int, suppression_count: int) -> RuleOutcome:
    return RuleOutcome(
        rule_name=rule.name,
        template_name=rule.action.template_name,
        channel=rule.action.delivery_method,
        send_count=send_count,
        suppression_count=suppression_count,
    )
