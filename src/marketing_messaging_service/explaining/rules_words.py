"""Puts a rules file into sentences that a marketer would say aloud."""

from collections.abc import Iterator

from src.marketing_messaging_service.decisions.parts import Hours
from src.marketing_messaging_service.decisions.rules import Action, Block, Limit, Rule, Rules, Sign, SuppressionPolicy
from src.marketing_messaging_service.decisions.wording import comparison_text, condition_text, worded
from src.marketing_messaging_service.vocabulary import SuppressionMode


def rules_in_words(whole: Rules) -> Iterator[str]:
    """Yield a sentence for each rule, in the order of the file, then one for each block, limit and the holdout."""
    for rule in whole.rules:
        yield f"{rule.name}: {_sentence(rule)}"
    for block in whole.blocks:
        yield f"{block.name}: {_block(block)}"
    for limit in whole.limits:
        yield f"{limit.name}: {_limit(limit)}"
    if whole.holdout:
        yield f"holdout: {whole.holdout.percent:g} % of the users, always the same ones, get no messages."


def _sentence(rule: Rule) -> str:
    when = f"{_hours(rule.wait.hours)} after" if rule.wait else "on"
    condition = condition_text(rule)
    which = f", if {condition}," if condition else ","
    parts = [f"{when} each {rule.trigger.event_type}{which} {_does(rule.action)}"]
    if not rule.action.is_alert:
        parts.append(_once(rule.suppression))
    text = ", ".join(filter(None, parts))
    more = [f"{text[0].upper()}{text[1:]}."]
    if not rule.enabled:
        more.insert(0, "Off.")
    if rule.exclusive_group:
        more.append(f"In the group {rule.exclusive_group}, only the first rule that matches decides.")
    if rule.expires_after_hours is not None:
        more.append(f"At most {_hours(rule.expires_after_hours)} late.")
    if rule.exempt_from:
        more.append(f"Exempt from {', '.join(rule.exempt_from)}.")
    return " ".join(more)


def _does(action: Action) -> str:
    if action.is_alert:
        return f"alert our own people with {action.template_name}"
    return f"send {action.template_name} by {action.delivery_method}"


def _once(policy: SuppressionPolicy) -> str:
    if policy.mode is SuppressionMode.NONE:
        return ""
    words = policy.mode.words
    if policy.hours is not None:
        words = f"once in {_hours(policy.hours)}"
    per = f" for each {' and '.join(map(str, policy.per))}" if policy.per else ""
    return f"{words}{per}"


def _block(block: Block) -> str:
    whom = f"no message by {' or '.join(block.channels)}" if block.channels else "no message"
    if block.while_ is not None:
        return f"A user gets {whom} while {worded(block.while_)}."
    ends = f"until the event {_sign(block.until)}" if block.until else "on"
    return f"A user gets {whom} from the event {_sign(block.from_)} {ends}."


def _sign(sign: Sign | None) -> str:
    if sign is None:
        return ""
    where = " and ".join(map(comparison_text, sign.where))
    return f"{sign.event_type} with {where}" if where else sign.event_type


def _limit(limit: Limit) -> str:
    what = "message" if limit.at_most == 1 else "messages"
    by = f" by {' or '.join(limit.channels)}" if limit.channels else ""
    of = f" of {' or '.join(limit.templates)}" if limit.templates else ""
    length = f"in any {_hours(limit.hours)}" if limit.hours is not None else f"per calendar {limit.calendar}"
    return f"A user gets at most {limit.at_most} {what}{by}{of} {length}."


def _hours(hours: Hours) -> str:
    return f"{hours.normalize():f} h"
